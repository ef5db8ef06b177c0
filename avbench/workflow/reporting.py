"""A suite's tables from finished stages: as objects, as text, in a notebook, and as files."""

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from avbench.core.columns import ALTERED
from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import replacing, sweep
from avbench.reports.collect import Report, collect
from avbench.reports.formats import FORMATS, long, rendered
from avbench.reports.intervals import inferred
from avbench.reports.layouts import layouts
from avbench.reports.long_table import Table
from avbench.reports.notes import stamp
from avbench.reports.pivot import pivot
from avbench.reports.records import Records
from avbench.reports.table import Place, Sheet
from avbench.runner.plan import Plan, Store
from avbench.workflow.notebook import framed

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a folder that its owner does not want written: its tables are read all the same."""

Kind = Literal["table", "strata", "modality-use", "attention"]


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
    sheets: Sequence[Sheet], folder: Path, stem: str, formats: Sequence[str]
) -> Written:
    """Write tables and their pictures in every format."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteReport:
    """The tables of a suite. A notebook shows them; ``str`` gives Markdown."""

    suite: str
    kind: Kind
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

    def text(self, format: str = "md") -> str:  # noqa: A002
        """Return the tables in a format: ``md``, ``csv``, ``latex``, ``html`` or ``long``.

        Raises:
            AvbenchError: the format is unknown.
        """
        if format not in FORMATS:
            raise AvbenchError(f"format: {unknown('format', format, FORMATS)}")
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
        return write_sheets(self.sheets, folder, self.kind, formats)

    def to_json(self) -> dict[str, Any]:
        """Return plain data: long rows, and of a suite's own tables intervals, tests, failures."""
        rows = json.loads(self.rows.frame.to_json(orient="records"))
        made: dict[str, Any] = {"suite": self.suite, "rows": rows}
        if self.kind != "table":
            return made
        return {**made, **_inferred(self.sheets), "failures": dict(self.failures)}

    def _repr_html_(self) -> str:
        """Return the page of the format ``html``, in a frame: its style stays its own."""
        return framed(self.text("html"), self.sheets)

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
    plugins_dir: Path | None = None,
) -> SuiteReport:
    """Return the tables that a suite asks for.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the usual folder of its files.
        intervals: ``none``, ``seeds`` or ``videos``; None: as the suite says.
        plugins_dir: a folder of plugins, whose metrics intervals over videos need.
    """
    report = collect(plan, store)
    sheets = stamp(plan, _sheets(report, intervals, plugins_dir))
    return SuiteReport(
        suite=plan.suite,
        kind="table",
        sheets=tuple(sheets),
        rows=report.figures,
        failures=report.failures,
        unfinished=report.unfinished,
        folder=folder,
    )


def strata_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    plugins_dir: Path | None = None,
    words: Path | None = None,
) -> SuiteReport:
    """Return the scores by stratum and the diversity of captions.

    ``words``: the file of ``avbench analyse relevance`` with counts of words, for ARS. Without it
    only the embedded world's words have an ARS.

    Raises:
        AvbenchError: no captions have been scored yet.
    """
    from avbench.analysis.relevance.reading import counts_of
    from avbench.analysis.strata_tables import strata_sheets
    from avbench.core.registry import load
    from avbench.reports.systems import ScoreStatistics

    counts = counts_of(words) if words is not None else None
    statistics = ScoreStatistics(Records.read(plan, store), load(plugins_dir))
    sheets = stamp(plan, strata_sheets(statistics, counts))
    if not sheets:
        raise AvbenchError(f"{plan.suite}: nothing has been scored yet; use 'avbench run' first")
    return _other("strata", plan, sheets, folder)


def modality_use_report(plan: Plan, store: Store, folder: Path) -> SuiteReport:
    """Return tables and figures on the modalities that the models use.

    Raises:
        AvbenchError: the suite pre-trains nothing and alters no streams.
    """
    from avbench.analysis.modality_use import use_sheets

    sheets = stamp(plan, use_sheets(collect(plan, store)))
    if not sheets:
        raise AvbenchError(
            f"{plan.suite}: no data on modality use: no row is pre-trained, and evaluate has "
            "none of zeroed, swapped, noised, shapley"
        )
    return _other("modality-use", plan, sheets, folder)


def attention_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    clips: Sequence[str] = (),
    seed: int | None = None,
    plugins_dir: Path | None = None,
) -> SuiteReport:
    """Return the attention from sound to the picture (Fig. 5), rolled out and drawn over frames.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the usual folder of its files.
        clips: ids of test clips; empty: some with sound are drawn from each dataset.
        seed: fixes the draw; None: 0.
        plugins_dir: a folder of plugins, whose components the captioners may need.

    Raises:
        AvbenchError: the suite fine-tunes nothing, no dataset has a clip of that id, or a seed is
            given with clips.
    """
    from avbench.analysis.attention import attention_sheets

    if clips and seed is not None:
        raise AvbenchError(f"clip seed {seed}: clips are named, so none is drawn; give only one")
    made = attention_sheets(plan, store, clips=clips, seed=seed or 0, plugins_dir=plugins_dir)
    sheets = stamp(plan, made)
    if not sheets:
        raise AvbenchError(f"{plan.suite}: no captioner to look into: the suite fine-tunes none")
    return _other("attention", plan, sheets, folder)


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


def _other(kind: Kind, plan: Plan, sheets: Sequence[Sheet], folder: Path) -> SuiteReport:
    return SuiteReport(
        suite=plan.suite,
        kind=kind,
        sheets=tuple(sheets),
        rows=long.whole(sheets),
        failures={},
        unfinished=0,
        folder=folder,
    )


def _sheets(report: Report, intervals: str | None, plugins_dir: Path | None) -> Iterator[Sheet]:
    """Make the tables of a report."""
    what = intervals or report.plan.table["intervals"]
    if what == "none":
        yield from (pivot(table, layout, notes) for layout, table, notes in layouts(report))
        return
    from avbench.core.registry import load
    from avbench.reports.systems import ScoreStatistics

    of_videos = what == "videos"
    statistics = ScoreStatistics(report.records, load(plugins_dir)) if of_videos else None
    for layout, table, notes in layouts(report):
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
