"""Intervals and tests over videos, about trained models.

The delete-one jackknife gives the moments of any figure over samples of the videos: the figure is
computed again without each video, with all its clips. The interval follows from them by Student's
t. Scores are skewed, so t with Hall's correction for skewness is computed too, and the interval
takes the outer one of each pair of ends: t alone covers 90 % of the time for ten exponential
scores, the corrected t 91 % for ten differences of log-normal ones. The p of a figure follows the
same rule.

A difference between systems is tested by approximate randomisation, which needs no distribution
and keeps its level with few videos.

Sources: The jackknife, the bootstrap and other resampling plans (Efron, 1982); On the removal of
skewness by transformation (Hall, Journal of the Royal Statistical Society B 54, 1992).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from avbench.evaluation.statistics.estimate import LEVEL, TIE, Estimate
from avbench.evaluation.statistics.resampling import (
    EXCHANGES,
    System,
    figures_of,
    randomised,
    stacked,
)
from avbench.evaluation.statistics.student import quantile, tail

FEWEST = 10
"""Videos below which no interval is given."""

Combine = Callable[[Float64[np.ndarray, "R S"]], Float64[np.ndarray, " R"]]
"""Makes one figure of the figures of S systems, R times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """A figure, and its moments over samples of the videos."""

    value: float
    variance: float = math.inf
    third: float = 0.0
    """Third central moment."""
    df: float = 0.0
    """Degrees of freedom of the variance."""
    n: int
    """Videos with the score."""
    reason: str = ""
    """The reason why nothing but the value is known; empty: the moments are."""

    def __sub__(self, other: "Sampled") -> "Sampled":
        """Return the difference to a figure of other videos, which varies by itself.

        Degrees of freedom: Welch and Satterthwaite's.
        """
        value, n = self.value - other.value, min(self.n, other.n)
        if self.reason or other.reason:
            return Sampled(value=value, n=n, reason=self.reason or other.reason)
        variance = self.variance + other.variance
        parts = self.variance**2 / self.df + other.variance**2 / other.df
        third = self.third - other.third
        return Sampled(value=value, variance=variance, third=third, df=variance**2 / parts, n=n)

    def estimate(self, null: float = 0.0) -> Estimate:
        """Return the figure with its interval and p values.

        Args:
            null: the value to test against.
        """
        if self.reason:
            return Estimate.unknown(self.value, self.n, self.reason)
        error = math.sqrt(self.variance)
        value, variance, third = np.array([[self.value], [self.variance], [self.third]])
        low, high = ends(value, variance, third, self.df)
        t = (self.value - null) / error
        both = (t, _corrected(t, self.third / error**3))
        return Estimate(
            value=self.value,
            low=float(low[0]),
            high=float(high[0]),
            above=max(tail(x, self.df) for x in both),
            below=max(tail(-x, self.df) for x in both),
            error=error,
            n=self.n,
        )


def over_videos(
    systems: Sequence[System], combine: Combine | None = None, *, units: str = "videos"
) -> Sampled:
    """Return a figure of systems with its moments over videos, by the delete-one jackknife.

    Args:
        systems: over the same videos; videos in which none has a score do not count.
        combine: makes the figure; None: the mean of theirs.
        units: what the systems' rows are, for reasons.
    """
    combine = combine or _mean
    sums = stacked(systems)
    sums = sums[sums.any(axis=1)]
    n, total = len(sums), sums.sum(axis=0, keepdims=True)
    value = float(combine(figures_of(total, systems))[0])
    if n < FEWEST:
        reason = f"{n} {units}; an interval needs at least {FEWEST}"
        return Sampled(value=value, n=n, reason=reason)
    without = combine(figures_of(total - sums, systems))
    if not np.isfinite(without).all():
        reason = f"the figure is not defined without some of the {n} {units}"
        return Sampled(value=value, n=n, reason=reason)
    if np.ptp(without) * (n - 1) < TIE:
        reason = f"no spread: the figure is the same without any of the {n} {units}"
        return Sampled(value=value, n=n, reason=reason)
    variance, third = (float(moment[0]) for moment in moments(without[:, None]))
    return Sampled(value=value, variance=variance, third=third, df=float(n - 1), n=n)


