"""Intervals cover and tests reject as often as they say, by simulation; and their exact parts.

In the simulated world a clip's score is a row's level, the clip's difficulty (for all models
alike), its video's, the seed's luck and noise. What is to be covered is known there.
"""

import math
from itertools import product

import numpy as np
import pytest

from avbench.evaluation.contracts import Metric
from avbench.evaluation.statistics.estimate import LEVEL, holm
from avbench.evaluation.statistics.resampling import (
    System,
    by_video,
    randomised,
)
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.student import power, quantile, seeds_needed, tail
from avbench.evaluation.statistics.sufficient import Sufficient
from avbench.evaluation.statistics.videos import difference, ends, exchanged, moments, over_videos


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
    """Estimate of the difference."""
    column = getattr(pair[0], "videos" if units == "videos" else "ids")
    index = {name: i for i, name in enumerate(dict.fromkeys(column))}
    first, second = (
        system(by_video(Sufficient(ids=s.ids, videos=column, values=s.values), index), ratio)
        for s in pair
    )
    return difference([(first, second)], exchanges=500, seed=run)


@pytest.mark.slow
def test_intervals_over_videos_cover_a_known_difference_of_corpus_figures() -> None:
    generator = np.random.default_rng(5)
    hits = {"videos": 0, "clips": 0}
    for run in range(1000):
        pair = two_models(generator, 120, 3.0)
        for units in hits:
            found = compared(pair, run, units)
            hits[units] += found.low <= 3.0 <= found.high
    assert 0.93 <= hits["videos"] / 1000 <= 0.97
    assert hits["clips"] / 1000 < 0.9  # as if clips of one video were independent


@pytest.mark.slow
def test_paired_tests_keep_their_level_and_find_a_difference() -> None:
    generator = np.random.default_rng(6)
    null = [compared(two_models(generator, 120, 0.0), run).p <= LEVEL for run in range(2000)]
    assert np.mean(null) == pytest.approx(LEVEL, abs=0.015)
    assert compared(two_models(generator, 500, 8.0), 0).p < 0.01


def skewed(generator, runs: int, videos: int, clips: int):
    """The sums of two systems' scores by video, and the number of clips in each.

    A score is the clip's difficulty, alike for both, then a video's and a clip's own luck with
    each system. All are exponential. Luck is a video's by a third (intraclass correlation).

    Returns:
        Sums (systems, runs, videos), and clips (runs, videos): 1, or 1 to 15.
    """
    held = generator.integers(1, 2 * clips, (runs, videos))
    # The sum of so many exponential draws is a gamma draw.
    difficulty = generator.gamma(held, 20.0)
    luck = held * generator.exponential(10, (2, runs, videos))
    luck += generator.gamma(held, 10 * math.sqrt(2), (2, runs, videos))
    return difficulty + luck, held


TRUE = 30 + 10 * math.sqrt(2)
"""The mean of a skewed score."""


def covers(sums, held, true: float) -> float:
    """The share of runs whose interval of the mean score covers the true one."""
    without = (sums.sum(1, keepdims=True) - sums) / (held.sum(1, keepdims=True) - held)
    value = sums.sum(1) / held.sum(1)
    low, high = ends(value, *moments(without.T), float(sums.shape[1] - 1))
    return float(np.mean((low <= true) & (true <= high)))


@pytest.mark.parametrize("clips", [1, 8], ids=["single", "grouped"])
@pytest.mark.parametrize("videos", [10, 20, 50, 150])
def test_on_skewed_scores_intervals_cover_and_tests_keep_their_level(
    videos: int, clips: int
) -> None:
    """Of figures and of differences, with clips alone or about eight a video."""
    generator = np.random.default_rng([videos, clips])
    (first, second), held = skewed(generator, 4000, videos, clips)
    assert 0.93 <= covers(second, held, TRUE) <= 0.97
    assert 0.93 <= covers(first + 3 * held - second, held, 3.0) <= 0.97
    # Exchanges of all runs at once: each pair is a run.
    runs = 1500
    pairs = [
        tuple(system(np.stack([sums[run], held[run]], axis=1)) for sums in (first, second))
        for run in range(runs)
    ]
    values = np.array([a.value - b.value for a, b in pairs])
    sides = exchanged(values, randomised(pairs, exchanges=500, seed=videos))
    assert 0.03 <= np.mean(2 * np.minimum(*sides) <= LEVEL) <= 0.07


def test_clips_of_one_video_are_not_independent() -> None:
    """Each clip by itself covers far less: what an interval over single ids would say."""
    generator = np.random.default_rng(9)
    of_video = np.repeat(generator.exponential(10, (2000, 20)), 8, axis=1)
    scores = of_video + generator.exponential(10 * math.sqrt(2), of_video.shape)
    grouped = scores.reshape(2000, 20, 8).sum(2)
    true = 10 + 10 * math.sqrt(2)
    assert covers(grouped, np.full(grouped.shape, 8), true) >= 0.93
    assert covers(scores, np.ones(scores.shape), true) < 0.8


def test_the_simulated_intervals_are_those_of_reports() -> None:
    (first, second), held = skewed(np.random.default_rng(1), 1, 12, 8)
    pair = [system(np.stack([sums[0], held[0]], axis=1)) for sums in (first, second)]
    found = over_videos(pair, lambda figures: figures[:, 0] - figures[:, 1]).estimate()
    assert difference([tuple(pair)], exchanges=100).low == found.low
    gap = first - second
    for shift, covered in ((1e-6, 1.0), (-1e-6, 0.0)):
        assert covers(gap, held, found.low + shift) == covered
        assert covers(gap, held, found.high - shift) == covered


