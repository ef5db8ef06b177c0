"""Intervals cover and tests reject as often as they say, by simulation; and their exact parts.

In the simulated world a clip's score is a row's level, the clip's difficulty (for all models
alike), its video's, the seed's luck and noise. What is to be covered is known there.
"""

import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from avbench.evaluation.contracts import Metric
from avbench.evaluation.statistics.estimate import LEVEL, holm
from avbench.evaluation.statistics.resampling import (
    System,
    bootstrap,
    by_video,
    over_videos,
    randomisation_p,
    randomised,
)
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.student import power, quantile, seeds_needed, tail
from avbench.evaluation.statistics.sufficient import Sufficient


class Mean(Metric):
    """The default: a mean of figures."""

    def score(self, hypotheses, references):
        raise NotImplementedError


def mean(sums):
    return Mean().from_sums("any", sums)


def ratio(sums):
    """A corpus figure that is no mean over clips, as BLEU's precisions are."""
    return 100 * sums[:, 0] / sums[:, 1]


def system(values, figure=mean):
    """A system of one statistic and a count a video, or of given statistics."""
    values = np.asarray(values, dtype=float)
    if values.ndim == 1:
        values = np.stack([values, np.ones_like(values)], axis=1)
    return System(sums=values, from_sums=figure)


# ------------------------------------------------------------------------ Student's t


@pytest.mark.parametrize(
    ("p", "df", "t"),
    [
        (0.025, 1, 12.706),
        (0.025, 2, 4.303),
        (0.025, 4, 2.776),
        (0.05, 9, 1.833),
        (0.005, 4, 4.604),
    ],
)
def test_quantiles_are_those_of_printed_tables(p: float, df: int, t: float) -> None:
    assert quantile(p, df) == pytest.approx(t, abs=5e-4)
    assert tail(quantile(p, df), df) == pytest.approx(p, rel=1e-9)


def test_one_degree_of_freedom_is_cauchys_closed_form() -> None:
    for t in (-3.0, 0.0, 0.5, 40.0):
        assert tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, rel=1e-9)
    assert tail(math.inf, 3) == 0
    assert tail(-math.inf, 3) == 1


@pytest.mark.parametrize("p", [0.0, 0.5, -1.0])
def test_a_quantile_outside_the_upper_half_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 0.5, got {p}"):
        quantile(p, 3)


def test_power_is_that_of_simulated_tests() -> None:
    draws = np.random.default_rng(1).normal(1.5, 1.0, (40_000, 4))
    t = draws.mean(1) / (draws.std(1, ddof=1) / 2)
    assert power(1.5, 4, 0.05) == pytest.approx((t > quantile(0.025, 3)).mean(), abs=0.01)


def test_seeds_needed_is_the_first_number_with_the_power() -> None:
    for effect, level in product((0.5, 1.0, 3.0), (0.05, 0.01)):
        n = seeds_needed(effect, level)
        assert n is not None
        assert power(effect, n, level) >= 0.8 > power(effect, n - 1, level)
    assert seeds_needed(0.5, 0.05) == 34  # as in Cohen's tables
    assert seeds_needed(0.01, 0.05) is None
    assert seeds_needed(0.0, 0.05) is None


# ------------------------------------------------------------------------ Holm


def test_holm_is_the_closure_of_bonferroni() -> None:
    """A hypothesis is rejected when every intersection that holds it is, each by Bonferroni."""
    generator = np.random.default_rng(0)
    for _ in range(50):
        p = generator.uniform(0, 0.2, 4).tolist()
        sets = [s for s in product((0, 1), repeat=4) if any(s)]
        for i, corrected in enumerate(holm(p)):
            of_sets = [
                sum(s) * min(q for q, inside in zip(p, s, strict=True) if inside)
                for s in sets
                if s[i]
            ]
            assert corrected == pytest.approx(min(1.0, max(of_sets)))
    assert holm([]) == []


# ------------------------------------------------------------------------ over seeds


def test_one_seed_says_nothing() -> None:
    found = over_seeds(np.array([7.0]))
    assert (found.value, found.p, found.n) == (7.0, 1.0, 1)
    assert (found.low, found.high) == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="no seed"):
        over_seeds(np.array([]))


def test_seeds_by_hand() -> None:
    found = over_seeds(np.array([1.0, 2.0, 3.0]))
    half = 4.302652729749464 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.p == pytest.approx(2 * tail(2 * math.sqrt(3), 2))
    assert over_seeds(np.array([1.0, 2.0, 3.0]), null=2.0).p == pytest.approx(1.0)


