"""A suite's tables from finished stages: as objects, as text, in a notebook, and as files."""

import errno
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from avbench.config.showing import Show
from avbench.core.columns import ALTERED
from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import replacing, sweep
from avbench.reports.collect import Report, collect
from avbench.reports.formats import FORMATS, rendered
from avbench.reports.intervals import inferred
from avbench.reports.layouts import layouts
from avbench.reports.long_table import Table
from avbench.reports.notes import stamp
from avbench.reports.page import render
from avbench.reports.page.contents import CLIPS
from avbench.reports.pivot import pivot
from avbench.reports.table import Place, Sheet
from avbench.runner.plan import Plan, Store
from avbench.workflow.notebook import framed

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a folder that its owner does not want written: its tables are read all the same."""


@dataclass(slots=True)
class Written:
    """The files of a report, up to the first that cannot be written."""

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


def write_sheets(
    sheets: Sequence[Sheet],
    folder: Path,
    stem: str,
    formats: Sequence[str],
    page: Callable[[], str] | None = None,
) -> Written:
    """Write tables and their pictures in every format.

    Args:
        sheets: the tables.
        folder: the folder to write to.
        stem: the files' name without extension.
        formats: the formats.
        page: writes the page of the format ``html``; None: the tables alone.
    """
    written = Written(folder)
    sweep(folder)
    for name in formats:
        for number, (extension, make) in enumerate(FORMATS[name].items()):
            shown = f"{name} {extension.partition('.')[0]}" if number else name
            text = page() if page is not None and name == "html" else make(sheets)
            written.write(shown, f"{stem}.{extension}", text)
    for picture in (picture for sheet in sheets for picture in sheet.pictures):
        for kind, contents in (("svg", picture.svg), ("png", picture.png)):
            written.write(f"{picture.name} {kind}", f"{picture.name}.{kind}", contents)
    return written


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteReport:
    """The tables of a suite. A notebook shows them; ``str`` gives Markdown."""

    suite: str
    kind: Show
    sheets: tuple[Sheet, ...]
    """The tables, see ``avbench.reports.table``."""
    rows: Table
    """The long rows behind them, see ``avbench.reports.long_table``."""
    failures: Mapping[str, str]
    """Folder of each failed stage → the last line of its error, and its log."""
    unfinished: int
    """Figures whose stage failed or has not run."""
    folder: Path
    """The usual folder of its files."""
    page: Callable[[], str] | None = None
    """Writes the page of the format ``html``; None: its tables alone."""

    def text(self, format: str = "md") -> str:  # noqa: A002
        """Return the tables in a format: ``md``, ``csv``, ``latex``, ``html`` or ``long``.

        Raises:
            AvbenchError: the format is unknown.
        """
        if format not in FORMATS:
            raise AvbenchError(f"format: {unknown('format', format, FORMATS)}")
        if format == "html" and self.page is not None:
            return self.page()
        return rendered(self.sheets, format)

    def write(
        self, formats: Sequence[str] = tuple(FORMATS), folder: Path | str | None = None
    ) -> dict[str, str]:
        """Write the tables, and their pictures, and return the files by format.

        Args:
            formats: as ``text`` takes them.
            folder: None: the suite's, ``results/<suite>``.

        Raises:
            AvbenchError: a format is unknown, or the folder cannot be written.
        """
        for name in formats:
            if name not in FORMATS:
                raise AvbenchError(f"formats: {unknown('format', name, FORMATS)}")
        written = self.written(formats, Path(folder) if folder is not None else self.folder)
        if written.fault is not None:
            raise AvbenchError(f"{written.folder}: cannot be written: {written.fault.strerror}")
        return written.files

    def written(self, formats: Sequence[str], folder: Path) -> Written:
        """Write the tables as far as the folder can be written."""
        return write_sheets(self.sheets, folder, self.kind, formats, self.page)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: long rows, and of a suite's own tables intervals, tests, failures."""
        rows = json.loads(self.rows.frame.to_json(orient="records"))
        made: dict[str, Any] = {"suite": self.suite, "rows": rows}
        if self.kind != "table":
            return made
        return {**made, **_inferred(self.sheets), "failures": dict(self.failures)}

    def _repr_html_(self) -> str:
        """Return a page of the tables alone, in a frame: its style stays its own."""
        return framed(rendered(self.sheets, "html"), self.sheets)

    def __str__(self) -> str:
        return self.text("md")

    def __repr__(self) -> str:
        count = f"{len(self.sheets)} table{'s' * (len(self.sheets) != 1)}"
        left = f", {self.unfinished} figures missing" if self.unfinished else ""
        return f"<report of {self.suite}: {count}{left}>"


