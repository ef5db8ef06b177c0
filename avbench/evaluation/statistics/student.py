"""Student's t distribution, and what a t test over seeds can find.

numpy has no distributions; the incomplete beta function is mpmath's, which torch brings along.
"""

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from mpmath import betainc

_NORMAL = NormalDist()
MOST = 1000
"""Seeds beyond which ``seeds_needed`` does not count."""


def tail(t: float, df: int) -> float:
    """P(T > t) with ``df`` degrees of freedom."""
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = float(betainc(df / 2, 0.5, 0, df / (df + t * t), regularized=True)) / 2
    return half if t > 0 else 1 - half


@lru_cache(maxsize=4096)
def quantile(p: float, df: int) -> float:
    """The t with P(T > t) = p, for p below one half.

    Newton's steps from the normal quantile, which lies below: the tail is convex, so they climb
    to the root and never pass it.
    """
    if not 0 < p < 0.5:
        raise ValueError(f"p must lie between 0 and 0.5, got {p}")
    t = _NORMAL.inv_cdf(1 - p)
    for _ in range(200):
        step = (tail(t, df) - p) / _density(t, df)
        t += step
        if step <= 1e-12 * t:
            break
    return t


def power(effect: float, n: int, level: float) -> float:
    """How likely a two-sided t test over n seeds finds an effect, with its sign.

    Args:
        effect: the true difference in standard deviations over seeds, positive.
        n: seeds, at least 2.
        level: significance level.
    """
    df = n - 1
    critical = quantile(level / 2, df)
    # Over u, the sample's standard deviation in units of the true one: df·u² is chi-square.
    u = np.linspace(1e-9, 1 + 10 / math.sqrt(2 * df), 1201)
    log = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2)
    density = np.exp(log + (df - 1) * np.log(u) - df * u * u / 2)
    found = [_NORMAL.cdf(x) for x in effect * math.sqrt(n) - critical * u]
    return float(np.trapezoid(density * found, u))


def seeds_needed(effect: float, level: float, wanted: float = 0.8) -> int | None:
    """The fewest seeds whose t test finds an effect with the wanted power; None: over ``MOST``."""
    if effect <= 0:
        return None
    normal = _NORMAL.inv_cdf(1 - level / 2) + _NORMAL.inv_cdf(wanted)
    least = (normal / effect) ** 2  # with the spread known: a lower bound
    if least > MOST:
        return None
    low, high = 1, max(2, math.ceil(least))
    while power(effect, high, level) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(effect, middle, level) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high if high <= MOST else None


def _density(t: float, df: int) -> float:
    log = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log - (df + 1) / 2 * math.log1p(t * t / df))
