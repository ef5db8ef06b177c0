"""Intervals and tests over seeds, about the methods."""

import math

import numpy as np
from jaxtyping import Float64

from avbench.evaluation.statistics.estimate import LEVEL, TIE, Estimate
from avbench.evaluation.statistics.student import quantile, tail


def over_seeds(values: Float64[np.ndarray, " S"], *, null: float = 0.0) -> Estimate:
    """Return the mean over seeds with its interval, by Student's t.

    For a difference between rows, pass each seed's difference: rows that share a seed share
    weights, batches or a whole pre-training, so they are compared seed by seed. The interval
    holds for other seeds on this test set.

    Figures that are equal for all seeds give no interval, like a single seed. Two seeds often
    agree by chance on scores as coarse as one point. Taking their spread for zero would reject
    twice as often as the level allows.

    Args:
        values: one figure, or one difference, a seed.
        null: the value to test against.

    Raises:
        ValueError: there is no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("over_seeds: no seed")
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else 0.0
    if spread < TIE:
        few = "one seed: nothing is known of the spread over seeds; at least two are needed"
        reason = few if n == 1 else "equal for all seeds: nothing is known of the spread"
        return Estimate.unknown(mean, n, reason)
    error = spread / math.sqrt(n)
    half = quantile(LEVEL / 2, n - 1) * error
    t = (mean - null) / error
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        above=tail(t, n - 1),
        below=tail(-t, n - 1),
        error=error,
        n=n,
    )
