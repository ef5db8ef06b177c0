"""``avbench report``: writes tables to a folder, and prints them as text or JSON."""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from avbench.cli.commands.common import print_json, say
from avbench.cli.progress import console as make_console
from avbench.core.errors import AvbenchError
from avbench.core.job import replacing, sweep
from avbench.runner.plan import Plan, Store

if TYPE_CHECKING:
    from avbench.analysis.relevance.analysis import Analysis
    from avbench.reports.collect import Report
    from avbench.reports.table import Sheet

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a folder that its owner does not want written: its tables are read all the same."""


def _sheets(
    report: "Report", intervals: str | None, plugins_dir: Path | None
) -> Iterator["Sheet"]:
    """Make the tables of a report; modules for intervals are imported only if they are asked."""
    from avbench.reports.layouts import layouts
    from avbench.reports.pivot import pivot

    what = intervals or report.plan.table["intervals"]
    if what == "none":
        yield from (pivot(table, layout, notes) for layout, table, notes in layouts(report))
        return
    from avbench.core.registry import load
    from avbench.reports.intervals import inferred
    from avbench.reports.systems import ScoreStatistics

    of_videos = what == "videos"
    statistics = ScoreStatistics(report.records, load(plugins_dir)) if of_videos else None
    for layout, table, notes in layouts(report):
        own = table is not report.paper
        known = inferred(table, layout, what, statistics) if own else None
        yield pivot(table, layout, notes, known)


def _inferred(sheets: Sequence["Sheet"]) -> dict[str, list[dict[str, Any]]]:
    """Return the intervals of tables and the tests of differences; unknown ends are null."""
    names = ("label", "dataset", "metric")
    intervals = [
        {"table": sheet.title, **dict(zip(names, place, strict=True)), "low": low, "high": high}
        for sheet in sheets
        for place, (low, high) in sheet.inferred.intervals.items()
    ]
    differences = [
        {
            "table": sheet.title,
            **dict(zip(names, place, strict=True)),
            "to": tested.to,
            **tested.estimate.plain(),
            "p_corrected": tested.corrected,
        }
        for sheet in sheets
        for place, tested in sheet.inferred.differences.items()
    ]
    return {"intervals": intervals, "differences": differences}


@dataclass(slots=True)
class Written:
    """The files of a report; the tables are also printed if none can be written."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    """Format, or picture and format → file."""
    fault: OSError | None = None
    """The first error; nothing is written after it."""

    def write(self, name: str, file: str, contents: str | bytes) -> None:
        """Write a file whole or not at all."""
        if self.fault is not None:
            return
        data = contents.encode() if isinstance(contents, str) else contents
        path = self.folder / file
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            self.fault = error
        else:
            self.files[name] = str(path)

    def conclude(self) -> None:
        """Say after the tables that they were not written, if so.

        Raises:
            AvbenchError: they were not, and the folder is not just read-only.
        """
        if self.fault is None:
            return
        said = f"{self.folder}: the tables are only printed, not written: {self.fault.strerror}"
        if self.fault.errno not in READ_ONLY:
            raise AvbenchError(said)
        say(f"note: {said}", stderr=True)


def _write(sheets: Sequence["Sheet"], folder: Path, stem: str, formats: Sequence[str]) -> Written:
    """Write tables and their pictures in every format."""
    from avbench.reports.formats import FORMATS

    written = Written(folder)
    sweep(folder)
    for name in formats:
        for number, (extension, render) in enumerate(FORMATS[name].items()):
            shown = f"{name} {extension.partition('.')[0]}" if number else name
            written.write(shown, f"{stem}.{extension}", render(sheets))
    for picture in (picture for sheet in sheets for picture in sheet.pictures):
        for kind, contents in (("svg", picture.svg), ("png", picture.png)):
            written.write(f"{picture.name} {kind}", f"{picture.name}.{kind}", contents)
    return written


def write_strata(
    plan: Plan,
    store: Store,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    plugins_dir: Path | None = None,
    words: Path | None = None,
) -> None:
    """Write and print the scores by stratum and the diversity of captions.

    ``words``: the file of ``avbench analyse relevance`` with counts of words, for ARS. Without it
    only the embedded world's words have an ARS.

    Raises:
        AvbenchError: no captions have been scored yet.
    """
    from avbench.analysis.relevance.reading import counts_of
    from avbench.analysis.strata_tables import strata_sheets
    from avbench.core.registry import load
    from avbench.reports.notes import stamp
    from avbench.reports.records import Records
    from avbench.reports.systems import ScoreStatistics

    counts = counts_of(words) if words is not None else None
    statistics = ScoreStatistics(Records.read(plan, store), load(plugins_dir))
    sheets = stamp(plan, strata_sheets(statistics, counts))
    if not sheets:
        raise AvbenchError(f"{plan.suite}: nothing has been scored yet; use 'avbench run' first")
    _print_tables(plan, sheets, _write(sheets, folder, "strata", formats), as_json)


def write_modality_use(
    plan: Plan, store: Store, folder: Path, formats: Sequence[str], as_json: bool
) -> None:
    """Write and print tables and figures on the modalities that the models use.

    Raises:
        AvbenchError: the suite pre-trains nothing and alters no streams.
    """
    from avbench.analysis.modality_use import use_sheets
    from avbench.reports.collect import collect
    from avbench.reports.notes import stamp

    sheets = stamp(plan, use_sheets(collect(plan, store)))
    if not sheets:
        raise AvbenchError(
            f"{plan.suite}: no data on modality use: no row is pre-trained, and evaluate has "
            "none of zeroed, swapped, noised, shapley"
        )
    _print_tables(plan, sheets, _write(sheets, folder, "modality-use", formats), as_json)


def write_relevance(
    analysis: "Analysis", folder: Path, formats: Sequence[str], as_json: bool
) -> None:
    """Write and print the tables of an analysis of relevance; write its words as well."""
    from avbench.analysis.relevance.sheets import sheets
    from avbench.analysis.relevance.written import to_json, words_csv

    made = sheets(analysis)
    written = _write(made, folder, "table", formats)
    if analysis.words:
        written.write("words", "words.csv", words_csv(analysis))
    if as_json:
        print_json({**to_json(analysis), "files": written.files})
    else:
        _show(made, {}, written.files)
    written.conclude()


def _print_tables(plan: Plan, sheets: Sequence["Sheet"], written: Written, as_json: bool) -> None:
    """Print tables, or their long rows as JSON."""
    if not as_json:
        _show(sheets, {}, written.files)
        written.conclude()
        return
    from avbench.reports.formats import long

    frame = long.whole(sheets).frame
    rows = json.loads(frame.to_json(orient="records"))
    print_json({"suite": plan.suite, "rows": rows, "files": written.files})
    written.conclude()


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


def write_report(
    plan: Plan,
    store: Store,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    *,
    intervals: str | None = None,
    plugins_dir: Path | None = None,
) -> int:
    """Write the tables to a folder and print them.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the folder to write to.
        formats: the formats to write.
        as_json: True: print JSON instead of text.
        intervals: ``none``, ``seeds`` or ``videos``; None: as the suite says.
        plugins_dir: a folder of plugins, whose metrics intervals over videos need.

    Returns:
        The number of cells without a figure.
    """
    from avbench.reports.collect import collect
    from avbench.reports.notes import stamp

    report = collect(plan, store)
    sheets = stamp(plan, _sheets(report, intervals, plugins_dir))
    written = _write(sheets, folder, "table", formats)
    if as_json:
        rows = json.loads(report.figures.frame.to_json(orient="records"))
        shown = {
            "suite": plan.suite,
            "rows": rows,
            **_inferred(sheets),
            "failures": report.failures,
            "files": written.files,
        }
        print_json(shown)
    else:
        places = {**written.files, "stages": str(store.results / "stages")}
        _show(sheets, report.failures, places)
    written.conclude()
    return report.unfinished
