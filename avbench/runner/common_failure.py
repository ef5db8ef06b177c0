"""A failure of every stage of a kind: the environment's fault, most likely, not a stage's own."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.runner.plan import Plan, Stage

OWN = re.compile(r"(?:[\w.-]*/)+[\w.-]*|0x[0-9a-f]+|\d+")
"""Paths and numbers: two stages that fail for one reason name different ones."""

ENOUGH = 2
"""Failures that tell a common fault from one stage's own, while other stages still wait."""


@dataclass(frozen=True, slots=True)
class CommonFailure:
    """All stages of a kind that ran ended with the same error."""

    kind: str
    error: str
    """The first one's, in one line."""
    failed: int
    untried: int
    """Stages of the kind that were left: no setting of theirs tells them from the failed."""
    log: Path

    def __str__(self) -> str:
        if self.failed == 1:
            return f"the only {self.kind} stage that ran failed: {self.error} (log: {self.log})"
        which = f"all {self.failed} {self.kind} stages that ran failed with the same error"
        return f"{which}: {self.error} (log: {self.log})"


def last_line(error: object) -> str:
    """Return the line of an error that says it: the last one."""
    return str(error).strip().splitlines()[-1]


def same_error(errors: Collection[str]) -> bool:
    """Tell if errors are equal but for the paths and numbers in them."""
    return len({OWN.sub("", last_line(error)) for error in errors}) == 1


def settings_tell_apart(plan: Plan, failed: Collection[Stage], untried: Collection[Stage]) -> bool:
    """Tell if an untried stage lacks a setting that all failed ones share.

    If so, that setting may be to blame, and the untried stage may succeed.
    """
    first, *others = (_settings(plan, stage) for stage in failed)
    shared = {item for item in first.items() if all(item in other.items() for other in others)}
    return any(not shared <= set(_settings(plan, stage).items()) for stage in untried)


def _settings(plan: Plan, stage: Stage) -> dict[str, str]:
    """Return all settings that a stage depends on, its parents' by their roles."""
    found = dict(_flat(stage.spec, ""))
    for role, parent in stage.parents.items():
        found |= {f"{role}/{k}": v for k, v in _settings(plan, plan.stages[parent]).items()}
    return found


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(below, f"{name}.{key}")
    else:
        yield name, repr(value)
