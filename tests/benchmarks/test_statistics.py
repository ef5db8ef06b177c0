"""10,000 resamples of 3,000 clips, ten rows and four metrics: all intervals and paired tests.

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
    RESAMPLES,
    System,
    bootstrap,
    over_videos,
    randomisation_p,
    randomised,
)

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


def loop(given: list[System], resamples: int, seed: int) -> np.ndarray:
    """One resample after the other, every system by itself."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(CLIPS, size=(resamples, CLIPS))
    return np.array([[s.figure(s.sums[d].sum(0, keepdims=True))[0] for s in given] for d in drawn])


def table(given: list[System]) -> list[float]:
    """Every interval, and nine rows against the first by both tests."""
    draws = bootstrap(given)
    found = [over_videos(s.value, draws[:, i], videos=CLIPS).low for i, s in enumerate(given)]
    first = given[: len(SCORES)]
    pairs = [(s, first[i % len(SCORES)]) for i, s in enumerate(given)][len(SCORES) :]
    exchanged = randomised(pairs)
    for i, (ours, base) in enumerate(pairs):
        gap = ours.value - base.value
        paired = draws[:, i + len(SCORES)] - draws[:, i % len(SCORES)]
        found.append(over_videos(gap, paired, videos=CLIPS).p)
        found.append(randomisation_p(gap, exchanged[:, i]))
    return found


@pytest.mark.benchmark(group="statistics")
def test_resamples_as_one_product(compare, machine, one_core) -> None:
    given = systems()
    assert bootstrap(given, resamples=20) == pytest.approx(loop(given, 20, 0), rel=1e-12)
    columns = sum(s.sums.shape[1] for s in given)
    compare(
        f"200 resamples of {CLIPS} clips, {ROWS} rows, {len(SCORES)} metrics",
        ours=lambda: bootstrap(given, resamples=200),
        theirs=lambda: loop(given, 200, 0),
        against="a loop over resamples",
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
        "what": f"{RESAMPLES} resamples, {CLIPS} clips, {ROWS} rows, {len(SCORES)} metrics",
        "seconds": f"{seconds:.2f}",
        "goal": f"≤ {SECONDS:g}",
        "met": "yes" if seconds <= SECONDS else "**no**",
    }
    tabulated("All intervals and paired tests of a table, one core", [row])
