"""The contract of a metric."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose, isfinite
from typing import Any

from avbench.core.registry import Component
from avbench.core.types import Slot
from avbench.evaluation.contracts import Metric, References, Score
from avbench.testing.findings import (
    Check,
    Finding,
    common_checks,
    first_problem,
    list_names,
    run_checks,
    seeded,
)
from avbench.testing.sources import sources

CAPTIONS: Mapping[str, tuple[str, ...]] = {
    "one": ("a red ball bounces on the floor", "the red ball is bouncing"),
    "two": ("a green cube slides to the left", "the green cube slides left"),
    "three": ("a blue cone spins while a bell rings", "the blue cone is spinning"),
}
COLOURS = {"one": "red", "two": "green", "three": "blue"}
REFERENCES = References(
    captions=CAPTIONS,
    slots={
        i: {
            "colour": Slot(
                value=value, choices=tuple(COLOURS.values()), evidence=frozenset({"video"})
            )
        }
        for i, value in COLOURS.items()
    },
)
RIGHT = {i: captions[0] for i, captions in CAPTIONS.items()}
WRONG = dict.fromkeys(CAPTIONS, "nothing of the kind was ever seen or heard there")
EMPTY = dict.fromkeys(CAPTIONS, "")

CALLS = 5
"""Calls that must score alike."""
ADVICE = {
    "unchanged": "copy before you change a mapping",
    "repeated": "keep nothing of one call for the next but caches of equal inputs",
    "random": "draw from a generator that you seed in each call, if at all",
    "order": "sum and rank over ids, not places",
    "batched": "score each system apart from the others",
}


def check_metric(component: Component, options: Any = None) -> list[Finding]:
    """Check a metric on three clips.

    Args:
        component: a registered metric.
        options: an instance of its config; None: its defaults.
    """
    made: Metric = component.build(component.config() if options is None else options)

    def score(*systems: Mapping[str, str], references: References = REFERENCES) -> Any:
        return made.score([dict(system) for system in systems], copy(references))

    def right() -> str | None:
        """A reference scores better than an unrelated sentence, and in no score worse."""
        gains = {
            g.name: (g.value - b.value) * (1 if g.higher_is_better else -1)
            for g, b in zip(*score(RIGHT, WRONG), strict=True)
        }
        worst = min(gains, key=gains.__getitem__)
        if gains[worst] < 0:
            return f"{worst}: worse by {-gains[worst]:.3g} for a reference"
        return None if any(gains.values()) else "equal figures for both"

    def applies() -> str | None:
        """At least one score, finite, with name, unit and a signature that names the metric."""
        scores = score(RIGHT)[0]
        odd = [
            s
            for s in scores
            if not (s.name and s.unit and "|" in s.signature and isfinite(s.value))
        ]
        return f"{odd[0]}" if odd else None if scores else "no figure"

    def order() -> str | None:
        """The order of the clips changes nothing."""
        turned = References(
            captions=dict(reversed(list(CAPTIONS.items()))), slots=REFERENCES.slots
        )
        mixed = RIGHT | {"two": WRONG["two"]}
        return _differ(
            score(mixed)[0], score(dict(reversed(list(mixed.items()))), references=turned)[0]
        )

    def empty() -> str | None:
        """An empty hypothesis has a finite score, no better than a right one."""
        good, nothing = score(RIGHT, EMPTY)
        return first_problem(
            None
            if isfinite(n.value) and (g.value >= n.value) == g.higher_is_better
            else f"{n.name}: {n.value} for empty captions, {g.value} for right ones"
            for g, n in zip(good, nothing, strict=True)
        )

    def batched() -> str | None:
        """Several systems in one call score as each alone."""
        together = score(RIGHT, WRONG, EMPTY)
        return first_problem(
            _differ(given, score(system)[0])
            for given, system in zip(together, (RIGHT, WRONG, EMPTY), strict=True)
        )

    def items() -> str | None:
        """Scores per item belong to the references' ids."""
        stray = [i for s in score(RIGHT)[0] for i in s.per_item if i not in CAPTIONS]
        return f"ids {stray}" if stray else None

    def sums() -> str | None:
        """Statistics, if a score has them, have one row per item and sum to the score."""
        return first_problem(_recomputed(made, s) for s in score(RIGHT | {"two": WRONG["two"]})[0])

    def repeated() -> str | None:
        """The same scores at every call, whatever was scored before."""
        first = score(RIGHT)[0]
        for call in range(2, CALLS):
            problem = _differ(score(RIGHT)[0], first)
            if problem is not None:
                return f"call {call}: {problem}"
        return None

    def random() -> str | None:
        """No chance: scores follow hypotheses, references and options alone."""
        found = []
        for seed in (0, 1):
            with sources(seed), seeded(seed):
                found.append(score(RIGHT | {"two": WRONG["two"]})[0])
        return _differ(*found)

    def unchanged() -> str | None:
        """Hypotheses and references stay as they are."""
        given, references = [dict(RIGHT)], copy(REFERENCES)
        made.score(given, references)
        kept = {"hypotheses": given == [RIGHT], "references": references == REFERENCES}
        return list_names("a call changes the", [name for name, same in kept.items() if not same])

    def finite() -> str | None:
        """Each score per item is finite, and its names do not depend on the hypotheses."""
        good, bad = score(RIGHT, WRONG)
        odd = [
            f"{s.name} of '{i}'" for s in good for i, v in s.per_item.items() if not isfinite(v)
        ]
        if [s.name for s in good] != [s.name for s in bad]:
            return f"{[s.name for s in good]} and {[s.name for s in bad]}"
        return list_names("not finite:", odd)

    every = (
        *(applies, unchanged, repeated, random, finite, right, order, empty, batched),
        *(items, sums),
    )
    own = [
        Check(
            name=run.__name__,
            expected=(inspect.getdoc(run) or "").rstrip("."),
            run=run,
            advice=ADVICE.get(run.__name__, ""),
            needs=tuple(earlier.__name__ for earlier in every[:3] if run not in every[:3]),
        )
        for run in every
    ]
    try:
        return run_checks([*common_checks(component, options), *own])
    finally:
        made.close()


def copy(references: References) -> References:
    """Return references that a metric may change."""
    slots = {clip: dict(of_clip) for clip, of_clip in references.slots.items()}
    return replace(references, captions=dict(references.captions), slots=slots)


def _recomputed(metric: Metric, score: Score) -> str | None:
    rows = score.statistics
    if rows is None:
        return None
    if len(rows) != len(score.per_item):
        return f"{score.name}: {len(rows)} rows for {len(score.per_item)} items"
    (value,) = metric.from_sums(score.name, rows.sum(0, keepdims=True)).tolist()
    if not isclose(value, score.value, rel_tol=1e-9, abs_tol=1e-9):
        return f"{score.name}: {score.value}, from its statistics {value}"
    return None


def _differ(these: Sequence[Score], those: Sequence[Score]) -> str | None:
    return first_problem(
        None
        if a.name == b.name and isclose(a.value, b.value, rel_tol=1e-9, abs_tol=1e-9)
        else f"{a.name}: {a.value} and {b.name}: {b.value}"
        for a, b in zip(these, those, strict=True)
    )
