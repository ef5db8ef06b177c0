"""Linear layers through oneDNN: what they do with weights that were laid out before."""

import pytest
import torch
from torch.nn import functional

from avbench.models.kernels import onednn
from avbench.models.kernels.onednn import linear, packed

pytestmark = pytest.mark.skipif(not onednn.AVAILABLE, reason="this PyTorch has no oneDNN")
FAST = [dtype for dtype in (torch.float32, torch.bfloat16) if dtype in onednn.FAST]


def given(dtype: torch.dtype, rows: int = 37) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(torch.randn(shape).to(dtype) for shape in ((2, rows, 24), (50, 24), (50,)))


@pytest.mark.parametrize("how", ["plain", "gelu", "add"])
@pytest.mark.parametrize("dtype", FAST)
def test_packed_weights_give_the_same_bits(dtype: torch.dtype, how: str) -> None:
    x, weight, bias = given(dtype)
    options = {
        "plain": {},
        "gelu": {"gelu": True},
        "add": {"add": torch.randn(2, 37, 50).to(dtype)},
    }
    laid = packed(weight)
    assert laid.is_mkldnn
    for b in (bias, None):
        ours, theirs = (linear(x, w, b, **options[how]) for w in (laid, weight))  # type: ignore[arg-type]
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", FAST)
def test_packed_weights_serve_where_onednn_does_not(dtype: torch.dtype) -> None:
    """No rows, or autocast, which hands the product to PyTorch."""
    x, weight, bias = given(dtype)
    laid = packed(weight)
    assert linear(x[:, :0], laid, bias).shape == (2, 0, 50)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear(x, laid, bias), functional.linear(x, weight, bias))


def test_weights_that_onednn_does_not_multiply_stay_as_they_are() -> None:
    for weight in (
        torch.randn(4, 3).half(),
        torch.randn(4, 3).double(),
        torch.empty(4, 3, device="meta"),
    ):
        assert packed(weight) is weight
