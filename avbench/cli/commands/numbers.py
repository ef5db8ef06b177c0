"""Numbers on the command line: their bounds are declared as those of settings are."""

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
    "number",
]

SECONDS = Number(unit="s", least=0, most=10_000_000)
CLIPS = Number(unit="clips", least=1, most=1_000_000_000)
PAGE_CLIPS = Number(unit="clips", least=0, most=100_000)
WORDS = Number(unit="words", least=1, most=10_000)


def number(bounds: Number, help: str) -> Any:  # noqa: A002
    """Return an option that takes a number within declared bounds, which its help states.

    The callback raises typer.BadParameter and has the bounds as its attribute of that name.
    """

    def check(value: Any) -> Any:
        fault = None if value is None else bounds.fault(value)
        if fault is not None:
            raise typer.BadParameter(fault)
        return value

    check.bounds = bounds  # type: ignore[attr-defined]
    return typer.Option(callback=check, help=f"{help.removesuffix('.')}; {bounds.allowed}.")
