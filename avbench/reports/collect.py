"""From a plan's records to its figures, their signatures and the notes under its tables.

``collect`` reads every record once. What follows (layouts, pivot, intervals, formats) is made from
the ``Report`` that it returns.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avbench.config.shipped import published
from avbench.core.columns import ALTERED
from avbench.evaluation.perturbation import altered_label
from avbench.reports import cost_columns
from avbench.reports.cost_columns import RowCosts
from avbench.reports.long_table import Measurement, Table
from avbench.reports.notes import Notes, leaking
from avbench.reports.records import Records
from avbench.reports.signatures import signatures
from avbench.runner.plan import Cell, Plan, Stage, Store, Trial

MOST_FREQUENT = "Most frequent caption"
"""The label of the baseline's row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that a plan's records say."""

    records: Records
    figures: Table
    """Scores of rows, baselines and references, and costs; or the reason why there are none."""
    paper: Table
    """Published figures of the suite's rows."""
    systems: Table
    """Published figures of other systems, which are rows of their own."""
    signatures: Mapping[str, Mapping[str, str]]
    """Dataset → metric → the signature of its scores."""
    notes: Notes
    costs: Mapping[str, RowCosts]
    """Label → costs of the rows whose profile is done."""
    failures: Mapping[str, str]
    """Folder of each failed stage → the last line of its error, and its log."""

    @property
    def plan(self) -> Plan:
        """The plan whose records these are."""
        return self.records.plan

    @property
    def unfinished(self) -> int:
        """The number of figures whose stage failed or has not run."""
        return int(self.figures.frame["status"].isin(("failed", "pending")).sum())


def collect(plan: Plan, store: Store) -> Report:
    """Read the records of a plan."""
    records = Records.read(plan, store)
    costs = _row_costs(records)
    collector = _Collector(records, costs)
    own = [*collector.trials(), *collector.baselines(), *collector.references()]
    axes = (*plan.axes, ALTERED)
    figures = Table.of(own, axes=axes)
    failed = [plan.stages[row.record] for row in own if row.status == "failed"]
    return Report(
        records=records,
        figures=figures,
        paper=Table.of([*_paper(plan), *_published(plan, of_rows=True)], axes=axes),
        systems=Table.of(list(_published(plan, of_rows=False)), axes=axes),
        signatures=signatures(figures.frame),
        notes=Notes.of(records),
        costs=costs,
        failures={s.folder: f"{records.error(s)} (log: {records.log(s)})" for s in failed},
    )