def moments(
    without: Float64[np.ndarray, "V P"],
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Return the variance and the third central moment of P figures.

    Args:
        without: the figures without each of the V videos.
    """
    n = len(without)
    strays = (n - 1) * (without.mean(axis=0) - without)
    variance, third = ((strays**power).sum(axis=0) for power in (2, 3))
    return variance / (n * (n - 1)), third / (n * (n - 1) * (n - 2))


def ends(
    value: Float64[np.ndarray, " P"],
    variance: Float64[np.ndarray, " P"],
    third: Float64[np.ndarray, " P"],
    df: float,
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Return the ends of the intervals of P figures, from their moments."""
    error = np.sqrt(variance)
    half = quantile(LEVEL / 2, df)
    plain = [value - t * error for t in (half, -half)]
    skewed = [value - _uncorrected(t, third / error**3) * error for t in (half, -half)]
    return np.minimum(plain[0], skewed[0]), np.maximum(plain[1], skewed[1])


def difference(
    pairs: Sequence[tuple[System, System]],
    *,
    exchanges: int = EXCHANGES,
    seed: int = 0,
    units: str = "videos",
) -> Estimate:
    """Return the first systems' mean difference to the second, tested by randomisation.

    Args:
        pairs: one pair of systems a seed of training, all over the same videos.
        exchanges: their number.
        seed: of the exchanges.
        units: what the systems' rows are, for reasons.
    """
    systems = [system for pair in pairs for system in pair]
    estimate = over_videos(systems, _mean_difference, units=units).estimate()
    if not math.isfinite(estimate.value):
        return estimate
    draws = randomised(pairs, exchanges=exchanges, seed=seed).mean(axis=1, keepdims=True)
    above, below = exchanged(np.array([estimate.value]), draws[np.isfinite(draws[:, 0])])
    return replace(estimate, above=float(above[0]), below=float(below[0]))


def exchanged(
    value: Float64[np.ndarray, " P"], draws: Float64[np.ndarray, "R P"]
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Return one-sided p of P differences among those of ``randomised``, above and below.

    It is the share of hits among the draws and the difference itself, which is a hit.
    """
    # Sums in another order differ in the last bits.
    slack = TIE * np.maximum(1.0, np.abs(value))
    hits = [(draws >= value - slack).sum(axis=0), (draws <= value + slack).sum(axis=0)]
    above, below = ((1.0 + n) / (1 + len(draws)) for n in hits)
    return above, below


def _mean(figures: Float64[np.ndarray, "R S"]) -> Float64[np.ndarray, " R"]:
    mean: Float64[np.ndarray, " R"] = figures.mean(axis=1)
    return mean


def _mean_difference(figures: Float64[np.ndarray, "R S"]) -> Float64[np.ndarray, " R"]:
    return _mean(figures[:, ::2] - figures[:, 1::2])


def _corrected(t: float, skewness: float) -> float:
    """Return Hall's monotone transform of t, which has almost no skewness.

    Args:
        t: a studentised figure.
        skewness: of the figure (not of single scores).
    """
    return t + skewness * (t**2 / 3 + 1 / 6) + skewness**2 * t**3 / 27


def _uncorrected(t: float, skewness: Float64[np.ndarray, " P"]) -> Float64[np.ndarray, " P"]:
    """Return the inverse of ``_corrected``."""
    some = np.where(np.abs(skewness) < TIE, 1.0, skewness)
    found = 3 / some * (np.cbrt(1 + some * (t - some / 6)) - 1)
    inverse: Float64[np.ndarray, " P"] = np.where(np.abs(skewness) < TIE, t, found)
    return inverse
