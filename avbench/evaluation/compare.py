"""Paired tests of systems on the same references, each against the first.

They ask about trained models (``avbench.evaluation.statistics``): would the difference hold on
other items? Each scored id is drawn or exchanged by itself, because files of captions do not say
which clips belong to one video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from avbench.evaluation.score import Scored, statistics
from avbench.evaluation.statistics.estimate import Estimate, holm
from avbench.evaluation.statistics.resampling import (
    System,
    bootstrap,
    over_videos,
    randomisation_p,
    randomised,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference of one score between a system and the first."""

    system: int
    """Number of the system; the first is 0."""
    score: str
    estimate: Estimate
    """The difference by paired bootstrap."""
    exchanged: float
    """Two-sided p of approximate randomisation."""
    corrected: float = 1.0
    """Two-sided p of the bootstrap after Holm's correction over all comparisons."""
    exchanged_corrected: float = 1.0


def against_first(systems: Sequence[Sequence[Scored]]) -> list[Comparison]:
    """Test all systems against the first, score by score, corrected together.

    Args:
        systems: the scores of each; scores without sufficient statistics are not compared.
    """
    found = [one for score in systems[0] for one in _of_score(score.score.name, systems)]
    found.sort(key=lambda one: one.system)
    corrected = holm([one.estimate.p for one in found])
    exchanged = holm([one.exchanged for one in found])
    return [
        replace(one, corrected=p, exchanged_corrected=q)
        for one, p, q in zip(found, corrected, exchanged, strict=True)
    ]


def _of_score(name: str, systems: Sequence[Sequence[Scored]]) -> Iterator[Comparison]:
    made = [_system(one) for scores in systems for one in scores if one.score.name == name]
    known = [system for system in made if system is not None]
    if len(known) < len(systems):
        return
    first, *others = known
    draws = bootstrap(known)
    for number, other in enumerate(others, start=1):
        value = other.value - first.value
        gaps = draws[:, number] - draws[:, 0]
        yield Comparison(
            system=number,
            score=name,
            estimate=over_videos(value, gaps, videos=len(first.sums)),
            exchanged=randomisation_p(value, randomised([(other, first)])[:, 0]),
        )


def _system(one: Scored) -> System | None:
    """Make a system of a score's items; all systems have the items of the references."""
    sums = statistics(one)
    if sums is None:
        return None
    return System(sums=sums, from_sums=partial(one.metric.from_sums, one.score.name))
