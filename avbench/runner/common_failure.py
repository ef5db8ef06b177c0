"""Common failures: every stage of a kind fails alike, so the environment is probably at fault."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.runner.plan import Plan, Stage

STAGE_DETAIL = re.compile(r"(?:[\w.-]*/)+[\w.-]*|0x[0-9a-f]+|\d+")
"""Paths and numbers: errors with one cause still differ in them from stage to stage."""

MIN_FAILURES = 2
"""Equal failures that stop a run early, while other stages of the kind still wait."""


@dataclass(frozen=True, slots=True)
class CommonFailure:
    """One error with which all stages of a kind that ran have failed."""

    kind: str
    error: str
    """The first stage's error, in one line."""
    failed: int
    untried: int
    """Number of stages of the kind that did not run. Their settings suggest no other outcome."""
    log: Path

    def __str__(self) -> str:
        if self.failed == 1:
            return f"the only {self.kind} stage that ran failed: {self.error} (log: {self.log})"
        which = f"all {self.failed} {self.kind} stages that ran failed with the same error"
        return f"{which}: {self.error} (log: {self.log})"


def last_line(error: object) -> str:
    """Return the last line of an error, which carries its message."""
    return str(error).strip().splitlines()[-1]


def same_error(errors: Collection[str]) -> bool:
    """Return True if errors differ at most in the paths and numbers that they name."""
    return len({STAGE_DETAIL.sub("", last_line(error)) for error in errors}) == 1


def settings_tell_apart(plan: Plan, failed: Collection[Stage], untried: Collection[Stage]) -> bool:
    """Return True if an untried stage lacks a setting that all failed ones share.

    If so, that setting may be to blame, and the untried stage may succeed.
    """
    first, *others = (_settings(plan, stage) for stage in failed)
    shared = {item for item in first.items() if all(item in other.items() for other in others)}
    return any(not shared <= set(_settings(plan, stage).items()) for stage in untried)


def _settings(plan: Plan, stage: Stage) -> dict[str, str]:
    """Return all settings that a stage depends on; its parents' carry their roles as prefix."""
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