@pytest.mark.parametrize("values", [[5.0, 5.0], [0.3, 0.1 + 0.2, 0.3]])
def test_equal_seeds_say_nothing_of_their_spread(values: list[float]) -> None:
    for null in (0.0, 5.0):
        found = over_seeds(np.array(values), null=null)
        assert (found.p, found.n) == (1.0, len(values))
        assert (found.low, found.high, found.error) == (-math.inf, math.inf, math.inf)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("grid", [0.1, 1.0])
def test_on_scores_as_coarse_as_a_grid_the_test_keeps_its_level(seeds: int, grid: float) -> None:
    """Two rows alike, of standard deviation 1.5: on whole points two seeds tie by chance."""
    generator = np.random.default_rng([seeds, int(10 * grid)])
    rows = np.round(generator.normal(50, 1.5, (2, 4000, seeds)) / grid) * grid
    gaps = rows[0] - rows[1]
    assert np.mean([over_seeds(gap).p <= LEVEL for gap in gaps]) <= LEVEL + 0.01
    if (seeds, grid) == (2, 1.0):  # the ties whose spread was once taken for none
        assert np.mean((np.ptp(gaps, axis=1) < 1e-9) & (gaps[:, 0] != 0)) > 0.08


def differences(runs: int, seeds: int, delta: float, clips: int = 100) -> np.ndarray:
    """For each run each seed's difference of two rows: means over clips (runs, seeds)."""
    generator = np.random.default_rng([runs, seeds, int(10 * delta)])
    draw = generator.normal
    difficulty = draw(0, 30, (runs, 1, 1, clips))
    batches = draw(0, 1.5, (runs, 1, seeds, 1))  # what rows of one seed share
    luck = draw(0, 2, (runs, 2, seeds, 1))
    level = np.array([50 + delta, 50]).reshape(1, 2, 1, 1)
    figure = (level + difficulty + batches + luck + draw(0, 20, (runs, 2, seeds, clips))).mean(-1)
    return figure[:, 0] - figure[:, 1]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_over_seeds_cover_and_tests_keep_their_level(seeds: int) -> None:
    found = [over_seeds(values) for values in differences(2000, seeds, 4.0)]
    assert 0.93 <= np.mean([e.low <= 4.0 <= e.high for e in found]) <= 0.97
    null = [over_seeds(values).p for values in differences(2000, seeds, 0.0)]
    assert np.mean(np.array(null) <= LEVEL) == pytest.approx(LEVEL, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "covers"), [(3, 0.75), (5, 0.83)])
def test_a_percentile_bootstrap_over_so_few_seeds_would_not_cover(
    seeds: int, covers: float
) -> None:
    values = differences(2000, seeds, 4.0)
    drawn = np.random.default_rng(0).integers(seeds, size=(len(values), 1000, seeds))
    means = np.take_along_axis(values[:, None], drawn, axis=2).mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert np.mean((low <= 4.0) & (high >= 4.0)) == pytest.approx(covers, abs=0.03)


# ------------------------------------------------------------------------ over videos


def two_models(generator, videos: int, delta: float) -> tuple[Sufficient, Sufficient]:
    """Right and guessed words of two models on clips of videos; ratios differ by delta points."""
    of_video = generator.integers(1, 6, videos)  # clips
    names = np.repeat(np.arange(videos), of_video)
    shared = 0.1 * generator.standard_normal(videos)[names]
    gap = 0.1 * generator.standard_normal(videos)[names]
    guessed = generator.integers(5, 15, len(names)).astype(float)
    made = []
    for sign in (0.5, -0.5):
        rate = 0.5 + sign * (delta / 100 + gap) + shared
        right = guessed * (rate + 0.1 * generator.standard_normal(len(names)))
        made.append(
            Sufficient(
                ids=tuple(map(str, range(len(names)))),
                videos=tuple(map(str, names.tolist())),
                values=np.stack([right, guessed], axis=1),
            )
        )
    return made[0], made[1]


def compared(pair: tuple[Sufficient, Sufficient], run: int, units: str = "videos"):
    """Estimate of the difference by bootstrap, and p by randomisation."""
    column = getattr(pair[0], "videos" if units == "videos" else "ids")
    index = {name: i for i, name in enumerate(dict.fromkeys(column))}
    systems = [
        system(by_video(Sufficient(ids=s.ids, videos=column, values=s.values), index), ratio)
        for s in pair
    ]
    value = systems[0].value - systems[1].value
    draws = bootstrap(systems, resamples=500, seed=run)
    found = over_videos(value, draws[:, 0] - draws[:, 1], videos=len(index))
    exchanged = randomised([(systems[0], systems[1])], resamples=500, seed=run)
    return found, randomisation_p(value, exchanged[:, 0])


