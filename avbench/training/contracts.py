"""The abstract class of loss strategies, and what the host hands to it.

Every class that implements it is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from avbench.core.types import Modality, View, ViewLoss


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
