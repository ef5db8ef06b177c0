"""A strategy that tells what each of several processes sees: MBP's weights, and the encoders'."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from avbench_plugins.losses.mbp import MBP, MBPOptions
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
class WitnessOptions:
    """Options of the witness."""

    folder: str
    """Where each process writes a line a step, into a file named by its rank."""


class Witness(LossStrategy):
    """MBP, with noise on the encoders' gradients, that keeps a diary.

    Source: none, for tests.
    """

    def __init__(self, options: WitnessOptions, context: LossContext) -> None:
        self._mbp = MBP(MBPOptions(), context)
        self._diary = Path(options.folder) / os.environ.get("RANK", "0")

    def views(self) -> tuple[View, ...]:
        """MBP's."""
        return self._mbp.views()

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:
        """As MBP does."""
        return self._mbp.observe(losses)

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        """As MBP does."""
        return self._mbp.combine(losses)

    def modulate(self, encoders: Mapping[Modality, Sequence[nn.Parameter]]) -> None:
        """Add noise to the gradients, and write down the weights of the losses and encoders."""
        seen = hashlib.sha256()
        for p in (p for parameters in encoders.values() for p in parameters):
            seen.update(p.detach().numpy().tobytes())
            if p.grad is not None:
                p.grad.add_(torch.randn_like(p.grad) * p.grad.std(correction=0))
        weights = {m: w.hex() for m, w in self._mbp.weights.items()}
        with self._diary.open("a") as file:
            file.write(f"{weights} {seen.hexdigest()}\n")

    def state_dict(self) -> dict[str, Any]:
        """MBP's."""
        return self._mbp.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """MBP's."""
        self._mbp.load_state_dict(state)


@hookimpl
def register_losses(register: Register) -> None:
    """Register ``witness``."""
    register("witness", Witness, config=WitnessOptions, source="none, for tests")
