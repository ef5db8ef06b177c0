"""A cache of plans, keyed by the arguments of the command line.

Importing torch takes longer than planning a thousand trials, and plugins need torch. So a plan is
kept in the user's cache with the hashes of all files that it was made from. While none of them
changes, it is read back, and neither torch nor a plugin is imported.
"""

import gc
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avbench.config.collection import read_collection
from avbench.config.overrides import EMBEDDED, Overrides
from avbench.config.shipped import find_suite
from avbench.core.digest import digest
from avbench.core.errors import SuiteError
from avbench.core.job import read_json, remember, sweep
from avbench.core.paths import cache, folder
from avbench.runner.plan import Plan, together

OWN = (".py", ".yaml", ".csv", ".json")
"""Suffixes of the package's files that plans are made from."""


def plan_for(suite: str, overrides: Overrides, plugins_dir: Path | None = None) -> Plan:
    """Read, check and plan a suite, or read its plan from the cache.

    Raises:
        AvbenchError: the suite, a plugin or the data have errors.
    """
    key = [str(find_suite(suite).resolve()), repr(overrides), str(plugins_dir), os.getcwd()]
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
    path = cache() / "plans" / f"{name}.json"
    environment = _environment(plugins_dir)
    known = _read(path, environment)
    if known is not None:
        return known
    with _without_collection():
        plan, files = _make(suite, overrides, plugins_dir)
        if plan.data == EMBEDDED:
            # Real datasets are read anew each time, since their files may change.
            _write(path, environment, files, plan)
    return plan


@dataclass(frozen=True, slots=True)
class Plans:
    """The plans of a suite, or of the suites of a collection."""

    name: str
    title: str
    plans: tuple[Plan, ...]
    whole: Plan
    """All their stages, each once."""

    @property
    def is_collection(self) -> bool:
        """True if they are of a collection, even one of a single suite."""
        return self.whole is not self.plans[0]


def plans_for(ref: str, overrides: Overrides, plugins_dir: Path | None = None) -> Plans:
    """Plan a suite, or every suite of a collection.

    Raises:
        AvbenchError: a suite, a plugin or the data have errors, or the changes choose rows of a
            collection.
    """
    collection = read_collection(ref)
    if collection is None:
        plan = plan_for(ref, overrides, plugins_dir)
        return Plans(plan.suite, plan.title, (plan,), plan)
    if overrides.only or overrides.additional:
        option = "--only" if overrides.only else "--with"
        raise SuiteError(
            f"{option}: '{collection.name}' is a collection of suites; give it with one of them: "
            f"{', '.join(collection.suites)}"
        )
    kept = replace(overrides, preset=None)
    plans = tuple(
        plan_for(suite, kept if suite in collection.keep_preset else overrides, plugins_dir)
        for suite in collection.suites
    )
    whole = together(collection.name, collection.title, plans)
    return Plans(collection.name, collection.title, plans, whole)


def _make(suite: str, overrides: Overrides, plugins_dir: Path | None) -> tuple[Plan, set[Path]]:
    """Make a plan; return it with the files that it was made from."""
    from avbench.config import strict_yaml
    from avbench.config.precheck import precheck

    collection = read_collection(suite)
    if collection is not None:
        raise SuiteError(
            f"'{collection.name}' is a collection of suites; name one of them: "
            f"{', '.join(collection.suites)}"
        )
    precheck(find_suite(suite))  # before torch and the plugins, which take seconds
    from avbench.config.suite import read_suite
    from avbench.core.code_hash import Code
    from avbench.core.registry import load
    from avbench.runner.planning.planner import make_plan

    strict_yaml.FILES_READ.clear()
    registry = load(plugins_dir)
    plan = make_plan(read_suite(suite, registry, overrides), registry)
    modules = {component.module for component in registry}
    return plan, {*strict_yaml.FILES_READ, *_own_files(), *Code().files(*modules)}


@contextmanager
def _without_collection() -> Iterator[None]:
    """Suspend garbage collection, which would take a fifth of the time and find no garbage.

    Importing torch and planning make many objects, and all of them stay alive.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _read(path: Path, environment: str) -> Plan | None:
    try:
        kept = read_json(path)
        if kept["environment"] != environment or _hashes(kept["files"]) != kept["files"]:
            return None
        return Plan.from_json(kept["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent, or written by another version


def _write(path: Path, environment: str, files: Iterable[Path], plan: Plan) -> None:
    hashes = _hashes(sorted(map(str, files)))
    kept = {"environment": environment, "files": hashes, "plan": plan.to_json()}
    remember(path, kept, indent=None)
    sweep(path.parent)


def _hashes(files: Iterable[str]) -> dict[str, str]:
    return {f: digest(Path(f)) for f in files}


def _own_files() -> set[Path]:
    """Return the package's modules, suites, presets and published figures."""
    return {p.resolve() for p in folder("avbench").rglob("*") if p.suffix in OWN}


def _environment(plugins_dir: Path | None) -> str:
    """Return a hash of Python's version, the installed distributions and the plugins' files."""
    seen: list[Any] = [sys.version]
    for base in dict.fromkeys(Path(p or ".").resolve() for p in sys.path):
        for entry in _entries(base):
            if entry.suffix in (".dist-info", ".egg-info"):
                seen.append((str(entry), _stamp(entry / "entry_points.txt")))
    local = plugins_dir or Path("plugins")
    seen += [(str(p), _stamp(p)) for p in _entries(local) if p.suffix == ".py"]
    return hashlib.blake2b(repr(seen).encode(), digest_size=16).hexdigest()


def _entries(base: Path) -> list[Path]:
    try:
        return sorted(base / name for name in os.listdir(base))
    except OSError:
        return []


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
