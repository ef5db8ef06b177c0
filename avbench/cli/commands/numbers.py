"""Numbers on the command line: their bounds are declared as those of settings are."""

from collections.abc import Callable
from typing import Any

import typer

from avbench.core.numbers import Number
from avbench.workflow.machine import CHECKPOINTS, MINUTES, PROCESSES, THREADS, WORKERS

__all__ = [
    "CHECKPOINTS",
    "CLIPS",
    "MINUTES",
    "PAGE_CLIPS",
    "PROCESSES",
    "SECONDS",
    "THREADS",
    "WORDS",
    "WORKERS",
    "within",
]

SECONDS = Number(unit="s", least=0, most=10_000_000)
CLIPS = Number(unit="clips", least=1, most=1_000_000_000)
PAGE_CLIPS = Number(unit="clips", least=0, most=100_000)
WORDS = Number(unit="words", least=1, most=10_000)


def within(bounds: Number) -> Callable[[Any], Any]:
    """Return the callback of an option that holds its number to declared bounds.

    The callback has them as its attribute ``bounds``; it raises typer.BadParameter.
    """

    def check(value: Any) -> Any:
        fault = None if value is None else bounds.fault(value)
        if fault is not None:
            raise typer.BadParameter(fault)
        return value

    check.bounds = bounds  # type: ignore[attr-defined]
    return check
