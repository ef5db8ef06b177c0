"""Scaled dot-product attention (Eq. 7) on several backends.

``sdpa`` is PyTorch's own and runs everywhere. ``xformers`` is an extra whose kernels run on CUDA
only. ``reference`` is the formula, an explicit softmax: slow, for tests. ``auto`` takes xformers
if it is installed and has a kernel for the shapes, the type, the mask and the device, and
PyTorch's otherwise and in compiled graphs. All give the same values up to rounding.
"""

from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from avbench.core.errors import AvbenchError
from avbench.models.settings import Backend

ALIGNMENT = 8
"""The rows of a mask for xformers start at multiples of this many elements."""


def attend(
    query: Float[Tensor, "B H Q d"],
    key: Float[Tensor, "B H K d"],
    value: Float[Tensor, "B H K d"],
    *,
    mask: Bool[Tensor, "#B 1 #Q K"] | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "B H Q d"], str]:
    """Attend; a query that may read no key yields zeros.

    Args:
        query: projected queries, split into heads.
        key: projected keys.
        value: projected values.
        mask: True where a key may be read; None: everywhere.
        causal: each query reads keys up to its own position; not together with a mask.
        dropout: probability of dropping an attention weight.
        backend: see the module's docstring.

    Returns:
        The attended values, and the backend that ran.

    Raises:
        AvbenchError: ``xformers`` is requested, but not installed or without a kernel for this.
        ValueError: a mask and ``causal`` are given together.
    """
    if causal and mask is not None:
        raise ValueError("attention takes a mask or causal=True, got both")
    if backend == "reference":
        weights = attention_weights(query, key, mask=mask, causal=causal)
        return functional.dropout(weights, dropout) @ value, "reference"
    if backend != "sdpa":
        attended = _xformers(query, key, value, mask, causal, dropout, needed=backend != "auto")
        if attended is not None:
            return attended, "xformers"
    attended = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal
    )
    return attended, "sdpa"


def attention_weights(
    query: Float[Tensor, "B H Q d"],
    key: Float[Tensor, "B H K d"],
    *,
    mask: Bool[Tensor, "#B 1 #Q K"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B H Q K"]:
    """Return softmax(Q·Kᵀ/√d): rows sum to one, or to zero if no key may be read."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        everywhere: Tensor = scores.softmax(-1)
        return everywhere
    # The least number instead of -inf: a row that is all masked keeps finite gradients.
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    readable: Tensor = weights * mask.any(-1, keepdim=True)
    return readable


@cache
def _library() -> Any:
    """Return xformers' attention module; None: it is not installed."""
    try:
        from xformers.ops import fmha
    except ImportError:
        return None
    return fmha


def _xformers(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    dropout: float,
    *,
    needed: bool,
) -> Tensor | None:
    """Attend by xformers' kernels; None: it has none, and another backend may run."""
    if not needed and not _auto_tries_xformers(query):
        return None
    fmha = _library()
    if fmha is None:
        if needed:
            raise AvbenchError(
                "attention 'xformers': the package xformers is not installed; "
                "pip install 'avbench[xformers]', or use attention 'auto' or 'sdpa'"
            )
        return None
    bias = fmha.LowerTriangularMask() if causal else _bias(query, key, mask)
    # (B, N, H, d), as its kernels take them.
    inputs = fmha.Inputs(
        *(t.transpose(1, 2) for t in (query, key, value)), attn_bias=bias, p=dropout
    )
    kernels = [fmha.ALL_FW_OPS]
    if torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value)):
        kernels.append(fmha.ALL_BW_OPS)
    if not all(any(kernel.supports(inputs) for kernel in kind) for kind in kernels):
        if needed:
            raise AvbenchError(
                "attention 'xformers': it has no kernel for queries "
                f"{tuple(query.shape)} of {query.dtype} on {query.device.type}"
                f"{' with a mask' if mask is not None else ''}; allowed: 'auto' or 'sdpa'"
            )
        return None
    attended: Tensor = fmha.memory_efficient_attention(
        inputs.query, inputs.key, inputs.value, attn_bias=bias, p=dropout
    )
    attended = attended.transpose(1, 2)
    return attended if mask is None else attended.masked_fill(~mask.any(-1, keepdim=True), 0)


def _auto_tries_xformers(query: Tensor) -> bool:
    """Return True if ``auto`` tries xformers."""
    return query.device.type == "cuda" and not torch.compiler.is_compiling()


def _bias(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return a mask as the bias that xformers adds to the scores, with aligned rows."""
    if mask is None:
        return None
    B, H, Q, _ = query.shape
    K = key.shape[2]
    padded = -(-K // ALIGNMENT) * ALIGNMENT
    bias = torch.zeros(B, 1, Q, padded, dtype=query.dtype, device=query.device)
    bias[..., :K].masked_fill_(~mask, torch.finfo(query.dtype).min)
    return bias[..., :K].expand(B, H, Q, K)


__all__ = ["Backend", "attend", "attention_weights"]
