"""The tables that a suite asks for: their layouts, the long rows they show, and their notes."""

from collections.abc import Container, Iterator, Sequence

from avbench.config.published_figures import plain_name
from avbench.core import options
from avbench.evaluation.perturbation import Alteration, altered_label
from avbench.reports import cost_columns, notes
from avbench.reports.collect import MOST_FREQUENT, Report
from avbench.reports.long_table import Table
from avbench.reports.rank_correlation import rank_notes
from avbench.reports.table import Column, TableLayout, TableRow
from avbench.runner.plan import Plan

Draft = tuple[TableLayout, Table, list[str]]
"""A table's layout, the long rows that it shows, and its notes."""


def layouts(report: Report, *, beside: bool = False) -> Iterator[Draft]:
    """The suite's main tables, then those that it asks for: parts, modality use, the paper's.

    Args:
        report: the suite's figures.
        beside: show published figures of rows in columns beside ours, not in a table of their own.
    """
    beside = beside and len(report.paper) > 0
    yield from main_tables(report, beside=beside)
    others = (cost_parts(report), modality_use(report), None if beside else paper(report))
    yield from (draft for draft in others if draft is not None)


def main_tables(report: Report, *, beside: bool = False) -> Iterator[Draft]:
    """The scores and costs of every row, in one table or one a dataset.

    There is none if the suite has neither scores nor costs.
    """
    plan, asked = report.plan, report.plan.table
    if not (plan.datasets or asked["costs"]):
        return
    figures = report.figures.where(altered="") + report.systems
    if beside:
        figures += _renamed(report.paper, plan.datasets)
    said = [
        *notes.preset_notes(plan),
        *notes.cost_notes(report.costs, asked["costs"], asked["base"]),
        *report.notes.initial_weights,
        *report.notes.selection,
        *report.notes.clips,
        *report.notes.without_clip,
        *notes.signature_notes(report.signatures, asked["metrics"]),
    ]
    parts = [(d,) for d in plan.datasets] if asked["apart"] and plan.datasets else [plan.datasets]
    for datasets in parts:
        systems = _systems(plan, datasets)
        baseline = [TableRow(label=MOST_FREQUENT, ranked=False)] if plan.baselines else []
        shown = [name for d in datasets for name in ((d, published_name(d)) if beside else (d,))]
        title = plan.title or plan.suite
        layout = TableLayout(
            title=f"{title}: {datasets[0]}" if len(parts) > 1 else title,
            columns=_columns(plan),
            cost_columns=cost_columns.columns(asked["costs"], asked["base"]),
            datasets=tuple(shown),
            rows=(*systems, *_rows(plan), *baseline),
            delta_to=asked["delta_to"] if asked["delta_to"] in plan.labels else None,
            corner=asked["corner"],
        )
        of_systems = notes.system_notes(plan, datasets)
        compared = rank_notes(report, datasets, asked["metrics"]) if beside else []
        yield layout, figures, [*of_systems, *compared, *said]


def published_name(dataset: str) -> str:
    """Return the name of the columns with published figures on a dataset."""
    return f"{dataset} (published)"


def _renamed(paper: Table, datasets: Sequence[str]) -> Table:
    """Return published figures under the names of their columns beside ours."""
    keys = {plain_name(key): key for key in datasets}
    frame = paper.frame.copy()
    frame["dataset"] = [
        published_name(keys.get(plain_name(name), name)) for name in frame["dataset"]
    ]
    return Table(frame, paper.axes)


def _systems(plan: Plan, datasets: Container[str]) -> tuple[TableRow, ...]:
    """Return the rows of other systems with published figures on these datasets."""
    marks = notes.system_marks(plan)
    shown = dict.fromkeys(
        figure["label"] for figure in plan.published if figure["dataset"] in datasets
    )
    return tuple(
        TableRow(
            label=label,
            title=f"{label}{marks.get(label, '')} – published",
            short=f"{label}{marks.get(label, '')} – published",
            ranked=False,
            published=True,
        )
        for label in shown
        if label not in plan.labels
    )


