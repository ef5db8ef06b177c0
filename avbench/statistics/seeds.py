"""Intervals and tests over seeds: what a few trainings say about the methods."""

import math

import numpy as np
from jaxtyping import Float64

from avbench.statistics.estimate import LEVEL, Estimate
from avbench.statistics.student import quantile, tail


def over_seeds(values: Float64[np.ndarray, " S"], *, null: float = 0.0) -> Estimate:
    """The mean over seeds, by Student's t.

    For a difference between rows pass each seed's difference: rows that share a seed share
    weights, batches or a whole pre-training, so they are compared seed by seed. The interval
    holds for other seeds on this test set.

    Args:
        values: one figure, or one difference, a seed.
        null: the value that is tested against.

    Raises:
        ValueError: there is no value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("over_seeds: no seed")
    mean = float(values.mean())
    if n == 1:
        return Estimate(
            value=mean, low=-math.inf, high=math.inf, above=1.0, below=1.0, error=math.inf, n=1
        )
    error = float(values.std(ddof=1)) / math.sqrt(n)
    half = quantile(LEVEL / 2, n - 1) * error
    if error:
        t = (mean - null) / error
    else:  # equal for all seeds
        t = math.copysign(math.inf, mean - null) if mean != null else 0.0
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        above=tail(t, n - 1),
        below=tail(-t, n - 1),
        error=error,
        n=n,
    )
