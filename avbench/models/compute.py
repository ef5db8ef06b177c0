"""Computation of a captioner: device, precision, attention backend and compilation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from avbench.models.captioner import Captioner
from avbench.models.layers import Attention
from avbench.models.settings import ComputeSettings


def place(captioner: Captioner, settings: ComputeSettings, device: torch.device) -> Captioner:
    """Move a captioner to its device; set its precision and attention backend."""
    captioner.precision = settings.precision
    for attention in _attention(captioner):
        attention.backend = settings.attention
    return captioner.to(device)


def compile_parts(parts: Sequence[nn.Module], settings: ComputeSettings) -> None:
    """Have the parts of a captioner compiled at their first call, if the settings ask for it.

    Weights keep their names, and copies of a part are not compiled.
    """
    if settings.compile:
        for part in parts:
            part.compile()


def backends(captioner: Captioner) -> list[str]:
    """Return the attention backends that ran in the last pass, for the record.

    Encoders with an attention of their own, which no setting reaches, are listed with it.
    """
    ran = sorted({a.ran for a in _attention(captioner) if a.ran is not None})
    encoders: Any = captioner.encoders
    own = {m: encoder.own_attention for m, encoder in encoders.items()}
    return [*ran, *(f"{name} ({m})" for m, name in own.items() if name is not None)]


def _attention(captioner: Captioner) -> list[Attention]:
    return [module for module in captioner.modules() if isinstance(module, Attention)]
