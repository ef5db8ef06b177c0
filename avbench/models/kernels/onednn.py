"""Linear layers through oneDNN, where PyTorch would take a slower library.

PyTorch multiplies fp32 matrices on the CPU by MKL, which takes AVX2 kernels on AMD processors. By
processor, they reach half to nine tenths of the rate of oneDNN, which PyTorch ships too and which
uses AVX-512. On other devices and types, in traced or compiled graphs and in builds without oneDNN
this is ``F.linear``.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import register_flop_formula

# These are not annotated in torch.
backend: Any = torch.backends.mkldnn
jit: Any = torch.jit
AVAILABLE: bool = backend.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
FAST: tuple[torch.dtype, ...] = ()
"""The types that oneDNN multiplies on this machine."""
if AVAILABLE:
    FAST = (torch.float32,)
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        FAST = (torch.float32, torch.bfloat16)
ROWS = 4096
"""Rows of a gradient that are transposed at a time: few enough to stay in the cache."""


def portable(x: Tensor) -> bool:
    """Return True if only PyTorch's public operators must be used.

    That is so off the CPU, in a traced or compiled graph, and if autocast chooses the type.
    """
    return (
        x.device.type != "cpu"
        or jit.is_tracing()
        or torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
    )


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    gelu: bool = False,
    add: Tensor | None = None,
) -> Tensor:
    """Return ``x·weightᵀ + bias``, then GELU or the sum with another tensor.

    Args:
        x: (*, K).
        weight: (N, K), or the result of ``packed``.
        bias: (N).
        gelu: apply the exact GELU.
        add: (*, N), added to the result; not with gelu.
    """
    if portable(x) or not x.numel() or x.dtype not in FAST:
        y = functional.linear(x, weight.to_dense() if weight.is_mkldnn else weight, bias)
        return functional.gelu(y) if gelu else y if add is None else y + add
    x = x.contiguous()
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, weight, bias, add)
    ):
        y = _Linear.apply(x, weight, bias)
        return functional.gelu(y) if gelu else y if add is None else y + add
    if add is not None:
        return _product_plus(x, weight, bias, add)
    return _product(x, weight, bias, gelu=gelu)


def packed(weight: Tensor) -> Tensor:
    """Lay out a weight (N, K) once for many calls of ``linear``, as oneDNN multiplies it.

    Otherwise each call lays it out again. For inference only: the result has no gradient, keeps
    its type and cannot be copied. A type that oneDNN does not multiply is returned unchanged.
    """
    if weight.device.type != "cpu" or weight.dtype not in FAST:
        return weight
    laid: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return laid


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> Tensor:
    run: Any = torch.ops.mkldnn._linear_pointwise.default
    y: Tensor = run(x, weight, bias, "gelu" if gelu else "none", [], "none" if gelu else "")
    return y


def _product_plus(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor) -> Tensor:
    run: Any = torch.ops.mkldnn._linear_pointwise.binary
    y: Tensor = run(x, add, weight, bias, "add")
    return y


class _Linear(torch.autograd.Function):
    """A linear layer whose three products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous()
        rows, inputs = grad.flatten(0, -2), x.flatten(0, -2)
        dx = _product(grad, weight.t(), None) if ctx.needs_input_grad[0] else None
        dw = _outer(rows, inputs) if ctx.needs_input_grad[1] else None
        db = rows.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None
        return dx, dw, db


def _outer(grad: Tensor, x: Tensor) -> Tensor:
    """Return ``gradᵀ·x`` of (rows, N) and (rows, K); the narrower operand is transposed."""
    if grad.dtype != torch.float32:
        return grad.t() @ x
    if grad.shape[1] > x.shape[1]:
        return _outer(x, grad).t()
    total: Tensor | None = None
    for at in range(0, len(grad), ROWS):
        wide, narrow = x[at : at + ROWS].t(), grad[at : at + ROWS].t().contiguous()
        if total is None:
            total = _product(narrow, wide, None)
        else:
            total = _product_plus(narrow, wide, None, total)
    assert total is not None
    return total


if AVAILABLE:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _count(x: Any, second: Any, third: Any, *_: Any, **__: Any) -> int:
        """Count FLOPs for torch; the overload that adds has the weight in third place."""
        n, k = third if third is not None and len(third) == 2 else second
        macs: int = math.prod(x[:-1]) * n * k
        return 2 * macs


__all__ = ["linear", "packed", "portable"]
