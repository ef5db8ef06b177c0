"""The hooks through which a plugin registers components: one per family, all of one form.

A plugin is a module with functions that bear ``@avbench.api.hookimpl`` and one of these names.
Each receives ``register`` and calls it once for each component::

    register(name, build, config=Options, source="paper or URL")

``name`` is what suites write. ``build`` makes the component from its options (an instance of
``config``, a frozen dataclass) and its family's context, if there is one. ``source`` names the
paper or page that describes the component. The host checks each registration at once, so that an
error points to the plugin's own line.
"""

from typing import Any, Protocol, runtime_checkable

import pluggy

PROJECT = "avbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@runtime_checkable
class Register(Protocol):
    """The callback that registers one component."""

    def __call__(self, name: str, build: Any, *, source: str, config: type | None = None) -> None:
        """Register a component; see the module's docstring."""


@hookspec
def register_encoders(register: Register) -> None:
    """Register encoders: one modality's input to Tokens. build(options, EncoderContext)."""


@hookspec
def register_fusions(register: Register) -> None:
    """Register fusions: the cross-modal encoder's layers. build(options, FusionContext)."""


@hookspec
def register_losses(register: Register) -> None:
    """Register loss strategies: how caption losses balance. build(options, LossContext)."""


@hookspec
def register_modalities(register: Register) -> None:
    """Register modality configurations: streams encoded and zeroed. build(options)."""


@hookspec
def register_datasets(register: Register) -> None:
    """Register readers of an official annotation format over local media. build(options)."""


@hookspec
def register_metrics(register: Register) -> None:
    """Register metrics: hypotheses and references to scores. build(options)."""
