"""OGM-GE as a plugin: it weights no losses, it changes the encoders' gradients.

Beyond the paper, and no part of avbench: it shows that the contract of a loss strategy suffices
for a method of another kind.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from avbench.api import (
    LossContext,
    LossStrategy,
    Modality,
    Objective,
    Register,
    View,
    ViewLoss,
    hookimpl,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OGMGEOptions:
    """Options of OGM-GE."""

    alpha: float = 0.5
    """How sharply the stronger modality is held back (theirs: 0.1 to 0.8)."""
    noise: bool = True
    """Whether generalisation is enhanced by noise of the gradient's own spread."""


class OGMGE(LossStrategy):
    """On-the-fly gradient modulation with generalisation enhancement.

    ``s_m``: mean teacher-forced probability of the target tokens with the other modality zeroed;
    ``ρ_v = s_v / s_a``; ``k_m = 1 − tanh(α·ρ_m)`` where ``ρ_m > 1``, else 1. Gradients of encoder
    tensors of two or more dimensions become ``k_m·g + N(0, std(g)²)``.

    Source: Balanced Multimodal Learning via On-the-fly Gradient Modulation (Peng et al., CVPR
    2022), https://arxiv.org/abs/2203.15332
    """

    def __init__(self, options: OGMGEOptions, context: LossContext) -> None:
        self.options = options
        self.joint: View = frozenset(context.streams)
        pair = context.streams if len(context.streams) == 2 else ()
        self.single: dict[Modality, View] = {m: frozenset({m}) for m in pair}
        self.factors: dict[Modality, float] = dict.fromkeys(pair, 1.0)

    def views(self) -> tuple[View, ...]:
        """The joint view, and each of two modalities alone."""
        return (self.joint, *self.single.values())

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:
        """Compare what each modality can do by itself."""
        score = {m: losses[v].token_probability.item() for m, v in self.single.items()}
        for m in score:
            (other,) = score.keys() - {m}
            ratio = score[m] / score[other]
            self.factors[m] = 1 - math.tanh(self.options.alpha * ratio) if ratio > 1 else 1.0
        return {f"k_{m}": k for m, k in self.factors.items()}

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """The joint loss; the others are only looked at."""
        return Objective(total=losses[self.joint].nats, weights={self.joint: 1.0})

    def modulate(self, encoders: Mapping[Modality, Sequence[nn.Parameter]]) -> None:
        """Hold the stronger modality's encoder back."""
        for m, factor in self.factors.items():
            for p in encoders[m] if factor < 1 else ():
                if p.grad is not None and p.dim() > 1:
                    spread = p.grad.std() if self.options.noise else 0.0
                    p.grad.mul_(factor).add_(torch.randn_like(p.grad) * spread)

    def state_dict(self) -> dict[str, dict[str, float]]:
        """The factors."""
        return {"factors": dict(self.factors)}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Restore the factors."""
        self.factors = dict(state["factors"])


@hookimpl
def register_losses(register: Register) -> None:
    """Register ``ogm_ge``."""
    register("ogm_ge", OGMGE, config=OGMGEOptions, source="Peng et al., CVPR 2022")
