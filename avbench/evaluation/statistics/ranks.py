"""Spearman's rank correlation, with an interval.

Source: D. G. Bonett and T. A. Wright, Sample size requirements for estimating Pearson, Kendall and
Spearman correlations, Psychometrika 65 (2000).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

LEAST = 4
"""Pairs below which there is no interval: its standard error is 1 / √(n − 3)."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's ρ of pairs."""

    rho: float
    n: int
    interval: tuple[float, float] | None
    """95 %, by Fisher's z with Bonett and Wright's variance; None: fewer than ``LEAST`` pairs, or
    ρ is ±1, where z is infinite."""


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> RankCorrelation | None:
    """Return the rank correlation of paired figures; equal ones share their mean rank.

    None if there are fewer than three pairs, or all figures of a side are equal.
    """
    n = len(ours)
    if n < 3 or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return None
    rho = float(np.corrcoef(_ranks(ours), _ranks(theirs))[0, 1])
    rho = min(1.0, max(-1.0, rho))
    if n < LEAST or abs(rho) == 1:
        return RankCorrelation(rho, n, None)
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    z = math.atanh(rho)
    return RankCorrelation(rho, n, (math.tanh(z - half), math.tanh(z + half)))


def _ranks(values: Sequence[float]) -> np.ndarray:
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: np.ndarray = ((last - count + 1 + last) / 2)[place]
    return ranks
