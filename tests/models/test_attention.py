"""Attention on its backends: equal values and gradients, whatever is masked."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from avbench.api import Attention, AvbenchError
from avbench.models.kernels import attention
from avbench.models.kernels.attention import Backend, attend, attention_weights

B, H, Q, K, DIM = 3, 2, 5, 7, 8


def projected(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(B, H, n, DIM, dtype=dtype).requires_grad_() for n in (Q, K, K)]


def masks() -> dict[str, Tensor | None]:
    torch.manual_seed(1)
    keys = torch.arange(K)[None] < torch.tensor([7, 3, 0])[:, None]
    return {
        "none": None,
        "keys, the last clip's all hidden": keys[:, None, None, :],
        "pairs": torch.rand(B, 1, Q, K) < 0.6,
    }


CASES = [("none", True), *((kind, False) for kind in masks())]
"""A mask, or the causal one."""


def compare(
    backend: Backend, mask: Tensor | None, causal: bool, device: str = "cpu", **within: float
) -> None:
    """Values and gradients of a backend with those of the formula, in float64 on the CPU."""
    outcomes = []
    for name, exact in (("reference", True), (backend, device == "cpu")):
        given = projected()
        if not exact:
            given = [t.detach().float().to(device).requires_grad_() for t in given]
        seen = None if mask is None else mask.to(given[0].device)
        out, ran = attend(*given, mask=seen, causal=causal, backend=name)
        assert ran == name
        (out * torch.linspace(0, 1, DIM).to(out)).square().sum().backward()
        outcomes.append([t.double().cpu() for t in (out.detach(), *(t.grad for t in given))])
    for theirs, ours in zip(*outcomes, strict=True):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, theirs, **(within or {"rtol": 0, "atol": 1e-12}))


@pytest.mark.parametrize(("kind", "causal"), CASES)
def test_pytorchs_is_the_formula(kind: str, causal: bool) -> None:
    compare("sdpa", masks()[kind], causal)


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["sdpa", "xformers"])
@pytest.mark.parametrize(("kind", "causal"), CASES)
def test_backends_on_cuda_are_the_formula(kind: str, causal: bool, backend: Backend) -> None:
    """In fp32, or TF32 where kernels take it; masks by a backend's own kernels."""
    if backend == "xformers":
        pytest.importorskip("xformers")
    compare(backend, masks()[kind], causal, "cuda", rtol=1e-2, atol=1e-3)


def test_a_query_that_may_read_nothing_gives_zeros() -> None:
    mask = masks()["keys, the last clip's all hidden"]
    for backend in ("sdpa", "reference"):
        assert not attend(*projected(), mask=mask, backend=backend)[0][2].any()


def test_weights_sum_to_one_or_zero() -> None:
    query, key, _ = projected()
    sums = attention_weights(query, key, mask=masks()["keys, the last clip's all hidden"]).sum(-1)
    torch.testing.assert_close(sums[:2], torch.ones_like(sums[:2]))
    assert not sums[2].any()


def test_dropout_keeps_the_mean() -> None:
    given = [t.detach() for t in projected(torch.float32)]
    torch.manual_seed(0)
    runs = [attend(*given, dropout=0.3, backend="reference")[0] for _ in range(4000)]
    torch.testing.assert_close(
        torch.stack(runs).mean(0), attend(*given, backend="sdpa")[0], rtol=0, atol=0.06
    )


def test_mask_and_causal_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="takes a mask or causal=True, got both"):
        attend(*projected(), mask=masks()["pairs"], causal=True)


def test_auto_is_pytorchs_without_a_gpu() -> None:
    assert attend(*projected(), backend="auto")[1] == "sdpa"


def test_a_module_says_what_ran() -> None:
    module = Attention(16, 4)
    assert module.ran is None
    module.backend = "reference"
    x = torch.randn(2, 3, 16)
    module(x, x)
    assert module.ran == "reference"


def test_xformers_must_be_installed_where_it_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr(attention, "_library", lambda: None)
    with pytest.raises(AvbenchError, match=r"'xformers': the package xformers is not installed"):
        attend(*projected(), backend="xformers")


class FakeKernels:
    """xformers' interface, over the formula, with a kernel for 8 channels and no other."""

    class LowerTriangularMask:
        pass

    def __init__(self, *, backward: bool = True) -> None:
        kernel = SimpleNamespace(supports=self.supports)
        self.ALL_FW_OPS, self.ALL_BW_OPS = [kernel], [kernel] if backward else []

    def Inputs(self, query: Any, key: Any, value: Any, attn_bias: Any, p: float) -> Any:  # noqa: N802
        return SimpleNamespace(query=query, key=key, value=value, attn_bias=attn_bias)

    def supports(self, inputs: Any) -> bool:
        bias = inputs.attn_bias
        aligned = not isinstance(bias, Tensor) or bias.stride(2) % 8 == 0
        return bool(inputs.query.shape[-1] == 8) and aligned

    def memory_efficient_attention(
        self, query: Any, key: Any, value: Any, attn_bias: Any, p: float
    ) -> Tensor:
        query, key, value = (t.transpose(1, 2) for t in (query, key, value))
        scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
        if isinstance(attn_bias, Tensor):
            assert attn_bias.shape == scores.shape
            scores = scores + attn_bias
        elif attn_bias is not None:
            scores = scores.masked_fill(
                ~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -torch.inf
            )
        return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize(("kind", "causal"), CASES)
def test_what_xformers_is_handed_computes_the_same(monkeypatch, kind: str, causal: bool) -> None:
    """Layouts, bias and alignment; its kernels themselves run on CUDA (tests/test_gpu.py)."""
    kernels = FakeKernels()
    monkeypatch.setattr(attention, "_library", lambda: kernels)
    compare("xformers", masks()[kind], causal)


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("width", [DIM, 4])
def test_auto_takes_xformers_where_it_has_the_kernels(
    monkeypatch, width: int, backward: bool
) -> None:
    """Else PyTorch's without a word; where nothing is trained, without kernels to go back."""
    kernels = FakeKernels(backward=backward)
    monkeypatch.setattr(attention, "_library", lambda: kernels)
    given = [t.detach()[..., :width].requires_grad_() for t in projected()]
    assert attend(*given)[1] == "sdpa"  # not asked for on the CPU
    monkeypatch.setattr(attention, "_auto_tries_xformers", lambda _: True)
    kernel = "xformers" if width == DIM else "sdpa"
    assert attend(*given)[1] == (kernel if backward else "sdpa")
    with torch.no_grad():
        assert attend(*given)[1] == kernel


def test_xformers_without_a_kernel_is_told(monkeypatch) -> None:
    kernels = FakeKernels()
    monkeypatch.setattr(attention, "_library", lambda: kernels)
    given = [torch.randn(B, H, n, 4) for n in (Q, K, K)]
    with pytest.raises(
        AvbenchError,
        match=r"no kernel for queries \(3, 2, 5, 4\) of torch.float32 on cpu; "
        r"allowed: 'auto' or 'sdpa'",
    ):
        attend(*given, backend="xformers")
