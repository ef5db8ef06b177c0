"""The comparisons of a claim: each a difference, its interval, and what speaks for and against.

About methods the evidence is Student's t over the seeds that the rows share, about models the
bootstrap over videos (``avbench.evaluation.statistics``). Costs do not vary: a claim on them holds
or not. Losses of pre-training vary with the seed alone.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64

from avbench.config.claims import Claim
from avbench.evaluation.statistics.estimate import Estimate
from avbench.evaluation.statistics.resampling import over_videos, randomisation_p, randomised
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.student import MOST, seeds_needed
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import Place

POWER = 0.8
"""How likely the seeds or videos that are asked for decide, if what was measured is true."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What a suite's records say."""

    values: Mapping[Place, Mapping[int | None, float]]
    """The figures by seed; None: it depends on none."""
    published: Mapping[Place, float]
    """The paper's."""
    absent: Mapping[tuple[str, str], str]
    """Label and dataset (empty: all): why there is no figure."""
    datasets: tuple[str, ...]
    cost_metrics: frozenset[str] = frozenset()
    """The metrics that belong to no dataset and vary with nothing."""
    loss_metrics: frozenset[str] = frozenset()
    """The figures of pre-training, which belong to no dataset and vary with the seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One comparison of a claim."""

    over: str
    metric: str
    dataset: str
    """Empty: a cost, or a loss of pre-training."""
    than_on: str
    """The dataset whose difference is taken off; empty: none."""
    estimate: Estimate | None = None
    """None: there is nothing to compare; ``reason`` says why."""
    favours: float = 1.0
    """One-sided p of what the claim says of this comparison."""
    opposes: float = 1.0
    """One-sided p of the contrary."""
    exchanged: float | None = None
    """Two-sided p by approximate randomisation, of a plain difference between trained models."""
    margin: float = 0.0
    """How far the difference is on the claim's side; negative: on the other."""
    published: float | None = None
    """The same difference of the paper's figures."""
    exact: bool = False
    """Whether it is of costs, which do not vary."""
    reason: str = ""


def of_costs(claim: Claim, figures: Figures) -> bool:
    """Whether a claim is on costs."""
    return claim.metrics[0] in figures.cost_metrics


def comparisons(
    claim: Claim, figures: Figures, statistics: ScoreStatistics | None
) -> Iterator[Compared]:
    """Everything that a claim compares, dataset by dataset.

    Args:
        claim: the claim.
        figures: what the records say.
        statistics: of the scores; without them claims about models have no evidence.
    """
    datasets = claim.datasets or figures.datasets
    if claim.metrics[0] in figures.cost_metrics | figures.loss_metrics:
        datasets = ("",)
    for dataset in datasets:
        for than_on in claim.than_on or ("",):
            for over in claim.over:
                for metric in claim.metrics:
                    bare = Compared(
                        over=over,
                        metric=metric,
                        dataset=dataset,
                        than_on=than_on,
                        exact=of_costs(claim, figures),
                    )
                    yield _Comparison(claim, bare).made(figures, statistics)


