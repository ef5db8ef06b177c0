"""The caption decoder: causal self-attention, cross-attention to the fused tokens (Sec. 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avbench.layers import Attention, Norm, feed_forward, initialise, key_mask
from avbench.types import Tokens

KeysValues = tuple[Tensor, Tensor]
"""Projected keys and values, (R, H, K, d) each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The fused tokens as the decoder reads them: projected once per layer.

    Attributes:
        layers: keys and values of each decoder layer, one row a caption.
        mask: True where a key may be read; None: everywhere.
    """

    layers: tuple[KeysValues, ...]
    mask: Bool[Tensor, "R 1 1 K"] | None


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention and feed-forward block, with residuals."""

    def __init__(self, D: int, heads: int, *, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm: Norm = norm
        self.self_attention = Attention(D, heads, dropout=dropout)
        self.cross_attention = Attention(D, heads, dropout=dropout)
        self.feed_forward = feed_forward(D, dropout=dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "R L D"],
        memory: KeysValues,
        mask: Bool[Tensor, "R 1 1 K"] | None,
        past: KeysValues | None,
    ) -> tuple[Float[Tensor, "R L D"], KeysValues]:
        """Update x; returns it with the keys and values of all positions so far.

        Args:
            x: the new positions; with ``past`` exactly one, without it a whole prefix.
            memory: this layer's projection of the fused tokens.
            mask: True where a fused token may be read.
            past: keys and values of the earlier positions.
        """
        pre = self.norm == "pre"
        normed = self.norms[0](x) if pre else x
        key, value = self.self_attention.keys_values(normed)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        x = x + self.dropout(
            self.self_attention.attend(
                normed, key, value, causal=past is None and bool(x.shape[1] > 1)
            )
        )
        x = x if pre else self.norms[0](x)
        normed = self.norms[1](x) if pre else x
        x = x + self.dropout(self.cross_attention.attend(normed, *memory, mask))
        x = x if pre else self.norms[1](x)
        x = x + self.feed_forward(self.norms[2](x) if pre else x)
        return x if pre else self.norms[2](x), (key, value)


class Decoder(nn.Module):
    """Captions from fused tokens; word embedding and output projection share their weights.

    Args:
        D: model width.
        heads: attention heads.
        layers: number of layers (paper: 3).
        vocabulary: V, rows of the embedding.
        length: L, longest caption in tokens.
        dropout: on attention weights, residual branches and embeddings.
        norm: ``pre`` or ``post``.
    """

    def __init__(
        self,
        D: int,
        heads: int,
        *,
        layers: int,
        vocabulary: int,
        length: int,
        dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, D)
        self.positions = nn.Embedding(length, D)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(D, heads, dropout=dropout, norm=norm) for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(D) if norm == "pre" else nn.Identity()
        self.apply(initialise)

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def remember(self, fused: Tokens, rows: Int[Tensor, " R"] | None = None) -> Memory:
        """Project the fused tokens once; ``rows`` says which of them each caption reads.

        The projection runs over the distinct contexts, so that two captions of one clip (PCC and
        PNC) or five beams share it.
        """
        layers = []
        for layer in self._layers():
            key, value = layer.cross_attention.keys_values(fused.values)
            layers.append((key, value) if rows is None else (key[rows], value[rows]))
        mask = key_mask(fused.keep)
        return Memory(
            layers=tuple(layers), mask=mask if mask is None or rows is None else mask[rows]
        )

    def forward(
        self,
        ids: Int[Tensor, "R L"],
        memory: Memory,
        past: Sequence[KeysValues] | None = None,
    ) -> tuple[Float[Tensor, "R L V"], list[KeysValues]]:
        """Logits of the token after each position, and the keys and values so far."""
        seen = 0 if past is None else past[0][0].shape[2]
        places = torch.arange(seen, seen + ids.shape[1], device=ids.device)
        x = self.dropout(self.words(ids) + self.positions(places))
        present = []
        for i, layer in enumerate(self._layers()):
            x, kept = layer(x, memory.layers[i], memory.mask, None if past is None else past[i])
            present.append(kept)
        x = self.final_norm(x)
        return torch.nn.functional.linear(x, self.words.weight), present
