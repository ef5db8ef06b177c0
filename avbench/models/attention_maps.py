"""Attention maps of a fusion, on request: the tokens that each token reads, layer by layer.

A fusion names its ``AttentionSite``s; ``attention_maps`` runs it once and reads them. The maps are
computed beside the forward pass and change no output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from avbench.core.errors import AvbenchError
from avbench.core.types import Modality, Tokens
from avbench.models.layers import Attention

Block = tuple[str, Modality]
"""A section of a sequence: ``("tokens", m)`` for a stream's tokens, and another first word for
tokens that the fusion adds to it, such as the paper's global tokens (Sec. 3.3.3)."""

TOKENS = "tokens"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionSite:
    """One use of attention in a fusion: its place, its queries and its keys."""

    module: Attention
    layer: int
    """From 0."""
    branch: str
    """The branch of Eq. 12, by the fusion's name for it; a fusion may have only one."""
    queries: tuple[Block, ...]
    """The blocks of the query sequence, in order."""
    keys: tuple[Block, ...]
    """The blocks of the key and value sequence, in order."""
    added: int = 0
    """Length of each block of added tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMap:
    """The weights of one site.

    Attributes:
        layer: from 0.
        branch: the fusion's name for it.
        queries: the slice of each block of queries along Q.
        keys: the slice of each block of keys along K.
        weights: each query's sum to one over K, unless it may read no key.
    """

    layer: int
    branch: str
    queries: Mapping[Block, slice]
    keys: Mapping[Block, slice]
    weights: Float[Tensor, "B H Q K"]

    def part(self, query: Block, key: Block) -> Float[Tensor, "B H q k"]:
        """Return the weights of one block's queries on another's keys; rows sum to at most one."""
        return self.weights[:, :, self.queries[query], self.keys[key]]


@runtime_checkable
class Mapped(Protocol):
    """The part of a fusion's interface that maps need."""

    def sites(self) -> Sequence[AttentionSite]:
        """Return its uses of attention, in the order in which they run."""

    def __call__(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse."""


def attention_maps(
    fusion: Mapped, tokens: Mapping[Modality, Tokens]
) -> tuple[Tokens, list[AttentionMap]]:
    """Fuse, and return the attention of every token.

    Args:
        fusion: one that names its sites; in eval mode for maps without dropout.
        tokens: its streams, with position and type embeddings (``Captioner.streams``).

    Returns:
        The fused tokens, equal to ``fusion(tokens)``, and one map per site, in order.

    Raises:
        AvbenchError: the fusion names no sites, or others than ran.
    """
    sites = fusion.sites()
    name = type(fusion).__name__
    if not sites:
        raise AvbenchError(
            f"{name} names no attention sites, so it has no maps; give it a method sites()"
        )
    modules = {id(site.module): site.module for site in sites}
    for module in modules.values():
        module.captured = []
    try:
        fused = fusion(tokens)
    finally:
        captured = {key: module.captured or [] for key, module in modules.items()}
        for module in modules.values():
            module.captured = None
    ran = sum(map(len, captured.values()))
    if ran != len(sites):
        raise AvbenchError(f"{name} names {len(sites)} attention sites, and {ran} ran")
    lengths = {m: t.values.shape[1] for m, t in tokens.items()}
    return fused, [_map(site, captured[id(site.module)].pop(0), lengths, name) for site in sites]


def _map(
    site: AttentionSite, weights: Tensor, lengths: Mapping[Modality, int], name: str
) -> AttentionMap:
    queries, keys = (_slices(blocks, site, lengths) for blocks in (site.queries, site.keys))
    named = tuple(max((s.stop for s in axis.values()), default=0) for axis in (queries, keys))
    if named != tuple(weights.shape[2:]):
        raise AvbenchError(
            f"{name}, layer {site.layer}, {site.branch}: the blocks of its site hold "
            f"{named[0]}×{named[1]} tokens, its map {weights.shape[2]}×{weights.shape[3]}"
        )
    return AttentionMap(
        layer=site.layer, branch=site.branch, queries=queries, keys=keys, weights=weights
    )


def _slices(
    blocks: Sequence[Block], site: AttentionSite, lengths: Mapping[Modality, int]
) -> dict[Block, slice]:
    found, start = {}, 0
    for kind, modality in blocks:
        stop = start + (lengths[modality] if kind == TOKENS else site.added)
        found[kind, modality] = slice(start, stop)
        start = stop
    return found


__all__ = ["AttentionMap", "AttentionSite", "Block", "attention_maps"]
