"""The names of logged losses."""

from collections.abc import Iterable

JOINT = "L"


def loss_names(streams: Iterable[str]) -> list[str]:
    """Return ``L``, and ``L_m`` and ``gap_m`` of every stream."""
    return [JOINT, *(f"{prefix}_{m}" for prefix in ("L", "gap") for m in streams)]
