"""Attention within windows with a learnt bias, computed in pieces that fit in a CPU cache.

The scores of all windows at once would be 157 MB in Swin-B's first stage alone. Here a piece of
them (some windows, some heads) is computed, normalised and used before the next. The backward
pass computes them again, so they are never stored whole, and the bias still gets its gradient,
which PyTorch's fused CPU kernel does not give. Other devices use PyTorch's operator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from avbench.api import portable

from ._bias import RelativePositions

Bias = Callable[[slice], Tensor]
"""Returns the biases (some, N, N) of a range of heads."""
SAFE = (1e-30, 1e30)
"""Limits of the sums of exponentials, far from those of bf16 (1e-38, 3e38)."""
FEW = 8
"""Windows up to which adding scores one by one is faster than a sum in another type."""
PIECE = 2_560_000
"""Bytes of scores in a piece, per thread: small enough for a core's cache, large for a call."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Masks:
    """The masks of a map's windows, on the device of the computation."""

    values: Float[Tensor, "patterns N N"]
    """The different masks."""
    pattern: tuple[int, ...]
    """Index of each window's mask; -1: none."""

    @property
    def any(self) -> bool:
        """True if a window has a mask."""
        return any(p >= 0 for p in self.pattern)

    def doubled(self) -> "Masks":
        """Return masks whose exponentials are 0; those of −100 are slow denormal numbers."""
        return Masks(values=2 * self.values, pattern=self.pattern)

    def of(self, run: slice) -> Tensor | None:
        """Return the masks (windows, 1, N, N) of a range of windows, None if they have none."""
        pattern = self.pattern[run]
        if all(p < 0 for p in pattern):
            return None
        if len(pattern) == 1:
            return self.values[pattern[0]][None, None]
        none = torch.zeros_like(self.values[0])
        return torch.stack([self.values[p] if p >= 0 else none for p in pattern])[:, None]


def attend(
    qkv: Float[Tensor, "B W N three_C"],
    table: Float[Tensor, "rows heads"],
    positions: RelativePositions,
    masks: Masks,
) -> Float[Tensor, "B W N C"]:
    """Return ``softmax(q·kᵀ/√d + bias + mask)·v`` within each window of each clip.

    Args:
        qkv: queries, keys and values of all heads, concatenated.
        table: the biases of all relative positions.
        positions: relative positions of a window's tokens.
        masks: masks of the windows.
    """
    training = torch.is_grad_enabled() and (qkv.requires_grad or table.requires_grad)
    if training and in_cache(qkv):
        out: Tensor = _Attend.apply(qkv, table, positions, masks)
        return out
    if training:
        return _fused(qkv, positions.bias(table, qkv.dtype), masks)
    return infer(qkv, positions.bias(table, qkv.dtype), masks)


def in_cache(x: Tensor) -> bool:
    """Return True on a CPU, whose cache holds a piece of scores.

    Elsewhere pieces only add calls, and PyTorch's operator gives the bias its gradient.
    """
    return x.device.type == "cpu"


def infer(
    qkv: Float[Tensor, "B W N three_C"], bias: Float[Tensor, "heads N N"], masks: Masks
) -> Float[Tensor, "B W N C"]:
    """Return ``attend`` without gradients, with a bias of qkv's type."""
    return (
        _fused(qkv, bias, masks)
        if portable(qkv)
        else _forward(qkv, len(bias), bias.__getitem__, masks)[0]
    )


def _fused(qkv: Tensor, bias: Tensor, masks: Masks) -> Tensor:
    """Attend by PyTorch's operator: for graphs, and for devices with their own kernels."""
    heads, n = bias.shape[:2]
    clips, windows = qkv.shape[:2]
    split = torch.unflatten(qkv, -1, (3, heads, -1))
    if not masks.any:
        q, k, v = split.flatten(0, 1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return y.transpose(1, 2).reshape(clips, windows, n, -1)
    # Windows as heads, so that one mask serves all clips.
    q, k, v = split.permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
    mask = masks.of(slice(windows))
    assert mask is not None
    both = (bias + mask.to(bias.dtype)).flatten(0, 1)
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=both[None])
    return torch.unflatten(y, 1, (windows, heads)).transpose(2, 3).flatten(-2)