@dataclass(frozen=True, slots=True)
class _Collector:
    """The long rows of a plan."""

    records: Records
    costs: Mapping[str, RowCosts]

    @property
    def plan(self) -> Plan:
        return self.records.plan

    def trials(self) -> Iterator[Measurement]:
        """The scores and costs of every trial."""
        profiled: set[str] = set()
        for trial in self.plan.trials:
            base: dict[str, Any] = {
                "suite": self.plan.suite,
                "trial": trial.id,
                "label": trial.label,
                "axes": dict(trial.axes),
            }
            if trial.skipped is not None:
                why = trial.skipped
                yield Measurement(**base, seed=trial.seed, status="skipped", reason=why)
                continue
            if trial.label not in profiled:
                profiled.add(trial.label)
                yield from self._costs(trial, base)
            for cell in trial.cells:
                yield from self._cell(trial, cell, base)

    def baselines(self) -> Iterator[Measurement]:
        """The scores of always giving the most frequent caption."""
        for dataset, id_ in self.plan.baselines.items():
            base = self._base(MOST_FREQUENT)
            yield from self._scores(self.plan.stages[id_], {**base, "dataset": dataset})

    def references(self) -> Iterator[Measurement]:
        """The reference values that metrics give beside a score (``<score>_chance``)."""
        for label, suffix in self.plan.table["references"].items():
            for dataset in self.plan.datasets:
                scores = self._first_scores(dataset)
                for name in self.plan.table["use_metrics"]:
                    if f"{name}_{suffix}" in scores:
                        id_, score = scores[f"{name}_{suffix}"]
                        base = {**self._base(label), "dataset": dataset, "record": id_}
                        given = {k: score[k] for k in ("value", "unit", "signature")}
                        yield Measurement(**base, **given, metric=name, split=self._split(dataset))

    def _costs(self, trial: Trial, base: Mapping[str, Any]) -> Iterator[Measurement]:
        if trial.profile is None:
            return
        if trial.label not in self.costs:
            yield Measurement(**base, **self.records.absence(self.plan.stages[trial.profile]))
            return
        reference = _base_label(self.plan, trial)
        found = self.costs.get(reference) if reference is not None else None
        printed = self.plan.table["published"]
        for cost in cost_columns.derived_costs(self.costs[trial.label], found, printed):
            yield Measurement(
                **base, metric=cost.metric, value=cost.value, unit=cost.unit, record=cost.record
            )

    def _cell(self, trial: Trial, cell: Cell, base: Mapping[str, Any]) -> Iterator[Measurement]:
        here = {**base, "seed": trial.seed, "dataset": cell.dataset}
        yield from self._scores(self.plan.stages[cell.score], here)
        for alteration, id_ in cell.altered.items():
            name = {"label": altered_label(trial.label, alteration)}
            axes = {"axes": {**trial.axes, ALTERED: alteration}}
            yield from self._scores(self.plan.stages[id_], {**here, **name, **axes})

    def _scores(self, stage: Stage, base: Mapping[str, Any]) -> Iterator[Measurement]:
        results = self.records.results(stage.id)
        split = self._split(base["dataset"])
        if results is None:
            yield Measurement(**base, split=split, **self.records.absence(stage))
            return
        for score in results["scores"]:
            yield Measurement(
                **base,
                split=split,
                metric=score["name"],
                value=score["value"],
                unit=score["unit"],
                signature=score["signature"],
                record=stage.id,
            )

    def _first_scores(self, dataset: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The scores of a dataset's first finished cell, by name, with the stage's id."""
        ids = [c.score for t in self.plan.trials for c in t.cells if c.dataset == dataset]
        for id_ in ids:
            results = self.records.results(id_)
            if results is not None:
                return {score["name"]: (id_, score) for score in results["scores"]}
        return {}

    def _split(self, dataset: str) -> str:
        split = str((self.records.results(self.plan.prepared[dataset]) or {}).get("split", ""))
        leaks = dataset in leaking(self.plan)
        return f"{split} (checkpoints selected on it)" if leaks else split

    def _base(self, label: str) -> dict[str, Any]:
        return {"suite": self.plan.suite, "trial": "", "label": label}


def _row_costs(records: Records) -> dict[str, RowCosts]:
    """Return the recorded costs of each label."""
    found: dict[str, RowCosts] = {}
    paper = cost_columns.quantities(records.plan.table["published"])
    for trial in records.plan.trials:
        if trial.profile is None or trial.label in found:
            continue
        results = records.results(trial.profile)
        if results is None:
            continue
        counted = results.get("parts", {}).get("macs_g", {})
        found[trial.label] = RowCosts(
            record=trial.profile,
            values={
                m: float(v) for m in cost_columns.RECORDED if (v := results.get(m)) is not None
            },
            parts={part: 2 * macs for part, macs in counted.items()},
            paper={c: paper[str(q)] for c, q in trial.published.items() if paper},
        )
    return found


def _base_label(plan: Plan, trial: Trial) -> str | None:
    """Return the label of the row that a row's relative costs refer to, or None."""
    base = plan.table["base"]
    wanted = {**trial.axes, **base}
    if not base or wanted == dict(trial.axes):
        return None
    for other in plan.trials:
        if all(other.axes.get(a, "") == wanted.get(a, "") for a in plan.axes):
            return other.label
    return None


def _published(plan: Plan, *, of_rows: bool) -> Iterator[Measurement]:
    """The figures of the suite's ``published``: of its own rows, or of all others."""
    axes = {trial.label: dict(trial.axes) for trial in plan.trials}
    for figure in plan.published:
        if (figure["label"] in axes) == of_rows:
            yield Measurement(
                suite=plan.suite,
                trial="",
                label=figure["label"],
                axes=axes.get(figure["label"], {}),
                dataset=figure["dataset"],
                metric=figure["metric"],
                value=figure["value"],
                unit="x100",
                record=f"published/{figure['source']}",
            )


def _paper(plan: Plan) -> Iterator[Measurement]:
    """The paper's figures that the suite's rows select."""
    name = plan.table["published"]
    if name is None:
        return
    lines = published(name)
    if cost_columns.quantities(name):
        return  # they stand beside the costs
    done: set[str] = set()
    for trial in plan.trials:
        if not trial.published or trial.label in done:
            continue
        done.add(trial.label)
        for line in lines:
            if all(line.get(column) == str(v) for column, v in trial.published.items()):
                yield Measurement(
                    suite=plan.suite,
                    trial="",
                    label=trial.label,
                    axes=dict(trial.axes),
                    dataset=line["dataset"],
                    metric=line["metric"],
                    value=float(line["value"]),
                    unit="x100",
                    record=f"published/{name}",
                )
