"""The tables that a suite asks for: their layouts, the long rows they show, and their notes."""

from collections.abc import Container, Iterator, Sequence

from avbench.core import options
from avbench.evaluation.perturbation import Alteration, altered_label
from avbench.reports import cost_columns, notes
from avbench.reports.collect import MOST_FREQUENT, Report
from avbench.reports.long_table import Table
from avbench.reports.table import Column, TableLayout, TableRow
from avbench.runner.plan import Plan

Draft = tuple[TableLayout, Table, list[str]]
"""A table's layout, the long rows that it shows, and its notes."""


def layouts(report: Report) -> Iterator[Draft]:
    """The suite's main table, then those that it asks for: parts, modality use, the paper's."""
    for draft in (main_table(report), cost_parts(report), modality_use(report), paper(report)):
        if draft is not None:
            yield draft


def main_table(report: Report) -> Draft | None:
    """The scores and costs of every row; None if the suite has neither."""
    plan, asked = report.plan, report.plan.table
    if not (plan.datasets or asked["costs"]):
        return None
    baseline = [TableRow(label=MOST_FREQUENT, ranked=False)] if plan.baselines else []
    layout = TableLayout(
        title=plan.title or plan.suite,
        columns=_columns(plan),
        cost_columns=cost_columns.columns(asked["costs"], asked["base"]),
        datasets=plan.datasets,
        rows=(*_rows(plan), *baseline),
        delta_to=asked["delta_to"] if asked["delta_to"] in plan.labels else None,
        corner=asked["corner"],
    )
    said = [
        *notes.preset_notes(plan),
        *notes.cost_notes(report.costs, asked["costs"], asked["base"]),
        *report.notes.initial_weights,
        *report.notes.selection,
        *report.notes.clips,
        *report.notes.without_clip,
        *notes.signature_notes(report.signatures, asked["metrics"]),
    ]
    return layout, report.figures.where(altered=""), said


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
