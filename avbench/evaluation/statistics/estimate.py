"""A figure with its interval and what speaks for and against it; Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Significance level; intervals hold 1 − LEVEL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A difference between rows, or a figure itself."""

    value: float
    low: float
    """Lower end of the 95 % interval; minus infinity where there is no knowing."""
    high: float
    above: float
    """One-sided p: how likely so high a value is if the true one is the null or lower."""
    below: float
    """The same for so low a value if the true one is the null or higher."""
    error: float
    """Standard error; infinite where there is no knowing."""
    n: int
    """Seeds, or videos, that it rests on."""

    @property
    def p(self) -> float:
        """Two-sided."""
        return min(1.0, 2 * min(self.above, self.below))

    def plain(self) -> dict[str, float | int | None]:
        """As plain data: ends that are not known are None, as JSON has no infinity."""
        low, high = (x if math.isfinite(x) else None for x in (self.low, self.high))
        return {"difference": self.value, "low": low, "high": high, "n": self.n, "p": self.p}


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction: the p of each test, such that all together keep the level.

    Source: A simple sequentially rejective multiple test procedure (Holm, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected
