"""A trained captioner on disk: safetensors, and the settings that rebuild it as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from avbench.core.components import ComponentRef
from avbench.core.job import read_json, write_json
from avbench.core.options import build, plain
from avbench.core.registry import Registry
from avbench.core.types import InputSpec
from avbench.models import pretrained
from avbench.models.captioner import Captioner, build_captioner
from avbench.models.settings import ModelSettings

WEIGHTS, MODEL = "weights.safetensors", "model.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """All that rebuilds a captioner, but its weights."""

    model: ModelSettings
    input: InputSpec
    fusion: ComponentRef
    modalities: ComponentRef
    vocabulary: int
    """Rows of the word embedding."""

    @classmethod
    def of(cls, spec: Mapping[str, object], vocabulary: int) -> "Architecture":
        """The architecture that a training stage's spec describes."""
        named = {name: spec[name] for name in ("model", "input", "fusion", "modalities")}
        return build(cls, {**named, "vocabulary": vocabulary})

    def build(self, registry: Registry, places: Mapping[str, str] | None = None) -> Captioner:
        """A captioner with fresh weights, from the global random state.

        Args:
            registry: where the components are looked up.
            places: where the files of initial weights lie on this machine.
        """
        model = pretrained.placed(self.model, registry, places or {})
        return build_captioner(
            model, self.input, self.vocabulary, self.fusion, self.modalities, registry
        )

    def bare(self, registry: Registry) -> "Architecture":
        """The same without initial weights, to load trained ones into."""
        return replace(self, model=pretrained.cleared(self.model, registry))


def save(
    directory: Path,
    captioner: Captioner,
    architecture: Architecture,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write weights, architecture, and what each encoder started from.

    Args:
        directory: where.
        captioner: whose.
        architecture: what rebuilds it.
        tensors: its weights; None: those that it has.
    """
    write(directory / WEIGHTS, captioner.state_dict() if tensors is None else tensors)
    data = {"architecture": plain(architecture), "started_from": started_from(captioner)}
    write_json(directory / MODEL, data)


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def restore(directory: Path, captioner: Captioner) -> None:
    """Load saved weights into a captioner of the same architecture.

    Its encoders then started from what those of the saved one did.
    """
    captioner.load_state_dict(load_file(directory / WEIGHTS))
    for modality, text in read_json(directory / MODEL)["started_from"].items():
        encoder: Any = captioner.encoders[modality]
        encoder.started_from = text


def load(directory: Path, registry: Registry) -> tuple[Captioner, Architecture]:
    """The captioner that a training stage left; the files of initial weights are not needed."""
    saved = read_json(directory / MODEL)["architecture"]
    architecture = build(Architecture, saved).bare(registry)
    captioner = architecture.build(registry)
    restore(directory, captioner)
    return captioner, architecture


def started_from(captioner: Captioner) -> dict[str, str]:
    """What each encoder's weights were before any training."""
    return {m: str(encoder.started_from) for m, encoder in captioner.encoders.items()}
