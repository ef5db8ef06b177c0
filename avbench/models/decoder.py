"""The caption decoder: causal self-attention, cross-attention to the fused tokens (Sec. 4.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from avbench.core.types import Tokens
from avbench.models.kernels.onednn import linear
from avbench.models.layers import Attention, Norm, feed_forward, initialise, key_mask

KeysValues = tuple[Tensor, Tensor]
"""Projected keys and values, (R, H, K, d) each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """The fused tokens as the decoder reads them: projected once per layer.

    Attributes:
        layers: keys and values of each decoder layer, one row a caption, or one row a clip
            whose beams share it.
        mask: True where a key may be read; None: everywhere.
    """

    layers: tuple[KeysValues, ...]
    mask: Bool[Tensor, "R 1 1 K"] | None


class BeamCache:
    """The cached keys and values of the beams' tokens so far, in every layer.

    Entries stay in place. A new choice of beams reorders only the table of the entries that each
    beam descends from, and attention is masked by it: all beams of a clip read one store, and no
    step copies the earlier ones.

    Args:
        memory: of the clips, one row each.
        length: largest number of tokens of a caption.
        beam: largest number of beams of a clip.

    Attributes:
        steps: tokens so far.
        size: entries so far.
        own: True where an entry belongs to a beam's line.
    """

    own: Bool[Tensor, "B W S"]

    def __init__(self, memory: Memory, *, length: int, beam: int) -> None:
        key = memory.layers[0][0]  # Has the cached keys' type, with or without autocast.
        B, H, _, d = key.shape
        entries = 1 + (length - 1) * beam
        self.steps = self.size = 0
        self.own = torch.zeros(B, 1, entries, dtype=torch.bool, device=key.device)
        self._store = key.new_empty(len(memory.layers), 2, B, H, entries, d)

    def begin(self, beams: int) -> None:
        """Make room for the next token of every beam."""
        self.own[:, :, self.size : self.size + beams] = torch.eye(
            beams, dtype=torch.bool, device=self.own.device
        )
        self.steps += 1
        self.size += beams

    def extend(self, layer: int, key: Float[Tensor, "B H W d"], value: Tensor) -> KeysValues:
        """Store one layer's keys and values of the newest token; return those of all entries."""
        stored = self._store[layer, :, :, :, : self.size]
        stored[0, :, :, -key.shape[2] :] = key
        stored[1, :, :, -key.shape[2] :] = value
        return stored[0], stored[1]

    @property
    def mask(self) -> Bool[Tensor, "B 1 W S"] | None:
        """True where a beam may read an entry; None: a single beam reads all."""
        return None if self.own.shape[1] == 1 else self.own[:, None, :, : self.size]

    def reorder(self, parents: Int[Tensor, "B W"]) -> None:
        """Make the beams continuations of ``parents``."""
        entries = self.own.shape[2]
        self.own = self.own.gather(1, parents[:, :, None].expand(-1, -1, entries))


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
        extend: Callable[[Tensor, Tensor], KeysValues] | None = None,
        own: Bool[Tensor, "R 1 L S"] | None = None,
    ) -> Float[Tensor, "R L D"]:
        """Update x: the positions of a caption, or the beams of a clip at one position.

        Args:
            x: the positions, or the beams.
            memory: this layer's projection of the fused tokens.
            mask: True where a fused token may be read.
            extend: None for positions, which read the earlier ones; for beams, takes their keys
                and values and returns those of all entries so far.
            own: True where a beam may read an entry; None: everywhere.
        """
        pre = self.norm == "pre"
        normed = self.norms[0](x) if pre else x
        key, value = self.self_attention.keys_values(normed)
        if extend is not None:
            key, value = extend(key, value)
        causal = extend is None and bool(x.shape[1] > 1)
        x = x + self.dropout(self.self_attention.attend(normed, key, value, own, causal))
        x = x if pre else self.norms[0](x)
        normed = self.norms[1](x) if pre else x
        x = x + self.dropout(self.cross_attention.attend(normed, *memory, mask))
        x = x if pre else self.norms[1](x)
        x = x + self.feed_forward(self.norms[2](x) if pre else x)
        return x if pre else self.norms[2](x)


class Decoder(nn.Module):
    """Decodes captions from fused tokens; embedding and output projection share their weights.

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

    def project(self, fused: Tokens, rows: Int[Tensor, " R"] | None = None) -> Memory:
        """Project the fused tokens once; ``rows`` maps each caption to the clip that it reads.

        The projection runs over the distinct contexts, so that two captions of one clip (PCC and
        PNC) share it.
        """
        layers = []
        for layer in self._layers():
            key, value = layer.cross_attention.keys_values(fused.values)
            layers.append((key, value) if rows is None else (key[rows], value[rows]))
        mask = key_mask(fused.keep)
        return Memory(
            layers=tuple(layers), mask=mask if mask is None or rows is None else mask[rows]
        )

    def forward(self, ids: Int[Tensor, "R L"], memory: Memory) -> Float[Tensor, "R L V"]:
        """Return logits of the token after each position of whole captions (teacher forcing)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.dropout(self.words(ids) + self.positions(places))
        for layer, kept in zip(self._layers(), memory.layers, strict=True):
            x = layer(x, kept, memory.mask)
        return linear(self.final_norm(x), self.words.weight)

    def step(
        self, ids: Int[Tensor, "B W"], memory: Memory, cache: BeamCache
    ) -> Float[Tensor, "B W V"]:
        """Return logits of the token after the newest one of every beam; ``cache`` stores it.

        The beams of a clip take the axis of a caption's positions in ``forward``, so that they
        read the clip's memory and the cache together.
        """
        cache.begin(ids.shape[1])
        x = self.words(ids) + self.positions.weight[cache.steps - 1]
        own = cache.mask
        for i, layer in enumerate(self._layers()):
            x = layer(x, memory.layers[i], memory.mask, partial(cache.extend, i), own)
        return linear(self.final_norm(x), self.words.weight)
