"""Intervals and tests over videos, about trained models.

A resample is the number of times each video was drawn. All resamples of all systems and scores are
therefore one product, ``counts (R, V) @ statistics (V, K)``, in blocks that fit the cache.

Sources: Statistical significance tests for machine translation evaluation (Koehn, EMNLP 2004);
approximate randomisation: Computer-intensive methods (Noreen, 1989).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from avbench.evaluation.statistics.estimate import LEVEL, Estimate
from avbench.evaluation.statistics.sufficient import Sufficient

RESAMPLES = 10_000
BLOCK = 500

FromSums = Callable[[Float64[np.ndarray, "R K"]], Float64[np.ndarray, " R"]]
"""Makes figures from sums of statistics: ``Metric.from_sums`` of one score."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class System:
    """One score of one trained model, by video."""

    sums: Float64[np.ndarray, "V K"]
    """Sum of the statistics of each video's items; zeros for videos without the score."""
    from_sums: FromSums

    @property
    def value(self) -> float:
        """The figure on the whole test set."""
        return float(self.from_sums(self.sums.sum(axis=0, keepdims=True))[0])


def by_video(statistics: Sufficient, videos: Mapping[str, int]) -> Float64[np.ndarray, "V K"]:
    """Sum the statistics of each video's items.

    Args:
        statistics: of one score.
        videos: the index of each video, 0 to V − 1, the same for all systems compared.
    """
    rows = np.array([videos[video] for video in statistics.videos], dtype=np.int64)
    sums = np.zeros((len(videos), statistics.values.shape[1]))
    np.add.at(sums, rows, statistics.values)
    return sums


def bootstrap(
    systems: Sequence[System], *, resamples: int = RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, "R S"]:
    """Return every system's figure on the same resamples of the videos.

    Args:
        systems: S of them, over the same videos.
        resamples: R.
        seed: of the draws.
    """
    if not systems:
        return np.empty((resamples, 0))
    videos = len(systems[0].sums)
    generator = np.random.default_rng(seed)

    def counts(rows: int) -> Float64[np.ndarray, "R V"]:
        drawn = generator.integers(videos, size=(rows, videos))
        drawn += videos * np.arange(rows)[:, None]
        return np.bincount(drawn.ravel(), minlength=rows * videos).reshape(rows, -1) * 1.0

    stacked = _stacked(systems)
    return np.concatenate(
        [_figures(counts(rows) @ stacked, systems) for rows in _blocks(resamples)]
    )


def randomised(
    pairs: Sequence[tuple[System, System]], *, resamples: int = RESAMPLES, seed: int = 0
) -> Float64[np.ndarray, "R P"]:
    """Return the differences of pairs of systems after random exchanges of videos' outputs.

    If the systems of a pair are alike, their own difference is distributed like these. All pairs
    exchange the same videos, so that differences may be averaged over seeds.

    Args:
        pairs: P of them, over the same videos.
        resamples: R.
        seed: of the exchanges.
    """
    if not pairs:
        return np.empty((resamples, 0))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    of_first, of_second = _stacked(first), _stacked(second)
    gap = of_second - of_first
    totals = of_first.sum(0), of_second.sum(0)
    generator = np.random.default_rng(seed)
    blocks = []
    for rows in _blocks(resamples):
        exchanged = generator.integers(2, size=(rows, len(gap)), dtype=np.int8).astype(float)
        moved = exchanged @ gap
        blocks.append(_figures(totals[0] + moved, first) - _figures(totals[1] - moved, second))
    return np.concatenate(blocks)


def over_videos(
    value: float, draws: Float64[np.ndarray, " R"], *, videos: int, null: float = 0.0
) -> Estimate:
    """Return a figure or difference with the bootstrap's percentile interval and p values.

    The bootstrap is moved to the null: p is the share of resamples that stray as far from the
    figure as the figure does from the null.

    Args:
        value: on the test set itself.
        draws: on its resamples; undefined ones (NaN) do not count.
        videos: their number.
        null: the value to test against.
    """
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0 or videos < 2:
        return Estimate(
            value=value,
            low=-math.inf,
            high=math.inf,
            above=1.0,
            below=1.0,
            error=math.inf,
            n=videos,
        )
    low, high = np.quantile(draws, [LEVEL / 2, 1 - LEVEL / 2])
    strays = draws - value
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        above=_share(strays >= value - null),
        below=_share(strays <= value - null),
        error=float(draws.std(ddof=1)),
        n=videos,
    )


def randomisation_p(value: float, draws: Float64[np.ndarray, " R"]) -> float:
    """Return the two-sided p of a difference among those of ``randomised``."""
    # Sums in another order differ in the last bits, so the comparison allows for them.
    return _share(np.abs(draws) >= abs(value) * (1 - 1e-9))


def _share(hits: np.ndarray) -> float:
    """Return the share of hits among the draws and the figure itself, which is a hit."""
    return (int(hits.sum()) + 1) / (len(hits) + 1)


def _blocks(resamples: int) -> Iterator[int]:
    for start in range(0, resamples, BLOCK):
        yield min(BLOCK, resamples - start)


def _stacked(systems: Sequence[System]) -> Float64[np.ndarray, "V K"]:
    """Put the statistics of all systems side by side."""
    return np.concatenate([system.sums for system in systems], axis=1)


def _figures(
    sums: Float64[np.ndarray, "R K"], systems: Sequence[System]
) -> Float64[np.ndarray, "R S"]:
    """Return the figures of systems whose sums stand side by side."""
    ends = np.cumsum([system.sums.shape[1] for system in systems])
    parts = np.split(sums, ends[:-1], axis=1)
    return np.stack(
        [system.from_sums(part) for system, part in zip(systems, parts, strict=True)], axis=1
    )
