"""Modality balanced pre-training (MBP)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from avbench.api import (
    LossContext,
    LossStrategy,
    Modality,
    Number,
    Objective,
    Register,
    View,
    ViewLoss,
    hookimpl,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MBPOptions:
    """Options of MBP; the defaults are the paper's."""

    alpha: Annotated[
        float, Number(unit="per squared nat", above=0, most=1000000, source="Sec. 4.2")
    ] = 10.0
    """Temperature of the softmax over the gaps (paper: 10; acts on squared nats per token)."""
    beta: Annotated[float, Number(unit="share", above=0, below=1, source="Sec. 4.2")] = 0.99
    """Smoothing of the weights, per iteration (paper: 0.99)."""
    start: Annotated[float, Number(unit="factor", least=0, most=1000000)] | None = None
    """w⁽⁰⁾ of every modality; the paper does not state it. None: uniform, 1 over their number, as
    the softmax of equal gaps gives; 0: Eq. 5 then raises the weights of the mono-modal losses over
    about 1 / (1 − β) steps."""


class MBP(LossStrategy):
    """Modality balanced pre-training: the joint loss plus weighted mono-modal losses.

    With ``G_m = (L_m − L)²`` (Eq. 3), the weights follow the gaps::

        w̃_m = softmax_m(α·G_m)                (Eq. 6)
        w_m ← β·w_m + (1 − β)·w̃_m             (Eq. 5)
        total = L + Σ_m w_m·L_m                (Eq. 4)

    The paper leaves open the initial weights (``start``; here: uniform), the unit of α (here: nats
    per target token) and more than two modalities (here: the same formula over all streams; with a
    single stream the mono-modal loss is the loss, so this is the plain loss). The square hides the
    gap's sign, so the signed gap is logged. Weights carry no gradient. They follow the step's own
    losses, as in Eq. 4–6. If a step is accumulated over micro-batches, its losses are known only
    after the last one, and the weights follow the step before.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al.), Sec. 3.2, Eq. 2–6
    """

    def __init__(self, options: MBPOptions, context: LossContext) -> None:
        self._options = options
        self._joint: View = frozenset(context.streams)
        several = len(context.streams) > 1
        self._single: dict[Modality, View] = (
            {m: frozenset({m}) for m in context.streams} if several else {}
        )
        start = 1 / len(context.streams) if options.start is None else options.start
        self.weights = dict.fromkeys(self._single, start)

    def views(self) -> tuple[View, ...]:
        """Return the joint view, then each modality alone."""
        return (self._joint, *self._single.values())

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:
        """Update the weights from the gaps of a step; return the signed gaps for the log."""
        joint = losses[self._joint].nats
        gaps = {m: (losses[view].nats - joint).item() for m, view in self._single.items()}
        if gaps:
            squared = torch.tensor([g * g for g in gaps.values()], dtype=torch.float64)
            target = torch.softmax(self._options.alpha * squared, dim=0).tolist()
            beta = self._options.beta
            for m, w in zip(gaps, target, strict=True):
                self.weights[m] = beta * self.weights[m] + (1 - beta) * w
        return {f"gap_{m}": gap for m, gap in gaps.items()}

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Return the joint loss plus the weighted mono-modal ones."""
        total = losses[self._joint].nats
        for m, weight in self.weights.items():
            total = total + weight * losses[self._single[m]].nats
        return Objective(
            total=total,
            weights={self._joint: 1.0, **{self._single[m]: w for m, w in self.weights.items()}},
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the smoothed weights."""
        return {"weights": dict(self.weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the smoothed weights."""
        self.weights = dict(state["weights"])


@hookimpl
def register_losses(register: Register) -> None:
    """Register ``mbp``."""
    register(
        "mbp", MBP, config=MBPOptions, source="Shen et al., Exploring the Role of Audio …, Eq. 2–6"
    )
