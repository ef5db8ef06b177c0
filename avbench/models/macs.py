"""Counts multiply-accumulates (MACs) of a forward pass; FLOPs are twice that.

Matrix products, convolutions and attention count, in whichever operator they are. Element-wise
work, norms, softmax, pooling and indexing (``CHEAP``) do not. Any other operator is an error, so
that no figure is silently too small. fvcore traces the graph and splits the count by module. The
handlers are ours, because fvcore's leave fused attention out and add norms at five operations an
element (Video Swin-B: 140.96 G with them, 140.67 G without). Norms are counted separately.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avbench.core.errors import AvbenchError

with warnings.catch_warnings():
    # fvcore's dependencies script functions at import, which torch deprecates.
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis
    from fvcore.nn.jit_handles import conv_flop_jit


class CountError(AvbenchError):
    """A model whose MACs cannot be counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """MACs of one forward pass."""

    macs: int
    modules: Mapping[str, int]
    """MACs by module name; ``""`` is the whole."""
    operators: Mapping[str, int]
    """MACs by operator."""
    norms: int
    """Operations that fvcore adds for norms, ``NORM_OPERATIONS`` an element; not in ``macs``."""


class Adapter(nn.Module):
    """Wraps modules that take and return dataclasses: tensors in, a tensor out.

    Args:
        modules: the modules that ``call`` uses, by their names in the count.
        call: computes a tensor from tensors.
    """

    def __init__(self, modules: Mapping[str, nn.Module], call: Callable[..., Tensor]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.call = call

    def forward(self, *inputs: Tensor) -> Tensor:
        """Call the function."""
        return self.call(*inputs)


def count(module: nn.Module, *inputs: Tensor) -> Count:
    """Count a module's MACs in eval mode, with PyTorch's fused fast paths off.

    Args:
        module: takes and returns tensors; see ``Adapter`` for one that does not.
        inputs: its inputs; only their shapes matter.

    Raises:
        CountError: the module cannot be traced, or uses an operator that is neither counted nor
            known to be cheap, or one in a form that the handlers do not know.
    """
    with _quiet(module), torch.no_grad():
        try:
            try:
                analysis = _traced(module, inputs)
            except KeyError:
                # A module made during the pass is unknown to the tracer; a second pass knows it.
                module(*inputs)
                analysis = _traced(module, inputs)
        except RuntimeError as error:
            # The tracer's messages may hold whole tensors.
            reason = str(error).splitlines()[0]
            raise CountError(f"{type(module).__name__} cannot be traced: {reason}") from None
        uncounted = set(analysis.unsupported_ops()) - CHEAP
        if uncounted:
            raise CountError(
                f"{type(module).__name__}: no handler counts {', '.join(sorted(uncounted))}, and "
                "they are not on the list of cheap operators (avbench.models.macs)"
            )
        total = int(analysis.total())
        parts = analysis.by_module_and_operator()
        norms = int(parts[""].get(NORMS, 0))
        return Count(
            macs=total - norms,
            modules={
                name: int(sum(n for operator, n in by_operator.items() if operator != NORMS))
                for name, by_operator in parts.items()
            },
            operators={name: int(n) for name, n in parts[""].items() if name != NORMS},
            norms=norms,
        )


def _traced(module: nn.Module, inputs: tuple[Tensor, ...]) -> FlopCountAnalysis:
    analysis = FlopCountAnalysis(module, inputs).unsupported_ops_warnings(False)
    analysis.uncalled_modules_warnings(False).clear_op_handles().set_op_handle(**HANDLERS)
    analysis.total()  # traces
    return analysis


@contextmanager
def _quiet(module: nn.Module) -> Iterator[None]:
    """Set eval mode without fast paths and tracer warnings; restore everything afterwards."""
    modes = {m: m.training for m in module.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for m, training in modes.items():
            m.training = training


Value = Any
"""A value of the traced graph."""


def _shape(value: Value) -> list[int]:
    if not value.isCompleteTensor():
        raise CountError(f"the traced graph does not tell the shape of {value.debugName()}")
    return list(value.type().sizes())


def _product(left: int) -> Callable[[Sequence[Value], Sequence[Value]], int]:
    """Count a matrix product whose left operand is input ``left``: result elements times K."""

    def macs(inputs: Sequence[Value], outputs: Sequence[Value]) -> int:
        return math.prod(_shape(outputs[0])) * _shape(inputs[left])[-1]

    return macs


def _einsum(inputs: Sequence[Value], _outputs: Sequence[Value]) -> int:
    """Count an einsum of two operands: the product of the sizes of all indices."""
    equation = inputs[0].toIValue().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    shapes = [_shape(value) for value in inputs[1].node().inputs()]
    if len(terms) == 1:
        return 0
    if len(terms) != 2 or "." in equation:
        raise CountError(f"einsum '{equation}' is not counted: only two operands without '...'")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())


def _attention(tokens: int) -> Callable[[Sequence[Value], Sequence[Value]], int]:
    """Count attention over query, key and value whose tokens are axis ``tokens``.

    Causal and masked attention count in full, as the closed form does.
    """

    def macs(inputs: Sequence[Value], _outputs: Sequence[Value]) -> int:
        query, key, value = (_shape(v) for v in inputs[:3])
        if len(query) < 3:
            raise CountError(f"attention over packed sequences is not counted: query {query}")
        return math.prod(query[:-1]) * key[tokens] * (query[-1] + value[-1])

    return macs


def _norm(_inputs: Sequence[Value], outputs: Sequence[Value]) -> dict[str, int]:
    return {NORMS: NORM_OPERATIONS * math.prod(_shape(outputs[0]))}


NORMS = "norms"
"""The name of the count of norms; no operator has it."""

NORM_OPERATIONS = 5
"""fvcore's figure for a norm with weights: operations an element of the result."""

HANDLERS: Mapping[str, Callable[[Sequence[Value], Sequence[Value]], Any]] = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::matmul", "aten::linear"), _product(0)),
    **dict.fromkeys(("aten::addmm", "aten::baddbmm"), _product(1)),
    "aten::einsum": _einsum,
    "aten::_convolution": conv_flop_jit,
    **dict.fromkeys(
        ("aten::batch_norm", "aten::group_norm", "aten::instance_norm", "aten::layer_norm"), _norm
    ),
    # (B, heads, N, d); the composite operator and its possible replacements.
    **dict.fromkeys(
        (
            "aten::scaled_dot_product_attention",
            "aten::_scaled_dot_product_attention_math",
            "aten::_scaled_dot_product_cudnn_attention",
            "aten::_scaled_dot_product_efficient_attention",
            "aten::_scaled_dot_product_flash_attention",
            "aten::_scaled_dot_product_flash_attention_for_cpu",
            "aten::_scaled_dot_product_fused_attention_overrideable",
        ),
        _attention(-2),
    ),
    # (B, N, heads, d), or (B, N, d): xformers' kernels, and those that it borrows.
    **dict.fromkeys(
        (
            "aten::_efficient_attention_forward",
            "aten::_flash_attention_forward",
            "xformers::efficient_attention_forward_cutlass",
            "xformers_flash::flash_fwd",
            "xformers_flash3::flash_fwd",
        ),
        _attention(1),
    ),
}
"""Operator to a function of its inputs and outputs in the traced graph."""

