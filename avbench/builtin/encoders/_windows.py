"""Order of a map's tokens with contiguous windows, and the masks of shifted windows.

Both depend on the geometry alone and are computed once for each size of a map.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

Triple = tuple[int, int, int]
"""Frames, rows and columns."""

MASKED = -100.0
"""Added to the score of tokens that the cyclic shift alone makes neighbours, as the authors do."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """A map in window order: windows in sequence, tokens in raster order within each.

    The map is padded at its ends to whole windows, then shifted cyclically, then cut. The order
    leaves padding out; ``slots`` puts it back if windows must be whole.
    """

    window: Triple
    """The window, fitted to the map: no axis is longer than the map's."""
    windows: int
    """Windows of a map."""
    source: Int[Tensor, " tokens"]
    """The raster position of each token of the order."""
    place: Int[Tensor, " tokens"]
    """The place in the order of each token of the raster."""
    slots: Int[Tensor, " slots"] | None
    """The place in the order of each token of whole windows, -1: padding. None: no padding."""
    masks: Float[Tensor, "patterns N N"]
    """The different masks that windows have."""
    pattern: tuple[int, ...]
    """Index into ``masks`` of each window's mask; -1: none."""


@lru_cache(maxsize=256)
def order(size: Triple, window: Triple, shift: Triple) -> Order:
    """Return the window order of a map; an axis that one window covers is not cut or shifted.

    Args:
        size: size of the map.
        window: the window of the options, at least 1.
        shift: shift of the windows along each axis, tokens, less than the window.
    """
    shift = _triple(0 if n <= w else s for n, w, s in zip(size, window, shift, strict=True))
    window = _triple(min(n, w) for n, w in zip(size, window, strict=True))
    padded = _triple(math.ceil(n / w) * w for n, w in zip(size, window, strict=True))
    raster = torch.full(padded, -1)
    raster[: size[0], : size[1], : size[2]] = torch.arange(math.prod(size)).view(size)
    slots = _cut(raster.roll([-s for s in shift], (0, 1, 2)), window).flatten()
    real = slots >= 0
    source = slots[real]
    masks, pattern = _masks(padded, window, shift)
    return Order(
        window=window,
        windows=len(pattern),
        source=source,
        place=source.argsort(),
        slots=None if bool(real.all()) else torch.where(real, real.cumsum(0) - 1, -1),
        masks=masks,
        pattern=pattern,
    )


def merged(size: Triple) -> tuple[Triple, Int[Tensor, "tokens 4"]]:
    """Return the gather of patch merging.

    Returns:
        The merged map's size; and for each of its tokens the raster positions of its upper left,
        lower left, upper right and lower right source, -1: padding.
    """
    t, h, w = size
    padded = torch.full((t, h + h % 2, w + w % 2), -1)
    padded[:, :h, :w] = torch.arange(math.prod(size)).view(size)
    corners = [padded[:, y::2, x::2].flatten() for x, y in ((0, 0), (0, 1), (1, 0), (1, 1))]
    return (t, math.ceil(h / 2), math.ceil(w / 2)), torch.stack(corners, 1)


def relative_positions(window: Triple) -> Int[Tensor, "N N"]:
    """Return the row of the bias table for each pair of a window's tokens (query, key).

    A table has a row for each difference of positions, the first axis slowest.
    """
    axes = torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")
    index = torch.zeros(1, 1, dtype=torch.long)
    for n, axis in zip(window, axes, strict=True):
        at = axis.flatten()
        index = index * (2 * n - 1) + at[:, None] - at[None, :] + n - 1
    return index


def table_rows(window: Triple) -> int:
    """Return the number of rows of a bias table: differences of positions."""
    return math.prod(2 * n - 1 for n in window)


def _triple(values: Iterable[int]) -> Triple:
    first, second, third = values
    return first, second, third


def _cut(padded: Tensor, window: Triple) -> Tensor:
    """Cut a map into (windows, tokens of a window)."""
    split = [k for n, w in zip(padded.shape, window, strict=True) for k in (n // w, w)]
    return padded.reshape(split).permute(0, 2, 4, 1, 3, 5).reshape(-1, math.prod(window))


def _masks(padded: Triple, window: Triple, shift: Triple) -> tuple[Tensor, tuple[int, ...]]:
    """Return the different masks, and the index of each window's mask."""
    if not any(shift):
        return torch.zeros(0, 1, 1), (-1,) * (math.prod(padded) // math.prod(window))
    regions = torch.zeros(padded, dtype=torch.long)
    ends = [
        ((0, n - w), (n - w, n - s), (n - s, n))
        for n, w, s in zip(padded, window, shift, strict=True)
    ]
    for region, (t, h, w) in enumerate(itertools.product(*ends)):
        regions[slice(*t), slice(*h), slice(*w)] = region
    cut = _cut(regions, window)
    apart = cut[:, :, None] != cut[:, None, :]
    seen: dict[bytes, int] = {}
    kept: list[Tensor] = []
    pattern: list[int] = []
    for mask in apart:
        if not bool(mask.any()):
            pattern.append(-1)
            continue
        key = mask.numpy().tobytes()
        if key not in seen:
            seen[key] = len(kept)
            kept.append(MASKED * mask.float())
        pattern.append(seen[key])
    return (torch.stack(kept) if kept else torch.zeros(0, 1, 1)), tuple(pattern)


__all__ = ["Order", "Triple", "merged", "order", "relative_positions", "table_rows"]