def cost_parts(report: Report) -> Draft | None:
    """The FLOPs of each part of a model; None if the suite asks for none, or none is counted."""
    plan = report.plan
    shown = {label: report.costs[label] for label in plan.table["parts"] if label in report.costs}
    if not shown:
        return None
    layout = TableLayout(
        title=f"{plan.title or plan.suite}: by part",
        columns=(),
        cost_columns=cost_columns.part_columns(list(shown.values())),
        rows=_rows(plan, shown),
        corner=plan.table["corner"],
    )
    return layout, report.figures.where(altered=""), notes.part_notes(shown)


def modality_use(report: Report) -> Draft | None:
    """The scores under each alteration; None if the suite alters nothing."""
    plan = report.plan
    if not any(cell.altered for trial in plan.trials for cell in trial.cells):
        return None
    metrics = plan.table["use_metrics"]
    return use_layout(plan, metrics), report.figures, use_notes(report, metrics)


def paper(report: Report) -> Draft | None:
    """The paper's figures of the suite's rows; None if it has none."""
    plan = report.plan
    if not len(report.paper):
        return None
    known = set(report.paper.frame["label"])
    delta_to = plan.table["delta_to"]
    layout = TableLayout(
        title=f"{plan.title or plan.suite}: as published",
        columns=_columns(plan),
        rows=_rows(plan, known),
        corner=plan.table["corner"],
        delta_to=delta_to if delta_to in known else None,
    )
    return layout, report.paper, [notes.PAPER]


def alterations(plan: Plan) -> dict[str, Alteration]:
    """Return the alteration behind each score stage of altered captions."""
    return {
        id_: options.build(Alteration, generate.spec["alteration"])
        for trial in plan.trials
        for cell in trial.cells
        for id_ in cell.altered.values()
        for generate in [plan.stages[plan.stages[id_].parents["predictions"]]]
    }


def use_layout(plan: Plan, metrics: Sequence[str], *, differences: bool = False) -> TableLayout:
    """Lay out every row's scores under each alteration.

    Args:
        plan: of the suite.
        metrics: the scores.
        differences: show the differences to the unaltered row.
    """
    names: dict[str, dict[str, None]] = {}
    for trial in plan.trials:
        known = names.setdefault(trial.label, {})
        for cell in trial.cells:
            known.update(dict.fromkeys(cell.altered))
    short = {trial.label: trial.short for trial in plan.trials}
    rows = [
        row
        for label, known in names.items()
        for row in (
            TableRow(label=label, short=short[label], ranked=False),
            *(
                TableRow(
                    label=altered_label(label, name),
                    short=altered_label(short[label], name) if short[label] else "",
                    ranked=False,
                    variant_of=label,
                )
                for name in known
            ),
        )
    ]
    baseline = [MOST_FREQUENT] if plan.baselines else []
    others = [TableRow(label=x, ranked=False) for x in (*baseline, *plan.table["references"])]
    return TableLayout(
        title=f"{plan.title or plan.suite}: use of the modalities",
        columns=tuple(Column(metric=m, delta=differences) for m in metrics),
        datasets=plan.datasets,
        rows=(*rows, *others),
        corner=plan.table["corner"],
    )


def use_notes(report: Report, metrics: Sequence[str]) -> list[str]:
    """Return the notes under a table of ``use_layout``."""
    return [
        *notes.alteration_notes(alterations(report.plan).values()),
        *report.notes.clips,
        *notes.signature_notes(report.signatures, metrics),
    ]


def _rows(plan: Plan, labels: Container[str] | None = None) -> tuple[TableRow, ...]:
    """Return the suite's rows, or those with some labels, in order."""
    short = {trial.label: trial.short for trial in plan.trials}
    return tuple(
        TableRow(label=label, short=name)
        for label, name in short.items()
        if labels is None or label in labels
    )


def _columns(plan: Plan) -> tuple[Column, ...]:
    asked = plan.table
    return tuple(Column(metric=m, delta=m in asked["delta_metrics"]) for m in asked["metrics"])
