"""Transformer building blocks shared by encoders, fusions and the decoder.

Equations 7 and 8 of the paper do not place normalisation and residuals. Ours are pre-norm with
residuals (``norm="pre"``); ``norm="post"`` is the order of the original Transformer. Linear and
embedding weights start from N(0, 0.02), biases from zero (BERT).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avbench.core.types import Tokens
from avbench.models.kernels.attention import Backend, attend, attention_weights
from avbench.models.kernels.onednn import linear

Norm = Literal["pre", "post"]


def initialise(module: nn.Module) -> None:
    """Initialise as BERT does, for ``module.apply``: N(0, 0.02), biases zero."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Linear(nn.Linear):
    """A linear layer whose products are those of the faster library (``kernels.onednn``)."""

    def forward(self, x: Float[Tensor, "*rows K"]) -> Float[Tensor, "*rows N"]:
        """Return x·weightᵀ + bias."""
        return linear(x, self.weight, self.bias)


def join(streams: Sequence[Tokens]) -> Tokens:
    """Concatenate streams along their tokens, [φᵃ; φᵛ; …]."""
    values = torch.cat([s.values for s in streams], dim=1)
    if all(s.keep is None for s in streams):
        return Tokens(values=values)
    keep = [
        s.values.new_ones(s.values.shape[:2], dtype=torch.bool) if s.keep is None else s.keep
        for s in streams
    ]
    return Tokens(values=values, keep=torch.cat(keep, dim=1))


def key_mask(keep: Bool[Tensor, "B N"] | None) -> Bool[Tensor, "B 1 1 N"] | None:
    """Return the attention mask that hides padded keys from every query and head."""
    return None if keep is None else keep[:, None, None, :]


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Eq. 7).

    Args:
        D: width of queries, keys and values.
        heads: number of heads; must divide D.
        dropout: probability of dropping an attention weight in training.

    Attributes:
        backend: the implementation; the host sets it (``avbench.models.kernels.attention``).
        ran: the backend of the last call.
        captured: None, or a list to which every call adds its weights
            (``avbench.models.attention_maps``).

    Raises:
        ValueError: heads do not divide D.
    """

    backend: Backend = "auto"
    ran: str | None = None
    captured: list[Tensor] | None = None

    def __init__(self, D: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if D % heads:
            raise ValueError(f"heads must divide D, got D={D} and heads={heads}")
        self.heads = heads
        self.dropout = dropout
        self.query = Linear(D, D)
        self.key_value = Linear(D, 2 * D)
        self.out = Linear(D, D)

    def split(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B H N d"]:
        """Split the width into heads."""
        B, N, D = x.shape
        return x.view(B, N, self.heads, D // self.heads).transpose(1, 2)

    def keys_values(
        self, context: Float[Tensor, "B K D"]
    ) -> tuple[Float[Tensor, "B H K d"], Float[Tensor, "B H K d"]]:
        """Project a context once, so that decoding can keep the result."""
        key, value = self.key_value(context).chunk(2, dim=-1)
        return self.split(key), self.split(value)

    def attend(
        self,
        x: Float[Tensor, "B Q D"],
        key: Float[Tensor, "B H K d"],
        value: Float[Tensor, "B H K d"],
        mask: Bool[Tensor, "B 1 #Q K"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B Q D"]:
        """Attend from x to projected keys and values; ``mask`` is True where allowed."""
        query = self.split(self.query(x))
        if self.captured is not None:
            weights = attention_weights(query, key, mask=mask, causal=causal)
            self.captured.append(weights.detach())
        attended, self.ran = attend(
            query,
            key,
            value,
            mask=mask,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend,
        )
        merged: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return merged

    def forward(
        self,
        x: Float[Tensor, "B Q D"],
        context: Float[Tensor, "B K D"],
        keep: Bool[Tensor, "B K"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B Q D"]:
        """Return Att(Q=x, K=V=context); padded keys are not read."""
        return self.attend(x, *self.keys_values(context), key_mask(keep), causal)


def feed_forward(D: int, *, ratio: int = 4, dropout: float = 0.0) -> nn.Sequential:
    """Make the feed-forward block: D → ratio·D → D with GELU."""
    return nn.Sequential(
        Linear(D, ratio * D), nn.GELU(), Linear(ratio * D, D), nn.Dropout(dropout)
    )


class TransformerLayer(nn.Module):
    """Transformer(X, Y) = FFB(MHA(X, Y, Y)) (Eq. 8), with residuals and normalisation.

    Queries and context pass through the same first normalisation, so that Transformer(X, X) is
    ordinary self-attention.

    Args:
        D: model width.
        heads: attention heads.
        dropout: on attention weights and on both residual branches.
        norm: ``pre`` or ``post``.
        ratio: width of the feed-forward block over D.

    Source: Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    """

    def __init__(
        self, D: int, heads: int, *, dropout: float = 0.0, norm: Norm = "pre", ratio: int = 4
    ) -> None:
        super().__init__()
        self.norm: Norm = norm
        self.attention = Attention(D, heads, dropout=dropout)
        self.feed_forward = feed_forward(D, ratio=ratio, dropout=dropout)
        self.norm_attention = nn.LayerNorm(D)
        self.norm_feed_forward = nn.LayerNorm(D)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B Q D"],
        context: Float[Tensor, "B K D"],
        keep: Bool[Tensor, "B K"] | None = None,
    ) -> Float[Tensor, "B Q D"]:
        """Update x from the context; ``keep`` is False for the context's padding."""
        if self.norm == "pre":
            normed = self.norm_attention(x)
            context = normed if context is x else self.norm_attention(context)
            x = x + self.dropout(self.attention(normed, context, keep))
            updated: Tensor = x + self.feed_forward(self.norm_feed_forward(x))
            return updated
        x = self.norm_attention(x + self.dropout(self.attention(x, context, keep)))
        normed_output: Tensor = self.norm_feed_forward(x + self.feed_forward(x))
        return normed_output
