"""Systems by video, and random exchanges of their outputs.

An exchange is a row of zeros and ones, one a video. All exchanges of all systems are therefore one
product, ``exchanged (R, V) @ statistics (V, K)``, in blocks that fit the cache.

Source: approximate randomisation: Computer-intensive methods (Noreen, 1989).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from avbench.evaluation.statistics.sufficient import Sufficient

EXCHANGES = 10_000
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


def randomised(
    pairs: Sequence[tuple[System, System]], *, exchanges: int = EXCHANGES, seed: int = 0
) -> Float64[np.ndarray, "R P"]:
    """Return the differences of pairs of systems after random exchanges of videos' outputs.

    If the systems of a pair are alike, their own difference is distributed like these. All pairs
    exchange the same videos, so that differences may be averaged over seeds.

    Args:
        pairs: P of them, over the same videos.
        exchanges: R.
        seed: of the exchanges.
    """
    if not pairs:
        return np.empty((exchanges, 0))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    of_first, of_second = stacked(first), stacked(second)
    gap = of_second - of_first
    totals = of_first.sum(0), of_second.sum(0)
    generator = np.random.default_rng(seed)
    width = -(-len(gap) // 8)  # bytes
    blocks = []
    for rows in _blocks(exchanges):
        bits = np.frombuffer(generator.bytes(rows * width), np.uint8).reshape(rows, width)
        moved = np.unpackbits(bits, axis=1, count=len(gap)).astype(float) @ gap
        blocks.append(figures_of(totals[0] + moved, first) - figures_of(totals[1] - moved, second))
    return np.concatenate(blocks)


def _blocks(exchanges: int) -> Iterator[int]:
    for start in range(0, exchanges, BLOCK):
        yield min(BLOCK, exchanges - start)


def stacked(systems: Sequence[System]) -> Float64[np.ndarray, "V K"]:
    """Put the statistics of all systems side by side."""
    return np.concatenate([system.sums for system in systems], axis=1)


def figures_of(
    sums: Float64[np.ndarray, "R K"], systems: Sequence[System]
) -> Float64[np.ndarray, "R S"]:
    """Return the figures of systems whose sums stand side by side."""
    ends = np.cumsum([system.sums.shape[1] for system in systems])
    parts = np.split(sums, ends[:-1], axis=1)
    return np.stack(
        [system.from_sums(part) for system, part in zip(systems, parts, strict=True)], axis=1
    )
