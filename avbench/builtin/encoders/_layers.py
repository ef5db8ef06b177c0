"""Layers that compute in their input's type and keep their weights' type; a Transformer's MACs."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.api import linear, packed, portable, transformer_layer_macs


def heads_fault(width: int, heads: int) -> str | None:
    """Return why attention of a width cannot have so many heads, or None."""
    return f"heads must divide width, got {heads} and {width}" if width % heads else None


class Linear(nn.Linear):
    """A linear layer in the type of its input.

    Without gradients it keeps a copy of the weights in that type, until ``train()`` or ``eval()``
    is called, or an operator that autograd tracks (not one on ``.data``) changes the weights.
    """

    _cast: "CastWeights | None" = None

    def forward(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """See ``avbench.models.kernels.onednn.linear``."""
        if x.dtype == self.weight.dtype:
            return linear(x, self.weight, self.bias, gelu=gelu, add=add)
        if torch.is_grad_enabled() or portable(x):
            return linear(x, *cast(self, x.dtype), gelu=gelu, add=add)
        if self._cast is None or not self._cast.match(self, x.dtype):
            self._cast = CastWeights(self, x.dtype)
        return linear(x, *self._cast.tensors, gelu=gelu, add=add)

    def train(self, mode: bool = True) -> "Linear":
        """Set the mode, and drop the copy."""
        self._cast = None
        return super().train(mode)


def cast(layer: nn.Linear | nn.Conv3d, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Return weights as a matrix, and bias, in a type."""
    bias = layer.bias
    return layer.weight.flatten(1).to(dtype), None if bias is None else bias.to(dtype)


class CastWeights:
    """A layer's weights in another type, ready to multiply; copies and pickles leave them out."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        weight, bias = cast(layer, dtype)
        self.tensors = packed(weight), bias
        self.key = _key(layer, dtype)

    def match(self, layer: nn.Linear, dtype: torch.dtype) -> bool:
        """Return True if the layer has not changed since."""
        return self.key == _key(layer, dtype)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(None), ()


def _key(layer: nn.Linear, dtype: torch.dtype) -> tuple[object, ...]:
    given = [p for p in (layer.weight, layer.bias) if p is not None]
    return dtype, *((p.data_ptr(), 0 if p.is_inference() else p._version) for p in given)


class LayerNorm(nn.LayerNorm):
    """LayerNorm in any floating type; on the CPU it uses its own weights unchanged."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        weight: Tensor = self.weight
        bias: Tensor = self.bias
        if x.device.type != "cpu":
            weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        return functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


def transformer_encoder_macs(
    D: int,
    tokens: int,
    *,
    layers: int,
    inputs: int = 0,
    out: int | None = None,
    out_tokens: int | None = None,
    ratio: int = 4,
) -> int:
    """Return the MACs of a Transformer over one stream: the audio Transformer, BERT.

    Args:
        D: width of its layers.
        tokens: tokens in its layers.
        layers: their number.
        inputs: numbers in an input patch, which a linear layer maps to D; 0: an embedding.
        out: width that a last layer maps its tokens to; None or D: no such layer.
        out_tokens: tokens after pooling; None: as many as in the layers.
        ratio: width of the feed-forward block over D.
    """
    embedded = tokens * inputs * D
    projected = 0 if out in (None, D) else (out_tokens or tokens) * D * (out or 0)
    return embedded + layers * transformer_layer_macs(D, tokens, tokens, ratio=ratio) + projected


__all__ = ["LayerNorm", "Linear", "cast", "transformer_encoder_macs"]
