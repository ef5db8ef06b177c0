"""A figure with its interval and p values; Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Significance level; intervals hold 1 − LEVEL."""


TIE = 1e-9
"""A spread below this counts as zero: rounding alone gives as much."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A difference between rows, or a figure itself."""

    value: float
    low: float
    """Lower end of the 95 % interval; minus infinity if unknown."""
    high: float
    """Upper end; infinity if unknown."""
    above: float
    """One-sided p: probability of so high a value if the true one is the null or lower."""
    below: float
    """One-sided p: probability of so low a value if the true one is the null or higher."""
    error: float
    """Standard error; infinite if unknown."""
    n: int
    """Number of seeds or videos."""
    reason: str = ""
    """The reason why there is no interval; empty: there is one."""

    @classmethod
    def unknown(cls, value: float, n: int, reason: str) -> "Estimate":
        """Return a value of which nothing else is known."""
        low, high = -math.inf, math.inf
        return cls(
            value=value,
            low=low,
            high=high,
            above=1.0,
            below=1.0,
            error=math.inf,
            n=n,
            reason=reason,
        )

    @property
    def p(self) -> float:
        """Two-sided p."""
        return min(1.0, 2 * min(self.above, self.below))

    def plain(self) -> dict[str, float | int | str | None]:
        """Return plain data; unknown ends are None, because JSON has no infinity."""
        low, high = (x if math.isfinite(x) else None for x in (self.low, self.high))
        ends = {"low": low, "high": high, "reason": self.reason}
        return {"difference": self.value, **ends, "n": self.n, "p": self.p}


def holm(p: Sequence[float]) -> list[float]:
    """Correct the p of several tests by Holm's method, so that together they keep the level.

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
