"""Two results folders side by side: the comparison as an object, as text, and in a notebook."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from avbench.analysis.results_diff import AGREEING, CellDiff, Diff, compare_folders
from avbench.core.errors import AvbenchError, unknown
from avbench.core.registry import load
from avbench.evaluation.statistics.estimate import LEVEL
from avbench.evaluation.statistics.resampling import EXCHANGES
from avbench.reports.formats import FORMATS, rendered
from avbench.reports.long_table import Table
from avbench.reports.table import SIGNIFICANT, TITLES, Sheet, TableCell
from avbench.workflow.notebook import framed

SIDE = "results"
"""The column of the long rows that names the folder: ``A`` or ``B``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsDiff:
    """Two results folders, cell by cell; differences are B − A."""

    first: Path
    """Folder A."""
    second: Path
    """Folder B."""
    found: Diff

    @property
    def cells(self) -> tuple[CellDiff, ...]:
        """All cells, in the order of A's tables, then those that only B has."""
        return self.found.cells

    @property
    def differs(self) -> bool:
        """True if any cell is neither equal nor tested without a significant difference."""
        return any(cell.verdict not in AGREEING for cell in self.cells)

    @property
    def counts(self) -> dict[str, int]:
        """Verdict → number of cells."""
        return dict(Counter(cell.verdict for cell in self.cells))

    @property
    def frame(self) -> pd.DataFrame:
        """One line a cell.

        ``suite``, ``row``, ``dataset``, ``metric``, ``unit``, ``verdict``, ``a``, ``b``,
        ``difference``, ``low``, ``high``, ``n``, ``p``, ``p_corrected``, ``test``, ``seeds``,
        ``reason``.
        """
        lines = [_plain(cell) for cell in self.cells]
        return pd.DataFrame(lines, columns=list(_plain(_NOTHING)))

    def sheet(self) -> Sheet:
        """Return the cells as a table for any format."""
        several = len({cell.suite for cell in self.cells}) > 1
        reasons = list(dict.fromkeys(cell.reason for cell in self.cells if cell.reason))
        tables = [
            Table(of.frame.assign(**{SIDE: side}), (*of.axes, SIDE))
            for side, of in zip("AB", self.found.tables, strict=True)
        ]
        tested = Counter(cell.test for cell in self.cells if cell.test)
        notes = [f"A: {self.first}. B: {self.second}.", *self.found.notes]
        if tested:
            notes.append(
                f"{SIGNIFICANT}: significant at {LEVEL:.0%}, with Holm's correction over "
                f"{sum(tested.values())} tested cells."
            )
        if tested["videos"]:
            notes.append(
                "Over videos: about these trained models, by approximate randomisation "
                f"({EXCHANGES} exchanges); intervals by the jackknife."
            )
        if tested["seeds"]:
            notes.append("Over seeds: about the methods, by Student's t on paired seeds.")
        counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(self.counts.items()))
        return Sheet(
            title=f"B − A, cell by cell: {counts or 'no cells'}",
            corner="cell",
            groups=(("", 5),),
            columns=("in A", "in B", "B − A", "p", "verdict"),
            rows=tuple((_name(cell, several), _cells(cell, reasons)) for cell in self.cells),
            short=tuple(_name(cell, several) for cell in self.cells),
            footnotes=tuple(reasons),
            legend=(),
            notes=tuple(notes),
            table=tables[0] + tables[1],
        )

    def text(self, format: str = "md") -> str:  # noqa: A002
        """Return the cells in a format: ``md``, ``csv``, ``latex``, ``html`` or ``long``.

        Raises:
            AvbenchError: the format is unknown.
        """
        if format not in FORMATS:
            raise AvbenchError(f"format: {unknown('format', format, FORMATS)}")
        return rendered([self.sheet()], format)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "a": str(self.first),
            "b": str(self.second),
            "level": LEVEL,
            "differs": self.differs,
            "counts": self.counts,
            "cells": [_plain(cell) for cell in self.cells],
            "notes": list(self.found.notes),
        }

    def _repr_html_(self) -> str:
        return framed(self.text("html"), [self.sheet()])

    def __str__(self) -> str:
        return self.text("md")

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(self.counts.items()))
        return f"<diff of {self.first} and {self.second}: {counts or 'no cells'}>"


def results_diff(
    first: Path, second: Path, suite: str | None, plugins_dir: Path | None
) -> ResultsDiff:
    """Compare two results folders, see ``avbench.diff``."""
    found = compare_folders(first, second, suite, lambda: load(plugins_dir))
    return ResultsDiff(first=first, second=second, found=found)


_NOTHING = CellDiff(suite="", row="", dataset="", metric="", unit="")


def _plain(cell: CellDiff) -> dict[str, Any]:
    known = cell.estimate.plain() if cell.estimate is not None else {}
    return {
        "suite": cell.suite,
        "row": cell.row,
        "dataset": cell.dataset,
        "metric": cell.metric,
        "unit": cell.unit,
        "verdict": cell.verdict,
        "a": cell.first,
        "b": cell.second,
        "difference": cell.difference,
        **{name: known.get(name) for name in ("low", "high", "n", "p")},
        "p_corrected": cell.corrected,
        "test": cell.test,
        "seeds": list(cell.seeds),
        "reason": cell.reason,
    }


def _name(cell: CellDiff, several: bool) -> str:
    metric = TITLES.get(cell.metric, cell.metric)
    parts = [cell.suite] if several else []
    return " · ".join([*parts, cell.row, cell.dataset or "cost", metric])


def _cells(cell: CellDiff, reasons: list[str]) -> tuple[TableCell, ...]:
    figures = [abs(x) for x in (cell.first, cell.second) if x is not None]
    decimals = 2 if max(figures, default=0.0) >= 10 else 4
    gap, estimate = cell.difference, cell.estimate
    interval = None
    if estimate is not None and not estimate.reason:
        interval = (estimate.low, estimate.high)
    marks = (reasons.index(cell.reason) + 1,) if cell.reason else ()
    return (
        _figure(cell.first, decimals),
        _figure(cell.second, decimals),
        TableCell(
            status="ok" if gap is not None else "missing",
            mean=gap,
            interval=interval,
            decimals=decimals,
            signed=True,
        ),
        _figure(cell.corrected, 4),
        TableCell(
            status=cell.verdict + (f" {SIGNIFICANT}" if cell.verdict == "significant" else ""),
            footnotes=marks,
        ),
    )


def _figure(value: float | None, decimals: int) -> TableCell:
    return TableCell(status="missing" if value is None else "ok", mean=value, decimals=decimals)
