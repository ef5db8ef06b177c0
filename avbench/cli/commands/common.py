"""Shared parts of commands: common options, the suite's plan, and JSON output."""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avbench.cli.commands.numbers import PAGE_CLIPS
from avbench.config.overrides import Overrides
from avbench.core.errors import AvbenchError, unknown
from avbench.core.visible import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console

    from avbench.runner.plan import Plan, Store
    from avbench.runner.planning.plan_cache import Plans

SuiteName = Annotated[
    str, typer.Argument(metavar="SUITE", help="Name of a predefined suite, or a file.")
]
Preset = Annotated[str | None, typer.Option(help="Another preset: a name or a file.")]
Data = Annotated[
    str | None, typer.Option(metavar="FILE", help="A data file of yours, or 'embedded'.")
]
Seeds = Annotated[str | None, typer.Option(help="Number of seeds, or a list: 3 or 0,1,5.")]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with", metavar="NAME", help="Add a copy of the first row with this component."
    ),
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="Only this row; may be repeated.")
]
PluginsDir = Annotated[
    Path | None, typer.Option(help="A folder of plugins; by default ./plugins if it exists.")
]
Results = Annotated[Path, typer.Option(help="Folder of stages and tables.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Format = Annotated[
    str, typer.Option("--format", help="Formats to write, e.g. md,latex,csv,html,long.")
]

FORMATS = "md,csv,latex,html,long"


def plan_from_options(
    suite: str,
    preset: str | None,
    data: str | None,
    seeds: str | None,
    additional: list[str] | None,
    only: list[str] | None,
    plugins_dir: Path | None,
) -> "Plan":
    """Plan a suite with the changes of the command line; a collection is refused."""
    from avbench.runner.planning.plan_cache import plan_for

    changes = _changes(preset, data, seeds, additional, only)
    with _planning(suite, None):
        return plan_for(suite, changes, plugins_dir)


def plans_from_options(
    suite: str,
    preset: str | None,
    data: str | None,
    seeds: str | None,
    additional: list[str] | None,
    only: list[str] | None,
    plugins_dir: Path | None,
    *,
    log: "Console | None" = None,
) -> "Plans":
    """Plan a suite, or those of a collection; ``log`` says so if it takes long."""
    from avbench.runner.planning.plan_cache import plans_for

    changes = _changes(preset, data, seeds, additional, only)
    with _planning(suite, log):
        return plans_for(suite, changes, plugins_dir)


def _changes(
    preset: str | None,
    data: str | None,
    seeds: str | None,
    additional: list[str] | None,
    only: list[str] | None,
) -> Overrides:
    return Overrides(
        preset=preset,
        data=data,
        seeds=seeds,
        additional=tuple(additional or ()),
        only=tuple(only or ()),
    )


def _planning(suite: str, log: "Console | None") -> AbstractContextManager[None]:
    """Show that a suite is being planned."""
    from avbench.cli.progress import console, working

    return working(log or console(stderr=True), f"planning {suite}", logged=log is not None)


def store_in(results: Path) -> "Store":
    """Return the store of a results folder and the user's cache; see ``workflow.planning``."""
    from avbench.workflow import planning

    return planning.store_in(results, option="--results")


def known_value(option: str, what: str, value: str | None, allowed: Iterable[str]) -> None:
    """Check that an option's value is allowed.

    Raises:
        AvbenchError: it is not.
    """
    if value is not None and value not in allowed:
        raise AvbenchError(f"{option}: {unknown(what, value, allowed)}")


def formats_of(text: str) -> list[str]:
    """Return the formats that ``--format`` names.

    Raises:
        AvbenchError: a format is unknown.
    """
    from avbench.reports.formats import FORMATS as KNOWN

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        known_value("--format", "format", name, KNOWN)
    return names


def clips_of(text: str | None) -> int | list[str] | None:
    """Return the number of clips that ``--clips`` gives, or their ids.

    Raises:
        AvbenchError: the number is out of its range, or there is no id.
    """
    if text is None:
        return None
    if text.strip().lstrip("-").isdecimal():
        fault = PAGE_CLIPS.fault(int(text))
        if fault is not None:
            raise AvbenchError(f"--clips: {fault}")
        return int(text)
    ids = [id_.strip() for id_ in text.split(",") if id_.strip()]
    if not ids:
        raise AvbenchError(f"--clips: must be a number of clips or their ids, got '{text}'")
    return ids


def say(text: str, *, stderr: bool = False) -> None:
    """Print a text, with hidden characters as escapes."""
    print(visible(text, keep="\n"), file=sys.stderr if stderr else sys.stdout)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json_text(value))
