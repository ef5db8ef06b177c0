"""Attention rollout of a fusion: the input tokens that each output token draws on.

A layer mixes the tokens by 0.5·A + 0.5·I, where A is the mean attention of its heads and I stands
for the residual connection; rows are normalised to one. The product over the layers is the
rollout. Tokens that a fusion adds, such as the paper's global tokens, are part of the graph:
between the streams of a global branch they are the only path, which takes two layers.

A branch alone keeps what it does not update as it is. Together, a block that several branches
update gets their mean (Eq. 12).

Source: Quantifying Attention Flow in Transformers (Abnar and Zuidema, 2020),
https://arxiv.org/abs/2005.00928. The graph over several blocks and branches is ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from avbench.core.types import Modality, Tokens
from avbench.models.attention_maps import TOKENS, AttentionMap, Block, Mapped, attention_maps


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """The rolled-out attention of output tokens over input tokens.

    Attributes:
        blocks: the slice of each block along either axis: streams first, then added tokens.
        weights: rows are output tokens and sum to one. Rows and columns of padding are zero.
    """

    blocks: Mapping[Block, slice]
    weights: Float64[Tensor, "B N N"]

    def part(self, query: Block, key: Block) -> Float64[Tensor, "B q k"]:
        """Return the weights of one block's output tokens on another's input tokens."""
        return self.weights[:, self.blocks[query], self.blocks[key]]

    def between(self, query: Modality, key: Modality) -> Float64[Tensor, "B q k"]:
        """Return the weights of one stream's output tokens on another's input tokens."""
        return self.part((TOKENS, query), (TOKENS, key))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollouts:
    """The rollouts of a fusion."""

    together: Rollout
    """Over all branches."""
    branches: Mapping[str, Rollout]
    """Over each branch alone, by the fusion's name for it."""


def rollouts(fusion: Mapped, tokens: Mapping[Modality, Tokens]) -> Rollouts:
    """Roll out the attention of a fusion.

    Args:
        fusion: one that names its attention sites; in eval mode.
        tokens: its streams, with position and type embeddings (``Captioner.streams``).

    Raises:
        AvbenchError: the fusion names no sites, or others than ran.
    """
    _, maps = attention_maps(fusion, tokens)
    blocks = _blocks(tokens, maps)
    real = _real(tokens, blocks)
    names = dict.fromkeys(map_.branch for map_ in maps)
    return Rollouts(
        together=_rolled(maps, blocks, real),
        branches={
            name: _rolled([map_ for map_ in maps if map_.branch == name], blocks, real)
            for name in names
        },
    )


def _blocks(tokens: Mapping[Modality, Tokens], maps: Sequence[AttentionMap]) -> dict[Block, slice]:
    """Return the place of every block in the joint sequence."""
    lengths: dict[Block, int] = {(TOKENS, m): t.values.shape[1] for m, t in tokens.items()}
    for map_ in maps:
        for part in (map_.queries, map_.keys):
            lengths |= {block: at.stop - at.start for block, at in part.items()}
    placed, start = {}, 0
    for block, length in lengths.items():
        placed[block] = slice(start, start + length)
        start += length
    return placed


def _real(tokens: Mapping[Modality, Tokens], blocks: Mapping[Block, slice]) -> Bool[Tensor, "B N"]:
    """Return True for every token of the joint sequence that is no padding."""
    example = next(iter(tokens.values())).values
    size = max(at.stop for at in blocks.values())
    real = torch.ones(example.shape[0], size, dtype=torch.bool, device=example.device)
    for m, stream in tokens.items():
        if stream.keep is not None:
            real[:, blocks[TOKENS, m]] = stream.keep
    return real


def _rolled(
    maps: Sequence[AttentionMap], blocks: Mapping[Block, slice], real: Bool[Tensor, "B N"]
) -> Rollout:
    """Return the product of the layers' mixtures, the last layer's first."""
    B, N = real.shape
    identity = torch.eye(N, dtype=torch.float64, device=real.device)
    rolled = identity.expand(B, N, N)
    for layer in sorted({map_.layer for map_ in maps}):
        mixed = identity.repeat(B, 1, 1)
        of_layer = [map_ for map_ in maps if map_.layer == layer]
        for block in dict.fromkeys(block for map_ in of_layer for block in map_.queries):
            updates = [
                _mixture(m, block, blocks, identity) for m in of_layer if block in m.queries
            ]
            mixed[:, blocks[block]] = torch.stack(updates).mean(0)
        rolled = mixed @ rolled
    return Rollout(blocks=blocks, weights=rolled * real[:, :, None] * real[:, None, :])


def _mixture(
    map_: AttentionMap, query: Block, blocks: Mapping[Block, slice], identity: Tensor
) -> Float64[Tensor, "B q N"]:
    """Return a block's rows of 0.5·A + 0.5·I at one site, normalised.

    A query that may read no key keeps itself alone.
    """
    heads = map_.weights[:, :, map_.queries[query]].to(identity).mean(1)
    attention = heads.new_zeros(*heads.shape[:2], identity.shape[0])
    for key, at in map_.keys.items():
        attention[..., blocks[key]] = heads[..., at]
    mixture = 0.5 * attention + 0.5 * identity[blocks[query]]
    return mixture / mixture.sum(-1, keepdim=True)


__all__ = ["Rollout", "Rollouts", "rollouts"]
