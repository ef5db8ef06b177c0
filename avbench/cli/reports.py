"""``avbench report``: writes tables to a folder, and prints them as text or JSON."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from avbench.cli.commands.common import print_json, say
from avbench.cli.progress import console as make_console
from avbench.core.errors import AvbenchError
from avbench.core.visible import one_line
from avbench.workflow.reporting import READ_ONLY, SuiteReport, Written, write_sheets

if TYPE_CHECKING:
    from avbench.analysis.relevance.analysis import Analysis
    from avbench.reports.table import Sheet
    from avbench.runner.planning.plan_cache import Plans


def _conclude(written: Written) -> None:
    """Say after the tables that they were not written, if so.

    Raises:
        AvbenchError: they were not, and the folder is not just read-only.
    """
    if written.fault is None:
        return
    said = f"{written.folder}: the tables are only printed, not written: {written.fault.strerror}"
    if written.fault.errno not in READ_ONLY:
        raise AvbenchError(said)
    say(f"note: {said}", stderr=True)


def write_reports(
    reports: Iterable[SuiteReport],
    formats: Sequence[str],
    as_json: bool,
    places: Mapping[str, str],
    files: dict[str, dict[str, str]] | None = None,
) -> int:
    """Write reports to their folders, and print their tables, or their plain data as JSON.

    Args:
        reports: the reports; each is printed before the next is made.
        formats: the formats to write.
        as_json: True: print JSON instead of text; a list if there are several reports.
        places: further paths to print, by name.
        files: takes the written files: suite → format → file.

    Returns:
        The number of cells without a figure.
    """
    plain, unfinished = [], 0
    for made in reports:
        written = made.written(formats, made.folder)
        if files is not None:
            files.setdefault(made.suite, {}).update(
                {f"{made.kind} {name}": file for name, file in written.files.items()}
            )
        if as_json:
            plain.append({**made.to_json(), "files": written.files})
        else:
            _show(made.sheets, made.failures, {**written.files, **places})
        _conclude(written)
        unfinished += made.unfinished
    if as_json:
        print_json(plain[0] if len(plain) == 1 else plain)
    return unfinished


def write_index(plans: "Plans", results: Path, places: Mapping[str, Mapping[str, str]]) -> None:
    """Write a page that leads to the reports of each suite of a collection.

    Args:
        plans: of the collection.
        results: the results folder; the page lies in the collection's folder there.
        places: name of a suite → its files by format.
    """
    lines = [f"# {one_line(plans.title or plans.name)}", ""]
    for plan in plans.plans:
        lines += [f"## {one_line(plan.title or plan.suite)}", ""]
        files = places.get(plan.suite, {})
        paths = dict.fromkeys(Path(file).name for file in files.values())
        lines += [f"- [{name}](../{plan.suite}/{name})" for name in paths]
        lines += [*([] if files else ["No report could be made yet."]), ""]
    written = Written(results / plans.name)
    written.write("index", "index.md", "\n".join(lines))
    for name, file in written.files.items():
        say(f"{name:<6} {file}")
    _conclude(written)


def write_relevance(
    analysis: "Analysis", folder: Path, formats: Sequence[str], as_json: bool
) -> None:
    """Write and print the tables of an analysis of relevance; write its words as well."""
    from avbench.analysis.relevance.sheets import sheets
    from avbench.analysis.relevance.written import to_json, words_csv

    made = sheets(analysis)
    written = write_sheets(made, folder, "table", formats)
    if analysis.words:
        written.write("words", "words.csv", words_csv(analysis))
    if as_json:
        print_json({**to_json(analysis), "files": written.files})
    else:
        _show(made, {}, written.files)
    _conclude(written)


def print_sheets(sheets: Sequence["Sheet"]) -> None:
    """Print tables."""
    _show(sheets, {}, {})


def _show(
    sheets: Sequence["Sheet"], failures: Mapping[str, str], files: Mapping[str, str]
) -> None:
    """Print tables, failed stages, and the paths of files."""
    from avbench.reports.formats import renderables

    console = make_console()
    for item in renderables(sheets, console.width):
        console.print(item)
    for stage, reason in failures.items():
        console.print(Text(f"failed: {stage}: {reason}", "bold red"), soft_wrap=True)
    for name, file in files.items():
        console.print(Text(f"{name:<6} {file}"), soft_wrap=True)
