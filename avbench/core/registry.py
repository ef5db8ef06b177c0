"""Finds plugins, checks their registrations, and returns components by family and name."""

import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NoReturn, get_args, get_origin

import pluggy

from avbench import hookspecs
from avbench.core.errors import AvbenchError, PluginError, UnknownNameError, unknown

FAMILIES = ("encoders", "fusions", "losses", "modalities", "datasets", "metrics")
"""The six families; each has the hook ``register_<family>``."""

PATIENCE = 5.0
"""Seconds after which a command says which plugin it waits for."""

log = logging.getLogger(__name__)

SINGULAR = {
    "encoders": "encoder",
    "fusions": "fusion",
    "losses": "loss",
    "modalities": "modality configuration",
    "datasets": "dataset reader",
    "metrics": "metric",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NoOptions:
    """The config of a component that has no options."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One registered component."""

    family: str
    name: str
    build: Callable[..., Any]
    """Makes the component from its options and its family's context, if there is one."""
    config: type
    """The frozen dataclass of its options; every field has a default."""
    source: str
    """Paper or URL that describes it."""
    module: str
    """The plugin's module; its code is hashed into the ids of the stages that use it."""
    distribution: str
    """Its origin: ``name version`` of a distribution, or the file's path."""


class Registry:
    """Every component, by family and name."""

    def __init__(self) -> None:
        self._components: dict[tuple[str, str], Component] = {}

    def add(self, component: Component) -> None:
        """Add a component.

        Raises:
            PluginError: the name is taken, or the registration is malformed.
        """
        who = f"plugin '{component.module}' ({component.distribution})"
        what = f"{SINGULAR[component.family]} '{component.name}'"
        taken = self._components.get((component.family, component.name))
        if taken is not None:
            raise PluginError(
                f"{who}: {what} is already registered by '{taken.module}' ({taken.distribution})"
            )
        if not is_dataclass(component.config):
            raise PluginError(
                f"{who}: {what}: config must be a dataclass, got {component.config!r}"
            )
        if not component.config.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            raise PluginError(f"{who}: {what}: config {component.config.__name__} is not frozen")
        if not component.source.strip():
            raise PluginError(f"{who}: {what}: source is empty; name a paper or a URL")
        self._components[component.family, component.name] = component

    def get(self, family: str, name: str) -> Component:
        """Return the component of that name.

        Raises:
            UnknownNameError: there is none; the message names the nearest.
        """
        try:
            return self._components[family, name]
        except KeyError:
            raise UnknownNameError(unknown(SINGULAR[family], name, self.names(family))) from None

    def names(self, family: str) -> list[str]:
        """Return the names of a family, sorted."""
        return sorted(name for f, name in self._components if f == family)

    def __iter__(self) -> Iterator[Component]:
        """Iterate over all components, by family and name."""
        order = {family: i for i, family in enumerate(FAMILIES)}
        return iter(sorted(self._components.values(), key=lambda c: (order[c.family], c.name)))


def options_of(component: Component) -> list[tuple[str, str, str]]:
    """Return name, type and default of each option, for listings."""
    described = []
    for f in fields(component.config):
        bare = get_args(f.type)[0] if get_origin(f.type) is Annotated else f.type
        kind = bare.__name__ if isinstance(bare, type) else str(bare)
        described.append((f.name, kind, repr(f.default)))
    return described


def load(plugins_dir: Path | None = None) -> Registry:
    """Load every plugin: installed ones by entry point, then those of a folder.

    Args:
        plugins_dir: a folder of ``*.py`` modules; None: ``./plugins`` if there is one.

    A plugin that takes longer than ``PATIENCE`` is named in a warning.

    Raises:
        PluginError: a plugin does not import, ends the process, implements an unknown hook or one
            with wrong arguments, or registers a name twice; or the folder is missing. The message
            names the plugin and its distribution.
    """
    registry = Registry()
    for entry in sorted(entry_points(group=hookspecs.PROJECT), key=lambda e: (e.value, e.name)):
        dist = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown distribution"
        _register(registry, _import_entry(entry, dist), dist)
    for path in _modules_in(plugins_dir):
        _register(registry, _import_file(path), str(path))
    return registry


def _register(registry: Registry, module: ModuleType, distribution: str) -> None:
    """Call a module's hooks."""
    who = f"plugin '{module.__name__}' ({distribution})"
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        hooks = [f"register_{family}" for family in FAMILIES]
        wrong = next((n for n in dir(module) if n.startswith("register") and n not in hooks), "")
        hint = f"\n{unknown('hook', wrong, hooks)}" if "unknown hook" in str(error) else ""
        raise PluginError(f"{who}: {error}{hint}") from error
    if not any(getattr(manager.hook, f"register_{f}").get_hookimpls() for f in FAMILIES):
        raise PluginError(f"{who}: registers nothing; no function bears @hookimpl")
    for family in FAMILIES:
        register = partial(_add, registry, family, module.__name__, distribution)
        with _guarded(who, f"fails in register_{family}", passes=AvbenchError):
            getattr(manager.hook, f"register_{family}")(register=register)


def _add(
    registry: Registry,
    family: str,
    module: str,
    distribution: str,
    name: str,
    build: Callable[..., Any],
    *,
    source: str,
    config: type | None = None,
) -> None:
    """The ``register`` of a hook, once it knows whose hook it is lent to."""
    registry.add(
        Component(
            family=family,
            name=name,
            build=build,
            config=config or NoOptions,
            source=source,
            module=module,
            distribution=distribution,
        )
    )


class _Left(SystemExit):
    """A plugin's call of ``os._exit``."""


@contextmanager
def _guarded(who: str, fails: str, *, passes: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Run a plugin's code; name the plugin if it fails, hangs or ends the process.

    An exit would end a command without a word, and perhaps with status 0.

    Args:
        who: the plugin, with its distribution.
        fails: the words between the plugin and its error.
        passes: errors that name the plugin already.

    Raises:
        PluginError: the code raises an exception, or calls ``sys.exit`` or ``os._exit``.
    """
    own, leave = os.getpid(), os._exit

    def stay(status: int) -> NoReturn:
        if os.getpid() != own:  # a process that the plugin forked
            leave(status)
        raise _Left(status)

    waiting = f"waiting for {who}, which has not ended its import after {PATIENCE:g} s"
    timer = threading.Timer(PATIENCE, log.warning, (waiting,))
    timer.daemon = True
    timer.start()
    os._exit = stay
    try:
        yield
    except passes:
        raise
    except SystemExit as end:
        call = "os._exit" if isinstance(end, _Left) else "sys.exit"
        raise PluginError(f"{who} {fails}: it calls {call}({end.code!r})") from end
    except Exception as error:
        raise PluginError(f"{who} {fails}: {type(error).__name__}: {error}") from error
    finally:
        os._exit = leave
        timer.cancel()


def _import_entry(entry: EntryPoint, distribution: str) -> ModuleType:
    with _guarded(f"plugin '{entry.value}' ({distribution})", "does not import"):
        module = entry.load()
    if not isinstance(module, ModuleType):
        raise PluginError(
            f"plugin '{entry.value}' ({distribution}) must name a module, got {module!r}"
        )
    return module


def _modules_in(folder: Path | None) -> list[Path]:
    """Return the plugin modules of a folder; tests and private modules are not plugins."""
    if folder is None:
        folder = Path("plugins")
        if not folder.is_dir():
            return []
    if not folder.is_dir():
        raise PluginError(f"--plugins-dir {folder}: no such folder")
    return sorted(p for p in folder.glob("*.py") if not p.name.startswith(("_", "test_")))


def _import_file(path: Path) -> ModuleType:
    name = f"avbench_local.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _guarded(f"plugin '{path}'", "does not import"):
            spec.loader.exec_module(module)
    except PluginError:
        del sys.modules[name]
        raise
    return module