@pytest.mark.slow
def test_intervals_over_videos_cover_a_known_difference_of_corpus_figures() -> None:
    generator = np.random.default_rng(5)
    hits = {"videos": 0, "clips": 0}
    for run in range(1000):
        pair = two_models(generator, 120, 3.0)
        for units in hits:
            found, _ = compared(pair, run, units)
            hits[units] += found.low <= 3.0 <= found.high
    assert 0.93 <= hits["videos"] / 1000 <= 0.97
    assert hits["clips"] / 1000 < 0.9  # as if clips of one video were independent


@pytest.mark.slow
def test_paired_tests_keep_their_level_and_find_a_difference() -> None:
    generator = np.random.default_rng(6)
    null = []
    for run in range(2000):
        found, p = compared(two_models(generator, 120, 0.0), run)
        null.append((found.p <= LEVEL, p <= LEVEL))
    assert np.mean(null, axis=0) == pytest.approx([LEVEL, LEVEL], abs=0.015)
    found, p = compared(two_models(generator, 500, 8.0), 0)
    assert found.p < 0.01
    assert p < 0.01


@pytest.mark.slow
def test_holm_keeps_the_level_of_a_whole_table() -> None:
    """Nine rows against a tenth: nine tests that share that row."""
    generator = np.random.default_rng(7)
    wrong = 0
    for _ in range(1000):
        rows = 50 + 2 * generator.standard_normal((10, 5))
        wrong += min(holm([over_seeds(row - rows[0]).p for row in rows[1:]])) <= LEVEL
    assert wrong / 1000 <= LEVEL + 0.015


def test_clips_of_a_video_stay_together_and_absent_videos_count_nothing() -> None:
    statistics = Sufficient(
        ids=("a", "b", "c"), videos=("v", "w", "v"), values=np.array([[1.0, 1], [2, 1], [4, 1]])
    )
    sums = by_video(statistics, {"u": 0, "v": 1, "w": 2})
    assert sums.tolist() == [[0, 0], [5, 2], [2, 1]]


def test_the_bootstrap_is_that_of_a_loop_over_resamples() -> None:
    generator = np.random.default_rng(0)
    values = generator.uniform(1, 9, (40, 2))
    ours = bootstrap([system(values, ratio), system(values[:, 0])], resamples=600, seed=3)
    again = bootstrap([system(values, ratio), system(values[:, 0])], resamples=600, seed=3)
    assert np.array_equal(ours, again)
    # The draws are the documented ones: whole blocks of 500 from one generator.
    generator = np.random.default_rng(3)
    for start, rows in ((0, 500), (500, 100)):
        for i, drawn in enumerate(generator.integers(40, size=(rows, 40)), start=start):
            right, guessed = values[drawn].sum(0)
            assert ours[i] == pytest.approx([100 * right / guessed, values[drawn, 0].mean()])


def test_the_bootstrap_of_a_mean_spreads_as_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(10, 3, 400)
    draws = bootstrap([system(values)])[:, 0]
    found = over_videos(float(values.mean()), draws, videos=400)
    error = values.std() / 20
    assert found.error == pytest.approx(error, rel=0.03)
    z = NormalDist().inv_cdf(0.975)
    assert (found.high - found.low) / 2 == pytest.approx(z * error, rel=0.05)
    assert found.p == pytest.approx(1 / 10_001, rel=1.01)  # never 0
    shifted = over_videos(found.value, draws, videos=400, null=found.value)
    assert shifted.p > 0.9


def test_randomisation_equals_all_exchanges_of_a_small_set() -> None:
    first, second = np.array([3.0, 5, 4, 6, 9]), np.array([2.0, 4.5, 5, 3, 4])
    pair = (system(first), system(second))
    value = float((first - second).mean())
    every = [np.mean((first - second) * s) for s in product((1, -1), repeat=5)]
    exact = np.mean(np.abs(every) >= abs(value))
    assert randomisation_p(value, randomised([pair])[:, 0]) == pytest.approx(exact, abs=0.015)


def test_figures_that_are_not_defined_do_not_count() -> None:
    values = np.array([[5.0, 1], [7, 1], [0, 0], [0, 0], [0, 0]])
    draws = bootstrap([System(sums=values, from_sums=mean)], resamples=2000)[:, 0]
    assert np.isnan(draws).any()
    found = over_videos(6.0, draws, videos=5)
    assert (found.low, found.high) == (5, 7)
    nothing = over_videos(6.0, draws[:0], videos=5)
    assert (nothing.p, nothing.low) == (1.0, -math.inf)
    assert over_videos(6.0, draws, videos=1).p == 1
    assert bootstrap([], resamples=7).shape == (7, 0)
    assert randomised([], resamples=7).shape == (7, 0)
