"""Paired tests of systems on the same references, each against the first.

They ask about trained models (``avbench.evaluation.statistics``): would the difference hold on
other ids? The ids of one group, e.g. the clips of one video, are exchanged and left out together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from avbench.evaluation.score import Scored, statistics
from avbench.evaluation.statistics.estimate import Estimate, holm
from avbench.evaluation.statistics.resampling import System, by_video
from avbench.evaluation.statistics.sufficient import Sufficient
from avbench.evaluation.statistics.videos import difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The difference of one score between a system and the first."""

    system: int
    """Number of the system; the first is 0."""
    score: str
    estimate: Estimate
    """The difference, with p by approximate randomisation."""
    corrected: float = 1.0
    """Two-sided p after Holm's correction over all comparisons."""


def against_first(
    systems: Sequence[Sequence[Scored]], groups: Mapping[str, str] | None = None
) -> list[Comparison]:
    """Test all systems against the first, score by score, corrected together.

    Args:
        systems: the scores of each; scores without sufficient statistics are not compared.
        groups: the group of each id; None: each id is drawn by itself.
    """
    found = [one for score in systems[0] for one in _of_score(score.score.name, systems, groups)]
    found.sort(key=lambda one: one.system)
    corrected = holm([one.estimate.p for one in found])
    return [replace(one, corrected=p) for one, p in zip(found, corrected, strict=True)]


def _of_score(
    name: str, systems: Sequence[Sequence[Scored]], groups: Mapping[str, str] | None
) -> Iterator[Comparison]:
    made = [_system(one, groups) for of in systems for one in of if one.score.name == name]
    known = [system for system in made if system is not None]
    if len(known) < len(systems):
        return
    first, *others = known
    units = "ids" if groups is None else "groups"
    for number, other in enumerate(others, start=1):
        estimate = difference([(other, first)], units=units)
        yield Comparison(system=number, score=name, estimate=estimate)


def _system(one: Scored, groups: Mapping[str, str] | None) -> System | None:
    """Make a system of a score's items; all systems have the items of the references."""
    values = statistics(one)
    if values is None:
        return None
    if groups is not None:
        items = tuple(one.score.per_item)
        held = tuple(groups[i] for i in items)
        index = {group: i for i, group in enumerate(dict.fromkeys(groups.values()))}
        values = by_video(Sufficient(ids=items, videos=held, values=values), index)
    return System(sums=values, from_sums=partial(one.metric.from_sums, one.score.name))
