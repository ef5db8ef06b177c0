"""The settings of pre-training and fine-tuning.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if the
paper gives one. They are part of the specs of stages, and so are hashed.
"""

from dataclasses import dataclass, field
from typing import Literal

from avbench.core.components import ComponentRef
from avbench.data.settings import EpochOf, SamplingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionSettings:
    """The search for the best step of a training, used if ``select`` is ``best``.

    Captions are scored on the dataset's own split for selection (the reader's option ``select``).
    If there is none, training videos are kept out of training for it.
    """

    by: str = "cider"
    """The score that decides, as a metric of ``evaluate.metrics`` names it."""
    every_epochs: float | None = None
    """Epochs between two evaluations; give this, every_steps, or neither: one epoch."""
    every_steps: int | None = None
    """Optimiser steps between two evaluations. The last step is always evaluated."""
    beam: int = 1
    """Beam width; 1: greedy. The other settings of the search are those of ``decode``."""
    share: float = 0.1
    """Share of the training videos, drawn by seed, if the dataset has no split of its own."""
    on_report: bool = False
    """Select on the split that is reported. Scores are then no longer those of unseen clips, and
    every table of the suite says so."""

    def __post_init__(self) -> None:
        if self.every_epochs is not None and self.every_steps is not None:
            raise ValueError(
                f"give every_epochs or every_steps, got {self.every_epochs=} and "
                f"{self.every_steps=}"
            )
        for name in ("every_epochs", "every_steps", "beam"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be in (0, 1), got {self.share}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings(SamplingSettings):
    """One training stage, pre-training or fine-tuning; its clips are sampled by these too."""

    loss: ComponentRef
    epochs: float | None = None
    """Passes over what ``epoch`` names; give either this or steps."""
    steps: int | None = None
    """Optimiser steps; give either this or epochs."""
    epoch: EpochOf = "clips"
    """One epoch: a pass over all ``clips``, or over all ``videos`` with ``clips_per_video`` clips
    of each, drawn anew in each epoch. A video with fewer clips gives some of them again. The paper
    says neither; "three video-caption pairs from a long video in one iteration" and the code that
    it follows (UniVL, Luo et al., 2020) suggest ``videos`` for pre-training, which the preset
    ``paper`` takes."""
    batch: int = 32
    """Samples per step; a sample is a clip with one of its captions (with ``tasks: [pcc, pnc]``
    also the next caption)."""
    lr: float = 1e-4
    """Peak learning rate of Adam (paper: 1e-4, fine-tuning 1e-5)."""
    warmup: float = 0.1
    """Share of the run over which the rate rises linearly (paper: 10 %); then it falls to 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float | None = 1.0
    """Largest gradient norm; None: unclipped. Open in the paper."""
    accumulate: int = 1
    """Micro-batches into which a step's batch is divided to save memory; computed in turn."""
    clips_per_video: int = 1
    """Clips drawn together from one long video in an iteration (paper: 3 in pre-training)."""
    measure_every: int = 50
    """Steps between measurements of every mono-modal loss, without gradients (Fig. 4)."""
    select: Literal["last", "best"] = "last"
    """The step whose weights are the result: the last one, as the paper reports, or the best one
    on clips for selection, see ``selection``."""
    selection: SelectionSettings = field(default_factory=SelectionSettings)
    """The meaning of ``best``; without effect if ``select`` is ``last``."""

    def __post_init__(self) -> None:
        SamplingSettings.__post_init__(self)  # super() does not know a class with slots
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"give epochs or steps, got {self.epochs=} and {self.steps=}")
        if self.epoch == "videos" and self.captions == "all":
            raise ValueError(
                "epoch: videos takes one caption of each clip that it draws, so captions must be "
                f"one, got {self.captions}"
            )
        for name in (
            "steps",
            "epochs",
            "batch",
            "accumulate",
            "clips_per_video",
            "measure_every",
            "lr",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be in [0, 1), got {self.warmup}")
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch, got {self.accumulate} and {self.batch}"
            )
        if self.batch % self.clips_per_video:
            raise ValueError(
                f"clips_per_video must divide batch, got {self.clips_per_video} and {self.batch}"
            )
