"""The abstract classes that plugins implement, and what the host hands to each.

Every class here is abstract; every class that implements one is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor, nn

from avbench.core.types import Batch, Clip, InputSpec, Modality, Slot, Tokens, View, ViewLoss
from avbench.models.attention_maps import AttentionSite

# --------------------------------------------------------------------------- encoders


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderContext:
    """What the model's geometry fixes for an encoder."""

    D: int
    """Width of the tokens that the encoder must give."""
    input: InputSpec
    vocabulary: int
    """Size of the tokenizer's vocabulary (text encoders)."""
    pad: int
    """Id of the padding token (text encoders)."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Marks the option of an encoder that says which weights it starts from.

    ``weights: Annotated[str | None, InitialWeights()] = None``. Its text is the path of a local
    file or folder, whose contents then count and not its place, or a name of published weights.
    With None the encoder starts from scratch; its parameters must have the same names and
    shapes then, for what has been trained is loaded into an encoder built without them.
    """

    named: Callable[[str], bool] | None = None
    """Whether a text that is no local file names published weights; None: none are known."""
    also: tuple[str, ...] = ()
    """Options that only say more of these weights, e.g. their revision; cleared with them."""
    words: Callable[[Path], Path | None] | None = None
    """Of weights that know words by their ids, which a suite must then use: gives the file of
    the vocabulary beside local ones, or None where there is none. None: they know no words."""


class Encoder(nn.Module, ABC):
    """One modality's input to tokens of width D."""

    modality: Modality
    """The modality whose input it reads."""
    n_tokens: int
    """N: tokens per clip; a zeroed stream has as many."""
    started_from: str = "scratch"
    """What the weights were before training, for the tables."""
    own_attention: str | None = None
    """What computes its attention where it is not ``avbench.api.Attention``, for the record."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tokens:
        """Encode the modality's field of a batch.

        Returns:
            Tokens (B, n_tokens, D); ``keep`` is False only for padding.
        """

    @classmethod
    def closed_form(cls, options: Any, context: EncoderContext) -> int | None:  # noqa: ARG003
        """Its MACs for one clip by a formula, to hold the count against; None: there is none."""
        return None


# --------------------------------------------------------------------------- fusion


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionContext:
    """What the model's geometry fixes for a fusion."""

    streams: tuple[Modality, ...]
    """The streams that come in, in the order of the fused output."""
    D: int
    heads: int
    layers: int
    dropout: float = 0.0


class Fusion(nn.Module, ABC):
    """The cross-modal encoder's layers.

    The host has added position and token-type embeddings; a zeroed stream comes as zeros plus
    these embeddings and is attended to like any other (Sec. 3.2).
    """

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:  # noqa: ARG003
        """Why this fusion is undefined for these streams, or None; a refused cell is skipped."""
        return None

    @classmethod
    def closed_form(
        cls,
        options: Any,  # noqa: ARG003
        context: FusionContext,  # noqa: ARG003
        tokens: Mapping[Modality, int],  # noqa: ARG003
    ) -> int | None:
        """Its MACs for one clip by a formula, to hold the count against; None: there is none.

        Args:
            options: an instance of its config.
            context: the model's geometry.
            tokens: the number of tokens of each stream.
        """
        return None

    @abstractmethod
    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams.

        Args:
            tokens: one entry a stream of the context, (B, N_m, D) each.

        Returns:
            The streams' tokens, concatenated in the order of the context: (B, sum of N_m, D).
        """

    def sites(self) -> Sequence[AttentionSite]:
        """Where it attends, in the order in which it runs, for attention maps; none: no maps."""
        return ()


# --------------------------------------------------------------------------- losses


@dataclass(frozen=True, kw_only=True, slots=True)
class LossContext:
    """What a run fixes for a loss strategy."""

    streams: tuple[Modality, ...]
    """The streams that are encoded, not the zeroed ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What one step minimises."""

    total: Float[Tensor, ""]
    weights: Mapping[View, float] = field(default_factory=dict)
    """The weight of each view in the total, for the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeCurve:
    """Losses, in nats per token, before and after training on one view alone."""

    train_before: float
    train_after: float
    held_before: float
    held_after: float


