"""Attention within windows, with a learnt bias: scores are made a cache's worth at a time.

The scores of all windows at once would be 157 MB in Swin-B's first stage alone. Here a piece of
them (some windows, some heads) is made, normalised and used before the next; the backward pass
makes them again, so nothing of their size is ever kept, and the bias still gets its gradient,
which PyTorch's fused CPU kernel does not give. Other devices take PyTorch's operator.
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
"""Gives the biases (some, N, N) of a run of heads."""
SAFE = (1e-30, 1e30)
"""Between which the sums of exponentials must lie: far from where bf16 ends (1e-38, 3e38)."""
FEW = 8
"""Windows whose scores are faster added one by one than by a sum in another type."""
PIECE = 2_560_000
"""Bytes of scores in a piece, per thread: what stays in a core's cache, and is no small call."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Masks:
    """The masks of a map's windows, on the device that they are used on."""

    values: Float[Tensor, "patterns N N"]
    """The different masks."""
    pattern: tuple[int, ...]
    """Which of them each window has; -1: none."""

    @property
    def any(self) -> bool:
        """Whether a window has a mask."""
        return any(p >= 0 for p in self.pattern)

    def deep(self) -> "Masks":
        """Masks whose exponentials are 0: those of −100 are denormal numbers, slow to handle."""
        return Masks(values=2 * self.values, pattern=self.pattern)

    def of(self, run: slice) -> Tensor | None:
        """The masks (windows, 1, N, N) of a run of windows, None if they have none."""
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
    """``softmax(q·kᵀ/√d + bias + mask)·v`` within each window of each clip.

    Args:
        qkv: queries, keys and values of all heads, concatenated.
        table: the biases of all relative positions.
        positions: of a window's tokens.
        masks: of the windows.
    """
    training = torch.is_grad_enabled() and (qkv.requires_grad or table.requires_grad)
    if training and in_cache(qkv):
        out: Tensor = _Attend.apply(qkv, table, positions, masks)
        return out
    if training:
        return _fused(qkv, positions.bias(table, qkv.dtype), masks)
    return infer(qkv, positions.bias(table, qkv.dtype), masks)


def in_cache(x: Tensor) -> bool:
    """Whether a piece of scores stays in a processor's cache; elsewhere pieces only add calls.

    And elsewhere PyTorch's operator gives the bias its gradient.
    """
    return x.device.type == "cpu"


def infer(
    qkv: Float[Tensor, "B W N three_C"], bias: Float[Tensor, "heads N N"], masks: Masks
) -> Float[Tensor, "B W N C"]:
    """``attend`` without gradients, with a bias of the type of qkv."""
    return (
        _fused(qkv, bias, masks)
        if portable(qkv)
        else _forward(qkv, len(bias), bias.__getitem__, masks)[0]
    )


def _fused(qkv: Tensor, bias: Tensor, masks: Masks) -> Tensor:
    """By PyTorch's operator: for graphs, and for devices with kernels of their own."""
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
    """How attention is cut into pieces whose scores fit in the cache."""

    heads: int
    """Of a piece: its bias is made once and serves the pieces of all clips and windows."""
    clips: int
    windows: int

    @staticmethod
    def of(q: Tensor) -> "_Cut":
        """For queries (B, W, heads, N, d)."""
        windows, heads, n = q.shape[1:4]
        budget = max(1, PIECE * torch.get_num_threads() // (q.element_size() * n**2))
        return _Cut(
            heads=min(heads, budget),
            clips=max(1, budget // (heads * windows)),
            windows=min(windows, max(1, budget // heads)),
        )

    def groups(self, q: Tensor) -> Iterator[slice]:
        """Runs of heads."""
        return (slice(h, h + self.heads) for h in range(0, q.shape[2], self.heads))

    def pieces(self, q: Tensor, heads: slice) -> Iterator[tuple[slice, slice, slice]]:
        """Runs of clips and windows, and the heads."""
        for b in range(0, q.shape[0], self.clips):
            for w in range(0, q.shape[1], self.windows):
                yield slice(b, b + self.clips), slice(w, w + self.windows), heads


def _split(qkv: Tensor, heads: int) -> Tensor:
    """Queries, keys and values by window and head, contiguous: (3, B, W, heads, N, d)."""
    parts = torch.unflatten(qkv, -1, (3, heads, -1))
    return parts.permute(3, 0, 1, 4, 2, 5).contiguous()


def _joined(parts: Tensor) -> Tensor:
    """(B, W, heads, N, d) to (B, W, N, C)."""
    return parts.transpose(2, 3).flatten(-2)


def _scores(q: Tensor, k: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Scores (clips·windows·heads, N, N) of a piece."""
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
    """The result; queries, keys and values apart; and the rows' sums, see ``_by_sums``."""
    split = _split(qkv, heads)
    sums = None
    if qkv.dtype == torch.bfloat16 and qkv.numel():
        out, sums = _by_sums(split, bias, masks)
    if sums is None:
        out = _by_softmax(split, bias, masks)
    return _joined(out), split, sums


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
    """Softmax without the shift by each row's maximum, which bf16 kernels spend long on.

    The shift guards against overflow and underflow alone. Whether there was any can be seen in
    the rows' sums: none are given back then, and the caller must take the guarded way.
    """
    q, k, v = split
    out, sums, masks = torch.empty_like(q), q.new_empty(q.shape[:-1]), masks.deep()
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
    """``attend`` with a backward pass that makes the attention weights again."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, table: Tensor, positions: RelativePositions, masks: Masks
    ) -> Tensor:
        bias = _from(table, positions, qkv.dtype)
        out, split, sums = _forward(qkv, table.shape[1], bias, masks)
        ctx.save_for_backward(split, table, sums, out)
        ctx.positions, ctx.masks = positions, masks
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        split, table, sums, out = ctx.saved_tensors
        q, k, v = split
        total, n, cut = q.shape[2], q.shape[3], _Cut.of(q)
        bias = _from(table, ctx.positions, q.dtype)
        g = torch.unflatten(grad, -1, (total, -1)).transpose(2, 3)
        # dS = P∘(g·vᵀ − δ) with δ = Σ g∘out: δ as one more channel, beside one of ones.
        delta = torch.unflatten(grad * out, -1, (total, -1)).sum(-1, keepdim=True).transpose(2, 3)
        g = torch.cat([g, -delta], -1)
        if sums is not None:
            g /= sums[..., None]
        ones = torch.cat([v, torch.ones_like(v[..., :1])], -1)
        inner = g[..., :-1].contiguous()
        masks = ctx.masks if sums is None else ctx.masks.deep()
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


def _from(table: Tensor, positions: RelativePositions, dtype: torch.dtype) -> Bias:
    """The biases of a run of heads, made when asked for: those of all leave the cache."""
    return lambda heads: positions.bias(table[:, heads], dtype)


__all__ = ["Masks", "attend", "infer"]