_CHEAP = """
    _log_softmax _softmax abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool2d add add_ addcmul alias all amax amin any arange argmax avg_pool2d
    bernoulli bernoulli_ bitwise_and bitwise_or celu clone cos cumsum div div_
    dropout_ elu elu_ embedding erf exp expand_as expm1 feature_dropout fill_ flip ge gelu
    gelu_ hardsigmoid hardswish hardswish_ hardtanh hardtanh_ index_select
    le leaky_relu lift_fresh linspace log log1p log_softmax
    logical_and logical_not logical_or logsumexp lt masked_fill_ max_pool2d
    max_pool2d_with_indices maximum mean meshgrid min minimum mish movedim mul mul_ ne neg
    new_ones new_tensor normal_ numpy_T one_hot ones_like pad pow prod rand randn reciprocal
    relu6 repeat repeat_interleave rms_norm rsqrt rsub scalar_tensor scatter scatter_
    select_scatter sigmoid sigmoid_ sign silu silu_ sin softmax softplus sqrt square std sub
    sub_ sum swapaxes take_along_dim tanh tensor tensor_split tile topk tril triu unflatten
    unfold uniform_ upsample_bicubic2d upsample_bilinear2d upsample_nearest2d var view_as
    where zero_
"""

CHEAP = frozenset(f"aten::{name}" for name in _CHEAP.split())
"""Operators without multiply-accumulates worth counting: element-wise, shape, pooling."""

__all__ = ["CHEAP", "HANDLERS", "Adapter", "Count", "CountError", "count"]