SLICE_BATCHES = 4
"""Batches of the slices on which a probe measures L^T and L^V, at most."""


@runtime_checkable
class Probe(Protocol):
    """A copy of the trainer that a strategy may train for a while and that is then dropped."""

    def __call__(self, view: View, steps: int) -> ProbeCurve:
        """Copy the model, train ``steps`` steps on this view's loss alone, measure, restore.

        L^T is measured on a fixed slice of the training clips, L^V on the held-out slice.
        """


class LossStrategy(ABC):
    """How the caption losses of the views become one objective.

    The trainer's one loop asks for ``views``, computes them in one batched pass over fusion and
    decoder, calls ``observe`` and ``combine``, runs the backward pass, calls ``modulate`` and
    steps. Where a step is accumulated over several micro-batches, ``combine`` and the backward
    pass run for each of them and ``observe`` once, after them all: weights then follow what was
    observed up to the step before.
    """

    held_out: float = 0.0
    """Share of the training videos that the trainer must keep out of training for probes."""

    @abstractmethod
    def views(self) -> tuple[View, ...]:
        """The views that each step needs, the joint one first."""

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:  # noqa: ARG002
        """See a step's losses, without gradients, and update the strategy's state.

        Args:
            losses: of all views, averaged over micro-batches and processes: the same everywhere,
                so that the state is, too.

        Returns:
            What to log, e.g. signed gaps.
        """
        return {}

    @abstractmethod
    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Weight the losses of the views by the strategy's state, which stays as it is.

        Args:
            losses: those of one process and micro-batch, with gradients; decide by what
                ``observe`` saw, not by their values.
        """

    def modulate(  # noqa: B027
        self, encoders: Mapping[Modality, Sequence[nn.Parameter]]
    ) -> None:
        """Change the encoders' gradients after the backward pass; by default nothing.

        What it draws from PyTorch's global generators is the same in all processes, whose weights
        must stay alike.
        """

    def probe_at(self, steps: int) -> Mapping[int, int]:  # noqa: ARG002
        """When to probe in a run of ``steps``: first step of a super-epoch to its length."""
        return {}

    def reestimate(self, probe: Probe, steps: int) -> Mapping[str, float]:  # noqa: ARG002
        """Re-estimate the weights at a super-epoch of ``steps`` steps; returns what to log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """The state that a checkpoint must keep: numbers, strings, lists and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore ``state_dict``."""


# --------------------------------------------------------------------------- modalities


@dataclass(frozen=True, kw_only=True, slots=True)
class ModalityConfiguration:
    """Which streams enter the cross-modal encoder, and which of them as zeros."""

    streams: tuple[Modality, ...]
    """All streams, in the order of the fused output."""
    zeroed: frozenset[Modality] = frozenset()
    """Streams that are not encoded: zeros stand for their tokens."""

    def __post_init__(self) -> None:
        if not self.zeroed < set(self.streams):
            raise ValueError(
                f"zeroed must be a proper subset of streams {self.streams}, "
                f"got {sorted(self.zeroed)}"
            )

    @property
    def encoded(self) -> tuple[Modality, ...]:
        """The streams that are encoded."""
        return tuple(m for m in self.streams if m not in self.zeroed)


# --------------------------------------------------------------------------- datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something in a dataset's annotations that is not as their format has it."""

    place: str
    """The file and the path or row in it."""
    problem: str
    """What is wrong; where it was mended, how."""
    clip: str | None = None
    """The clip that it costs; None: none."""
    reason: str = "malformed"
    """Why the clip is lost, in a word, for the counts."""


