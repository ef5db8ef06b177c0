"""Student's t distribution, and the power of a t test over seeds."""

import math
from bisect import bisect_left

from scipy.special import nctdtr, stdtr, stdtrit

MOST = 1000
"""The most seeds that ``seeds_needed`` considers."""


def tail(t: float, df: float | int) -> float:
    """Return P(T > t) with ``df`` degrees of freedom."""
    return float(stdtr(df, -t))


def quantile(p: float, df: float | int) -> float:
    """Return the t with P(T > t) = p, for p below one half."""
    if not 0 < p < 0.5:
        raise ValueError(f"p must lie between 0 and 0.5, got {p}")
    return -float(stdtrit(df, p))


def power(effect: float, n: int, level: float) -> float:
    """Return the probability that a two-sided t test over n seeds finds an effect and its sign.

    Args:
        effect: the true difference in standard deviations over seeds, positive.
        n: seeds, at least 2.
        level: significance level.
    """
    missed = float(nctdtr(n - 1, effect * math.sqrt(n), quantile(level / 2, n - 1)))
    # scipy gives NaN where its series underflow, far below 1e-100.
    return 1.0 if math.isnan(missed) else 1 - missed


def seeds_needed(effect: float, level: float, wanted: float = 0.8) -> int | None:
    """Return the fewest seeds whose t test has the wanted power; None if more than ``MOST``."""
    counts = range(2, MOST + 1)
    i = bisect_left(counts, wanted, key=lambda n: power(effect, n, level))
    return counts[i] if i < len(counts) else None
