"""Common failures: every stage of a kind fails alike, so the environment is probably at fault."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.core.job import LOG
from avbench.runner.plan import Plan, Stage

STAGE_DETAIL = re.compile(r"(?:[\w.-]*/)+[\w.-]*|0x[0-9a-f]+|\d+")
"""Paths and numbers: errors with one cause still differ in them from stage to stage."""

Setting = tuple[str, str]
"""A setting's dotted name and its value as text."""

MIN_FAILURES = 2
"""Equal failures that stop a run early, while other stages of the kind still wait."""


@dataclass(frozen=True, slots=True)
class CommonFailure:
    """One error with which all stages of a kind that ran have failed."""

    kind: str
    error: str
    """The first stage's error, in one line."""
    failed: int
    log: Path

    def __str__(self) -> str:
        if self.failed == 1:
            return f"the only {self.kind} stage that ran failed: {self.error} (log: {self.log})"
        which = f"all {self.failed} {self.kind} stages that ran failed with the same error"
        return f"{which}: {self.error} (log: {self.log})"


@dataclass(slots=True)
class KindFailures:
    """The stages of one kind that have failed so far."""

    errors: dict[str, str] = field(default_factory=dict)
    """Each error in one line, by the stage's id; the first failure comes first."""
    shared: frozenset[Setting] | None = None
    """The settings that all of them have; None: no stage has failed."""

    def add(self, plan: Plan, stage: Stage, error: object) -> None:
        """Note a failure."""
        self.errors[stage.id] = last_line(error)
        own = _settings(plan, stage)
        self.shared = own if self.shared is None else self.shared & own

    def repeats(self, id_: str) -> bool:
        """Return True if an earlier stage failed with the error of this one."""
        first, error = next(iter(self.errors.items()))
        return id_ != first and _same_error([error, self.errors[id_]])

    def explain(self, plan: Plan, untried: Iterable[Stage]) -> bool:
        """Return True if one cause explains all failures and would fail the untried stages too.

        An untried stage that lacks a setting that all failed ones share may succeed.
        """
        if self.shared is None or not _same_error(self.errors.values()):
            return False
        return all(self.shared <= _settings(plan, stage) for stage in untried)


def last_line(error: object) -> str:
    """Return the last line of an error, which carries its message."""
    return (str(error).strip() or "unknown error").splitlines()[-1]


def failure_line(error: object, folder: Path) -> str:
    """Return the last line of an error, and the log in the folder of its stage."""
    return f"{last_line(error)} (log: {folder / LOG})"


def _same_error(errors: Iterable[str]) -> bool:
    """Return True if errors differ at most in the paths and numbers that they name."""
    return len({STAGE_DETAIL.sub("", error) for error in errors}) == 1


def _settings(plan: Plan, stage: Stage) -> frozenset[Setting]:
    """Return all settings that a stage depends on; its parents' carry their roles as prefix."""
    found = set(_flat(stage.spec, ""))
    for role, parent in stage.parents.items():
        below = _settings(plan, plan.stages[parent])
        found |= {(f"{role}/{name}", value) for name, value in below}
    return frozenset(found)


def _flat(value: Any, name: str) -> Iterator[Setting]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}")
    else:
        yield name, repr(value)
