"""The comparisons of a claim: a difference, its interval, and the evidence for and against.

A claim about methods is tested by Student's t over the seeds that the rows share. One about models
is tested over videos: a plain difference by approximate randomisation, any other by Student's t
(``avbench.evaluation.statistics``). Costs do not vary, so a claim on them holds or not. Losses of
pre-training vary only with the seed.
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
from avbench.evaluation.statistics.resampling import System
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.student import MOST, seeds_needed
from avbench.evaluation.statistics.videos import difference, over_videos
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import Place

POWER = 0.8
"""The power that the needed seeds or videos give, if the measured difference is true."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """A suite's figures by place and seed."""

    values: Mapping[Place, Mapping[int | None, float]]
    """Place → seed → figure; the seed is None for figures without one."""
    published: Mapping[Place, float]
    """Place → the paper's figure."""
    absent: Mapping[tuple[str, str], str]
    """Label and dataset (empty: all) → the reason for missing figures."""
    datasets: tuple[str, ...]
    cost_metrics: frozenset[str] = frozenset()
    """The metrics that belong to no dataset and do not vary."""
    loss_metrics: frozenset[str] = frozenset()
    """The metrics of pre-training, which belong to no dataset and vary with the seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One comparison of a claim."""

    over: str
    metric: str
    dataset: str
    """Empty: a cost, or a loss of pre-training."""
    than_on: str
    """The dataset whose difference is subtracted; empty: none."""
    estimate: Estimate | None = None
    """None if there is nothing to compare; ``reason`` says why."""
    favours: float = 1.0
    """One-sided p for the claim."""
    opposes: float = 1.0
    """One-sided p against the claim."""
    exchanged: bool = False
    """True: p is by approximate randomisation."""
    margin: float = 0.0
    """The difference beyond what the claim asks; negative: short of it."""
    published: float | None = None
    """The same difference between the paper's figures."""
    exact: bool = False
    """True for costs, which do not vary."""
    reason: str = ""
    ran: bool = True
    """False: a figure is missing because its row has not run."""


def of_costs(claim: Claim, figures: Figures) -> bool:
    """Tell whether a claim is on costs."""
    return claim.metrics[0] in figures.cost_metrics


def comparisons(
    claim: Claim, figures: Figures, statistics: ScoreStatistics | None
) -> Iterator[Compared]:
    """Yield the comparisons of a claim, dataset by dataset.

    Args:
        claim: the claim.
        figures: of the suite.
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
    """Return the number of seeds, or videos, that would decide a comparison.

    A power calculation: the least number with which a test at this level finds the measured
    difference with ``POWER``, if the true difference and spread are the measured ones.

    Returns:
        The total number; None if it is impractical, or the spread is unknown.
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
    """A comparison and the places of its figures."""

    claim: Claim
    bare: Compared

    @property
    def places(self) -> list[Place]:
        """The two rows; for an interaction also the same rows on the other dataset."""
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
            return replace(self.bare, published=paper, reason=str(absent), ran=absent.ran)
        return replace(
            self.bare,
            published=paper,
            estimate=estimate,
            favours=favours,
            opposes=opposes,
            exchanged=self.exchanges,
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
        return self.of_models(seeds, statistics)

    def tested(self, against: Callable[[float], Estimate]) -> tuple[Estimate, float, float]:
        """Return the estimate and the p for and against the claim, by a test against any null."""
        claim = self.claim
        estimate = against(0.0)
        if claim.expect == "more":
            found = against(claim.by)
            return estimate, found.above, found.below
        if claim.expect == "less":
            found = against(-claim.by)
            return estimate, found.below, found.above
        # Sameness takes two one-sided tests; a difference either of them, hence the correction.
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
        """Return the seeds that all figures have."""
        given = [figures.values.get(place, {}) for place in self.places]
        shared = [seed for seed in given[0] if all(seed in other for other in given)]
        if shared:
            return shared
        for (label, dataset, _), has in zip(self.places, given, strict=True):
            if not has:
                absent = figures.absent
                why = absent.get((label, dataset)) or absent.get((label, ""))
                raise _AbsentError(f"{label}: {why or 'no such figure'}", ran=why is None)
        raise _AbsentError("the rows have no seed in common")

    @property
    def exchanges(self) -> bool:
        """True if p is by exchanging the rows' outputs, under the null that the rows are alike.

        Exchanges therefore test plain differences from 0 only, and no interaction.
        """
        claim = self.claim
        plain = not (claim.percent or claim.by or claim.expect == "same" or self.bare.than_on)
        return claim.about == "models" and plain and not self.bare.exact

    def of_models(
        self, seeds: Sequence[int | None], statistics: ScoreStatistics | None
    ) -> tuple[Estimate, float, float]:
        """Return the estimate over videos, and the p for and against the claim."""
        of_place = [self.systems(place, seeds, statistics) for place in self.places]
        if self.exchanges:
            pairs = list(zip(*of_place, strict=True))
            found = difference(pairs, seed=zlib.crc32(self.bare.dataset.encode()))
            return self.tested(lambda _: found)
        gap, *than = (
            over_videos([*ours, *other], self.mean_gap)
            for ours, other in zip(of_place[::2], of_place[1::2], strict=True)
        )
        sampled = gap - than[0] if than else gap
        return self.tested(sampled.estimate)

    def systems(
        self, place: Place, seeds: Sequence[int | None], statistics: ScoreStatistics | None
    ) -> list[System]:
        """Return a place's systems, one a seed."""
        label, dataset, metric = place
        held = statistics.systems(dataset, metric) if statistics is not None else {}
        if any((label, seed) not in held for seed in seeds):
            raise _AbsentError(f"{label}: no statistics of {metric} were kept")
        return [held[label, seed] for seed in seeds]

    def mean_gap(self, figures: Float64[np.ndarray, "R S"]) -> Float64[np.ndarray, " R"]:
        """Return the mean over seeds of the rows' difference; the first half is of the claim's."""
        ours, other = np.split(figures, 2, axis=1)
        mean: Float64[np.ndarray, " R"] = self.gap(ours, other).mean(axis=1)
        return mean

    def difference(self, figures: Sequence[np.ndarray]) -> np.ndarray:
        """Return the claim's difference between the figures of its places."""
        gaps = [self.gap(*pair) for pair in zip(figures[::2], figures[1::2], strict=True)]
        return gaps[0] - (gaps[1] if len(gaps) > 1 else 0.0)

    def gap(self, ours: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the difference between two rows' figures, in points or in percent."""
        with np.errstate(divide="ignore", invalid="ignore"):
            gap: np.ndarray = ours - other
            return 100 * gap / other if self.claim.percent else gap


class _AbsentError(Exception):
    """There is nothing to compare, for the reason given.

    Args:
        reason: the reason.
        ran: False if a row has not run.
    """

    def __init__(self, reason: str, *, ran: bool = True) -> None:
        super().__init__(reason)
        self.ran = ran
