"""10,000 exchanges of 3,000 clips, ten rows and four metrics: all intervals and paired tests.

The statistics are made up, of the shapes and sizes that the caption metrics write; the figures
are computed by the metric itself.
"""

import time
from functools import partial
from statistics import median

import numpy as np
import pytest

from avbench.builtin.metrics.coco_caption import CocoCaption
from avbench.evaluation.statistics.resampling import (
    EXCHANGES,
    System,
    randomised,
)
from avbench.evaluation.statistics.videos import difference, over_videos

CLIPS, ROWS, SECONDS = 3000, 10, 10.0
SCORES = ("bleu4", "meteor", "rougeL", "cider")


def systems() -> list[System]:
    """Ten rows of four scores, row by row."""
    generator = np.random.default_rng(0)
    metric = CocoCaption()
    made = []
    for _ in range(ROWS):
        words = generator.integers(6, 15, CLIPS).astype(float)
        guessed = np.maximum(words[:, None] - np.arange(4), 0)
        right = np.floor(guessed * generator.uniform(0.2, 0.8, (CLIPS, 4)))
        lengths = np.stack([words, generator.integers(6, 15, CLIPS)], axis=1)
        functions = np.floor(lengths / 3)
        chunks = np.stack([np.ceil(words / 3), *(np.floor(words / 2),) * 2], axis=1)
        matched = generator.integers(0, 3, (CLIPS, 16))
        statistics = {
            "bleu4": np.concatenate([right, guessed, lengths], axis=1),
            "meteor": np.concatenate([lengths, functions, matched, chunks], axis=1),
            "rougeL": np.stack([generator.uniform(0, 100, CLIPS), np.ones(CLIPS)], axis=1),
            "cider": np.stack([generator.gamma(0.5, 100, CLIPS), np.ones(CLIPS)], axis=1),
        }
        made += [
            System(sums=statistics[name], from_sums=partial(metric.from_sums, name))
            for name in SCORES
        ]
    return made


def pairs_of(given: list[System]) -> list[tuple[System, System]]:
    """Nine rows against the first, score by score."""
    return [(s, given[i % len(SCORES)]) for i, s in enumerate(given)][len(SCORES) :]


def loop(pairs: list[tuple[System, System]], exchanges: int, seed: int) -> np.ndarray:
    """One exchange after the other, every pair by itself."""
    generator = np.random.default_rng(seed)
    bits = np.frombuffer(generator.bytes(exchanges * CLIPS // 8), np.uint8).reshape(exchanges, -1)
    drawn = np.unpackbits(bits, axis=1).astype(bool)[..., None]

    def figure(system: System, sums: np.ndarray) -> float:
        return float(system.from_sums(sums.sum(0, keepdims=True))[0])

    return np.array(
        [
            [
                figure(a, np.where(d, b.sums, a.sums)) - figure(b, np.where(d, a.sums, b.sums))
                for a, b in pairs
            ]
            for d in drawn
        ]
    )


def table(given: list[System]) -> list[float]:
    """Every interval, and nine rows against the first."""
    found = [over_videos([system]).estimate().low for system in given]
    return found + [difference([pair]).p for pair in pairs_of(given)]


@pytest.mark.benchmark(group="statistics")
def test_exchanges_as_one_product(compare, machine, one_core) -> None:
    pairs = pairs_of(systems())
    ours = randomised(pairs, exchanges=20)
    assert ours == pytest.approx(loop(pairs, 20, 0), rel=1e-9, abs=1e-9)
    columns = sum(a.sums.shape[1] for a, _ in pairs)
    compare(
        f"200 exchanges of {CLIPS} clips, {ROWS} rows, {len(SCORES)} metrics",
        ours=lambda: randomised(pairs, exchanges=200),
        theirs=lambda: loop(pairs, 200, 0),
        against="a loop over exchanges",
        limit=machine.limit(flops=2.0 * 200 * CLIPS * columns, moved=8.0 * CLIPS * columns),
        rounds=3,
        note="both by the same statistics and figures; the limit is for fp32, ours is float64",
    )


@pytest.mark.benchmark(group="statistics")
def test_all_intervals_and_tests_of_a_table(benchmark, tabulated, one_core) -> None:
    given = systems()
    taken = []

    def timed() -> None:
        start = time.perf_counter()
        table(given)
        taken.append(time.perf_counter() - start)

    benchmark.pedantic(timed, rounds=3)
    if benchmark.stats is None:  # --benchmark-disable: run once, not timed
        return
    seconds = median(taken)
    row = {
        "what": f"{EXCHANGES} exchanges, {CLIPS} clips, {ROWS} rows, {len(SCORES)} metrics",
        "seconds": f"{seconds:.2f}",
        "goal": f"≤ {SECONDS:g}",
        "met": "yes" if seconds <= SECONDS else "**no**",
    }
    tabulated("All intervals and paired tests of a table, one core", [row])
