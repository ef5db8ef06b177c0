"""Gathers between the window orders of a network, on the device of its weights."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ._attention import Masks
from ._bias import RelativePositions
from ._windows import Order, Triple, merged, order


class Gather(nn.Module):
    """Reorders tokens; each token of the source is used at most once.

    Args:
        index: the source of each token; -1: none, the token is zero.
        sources: tokens of the source.
    """

    def __init__(self, index: Int[Tensor, " tokens"], sources: int) -> None:
        super().__init__()
        inverse = torch.full((sources,), -1)
        inverse[index[index >= 0]] = torch.arange(len(index))[index >= 0]
        for name, to in (("index", index), ("inverse", inverse)):
            kept = None if bool((to >= 0).all()) else (to >= 0)[:, None]
            self.register_buffer(name, to.clamp(min=0), persistent=False)
            self.register_buffer(f"{name}_kept", kept, persistent=False)

    def forward(self, x: Float[Tensor, "B sources C"]) -> Float[Tensor, "B tokens C"]:
        """Gather."""
        forth, back = (self.index, self.index_kept), (self.inverse, self.inverse_kept)
        if torch.is_grad_enabled() and x.requires_grad:
            y: Tensor = _Gather.apply(x, *forth, *back)
            return y
        return _take(x, *forth)


def _take(x: Tensor, index: Any, kept: Any) -> Tensor:
    y = x.index_select(1, index)
    return y if kept is None else y * kept.to(y.dtype)


class _Gather(torch.autograd.Function):
    """A gather whose backward pass is a gather too, not a sum over an index."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, index: Tensor, kept: Any, inverse: Tensor, inverse_kept: Any
    ) -> Tensor:
        ctx.save_for_backward(inverse, inverse_kept)
        return _take(x, index, kept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _take(grad, *ctx.saved_tensors), None, None, None, None


class Windows(nn.Module):
    """A window order on the module's device."""

    def __init__(self, given: Order) -> None:
        super().__init__()
        self.windows = given.windows
        self.pattern = given.pattern
        self.register_buffer("masks", given.masks, persistent=False)
        self.pad = self.cut = None
        if given.slots is not None:
            self.pad = Gather(given.slots, len(given.source))
            whole = torch.arange(len(given.slots))[given.slots >= 0]
            self.cut = Gather(whole, len(given.slots))

    def of(self, dtype: torch.dtype) -> Masks:
        """Return the masks in a type."""
        return Masks(values=self.get_buffer("masks").to(dtype), pattern=self.pattern)


class StageGeometry(nn.Module):
    """The window orders of a stage's blocks, and the gathers into it and between them.

    Args:
        even: order of the first, third … block.
        odd: order of the other blocks; the same object if nothing is shifted.
        sources: source tokens of each token of the map, (tokens, k); -1: padding.
        window: the window of the options.
    """

    def __init__(
        self, even: Order, odd: Order, *, sources: Int[Tensor, "tokens k"], window: Triple
    ) -> None:
        super().__init__()
        self.parts = sources.shape[1]
        self.enter = Gather(sources[even.source].flatten(), int(sources.max()) + 1)
        self.orders = nn.ModuleList([Windows(even)])
        self.between: nn.ModuleList | None = None
        if odd is not even:
            self.orders.append(Windows(odd))
            n = len(even.source)
            back, forth = odd.place[even.source], even.place[odd.source]
            self.between = nn.ModuleList([Gather(back, n), Gather(forth, n)])
        self.positions = RelativePositions(window, math.prod(even.window))

    def together(self, x: Float[Tensor, "B sources C"]) -> Float[Tensor, "B tokens k_C"]:
        """Concatenate the sources of each token, in the order of the first block."""
        y: Tensor = self.enter(x)
        return torch.unflatten(y, 1, (-1, self.parts)).flatten(2)


class Geometry(nn.Module):
    """All orders and gathers of a network, for one size of the patches' map."""

    def __init__(self, size: Triple, window: Triple, depths: Sequence[int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        shift = (window[0] // 2, window[1] // 2, window[2] // 2)
        sources = torch.arange(math.prod(size))[:, None]
        last: Order | None = None
        for depth in depths:
            if last is not None:
                size, sources = merged(size)
                sources = torch.where(sources >= 0, last.place[sources], -1)
            even, odd = order(size, window, (0, 0, 0)), order(size, window, shift)
            if all(p < 0 for p in odd.pattern):  # Where windows are shifted, some have masks.
                odd = even
            last = even if depth % 2 else odd
            self.stages.append(StageGeometry(even, odd, sources=sources, window=window))
        assert last is not None
        self.size = size
        self.leave = Gather(last.place, len(last.place))


__all__ = ["Gather", "Geometry", "StageGeometry", "Windows"]