class Dataset(ABC):
    """A captioning dataset: one official annotation format over local media."""

    train: str | None = "train"
    """The split that models are trained on."""
    report: str | None = None
    """The split whose scores go into tables; None for a pre-training corpus."""
    select: str | None = None
    """The split that checkpoints may be selected on; None: part of ``train`` is kept for it."""
    protocol: str = "coco"
    """``coco``: clip by clip. ``paragraph``: the clips of a video joined into one text."""

    def of(self, role: str) -> str | None:
        """The split of a role, ``train``, ``report`` or ``select``; None: there is none."""
        return {"train": self.train, "report": self.report, "select": self.select}[role]

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits that the local files hold."""

    @abstractmethod
    def clips(self, split: str) -> Sequence[Clip]:
        """The clips of a split, in the annotations' order, without those that a defect costs.

        Raises:
            DataError: the file is missing or malformed (with its name, field and value), the
                split is unknown or empty.
        """

    def defects(self, split: str) -> Sequence[Defect]:  # noqa: ARG002
        """What is wrong within single clips' annotations of a split.

        A dataset's ``policy`` decides what becomes of it: under ``skip`` these clips are counted
        as lost, under ``fail`` nothing runs. A reader that has none raises instead.

        Raises:
            DataError: as for ``clips``.
        """
        return ()

    def iterate(self, split: str) -> Iterator["Clip | Defect"]:
        """The clips and the defects of a split one by one, for a corpus that memory cannot hold.

        The clips in the order of ``clips``; each defect at any place.

        Raises:
            DataError: as for ``clips``, but where the files are read that far.
        """
        yield from self.defects(split)
        yield from self.clips(split)

    def files(self) -> Sequence[Path]:
        """Every file beside the media that ``clips`` reads, where they are known.

        While none of them has changed, a plan does not read them again; with none it always does.
        """
        return ()

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of all that the annotations and the list of media files say."""

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """References per video, for the paragraph protocol."""
        return {}


# --------------------------------------------------------------------------- metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """What hypotheses are scored against; ids are clips, or videos in the paragraph protocol."""

    captions: Mapping[str, tuple[str, ...]]
    protocol: str = "coco"
    slots: Mapping[str, Mapping[str, Slot]] = field(default_factory=dict)
    """Known facts per clip, where the dataset states them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One figure, ready for a table."""

    name: str
    value: float
    unit: str
    """``x100`` for the four caption metrics, ``%`` for accuracies."""
    signature: str
    """How it was made: ``metric|option:value|…|version:…``."""
    per_item: Mapping[str, float] = field(default_factory=dict)
    """The same figure for each id, where it is defined."""
    higher_is_better: bool = True
    statistics: Float64[np.ndarray, "items K"] | None = field(default=None, compare=False)
    """One row an id of ``per_item``, in its order, whose sum over any multiset of ids gives the
    figure of these by ``Metric.from_sums``. None: (figure, 1), so the figure is a mean."""


class Metric(ABC):
    """Hypotheses and references to scores."""

    only: frozenset[str] | None = None
    """Set by the host where it wants these scores alone; others may be given or left out."""
    clip_by_clip: bool = False
    """True: always scored by clip, also where the protocol joins the clips of a video."""

    @abstractmethod
    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """Score several systems against the same references, in one go.

        Args:
            hypotheses: one mapping id → caption a system; ids equal those of ``references``.
            references: what they are scored against.

        Returns:
            For each system its scores; the empty sequence where the metric does not apply.
        """

    def from_sums(
        self,
        name: str,  # noqa: ARG002
        sums: Float64[np.ndarray, "R K"],
    ) -> Float64[np.ndarray, " R"]:
        """A figure of R resamples from the sums of their items' statistics.

        By default the mean, from (sum of the figures, their number).

        Args:
            name: the score's name.
            sums: one row a resample, see ``Score.statistics``.

        Returns:
            The figures, on the scale of ``Score.value``; NaN where a resample defines none.
        """
        mean = np.full(len(sums), np.nan)
        np.divide(sums[:, 0], sums[:, 1], out=mean, where=sums[:, 1] > 0)
        return mean

    def close(self) -> None:  # noqa: B027
        """End what was kept between calls, e.g. a process; by default nothing."""


__all__ = [
    "Dataset",
    "Defect",
    "Encoder",
    "EncoderContext",
    "Fusion",
    "FusionContext",
    "InitialWeights",
    "LossContext",
    "LossStrategy",
    "Metric",
    "ModalityConfiguration",
    "Objective",
    "Probe",
    "ProbeCurve",
    "References",
    "Score",
]
