"""A trained captioner on disk: safetensors, and the settings that rebuild it as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from avbench.model import Captioner, build_captioner
from avbench.options import build, plain
from avbench.registry import Registry
from avbench.settings import ComponentRef, InputSpec, ModelSettings
from avbench.stage import read_json, write_json

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

    def build(self, registry: Registry) -> Captioner:
        """A captioner with fresh weights, from the global random state."""
        return build_captioner(
            self.model, self.input, self.vocabulary, self.fusion, self.modalities, registry
        )


def save(directory: Path, captioner: Captioner, architecture: Architecture) -> None:
    """Write weights and architecture."""
    tensors = {name: t.contiguous() for name, t in captioner.state_dict().items()}
    save_file(tensors, directory / WEIGHTS)
    write_json(directory / MODEL, plain(architecture))


def restore(directory: Path, captioner: Captioner) -> None:
    """Load saved weights into a captioner of the same architecture."""
    captioner.load_state_dict(load_file(directory / WEIGHTS))


def load(directory: Path, registry: Registry) -> tuple[Captioner, Architecture]:
    """The captioner that a training stage left."""
    architecture = build(Architecture, read_json(directory / MODEL))
    captioner = architecture.build(registry)
    restore(directory, captioner)
    return captioner, architecture
