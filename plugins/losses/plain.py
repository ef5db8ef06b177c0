"""The plain caption loss."""

from collections.abc import Mapping

from avbench.api import LossContext, LossStrategy, Objective, Register, View, ViewLoss, hookimpl


class Plain(LossStrategy):
    """``L``: cross entropy of the caption given all streams, and nothing else.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al.), Eq. 1
    """

    def __init__(self, options: object, context: LossContext) -> None:  # noqa: ARG002
        self._joint: View = frozenset(context.streams)

    def views(self) -> tuple[View, ...]:
        """Return the joint view only."""
        return (self._joint,)

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Return the joint loss."""
        return Objective(total=losses[self._joint].nats, weights={self._joint: 1.0})


@hookimpl
def register_losses(register: Register) -> None:
    """Register ``plain``."""
    register("plain", Plain, source="Shen et al., Exploring the Role of Audio …, Eq. 1")
