"""The package's functions are checked while tests run: types, axes, and those of dataclasses."""

import pytest
import torch
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from avbench.core.errors import unknown
from avbench.core.types import InputSpec
from avbench.models.layers import key_mask
from tests.typechecks import jaxtyped


def decorated(made):
    from beartype import beartype

    return jaxtyped(typechecker=beartype)(made)


def test_the_package_is_checked() -> None:
    with pytest.raises(Exception, match="violates type hint"):
        unknown("loss", 3, ["plain"])
    with pytest.raises(Exception, match="violates type hint"):
        InputSpec(frames="four", size=32)
    with pytest.raises(Exception, match="violates type hint"):
        key_mask(torch.ones(2, 3, 4, dtype=torch.bool))


def test_axes_of_one_name_agree_within_a_call_and_not_beyond_it() -> None:
    Matrix, Vector = Float[Tensor, "N D"], Float[Tensor, "N"]

    @decorated
    def doubled(x: Matrix, y: Vector, grown: int = 0) -> Matrix:
        return torch.cat([x, x[:grown]])

    for n in (2, 3):
        assert doubled(torch.zeros(n, 4), torch.zeros(n)).shape == (n, 4)
    with pytest.raises(Exception, match="violates type hint"):
        doubled(torch.zeros(2, 4), torch.zeros(3))
    with pytest.raises(Exception, match="violates type hint"):
        doubled(torch.zeros(2, 4), torch.zeros(2), grown=1)


def test_hints_in_quotes_are_checked_as_jaxtyping_does() -> None:
    @decorated
    def half(n: "int", of: "Imported | None" = None) -> int:  # noqa: F821
        return n // 2

    assert half(4) == 2
    with pytest.raises(TypeCheckError):
        half("4")
