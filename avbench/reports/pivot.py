"""Long rows to the tables of a paper: one row a label, columns by dataset and metric.

``pivot`` computes everything that a table shows (means, spreads, ranks, differences, footnotes).
The report formats only write it down.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from statistics import fmean, stdev

import pandas as pd

from avbench.core.errors import AvbenchError
from avbench.reports.long_table import Table
from avbench.reports.notes import seed_notes
from avbench.reports.short_names import short_names
from avbench.reports.signatures import REFUSED, agreed, figures_by_seed
from avbench.reports.table import (
    LOWER_IS_BETTER,
    TITLES,
    Column,
    Inferred,
    Place,
    Sheet,
    TableCell,
    TableLayout,
    TableRow,
)

SEVERITY = ("failed", REFUSED, "skipped", "pending", "missing")
"""The order in which a cell without a figure picks its status, if its seeds differ."""


def pivot(
    table: Table,
    layout: TableLayout,
    notes: Sequence[str] = (),
    inferred: Inferred | None = None,
) -> Sheet:
    """Arrange long rows as a paper's table.

    Args:
        table: the long rows.
        layout: the rows and columns.
        notes: to stand under the table, after those on seeds and intervals.
        inferred: intervals, which replace standard deviations, and significant differences.

    Raises:
        AvbenchError: two rows give the same figure (two splits of a dataset: filter first), or
            ``delta_to`` is no row.
    """
    return _Pivot(table, layout, inferred or Inferred()).sheet(notes)


class _Pivot:
    """The state of one pivot: the long rows by key, and the footnotes so far."""

    def __init__(self, table: Table, layout: TableLayout, inferred: Inferred) -> None:
        self.table, self.layout, self.inferred = table, layout, inferred
        frame = agreed(table.frame)
        self.rows = layout.rows or tuple(TableRow(label=x) for x in frame["label"].unique())
        self.datasets = layout.datasets or tuple(x for x in frame["dataset"].unique() if x)
        labels = [row.label for row in self.rows]
        named = [("delta_to", layout.delta_to), *(("variant_of", r.variant_of) for r in self.rows)]
        for field, base in named:
            if base is not None and base not in labels:
                raise AvbenchError(
                    f"table '{layout.title}': {field} is '{base}', which is none of its "
                    f"rows: {', '.join(labels)}"
                )
        self.by_seed = figures_by_seed(frame)
        self.found: dict[tuple[str, int | None, str, str], dict[str, str | float]] = {}
        self.seeds: dict[str, list[int | None]] = {}
        for entry in frame.to_dict("records"):
            seed = None if pd.isna(entry["seed"]) else int(entry["seed"])
            key = (entry["label"], seed, entry["dataset"], entry["metric"])
            if key in self.found:
                raise AvbenchError(
                    f"table '{layout.title}': two rows for {entry['label']}, seed {seed}, "
                    f"{entry['dataset'] or 'costs'}, {entry['metric'] or 'all metrics'} "
                    f"(splits '{self.found[key]['split']}' and '{entry['split']}')"
                )
            self.found[key] = {str(k): v for k, v in entry.items()}
            seeds = self.seeds.setdefault(entry["label"], [])
            if seed not in seeds:
                seeds.append(seed)
        self.footnotes: list[str] = []
        self.above: dict[str, list[str]] = {}
        """Title of each row that is no model → the columns in which no model reaches it."""

    def sheet(self, notes: Sequence[str]) -> Sheet:
        places = [(d, c, True) for d in self.datasets for c in self.layout.columns]
        places += [("", c, False) for c in self.layout.cost_columns]
        cells = [[self._cell(row.label, d, c) for d, c, _ in places] for row in self.rows]
        for j, (dataset, column, is_score) in enumerate(places):
            self._add_deltas(cells, j, dataset, column)
            if not is_score and not column.exact:
                _show_smallest(cells, j)
            if is_score if column.ranked is None else column.ranked:
                self._add_ranks(cells, j, dataset, column)
        titles = (d or column.group or "Cost" for d, column, _ in places)
        named = [(name, len(list(group))) for name, group in groupby(titles)]
        return Sheet(
            title=self.layout.title,
            corner=self.layout.corner,
            groups=tuple(named),
            columns=tuple(c.title or TITLES.get(c.metric, c.metric) for _, c, _ in places),
            rows=tuple(
                (row.title or row.label, tuple(line))
                for row, line in zip(self.rows, cells, strict=True)
            ),
            short=short_names(self.rows),
            footnotes=tuple(self.footnotes),
            legend=tuple(self._legend(cells)),
            notes=(*self._notes(cells), *notes),
            table=self.table,
            inferred=self.inferred,
            labels=tuple(row.label for row in self.rows),
            keys=tuple((dataset, column.metric) for dataset, column, _ in places),
        )

    def _cell(self, label: str, dataset: str, column: Column) -> TableCell:
        """Return a label's figure over its seeds."""
        seeds = self.seeds.get(label, [])
        exact = {s: self.found.get((label, s, dataset, column.metric)) for s in seeds}
        if exact.get(None) is not None:  # it holds for all seeds
            seeds = [None]
        elif len(seeds) > 1:
            seeds = [seed for seed in seeds if seed is not None]
        values: list[float] = []
        absent: list[tuple[int | None, dict[str, str | float]]] = []
        unseen = 0
        for seed in seeds:
            # A row without a metric stands for many figures; the most specific one counts.
            keys = [(label, seed, dataset, ""), (label, seed, "", "")]
            entry = exact[seed] or next((self.found[k] for k in keys if k in self.found), None)
            if entry is None:
                unseen += 1
            elif entry["status"] == "ok":
                values.append(float(entry["value"]))
            else:
                absent.append((seed, entry))
        if not values:
            given = {entry["status"] for _, entry in absent}
            status = next((word for word in SEVERITY if word in given), "missing")
            marks = [
                self._footnote(entry, f"seed {seed} " if len(given) > 1 else "")
                for seed, entry in absent
                if entry["status"] == status
            ]
            return TableCell(status=status, footnotes=_distinct(marks), decimals=column.decimals)
        marks = [self._footnote(entry, f"seed {seed} ") for seed, entry in absent]
        if unseen:
            marks.append(self._number(f"mean of {len(values)} of {len(seeds)} seeds"))
        spread = stdev(values) if len(values) > 1 else None
        return TableCell(
            status="ok",
            mean=fmean(values),
            std=None if dataset == "" and spread == 0 else spread,
            interval=self.inferred.intervals.get((label, dataset, column.metric)),
            n=len(values),
            footnotes=_distinct(marks),
            decimals=column.decimals,
            signed=column.signed,
        )

    def _footnote(self, entry: dict[str, str | float], where: str) -> int | None:
        """Return the number of the footnote with the reason for a missing figure."""
        reason, log, status = entry["reason"], entry["log"], str(entry["status"])
        if not (reason or log or where):
            return None
        said = f"{where}{status}" + (f": {reason}" if reason else "")
        return self._number(said + (f" (log: {log})" if log else ""))

    def _number(self, text: str) -> int:
        if text not in self.footnotes:
            self.footnotes.append(text)
        return self.footnotes.index(text) + 1

    def _add_deltas(
        self, cells: list[list[TableCell]], j: int, dataset: str, column: Column
    ) -> None:
        if not column.delta:
            return
        means = {row.label: cells[i][j].mean for i, row in enumerate(self.rows)}
        for i, line in enumerate(cells):
            base = self.rows[i].variant_of or self.layout.delta_to
            zero = means[base] if base is not None else None
            mean = line[j].mean
            if self.rows[i].label != base and zero is not None and mean is not None:
                place = (self.rows[i].label, dataset, column.metric)
                delta, marks = self._difference(place, str(base), mean - zero)
                line[j] = replace(
                    line[j],
                    delta=delta,
                    significant=place in self.inferred.significant,
                    footnotes=_distinct([*line[j].footnotes, *marks]),
                )

    def _difference(self, place: Place, base: str, plain: float) -> tuple[float, list[int]]:
        """Return a figure's difference to a base over the seeds that both have.

        Args:
            place: of the figure.
            base: the label of the base.
            plain: the difference of the two means.

        Returns:
            The difference, and the footnotes that it needs.
        """
        ours, theirs = (self.by_seed[label, *place[1:]] for label in (place[0], base))
        if None in ours or None in theirs:
            return plain, []  # a baseline has no seeds
        shared = [seed for seed in ours if seed in theirs]
        if not shared:
            return plain, [self._number(f"no seed in common with {self._title(base)}")]
        if len(shared) == len(ours) == len(theirs):
            return plain, []
        gap = fmean(ours[seed] - theirs[seed] for seed in shared)
        of = "seed" if len(shared) == 1 else f"{len(shared)} seeds"
        said = f"difference of the {of} shared with {self._title(base)}"
        return gap, [self._number(said)]

    def _add_ranks(
        self, cells: list[list[TableCell]], j: int, dataset: str, column: Column
    ) -> None:
        """Mark best and second of the models by the printed figures: equal ones rank equal.

        Also note the rows that are no models and are better than the best model.
        """
        higher = column.higher_is_better
        if higher is None:
            higher = column.metric not in LOWER_IS_BETTER
        shown = {
            i: float(line[j].text) for i, line in enumerate(cells) if line[j].mean is not None
        }
        printed = {i: value for i, value in shown.items() if self.rows[i].ranked}
        order = sorted(set(printed.values()), reverse=higher)
        for i, value in shown.items():
            above = order and (value > order[0] if higher else value < order[0])
            if above and not self.rows[i].published:
                title = f"{dataset} {column.title or TITLES.get(column.metric, column.metric)}"
                self.above.setdefault(self._title(self.rows[i].label), []).append(title.strip())
        if len(order) < 2:
            return
        for i, value in printed.items():
            if value in order[:2]:
                cells[i][j] = replace(cells[i][j], rank=order.index(value) + 1)

    def _notes(self, cells: list[list[TableCell]]) -> list[str]:
        """The notes on seeds, on intervals and on rows above the best model."""
        scores = len(self.datasets) * len(self.layout.columns)
        seeds = {
            row.title or row.label: [cell.n for cell in line[:scores] if cell.mean is not None]
            for row, line in zip(self.rows, cells, strict=True)
            if self.seeds.get(row.label, [None]) != [None]  # trained rows
        }
        deviation = not self.inferred.intervals
        above = [
            f"{row} is better than the best model: {', '.join(columns)}."
            for row, columns in self.above.items()
        ]
        return [*seed_notes(seeds, deviation=deviation), *self.inferred.notes, *above]

    def _legend(self, cells: list[list[TableCell]]) -> list[str]:
        every = [cell for line in cells for cell in line]
        legend = []
        if any(cell.rank for cell in every):
            best = "Best" if all(row.ranked for row in self.rows) else "Best model"
            legend.append(f"{best} in bold, second in italics, as printed.")
        if any(cell.delta is not None for cell in every):
            said = [self._title(self.layout.delta_to)] if self.layout.delta_to else []
            said += ["the unaltered row"] if any(r.variant_of for r in self.rows) else []
            legend.append(f"In parentheses: difference to {', or '.join(said)}.")
        for status, meaning in (("missing", "no such figure"), ("pending", "not run yet")):
            shown = next((cell.text for cell in every if cell.status == status), None)
            if shown:
                legend.append(f"{shown}: {meaning}.")
        return legend

    def _title(self, label: str | None) -> str:
        return next(row.title or row.label for row in self.rows if row.label == label)


def _distinct(marks: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(mark for mark in marks if mark is not None))


def _show_smallest(cells: list[list[TableCell]], j: int) -> None:
    """Give a column of costs enough decimals for two digits of its smallest figure."""
    means = [abs(line[j].mean or 0.0) for line in cells if line[j].mean]
    if means:
        needed = 1 - math.floor(math.log10(min(means)))
        for line in cells:
            line[j] = replace(line[j], decimals=max(line[j].decimals, needed))
