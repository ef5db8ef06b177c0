"""The settings of pre-training and fine-tuning.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if the
paper gives one. They are part of the specs of stages, and so are hashed.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from avbench.core.components import ComponentRef
from avbench.core.numbers import Number
from avbench.data.settings import EpochOf, SamplingSettings

EPOCHS = Number(unit="epochs", above=0, most=100_000, source="Sec. 4.2")
STEPS = Number(unit="steps", least=1, most=1_000_000_000)
Decay = Annotated[float, Number(unit="per step", least=0, below=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionSettings:
    """The search for the best step of a training, used if ``select`` is ``best``.

    Captions are scored on the dataset's own split for selection (the reader's option ``select``).
    If there is none, training videos are kept out of training for it.
    """

    by: str = "cider"
    """The score that decides, as a metric of ``evaluate.metrics`` names it."""
    every_epochs: Annotated[float, EPOCHS] | None = None
    """Epochs between two evaluations; give this, every_steps, or neither: one epoch."""
    every_steps: Annotated[int, STEPS] | None = None
    """Optimiser steps between two evaluations. The last step is always evaluated."""
    beam: Annotated[int, Number(unit="hypotheses", least=1, most=1000)] = 1
    """Beam width; 1: greedy. The other settings of the search are those of ``decode``."""
    share: Annotated[float, Number(unit="share", above=0, below=1)] = 0.1
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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings(SamplingSettings):
    """One training stage, pre-training or fine-tuning; its clips are sampled by these too."""

    loss: ComponentRef
    epochs: Annotated[float, EPOCHS] | None = None
    """Passes over what ``epoch`` names; give either this or steps."""
    steps: Annotated[int, STEPS] | None = None
    """Optimiser steps; give either this or epochs."""
    epoch: EpochOf = "clips"
    """One epoch: a pass over all ``clips``, or over all ``videos`` with ``clips_per_video`` clips
    of each, drawn anew in each epoch. A video with fewer clips gives some of them again. The paper
    says neither; "three video-caption pairs from a long video in one iteration" and the code that
    it follows (UniVL, Luo et al., 2020) suggest ``videos`` for pre-training, which the preset
    ``paper`` takes."""
    batch: Annotated[int, Number(unit="samples", least=1, most=1000000)] = 32
    """Samples per step; a sample is a clip with one of its captions (with ``tasks: [pcc, pnc]``
    also the next caption)."""
    lr: Annotated[float, Number(unit="per step", above=0, most=1, source="Sec. 4.2")] = 1e-4
    """Peak learning rate of Adam (paper: 1e-4, fine-tuning 1e-5)."""
    warmup: Annotated[float, Number(unit="share", least=0, below=1, source="Sec. 4.2")] = 0.1
    """Share of the run over which the rate rises linearly (paper: 10 %); then it falls to 0."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decays of Adam's means of the gradient and of its square."""
    weight_decay: Annotated[float, Number(unit="per step", least=0, most=1)] = 0.0
    clip_norm: Annotated[float, Number(unit="gradient norm", above=0, most=1000000)] | None = 1.0
    """Largest gradient norm; None: unclipped. Open in the paper."""
    accumulate: Annotated[int, Number(unit="micro-batches", least=1, most=1000000)] = 1
    """Micro-batches into which a step's batch is divided to save memory; computed in turn."""
    clips_per_video: Annotated[
        int, Number(unit="clips", least=1, most=1000000, source="Sec. 4.2")
    ] = 1
    """Clips drawn together from one long video in an iteration (paper: 3 in pre-training)."""
    measure_every: Annotated[int, STEPS] = 50
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
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch, got {self.accumulate} and {self.batch}"
            )
        if self.batch % self.clips_per_video:
            raise ValueError(
                f"clips_per_video must divide batch, got {self.clips_per_video} and {self.batch}"
            )
