"""Trained captioners on disk: the one place that writes and reads weights and architectures.

A training stage leaves a folder with ``weights.safetensors`` and ``model.json``, the architecture
that rebuilds the captioner. ``save`` writes both and ``load`` reads both. An exported captioner is
a folder of its own (``avbench.models.portable``) around the same weights and architecture.
"""

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
    """Everything that rebuilds a captioner, except its weights."""

    model: ModelSettings
    input: InputSpec
    fusion: ComponentRef
    modalities: ComponentRef
    vocabulary: int
    """Rows of the word embedding."""

    @classmethod
    def of(cls, spec: Mapping[str, object], vocabulary: int) -> "Architecture":
        """Return the architecture that a training stage's spec describes."""
        named = {name: spec[name] for name in ("model", "input", "fusion", "modalities")}
        return build(cls, {**named, "vocabulary": vocabulary})

    def build(self, registry: Registry, places: Mapping[str, str] | None = None) -> Captioner:
        """Build a captioner with initial weights, drawn from the global random state.

        Args:
            registry: the registered components.
            places: paths of the initial weights on this machine.
        """
        model = pretrained.placed(self.model, registry, places or {})
        return build_captioner(
            model, self.input, self.vocabulary, self.fusion, self.modalities, registry
        )

    def bare(self, registry: Registry) -> "Architecture":
        """Return the same architecture without initial weights, to load trained ones into."""
        return replace(self, model=pretrained.cleared(self.model, registry))


def save(
    directory: Path,
    captioner: Captioner,
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
) -> None:
    """Write a trained captioner into its stage's folder.

    Args:
        directory: the folder.
        captioner: the captioner, for the names of the weights that its encoders started from.
        architecture: rebuilds it.
        tensors: its weights by name.
    """
    write_tensors(directory / WEIGHTS, tensors)
    data = {"architecture": plain(architecture), "started_from": started_from(captioner)}
    write_json(directory / MODEL, data)


def load(directory: Path, registry: Registry) -> tuple[Captioner, Architecture]:
    """Load the captioner that a training stage left; files of initial weights are not needed."""
    architecture = read_architecture(directory, registry)
    captioner = architecture.build(registry)
    restore(directory, captioner)
    return captioner, architecture


def read_architecture(directory: Path, registry: Registry) -> Architecture:
    """Read the architecture of a training stage's captioner, without initial weights."""
    saved = read_json(directory / MODEL)["architecture"]
    return build(Architecture, saved).bare(registry)


def restore(directory: Path, captioner: Captioner) -> None:
    """Load a training stage's weights into a captioner of the same architecture.

    Its encoders take over the names of the weights that the saved ones started from.
    """
    load_tensors(directory / WEIGHTS, captioner)
    for modality, text in read_json(directory / MODEL)["started_from"].items():
        encoder: Any = captioner.encoders[modality]
        encoder.started_from = text


def load_tensors(path: Path, captioner: Captioner) -> None:
    """Load a file of weights into a captioner.

    Raises:
        RuntimeError: names or shapes do not fit.
        SafetensorError: the file is malformed.
    """
    captioner.load_state_dict(read_tensors(path))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors by name."""
    return load_file(path)


def started_from(captioner: Captioner) -> dict[str, str]:
    """Return the initial weights of each encoder, before any training."""
    return {m: str(encoder.started_from) for m, encoder in captioner.encoders.items()}