def needed(claim: Claim, part: Compared, level: float) -> int | None:
    """How many seeds, or videos, would decide a comparison in the direction that was measured.

    The power calculation: the least number with which a test at this level finds a difference,
    with ``POWER``, if the true difference and its spread are those measured.

    Returns:
        The number in all; None: more than anybody has, or nothing is known of the spread.
    """
    found = part.estimate
    if found is None or not math.isfinite(found.error) or part.margin == 0:
        return None
    if claim.about == "methods":
        n = seeds_needed(abs(part.margin) / (found.error * math.sqrt(found.n)), level, POWER)
    else:
        normal = NormalDist()
        z = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(POWER)
        n = math.ceil(found.n * (z * found.error / part.margin) ** 2)
        n = n if n <= MOST * found.n else None
    return None if n is None else max(n, found.n + 1)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A comparison, and the figures that it is made of."""

    claim: Claim
    bare: Compared

    @property
    def places(self) -> list[Place]:
        """Row and other row; with an interaction the same on the other dataset."""
        rows, metric = (self.claim.row, self.bare.over), self.bare.metric
        datasets = [self.bare.dataset, *([self.bare.than_on] if self.bare.than_on else [])]
        return [(label, dataset, metric) for dataset in datasets for label in rows]

    def made(self, figures: Figures, statistics: ScoreStatistics | None) -> Compared:
        paper = None
        if all(place in figures.published for place in self.places):
            printed = [np.array([figures.published[place]]) for place in self.places]
            paper = float(self.difference(printed)[0])
        try:
            estimate, favours, opposes = self.evidence(figures, statistics)
        except _AbsentError as absent:
            return replace(self.bare, published=paper, reason=str(absent))
        return replace(
            self.bare,
            published=paper,
            estimate=estimate,
            favours=favours,
            opposes=opposes,
            exchanged=self.exchanged(figures, statistics, estimate.value),
            margin=self.margin(estimate.value),
        )

    def evidence(
        self, figures: Figures, statistics: ScoreStatistics | None
    ) -> tuple[Estimate, float, float]:
        seeds = self.seeds(figures)
        by_seed = self.difference(
            [np.array([figures.values[place][s] for s in seeds]) for place in self.places]
        )
        if not np.isfinite(by_seed).all():
            raise _AbsentError(f"{self.bare.over}: a difference in percent of 0")
        value = float(by_seed.mean())
        if of_costs(self.claim, figures):
            holds = self.margin(value) > 0 or (
                self.claim.expect == "same" and self.margin(value) == 0
            )
            exact = Estimate(
                value=value, low=value, high=value, above=1.0, below=1.0, error=0.0, n=len(seeds)
            )
            return exact, float(not holds), float(holds)
        if self.claim.about == "methods":
            return self.tested(lambda null: over_seeds(by_seed, null=null))
        draws, videos = self.drawn(seeds, statistics)
        return self.tested(lambda null: over_videos(value, draws, videos=videos, null=null))

    def tested(self, against: Callable[[float], Estimate]) -> tuple[Estimate, float, float]:
        """The estimate, and the two one-sided p, by a test against any null."""
        claim = self.claim
        estimate = against(0.0)
        if claim.expect == "more":
            found = against(claim.by)
            return estimate, found.above, found.below
        if claim.expect == "less":
            found = against(-claim.by)
            return estimate, found.below, found.above
        # Two one-sided tests for sameness; for a difference either, so both are corrected.
        upper, lower = against(claim.by), against(-claim.by)
        opposes = min(1.0, 2 * min(upper.above, lower.below))
        return estimate, max(upper.below, lower.above), opposes

    def margin(self, value: float) -> float:
        claim = self.claim
        match claim.expect:
            case "more":
                return value - claim.by
            case "less":
                return -claim.by - value
        return claim.by - abs(value)

    def seeds(self, figures: Figures) -> list[int | None]:
        """The seeds that all figures have."""
        given = [figures.values.get(place, {}) for place in self.places]
        shared = [seed for seed in given[0] if all(seed in other for other in given)]
        if shared:
            return shared
        for (label, dataset, _), has in zip(self.places, given, strict=True):
            if not has:
                absent = figures.absent
                why = absent.get((label, dataset)) or absent.get((label, ""), "no such figure")
                raise _AbsentError(f"{label}: {why}")
        raise _AbsentError("the rows have no seed in common")

    def drawn(
        self, seeds: Sequence[int | None], statistics: ScoreStatistics | None
    ) -> tuple[Float64[np.ndarray, " R"], int]:
        """The differences on resamples of the videos, mean over seeds, and the videos."""
        of_place = []
        videos = []
        for label, dataset, metric in self.places:
            draws = statistics.draws(dataset, metric) if statistics is not None else {}
            lacking = [seed for seed in seeds if (label, seed) not in draws]
            if statistics is None or lacking:
                raise _AbsentError(f"{label}: no statistics of {metric} were kept")
            of_place.append(np.stack([draws[label, seed] for seed in seeds]))
            videos.append(len(statistics.systems(dataset, metric)[label, seeds[0]].sums))
        return self.difference(of_place).mean(axis=0), min(videos)

    def exchanged(
        self, figures: Figures, statistics: ScoreStatistics | None, value: float
    ) -> float | None:
        """The p by exchanging the rows' outputs, which assumes that the rows are alike.

        So it tests a plain difference alone, no interaction and no other null than 0.
        """
        claim, bare = self.claim, self.bare
        if (
            claim.about != "models"
            or bare.than_on
            or of_costs(claim, figures)
            or statistics is None
        ):
            return None
        if claim.percent or claim.by or claim.expect == "same":
            return None
        systems = statistics.systems(bare.dataset, bare.metric)
        pairs = [(systems[claim.row, s], systems[bare.over, s]) for s in self.seeds(figures)]
        seed = zlib.crc32(bare.dataset.encode())
        return randomisation_p(value, randomised(pairs, seed=seed).mean(axis=1))

    def difference(self, figures: Sequence[np.ndarray]) -> np.ndarray:
        """The difference that the claim is about, of the figures of its places."""
        gaps: list[np.ndarray] = []
        for ours, other in zip(figures[::2], figures[1::2], strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                gaps.append(100 * (ours - other) / other if self.claim.percent else ours - other)
        return gaps[0] - (gaps[1] if len(gaps) > 1 else 0.0)


class _AbsentError(Exception):
    """There is nothing to compare; says why."""
