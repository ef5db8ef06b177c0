"""The verdicts on a suite's claims: supported, refuted, inconclusive or not run.

Each comparison of a claim gives two one-sided p, for and against the claim. A claim that must hold
on all datasets takes the weakest evidence for it (an intersection–union test, which needs no
correction). Against it counts the strongest evidence, corrected for the number of comparisons. A
claim that must hold on any dataset takes the reverse. Twice the smaller of the two is the claim's
p. Holm corrects these over all claims of the suite with a comparison, and the verdict follows at
5 %. A claim that they leave open is not run if a row that it needs has no results.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, TypeVar

from avbench.analysis.claims.evidence import Compared, Figures, comparisons, needed, of_costs
from avbench.config.claims import About, Claim
from avbench.evaluation.statistics.estimate import LEVEL, holm
from avbench.reports.systems import ScoreStatistics

Verdict = Literal["supported", "refuted", "inconclusive", "not run"]

T = TypeVar("T")
Join = Callable[[Sequence[T]], T]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The verdict on a claim, with its evidence."""

    claim: Claim
    verdict: Verdict
    p: float
    """Corrected for all claims of the suite."""
    p_alone: float
    tested: bool = True
    """False for a claim on costs, which do not vary, so it holds or not; and without a
    comparison."""
    compared: tuple[Compared, ...]
    needed: int | None = None
    """The seeds or videos that would decide an inconclusive claim; None: unknown or
    impractical."""
    reason: str = ""
    """The reason why a claim is inconclusive or not run."""

    @property
    def unit(self) -> str:
        """The unit of ``needed``: seeds or videos."""
        return "seeds" if self.claim.about == "methods" else "videos"


def judge(
    claims: Sequence[Claim],
    figures: Figures,
    statistics: ScoreStatistics | None = None,
    about: About | None = None,
) -> list[Judgement]:
    """Judge claims, which are corrected together.

    Args:
        claims: of one suite.
        figures: of the suite.
        statistics: of the scores, which claims about models need.
        about: the question for all claims; None: each claim's own.

    Raises:
        DataError: a file of statistics is missing or damaged.
    """
    claims = [claim if about is None else replace(claim, about=about) for claim in claims]
    compared = [tuple(comparisons(claim, figures, statistics)) for claim in claims]
    alone, favoured = [], []
    for claim, parts in zip(claims, compared, strict=True):
        pairs = [[(part.favours, part.opposes) for part in group] for group in _groups(parts)]
        favours, opposes = _joined(claim, pairs, _all_p, _any_p)
        exact = of_costs(claim, figures)
        alone.append(min(favours, opposes) * (1 if exact else 2))
        favoured.append(favours <= opposes)
    corrected = [min(1.0, p) for p in alone]
    tested = [
        i
        for i, (claim, parts) in enumerate(zip(claims, compared, strict=True))
        if not of_costs(claim, figures) and any(part.estimate is not None for part in parts)
    ]
    for i, p in zip(tested, holm([corrected[i] for i in tested]), strict=True):
        corrected[i] = p
    # Holm would test the next claim at this level, so more seeds or videos must reach it.
    level = LEVEL / max(1, sum(corrected[i] > LEVEL for i in tested))
    judgements = []
    for i, claim in enumerate(claims):
        judgement = Judgement(
            claim=claim,
            verdict="inconclusive",
            p=corrected[i],
            p_alone=min(1.0, alone[i]),
            tested=i in tested,
            compared=compared[i],
        )
        if corrected[i] <= LEVEL:
            judgements.append(
                replace(judgement, verdict="supported" if favoured[i] else "refuted")
            )
        else:
            judgements.append(_with_needs(judgement, level))
    return judgements


def _groups(parts: Sequence[Compared]) -> list[list[Compared]]:
    """Group comparisons by dataset."""
    return [list(group) for _, group in groupby(parts, key=lambda part: part.dataset)]


def _joined(claim: Claim, groups: Sequence[Sequence[T]], every: Join[T], some: Join[T]) -> T:
    """Join the comparisons of each dataset, then the datasets."""
    of_datasets = [every(group) for group in groups]
    return every(of_datasets) if claim.holds_on == "all" else some(of_datasets)


def _all_p(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return p for and against that all hold."""
    favours, opposes = zip(*pairs, strict=True)
    return max(favours), min(1.0, len(pairs) * min(opposes))


def _any_p(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return p for and against that any holds."""
    opposes, favours = _all_p([(o, f) for f, o in pairs])
    return favours, opposes


def _with_needs(judgement: Judgement, level: float) -> Judgement:
    """Say why a claim is open, and what would decide it."""
    absent = [part for part in judgement.compared if part.estimate is None]
    if absent:
        late = [part for part in absent if not part.ran]
        verdict: Verdict = "not run" if late else "inconclusive"
        return replace(judgement, verdict=verdict, reason=(late or absent)[0].reason)
    wants = [
        [
            (part.margin > 0, float(needed(judgement.claim, part, level) or math.inf))
            for part in group
        ]
        for group in _groups(judgement.compared)
    ]
    _, count = _joined(judgement.claim, wants, _all_needs, _any_needs)
    if math.isinf(count):
        unknown = (part.estimate.reason for part in judgement.compared if part.estimate)
        reason = next(filter(None, unknown), "the difference is too small to be told in practice")
        return replace(judgement, reason=reason)
    return replace(
        judgement, needed=int(count), reason="the difference is within what chance gives"
    )


def _all_needs(wants: Sequence[tuple[bool, float]]) -> tuple[bool, float]:
    """Return the direction of a decision that all hold, and the number it needs.

    If all favour the claim the largest number decides, else the smallest of those against it.
    """
    against = [count for favours, count in wants if not favours]
    return (False, min(against)) if against else (True, max(count for _, count in wants))


def _any_needs(wants: Sequence[tuple[bool, float]]) -> tuple[bool, float]:
    favours, count = _all_needs([(not favours, count) for favours, count in wants])
    return not favours, count