def suite_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    intervals: str | None = None,
    published: bool = False,
    clips: int = CLIPS,
    plugins_dir: Path | None = None,
) -> SuiteReport:
    """Return the tables that a suite asks for.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the usual folder of its files.
        intervals: ``none``, ``seeds`` or ``videos``; None: as the suite says.
        published: show published figures of rows in columns beside ours.
        clips: the most clips with captions on the page of the format ``html``.
        plugins_dir: a folder of plugins, whose metrics intervals over videos need.
    """
    report = collect(plan, store)
    sheets = tuple(stamp(plan, _sheets(report, intervals, plugins_dir, beside=published)))

    def page() -> str:
        from avbench.workflow.page.gather import suite_page

        return render.page(suite_page(report, sheets, clips=clips, plugins_dir=plugins_dir))

    return SuiteReport(
        suite=plan.suite,
        kind="table",
        sheets=sheets,
        rows=report.figures,
        failures=report.failures,
        unfinished=report.unfinished,
        folder=folder,
        page=page,
    )


def tidy(
    plan: Plan, store: Store, *, intervals: str | None = None, plugins_dir: Path | None = None
) -> pd.DataFrame:
    """Return a suite's figures, one a line, see ``avbench.results``."""
    report = collect(plan, store)
    known: dict[Place, tuple[float, float]] = {}
    for sheet in _sheets(report, intervals, plugins_dir):
        known.update(sheet.inferred.intervals)
    frame = report.figures.frame
    places = zip(frame["label"], frame["dataset"], frame["metric"], strict=True)
    nothing = (float("nan"), float("nan"))
    ends = [
        known.get(place, nothing) if status == "ok" else nothing
        for place, status in zip(places, frame["status"], strict=True)
    ]
    axes = [a for a in report.figures.axes if a != ALTERED or (frame[ALTERED] != "").any()]
    renamed = {a: f"axis_{a}" for a in axes if a in ("row", "interval")}
    made = frame.rename(columns={**renamed, "label": "row"})
    made["interval"] = pd.arrays.IntervalArray.from_arrays(
        [low for low, _ in ends], [high for _, high in ends], closed="both"
    )
    first = ["row", *(renamed.get(a, a) for a in axes), "seed", "dataset", "metric", "value"]
    after = ["interval", "unit", "split", "status", "reason", "signature", "record", "log"]
    return made[[*first, *after]]


def _sheets(
    report: Report, intervals: str | None, plugins_dir: Path | None, *, beside: bool = False
) -> Iterator[Sheet]:
    """Make the tables of a report."""
    what = intervals or report.plan.table["intervals"]
    if what == "none":
        for layout, table, notes in layouts(report, beside=beside):
            yield pivot(table, layout, notes)
        return
    from avbench.core.registry import load
    from avbench.reports.systems import ScoreStatistics

    of_videos = what == "videos"
    statistics = ScoreStatistics(report.records, load(plugins_dir)) if of_videos else None
    for layout, table, notes in layouts(report, beside=beside):
        own = table is not report.paper
        known = inferred(table, layout, what, statistics) if own else None
        yield pivot(table, layout, notes, known)


def _inferred(sheets: Sequence[Sheet]) -> dict[str, list[dict[str, Any]]]:
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