def test_a_few_videos_give_no_interval_and_hardly_a_rejection() -> None:
    generator = np.random.default_rng(8)
    for videos in (2, 3, 5, 8, 9):
        (first, second), held = skewed(generator, 400, videos, 1)
        pairs = [
            tuple(system(np.stack([sums[run], held[run]], axis=1)) for sums in (first, second))
            for run in range(400)
        ]
        values = np.array([a.value - b.value for a, b in pairs])
        sides = exchanged(values, randomised(pairs, exchanges=500, seed=videos))
        assert np.mean(2 * np.minimum(*sides) <= LEVEL) <= 0.07
        found = difference(pairs[:1], exchanges=500)
        assert (found.low, found.high) == (-math.inf, math.inf)
        assert found.reason == f"{videos} videos; an interval needs at least 10"


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


def test_without_skewness_the_interval_is_students() -> None:
    values = np.concatenate([np.arange(10.0), -np.arange(10.0)])
    found = over_videos([system(values)]).estimate(null=1.0)
    error = values.std(ddof=1) / math.sqrt(20)
    half = quantile(LEVEL / 2, 19) * error
    assert (found.low, found.high, found.error) == pytest.approx((-half, half, error))
    assert found.above == pytest.approx(tail(-1 / error, 19))
    assert found.below == pytest.approx(tail(1 / error, 19))
    assert found.n == 20


def test_skewed_scores_push_the_interval_towards_their_tail() -> None:
    values = np.random.default_rng(0).exponential(10, 30)
    found = over_videos([system(values)]).estimate()
    half = quantile(LEVEL / 2, 29) * values.std(ddof=1) / math.sqrt(30)
    assert found.low == pytest.approx(values.mean() - half)
    assert found.high > values.mean() + 1.1 * half
    at_end = over_videos([system(values)]).estimate(null=found.high)
    assert 2 * at_end.below == pytest.approx(LEVEL)  # the interval and p agree


def test_the_jackknife_is_that_of_a_loop_over_videos() -> None:
    values = np.random.default_rng(0).uniform(1, 9, (40, 2))
    pair = [system(values, ratio), system(values[:, 0])]
    found = over_videos(pair, lambda f: 100 * f[:, 0] / f[:, 1])

    def figure(v):
        return 100 * (100 * v[:, 0].sum() / v[:, 1].sum()) / v[:, 0].mean()

    each = [figure(np.delete(values, i, axis=0)) for i in range(40)]
    assert found.value == pytest.approx(figure(values))
    assert found.variance == pytest.approx(39 / 40 * np.square(each - np.mean(each)).sum())


def test_figures_of_different_videos_vary_by_themselves() -> None:
    """Welch's test by hand."""
    generator = np.random.default_rng(3)
    a, b = generator.normal(5, 1, 12), generator.normal(3, 4, 30)
    gap = over_videos([system(a)]) - over_videos([system(b)])
    parts = a.var(ddof=1) / 12, b.var(ddof=1) / 30
    assert gap.variance == pytest.approx(sum(parts))
    assert gap.df == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 11 + parts[1] ** 2 / 29))
    assert gap.n == 12
    few = over_videos([system(a[:4])])
    assert (few - gap).reason == (gap - few).reason == "4 videos; an interval needs at least 10"


def test_randomisation_equals_all_exchanges_of_a_small_set() -> None:
    first, second = np.array([3.0, 5, 4, 6, 9]), np.array([2.0, 4.5, 5, 3, 4])
    pair = (system(first), system(second))
    value = float((first - second).mean())
    every = [np.mean((first - second) * s) for s in product((1, -1), repeat=5)]
    exact = np.mean(np.abs(every) >= abs(value))
    found = difference([pair])
    assert found.value == pytest.approx(value)
    assert found.p == pytest.approx(exact, abs=0.02)


def test_the_test_decides_even_where_there_is_no_spread() -> None:
    ones = system(np.ones(20)), system(np.zeros(20))
    found = difference([ones])
    assert found.p == pytest.approx(2 / 10_001)
    assert found.reason == "no spread: the figure is the same without any of the 20 videos"
    assert found.plain() == {
        "difference": 1.0, "low": None, "high": None, "reason": found.reason, "n": 20,
        "p": found.p,
    }  # fmt: skip
    assert difference([(ones[0], ones[0])]).p == 1.0


def test_seeds_are_averaged_over_the_same_exchanges() -> None:
    generator = np.random.default_rng(4)
    pairs = [tuple(system(generator.normal(5, 1, 30)) for _ in range(2)) for _ in range(3)]
    found = difference(pairs, exchanges=200, seed=7)
    draws = randomised(pairs, exchanges=200, seed=7).mean(axis=1)
    assert found.value == pytest.approx(np.mean([a.value - b.value for a, b in pairs]))
    assert found.above == (np.sum(draws >= found.value) + 1) / 201
    assert randomised([], exchanges=7).shape == (7, 0)


def test_videos_without_the_score_do_not_count() -> None:
    values = np.array([[5.0, 1], [7, 1], [0, 0], *([[0, 0]] * 20)])
    found = over_videos([System(sums=values, from_sums=mean)])
    assert (found.value, found.n) == (6.0, 2)
    assert found.reason == "2 videos; an interval needs at least 10"
    nowhere = over_videos([System(sums=values[2:], from_sums=mean)]).estimate()
    assert math.isnan(nowhere.value)
    assert (nowhere.n, nowhere.p) == (0, 1)


def test_a_figure_that_hangs_on_one_video_has_no_interval() -> None:
    """One video alone has the words that the other system guesses."""
    values = np.stack([np.ones(12), np.eye(12)[0]], axis=1)

    def figure(sums):
        with np.errstate(divide="ignore"):
            return sums[:, 0] / sums[:, 1]

    found = over_videos([System(sums=values, from_sums=figure)])
    assert found.reason == "the figure is not defined without some of the 12 videos"
