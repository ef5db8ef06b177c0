"""The order in which the sentences of a video make a paragraph."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def in_time(
    items: Sequence[T], times: Sequence[tuple[float, float] | None]
) -> tuple[list[T], bool]:
    """Sort the items of a video by start, then by end, if all have times.

    Args:
        items: clips, or sentences.
        times: start and end of each, seconds; None: unknown.

    Returns:
        The items, and True if all have times; otherwise they are in the given order.
    """
    known = [time for time in times if time is not None]
    if len(known) < len(items):
        return list(items), False
    order = sorted(range(len(items)), key=known.__getitem__)
    return [items[i] for i in order], True
