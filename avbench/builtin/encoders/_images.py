"""Conversion of decoded frames to the network's input, on the device."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's mean and standard deviation per channel, of values from 0 to 1."""


class Normalise(nn.Module):
    """Converts uint8 frames to standardised floats; the constants are in no state dict."""

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        scale = 1 / (255 * torch.tensor(std))
        self.register_buffer("scale", scale.view(3, 1, 1), persistent=False)
        shift = -torch.tensor(mean) / torch.tensor(std)
        self.register_buffer("shift", shift.view(3, 1, 1), persistent=False)

    def forward(self, frames: UInt8[Tensor, "B T 3 H W"]) -> Float[Tensor, "B T 3 H W"]:
        """Return (frames / 255 − mean) / std."""
        scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
        return torch.addcmul(shift, frames.to(scale.dtype), scale)