@dataclass(frozen=True, slots=True)
class _Cut:
    """Size of the pieces of attention, whose scores fit in the cache."""

    heads: int
    """Heads of a piece; their bias is made once for the pieces of all clips and windows."""
    clips: int
    windows: int

    @staticmethod
    def of(q: Tensor) -> "_Cut":
        """Return the size of pieces for queries (B, W, heads, N, d)."""
        windows, heads, n = q.shape[1:4]
        budget = max(1, PIECE * torch.get_num_threads() // (q.element_size() * n**2))
        return _Cut(
            heads=min(heads, budget),
            clips=max(1, budget // (heads * windows)),
            windows=min(windows, max(1, budget // heads)),
        )

    def groups(self, q: Tensor) -> Iterator[slice]:
        """Return the ranges of heads."""
        return (slice(h, h + self.heads) for h in range(0, q.shape[2], self.heads))

    def pieces(self, q: Tensor, heads: slice) -> Iterator[tuple[slice, slice, slice]]:
        """Yield ranges of clips and windows, with the heads."""
        for b in range(0, q.shape[0], self.clips):
            for w in range(0, q.shape[1], self.windows):
                yield slice(b, b + self.clips), slice(w, w + self.windows), heads


def _split_heads(qkv: Tensor, heads: int) -> Tensor:
    """Return queries, keys and values by window and head, contiguous: (3, B, W, heads, N, d)."""
    parts = torch.unflatten(qkv, -1, (3, heads, -1))
    return parts.permute(3, 0, 1, 4, 2, 5).contiguous()


def _merge_heads(parts: Tensor) -> Tensor:
    """Reshape (B, W, heads, N, d) to (B, W, N, C)."""
    return parts.transpose(2, 3).flatten(-2)


def _scores(q: Tensor, k: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Return the scores (clips·windows·heads, N, N) of a piece."""
    clips, windows, heads, n, d = q.shape
    if clips * windows == 1:
        s = torch.baddbmm(bias, q[0, 0], k[0, 0].transpose(1, 2), alpha=d**-0.5)
    else:
        s = torch.bmm((q * d**-0.5).flatten(0, 2), k.flatten(0, 2).transpose(1, 2))
        s.view(-1, heads, n, n).add_(bias)
    if mask is not None:
        s.view(clips, windows, heads, n, n).add_(mask)
    return s


def _forward(
    qkv: Tensor, heads: int, bias: Bias, masks: Masks
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the result; queries, keys and values split; and the rows' sums, see ``_by_sums``."""
    split = _split_heads(qkv, heads)
    sums = None
    if qkv.dtype == torch.bfloat16 and qkv.numel():
        out, sums = _by_sums(split, bias, masks)
    if sums is None:
        out = _by_softmax(split, bias, masks)
    return _merge_heads(out), split, sums


def _by_softmax(split: Tensor, bias: Bias, masks: Masks) -> Tensor:
    q, k, v = split
    out, cut = torch.empty_like(q), _Cut.of(q)
    for heads in cut.groups(q):
        b = bias(heads)
        for at in cut.pieces(q, heads):
            p = _scores(q[at], k[at], b, masks.of(at[1])).softmax(-1)
            _product(p, v[at], out[at])
    return out


def _by_sums(split: Tensor, bias: Bias, masks: Masks) -> tuple[Tensor, Tensor | None]:
    """Attend without softmax's shift by each row's maximum, which is slow in bf16 kernels.

    The shift only guards against overflow and underflow, which the rows' sums reveal. Then no sums
    are returned, and the caller must use ``_by_softmax``.
    """
    q, k, v = split
    out, sums, masks = torch.empty_like(q), q.new_empty(q.shape[:-1]), masks.doubled()
    cut = _Cut.of(q)
    for heads in cut.groups(q):
        b = bias(heads)
        for at in cut.pieces(q, heads):
            e = _scores(q[at], k[at], b, masks.of(at[1])).exp_()
            sums[at] = e.sum(-1).view(sums[at].shape)
            _product(e, v[at], out[at])
    low, high = torch.aminmax(sums)
    if not (low > SAFE[0] and high < SAFE[1]):
        return out, None
    return out.div_(sums[..., None]), sums


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Multiply batches of matrices into a part of a tensor."""
    if out.is_contiguous():
        torch.bmm(left, right.flatten(0, 2), out=out.view(-1, *out.shape[-2:]))
    else:
        out.copy_(torch.bmm(left, right.flatten(0, 2)).view(out.shape))


class _Attend(torch.autograd.Function):
    """``attend`` with a backward pass that recomputes the attention weights."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, table: Tensor, positions: RelativePositions, masks: Masks
    ) -> Tensor:
        bias = _lazy_bias(table, positions, qkv.dtype)
        out, split, sums = _forward(qkv, table.shape[1], bias, masks)
        ctx.save_for_backward(split, table, sums, out)
        ctx.positions, ctx.masks = positions, masks
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        split, table, sums, out = ctx.saved_tensors
        q, k, v = split
        total, n, cut = q.shape[2], q.shape[3], _Cut.of(q)
        bias = _lazy_bias(table, ctx.positions, q.dtype)
        g = torch.unflatten(grad, -1, (total, -1)).transpose(2, 3)
        # dS = P∘(g·vᵀ − δ) with δ = Σ g∘out: δ as one more channel, beside one of ones.
        delta = torch.unflatten(grad * out, -1, (total, -1)).sum(-1, keepdim=True).transpose(2, 3)
        g = torch.cat([g, -delta], -1)
        if sums is not None:
            g /= sums[..., None]
        ones = torch.cat([v, torch.ones_like(v[..., :1])], -1)
        inner = g[..., :-1].contiguous()
        masks = ctx.masks if sums is None else ctx.masks.doubled()
        dsplit = torch.empty_like(split)
        dq, dk, dv = dsplit
        dtable = table.new_zeros(total, len(table), dtype=torch.float32)
        sum_ = dtable.new_empty(cut.heads, n, n)
        for heads in cut.groups(q):
            b = bias(heads)
            dbias = sum_[: len(b)].zero_()
            for at in cut.pieces(q, heads):
                p = _scores(q[at], k[at], b, masks.of(at[1]))
                p = p.softmax(-1) if sums is None else p.exp_()
                _product(p.transpose(1, 2), inner[at], dv[at])
                ds = torch.bmm(g[at].flatten(0, 2), ones[at].flatten(0, 2).transpose(1, 2)).mul_(p)
                each = ds.view(-1, *dbias.shape)
                for one in each if len(each) <= FEW else [each.sum(0, dtype=torch.float32)]:
                    dbias += one
                _product(ds, k[at], dq[at])
                _product(ds.transpose(1, 2), q[at], dk[at])
            dtable[heads].index_add_(1, ctx.positions.index, dbias.flatten(1))
        dsplit[:2] *= q.shape[-1] ** -0.5
        dqkv = dsplit.permute(1, 2, 4, 0, 3, 5).flatten(3)
        return dqkv, dtable.t().to(table.dtype), None, None


def _lazy_bias(table: Tensor, positions: RelativePositions, dtype: torch.dtype) -> Bias:
    """Return the biases of a range of heads on demand, because all of them exceed the cache."""
    return lambda heads: positions.bias(table[:, heads], dtype)


__all__ = ["Masks", "attend", "infer"]
