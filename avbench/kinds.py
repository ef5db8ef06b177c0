"""The kinds of stages: which module runs each, and what besides its spec can change a result."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of stage."""

    module: str
    """The module whose ``run(job)`` does the work; its code is part of the stage's id."""
    versions: tuple[str, ...] = ()
    """Distributions whose major and minor version is part of the stage's id."""
    weight: int = 1
    """How long a stage of this kind takes beside the others, until there is a measurement."""
    wide: bool = False
    """Whether it uses several worker processes by itself."""
    batched: bool = False
    """Whether ready stages with the same ``data`` parent are run by one process."""


_NETWORK = ("numpy", "timm", "tokenizers", "torch", "torchaudio", "torchvision", "transformers")

KINDS: Mapping[str, Kind] = {
    "world": Kind(
        module="avbench.world.stage",
        versions=("av", "espeakng-loader", "numpy"),
        weight=60,
        wide=True,
    ),
    "prepare": Kind(
        module="avbench.media.prepare",
        versions=("av", "numpy", "torch", "torchaudio"),
        weight=30,
        wide=True,
    ),
    "vocabulary": Kind(module="avbench.vocabulary", versions=("tokenizers",), weight=2),
    "pretrain": Kind(module="avbench.train", versions=_NETWORK, weight=100),
    "finetune": Kind(module="avbench.train", versions=_NETWORK, weight=40),
    "generate": Kind(module="avbench.generate", versions=_NETWORK, weight=15),
    "baseline": Kind(module="avbench.baseline", weight=3),
    "score": Kind(module="avbench.evaluate", versions=("pycocoevalcap",), weight=8, batched=True),
    "profile": Kind(module="avbench.cost", versions=("fvcore", *_NETWORK), weight=5),
}
