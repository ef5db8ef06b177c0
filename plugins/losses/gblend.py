"""Gradient Blending."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from avbench.api import (
    LossContext,
    LossStrategy,
    Number,
    Objective,
    Probe,
    ProbeCurve,
    Register,
    View,
    ViewLoss,
    hookimpl,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GBlendOptions:
    """Options of G-Blend."""

    mode: Literal["online", "offline"] = "online"
    """Re-estimate the weights at every super-epoch, or once from the initial model."""
    first: Annotated[
        float, Number(unit="share", above=0, most=1, source="Wang et al., CVPR 2020")
    ] = 0.1
    """Length of the first super-epoch, as a share of the run (theirs: 10 of 45–100 epochs)."""
    then: Annotated[
        float, Number(unit="share", above=0, most=1, source="Wang et al., CVPR 2020")
    ] = 0.05
    """Length of the later super-epochs, as a share of the run (theirs: 5 epochs)."""
    offline_length: Annotated[float, Number(unit="share", above=0, most=1)] = 1.0
    """Length of the offline probe, as a share of the run."""
    held_out: Annotated[float, Number(unit="share", above=0, below=1)] = 0.08
    """Share of the training videos kept out of training for L^V; never validation or test."""
    floor: Annotated[float, Number(unit="share", above=0, most=1)] = 0.01
    """Least value of O as a share of L^V_N, so that weights stay finite as O vanishes."""
    normalise: Literal["sum", "joint"] = "sum"
    """Weights sum to one, or the joint head's weight is one."""


def overfitting_to_generalisation(curve: ProbeCurve, floor: float) -> tuple[float, float, float]:
    """Return G, O and the unnormalised weight G/O² of one head.

    Args:
        curve: L^T and L^V before and after the probe, nats per token.
        floor: see ``GBlendOptions.floor``.

    Returns:
        ``G = L^V_N − L^V_{N+n}``, ``O = O_{N+n} − O_N`` with ``O_N = L^V_N − L^T_N``, and
        ``max(G, 0) / max(O², (floor·L^V_N)²)``.
    """
    gain = curve.held_before - curve.held_after
    overfitting = (curve.held_after - curve.train_after) - (curve.held_before - curve.train_before)
    squared = max(overfitting**2, (floor * curve.held_before) ** 2)
    return gain, overfitting, max(gain, 0.0) / squared


class GBlend(LossStrategy):
    """Gradient Blending: heads weighted by generalisation over squared overfitting.

    ``total = Σ_i w_i·L_i`` over every modality and the joint head, with
    ``w_i = (G_i / O_i²) / Σ_j (G_j / O_j²)``. Each head is probed by training a copy of the model
    on its loss alone, for a super-epoch.

    How this differs from its paper:

    - Heads are the shared decoder with the other modalities zeroed, not classifiers of their own.
    - Super-epochs are shares of a run (``first``, ``then``), not 10 and 5 epochs, so that a short
      run re-estimates too. Until the first estimate, at the first step, weights are uniform.
    - L^T and L^V are measured without dropout on fixed slices, of at most four batches, of the
      training clips and of those held out, not on all of them.
    - Probes take the run's learning rates for these steps, with a fresh optimiser; the offline
      probe goes through the run's schedule from its start.
    - O² is floored (``floor``), and G below 0 counts as 0. If no head gains, the previous weights
      stay. Every raw G and O is logged.

    Source: What Makes Training Multi-Modal Classification Networks Hard? (Wang, Tran, Feiszli,
    CVPR 2020), https://arxiv.org/abs/1905.12681
    """

    def __init__(self, options: GBlendOptions, context: LossContext) -> None:
        self._options = options
        joint: View = frozenset(context.streams)
        single = [frozenset({m}) for m in context.streams] if len(context.streams) > 1 else []
        self._views: tuple[View, ...] = (joint, *single)
        self.held_out = options.held_out if single else 0.0
        self.weights = {view: 1 / len(self._views) for view in self._views}
        self._normalise()

    def views(self) -> tuple[View, ...]:
        """Return the joint view, then each modality alone."""
        return self._views

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """Return the weighted sum of the losses."""
        terms = [weight * losses[view].nats for view, weight in self.weights.items()]
        return Objective(total=sum(terms[1:], start=terms[0]), weights=dict(self.weights))

    def probe_at(self, steps: int) -> Mapping[int, int]:
        """Return the super-epochs of a run: first step to length, at least one step each."""
        if len(self._views) == 1:
            return {}
        if self._options.mode == "offline":
            return {0: max(1, round(self._options.offline_length * steps))}
        schedule, start = {}, 0
        length = max(1, math.ceil(self._options.first * steps))
        while start < steps:
            schedule[start] = min(length, steps - start)
            start += length
            length = max(1, math.ceil(self._options.then * steps))
        return schedule

    def reestimate(self, probe: Probe, steps: int) -> Mapping[str, float]:
        """Probe every head and set the weights; return every raw G and O for the log."""
        log: dict[str, float] = {}
        raw: dict[View, float] = {}
        for view in self._views:
            gain, overfitting, raw[view] = overfitting_to_generalisation(
                probe(view, steps), self._options.floor
            )
            head = "+".join(sorted(view))
            log |= {f"G_{head}": gain, f"O_{head}": overfitting}
        if sum(raw.values()) > 0:
            self.weights = raw
            self._normalise()
        return log

    def state_dict(self) -> dict[str, Any]:
        """Return the weights of the heads, in the order of the views."""
        return {"weights": [self.weights[view] for view in self._views]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the weights."""
        self.weights = dict(zip(self._views, state["weights"], strict=True))

    def _normalise(self) -> None:
        joint = self.weights[self._views[0]]
        total = sum(self.weights.values())
        scale = joint if self._options.normalise == "joint" and joint > 0 else total
        self.weights = {view: weight / scale for view, weight in self.weights.items()}


@hookimpl
def register_losses(register: Register) -> None:
    """Register ``gblend``."""
    register(
        "gblend", GBlend, config=GBlendOptions, source="Wang et al., CVPR 2020, arXiv:1905.12681"
    )
