"""The abstract class of loss strategies, what the host hands to them, and how one is built.

Every class that implements it is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from avbench.core.components import ComponentRef
from avbench.core.options import make
from avbench.core.registry import Registry
from avbench.core.types import Modality, View, ViewLoss


@dataclass(frozen=True, kw_only=True, slots=True)
class LossContext:
    """The parts of a run that a loss strategy is built for."""

    streams: tuple[Modality, ...]
    """The encoded streams, without the zeroed ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The objective that one step minimises."""

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
"""Largest number of batches in the slices on which a probe measures L^T and L^V."""


@runtime_checkable
class Probe(Protocol):
    """Trains a copy of the model for a while and measures it; the copy is then dropped."""

    def __call__(self, view: View, steps: int) -> ProbeCurve:
        """Copy the model, train it for ``steps`` steps on this view's loss alone, measure it.

        L^T is measured on a fixed slice of the training clips, L^V on the held-out slice.
        """


class LossStrategy(ABC):
    """Combines the caption losses of the views into one objective.

    The trainer's one loop asks for ``views``, computes them in one batched pass over fusion and
    decoder, calls ``observe`` and ``combine``, runs the backward pass, calls ``modulate`` and
    steps. If a step is accumulated over several micro-batches, ``combine`` and the backward pass
    run for each of them, and ``observe`` runs once after them all: weights then follow the losses
    observed up to the step before.
    """

    held_out: float = 0.0
    """Share of the training videos that the trainer must keep out of training for probes."""

    @abstractmethod
    def views(self) -> tuple[View, ...]:
        """Return the views that each step needs, the joint one first."""

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:  # noqa: ARG002
        """Update the strategy's state by a step's losses, which have no gradients.

        Args:
            losses: of all views, averaged over micro-batches and processes. They are the same
                in all processes, so the state is, too.

        Returns:
            Figures to log, e.g. signed gaps.
        """
        return {}

    @abstractmethod
    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Weight the losses of the views by the strategy's state, without changing it.

        Args:
            losses: those of one process and micro-batch, with gradients. Decide by the losses
                that ``observe`` received, not by these values.
        """

    def modulate(  # noqa: B027
        self, encoders: Mapping[Modality, Sequence[nn.Parameter]]
    ) -> None:
        """Change the encoders' gradients after the backward pass; by default nothing.

        Draws from PyTorch's global generators are the same in all processes, whose weights must
        stay alike.
        """

    def probe_at(self, steps: int) -> Mapping[int, int]:  # noqa: ARG002
        """Return the probes of a run of ``steps``: super-epochs' first steps to their lengths."""
        return {}

    def reestimate(self, probe: Probe, steps: int) -> Mapping[str, float]:  # noqa: ARG002
        """Re-estimate the weights at a super-epoch of ``steps`` steps; return figures to log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps: numbers, strings, lists and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore the state that ``state_dict`` returned."""


def build_loss(
    ref: ComponentRef, streams: tuple[Modality, ...], registry: Registry
) -> LossStrategy:
    """Build the loss strategy that a training's settings name.

    Args:
        ref: its name and options.
        streams: the encoded streams.
        registry: the registered components.
    """
    built: LossStrategy = make(
        registry.get("losses", ref.name), ref.options, LossContext(streams=streams)
    )
    return built
