"""The names of logged losses."""

from collections.abc import Iterable

JOINT = "L"


def loss_names(streams: Iterable[str]) -> list[str]:
    """``L``, and ``L_m`` and ``gap_m`` of every stream."""
    return [JOINT, *(f"{what}_{m}" for what in ("L", "gap") for m in streams)]
