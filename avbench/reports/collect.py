"""From records to tables: the long rows of a plan, and the layouts that its suite asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avbench.config.shipped import published
from avbench.core import options
from avbench.core.columns import ALTERED
from avbench.core.job import LOG
from avbench.evaluation.perturbation import Alteration, altered_label, explained
from avbench.reports import cost_columns
from avbench.reports.long_table import Measurement, Table, signature_notes
from avbench.reports.notes import Selected, clip_notes, leaking, selection_notes, started_notes
from avbench.reports.signatures import signatures
from avbench.reports.table import Column, Row, TableLayout
from avbench.runner.plan import Cell, Plan, Stage, Store, Trial

MOST_FREQUENT = "Most frequent caption"


@dataclass(slots=True)
class Report:
    """What a suite's records come to."""

    rows: Table
    paper: Table
    """The paper's figures of the suite's rows."""
    layouts: list[tuple[TableLayout, Table, list[str]]]
    """Each table's layout, the long rows that it shows, and its notes."""
    failures: dict[str, str]
    """The stages that failed: folder to the last line of the error and the log."""
    unfinished: int
    """Cells that are failed or have not run."""


def collect(plan: Plan, store: Store) -> Report:
    """Read the records of a plan."""
    reader = Collector(plan, store)
    own = [*reader.trials(), *reader.baselines(), *reader.references()]
    axes = (*plan.axes, ALTERED)
    table = Table.of(own, axes=axes)
    paper = Table.of(list(_paper(plan)), axes=axes)
    unfinished = sum(row.status in ("failed", "pending") for row in own)
    return Report(
        rows=table,
        paper=paper,
        layouts=list(reader.layouts(table, paper)),
        failures=reader.failures,
        unfinished=unfinished,
    )


def alterations(plan: Plan) -> dict[str, Alteration]:
    """The alterations that a plan's captions are generated under: score stage to alteration."""
    return {
        id_: options.build(Alteration, generate.spec["alteration"])
        for trial in plan.trials
        for cell in trial.cells
        for id_ in cell.altered.values()
        for generate in [plan.stages[plan.stages[id_].parents["predictions"]]]
    }


def use_layout(plan: Plan, metrics: Sequence[str], *, differences: bool = False) -> TableLayout:
    """The table of every row's scores under each alteration.

    Args:
        plan: of the suite.
        metrics: the scores.
        differences: whether those to the unaltered row are shown.
    """
    names: dict[str, dict[str, None]] = {}
    for trial in plan.trials:
        known = names.setdefault(trial.label, {})
        for cell in trial.cells:
            known.update(dict.fromkeys(cell.altered))
    rows = [
        row
        for label, known in names.items()
        for row in (
            Row(label=label, ranked=False),
            *(
                Row(label=altered_label(label, name), ranked=False, variant_of=label)
                for name in known
            ),
        )
    ]
    baseline = [MOST_FREQUENT] if plan.baselines else []
    others = [Row(label=x, ranked=False) for x in (*baseline, *plan.table["references"])]
    return TableLayout(
        title=f"{plan.title or plan.suite}: use of the modalities",
        columns=tuple(Column(metric=m, delta=differences) for m in metrics),
        datasets=plan.datasets,
        rows=(*rows, *others),
    )


@dataclass(slots=True)
class Collector:
    """Reads the records of a plan, each once."""

    plan: Plan
    store: Store
    failures: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, dict[str, str]] = field(default_factory=dict)
    """Dataset to each metric's signature."""
    _records: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    _costed: dict[str, cost_columns.CostRow] | None = None
    _silent: dict[str, int] = field(default_factory=dict)
    """Dataset to the number of its videos of which no clip was prepared, where these count."""
    _leaking: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._leaking = frozenset(leaking(self.plan))

    def trials(self) -> Iterator[Measurement]:
        """The scores and costs of every trial."""
        costed: set[str] = set()
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
            if trial.label not in costed:
                costed.add(trial.label)
                yield from self._costs(trial, base)
            for cell in trial.cells:
                yield from self._cell(trial, cell, base)

    def baselines(self) -> Iterator[Measurement]:
        """The scores of always giving the most frequent caption."""
        for dataset, id_ in self.plan.baselines.items():
            base = self._base(MOST_FREQUENT)
            yield from self._scores(self.plan.stages[id_], {**base, "dataset": dataset})

    def references(self) -> Iterator[Measurement]:
        """What a score would be by itself, as the metrics say beside each (``<score>_chance``)."""
        for label, suffix in self.plan.table["references"].items():
            for dataset in self.plan.datasets:
                scores = self._some_scores(dataset)
                for name in self.plan.table["use_metrics"]:
                    if f"{name}_{suffix}" in scores:
                        id_, score = scores[f"{name}_{suffix}"]
                        base = {**self._base(label), "dataset": dataset, "record": id_}
                        given = {k: score[k] for k in ("value", "unit", "signature")}
                        yield Measurement(**base, **given, metric=name, split=self._split(dataset))

    def layouts(
        self, table: Table, paper: Table
    ) -> Iterator[tuple[TableLayout, Table, list[str]]]:
        """The suite's table, then modality use and the paper's figures where asked for."""
        plan, asked = self.plan, self.plan.table
        self.signatures = signatures(table.frame)
        labels = list(dict.fromkeys(trial.label for trial in plan.trials))
        columns = tuple(
            Column(metric=m, delta=m in asked["delta_metrics"]) for m in asked["metrics"]
        )
        baseline = [Row(label=MOST_FREQUENT, ranked=False)] if plan.baselines else []
        if plan.datasets or asked["costs"]:
            layout = TableLayout(
                title=plan.title or plan.suite,
                columns=columns,
                costs=cost_columns.columns(asked["costs"], asked["base"]),
                datasets=plan.datasets,
                rows=(*(Row(label=label) for label in labels), *baseline),
                delta_to=asked["delta_to"] if asked["delta_to"] in labels else None,
            )
            yield layout, table.where(altered=""), self._notes(asked["metrics"])
        shown = [label for label in asked["parts"] if label in self._cost_rows()]
        if costed := {label: self._cost_rows()[label] for label in shown}:
            layout = TableLayout(
                title=f"{plan.title or plan.suite}: by part",
                columns=(),
                costs=cost_columns.part_columns(list(costed.values())),
                rows=tuple(Row(label=label) for label in costed),
            )
            yield layout, table.where(altered=""), cost_columns.part_notes(costed)
        if any(cell.altered for trial in plan.trials for cell in trial.cells):
            layout = use_layout(plan, asked["use_metrics"])
            notes = [*explained(alterations(plan).values()), *clip_notes(plan, self.store)]
            yield layout, table, [*notes, *self._signatures(asked["use_metrics"])]
        if len(paper):
            names = {row.label for row in _paper(plan)}
            layout = TableLayout(
                title=f"{plan.title or plan.suite}: as published",
                columns=columns,
                rows=tuple(Row(label=label) for label in labels if label in names),
                delta_to=asked["delta_to"] if asked["delta_to"] in names else None,
            )
            notes = ["The paper's figures, on the real datasets at full scale (Shen et al.)."]
            yield layout, paper, notes

    def _notes(self, metrics: Sequence[str]) -> list[str]:
        plan = self.plan
        asked = plan.table
        data = f"data: {plan.data}" if plan.datasets else "nothing is trained"
        notes = [*plan.notes, f"Preset {plan.preset}; {data}."]
        if asked["costs"]:
            notes += cost_columns.notes(self._cost_rows(), asked["costs"], asked["base"])
        notes += started_notes(self._started())
        notes += selection_notes(self._selected())
        silent = [
            f"{dataset}: {number} videos without a usable clip count as nothing said."
            for dataset, number in self._silent.items()
        ]
        return [*notes, *clip_notes(plan, self.store), *silent, *self._signatures(metrics)]

    def _started(self) -> Iterator[tuple[str, str, str]]:
        """Row, modality, and what its encoder started from, of all that has been trained."""
        for trial in self.plan.trials:
            first = [trial.pretrain] if trial.pretrain else [c.finetune for c in trial.cells]
            for id_ in first:
                record = self.record(self.plan.stages[id_])
                if record is not None and record["status"] == "done":
                    for modality, text in record["results"].get("encoders", {}).items():
                        yield trial.label, modality, text

    def _selected(self) -> Iterator[Selected]:
        """How the checkpoint of each fine-tuning was selected, where it was."""
        several = len(self.plan.seeds) > 1
        for trial in self.plan.trials:
            for cell in trial.cells:
                record = self.record(self.plan.stages[cell.finetune])
                made = record["results"].get("selection") if record is not None else None
                if made is not None:
                    name = trial.name if several else trial.label
                    yield Selected(trial=name, dataset=cell.dataset, record=made)

    def _signatures(self, metrics: Sequence[str]) -> list[str]:
        """How the metrics that a table shows were made."""
        return signature_notes(
            {
                dataset: [made[name] for name in metrics if name in made]
                for dataset, made in self.signatures.items()
            }
        )

    def _costs(self, trial: Trial, base: Mapping[str, Any]) -> Iterator[Measurement]:
        if trial.profile is None:
            return
        stage = self.plan.stages[trial.profile]
        record = self.record(stage)
        if record is None or record["status"] != "done":
            yield Measurement(**base, **self.absence(stage))
            return
        rows, table = self._cost_rows(), self.plan.table
        reference = self._base_of(trial)
        found = rows.get(reference) if reference is not None else None
        for figure in cost_columns.figures(rows[trial.label], found, table["published"]):
            yield Measurement(
                **base,
                metric=figure.metric,
                value=figure.value,
                unit=figure.unit,
                record=figure.record,
            )

    def _cost_rows(self) -> dict[str, cost_columns.CostRow]:
        """What the profiles recorded, by label; read once."""
        if self._costed is not None:
            return self._costed
        self._costed = {}
        paper = cost_columns.quantities(self.plan.table["published"])
        for trial in self.plan.trials:
            if trial.profile is None or trial.label in self._costed:
                continue
            record = self.record(self.plan.stages[trial.profile])
            if record is None or record["status"] != "done":
                continue
            results = record["results"]
            self._costed[trial.label] = cost_columns.CostRow(
                record=trial.profile,
                values={
                    m: float(v) for m in cost_columns.RECORDED if (v := results.get(m)) is not None
                },
                parts={
                    part: 2 * macs
                    for part, macs in results.get("parts", {}).get("macs_g", {}).items()
                },
                paper={c: paper[str(q)] for c, q in trial.published.items() if paper},
            )
        return self._costed

    def _base_of(self, trial: Trial) -> str | None:
        """The label of the row that relative costs of a row refer to; None: there is none."""
        base = self.plan.table["base"]
        wanted = {**trial.axes, **base}
        if not base or wanted == dict(trial.axes):
            return None
        for other in self.plan.trials:
            if all(other.axes.get(a, "") == wanted.get(a, "") for a in self.plan.axes):
                return other.label
        return None

    def _cell(self, trial: Trial, cell: Cell, base: Mapping[str, Any]) -> Iterator[Measurement]:
        here = {**base, "seed": trial.seed, "dataset": cell.dataset}
        yield from self._scores(self.plan.stages[cell.score], here)
        for alteration, id_ in cell.altered.items():
            name = {"label": altered_label(trial.label, alteration)}
            axes = {"axes": {**trial.axes, ALTERED: alteration}}
            yield from self._scores(self.plan.stages[id_], {**here, **name, **axes})

    def _scores(self, stage: Stage, base: Mapping[str, Any]) -> Iterator[Measurement]:
        record = self.record(stage)
        split = self._split(base["dataset"])
        if record is None or record["status"] != "done":
            yield Measurement(**base, split=split, **self.absence(stage))
            return
        if silent := record["results"].get("without_clip"):
            self._silent[base["dataset"]] = silent
        for score in record["results"]["scores"]:
            yield Measurement(
                **base,
                split=split,
                metric=score["name"],
                value=score["value"],
                unit=score["unit"],
                signature=score["signature"],
                record=stage.id,
            )

    def absence(self, stage: Stage) -> dict[str, Any]:
        """Why a stage has no result: what failed above it, or that it has not run."""
        failed = self._failed_above(stage, set())
        if failed is None:
            return {"status": "pending", "reason": "has not run"}
        record = self.record(failed) or {}
        error = str(record.get("error")).strip() or "unknown error"
        log = str(self.store.directory(failed) / LOG)
        last = error.splitlines()[-1]
        self.failures[failed.folder] = f"{last} (log: {log})"
        return {
            "status": "failed",
            "reason": f"{failed.kind}: {last}",
            "log": log,
            "record": failed.id,
        }

    def _failed_above(self, stage: Stage, seen: set[str]) -> Stage | None:
        """The stage that failed, this one or the first above it."""
        if stage.id in seen:
            return None
        seen.add(stage.id)
        record = self.record(stage)
        if record is not None:
            return stage if record["status"] == "failed" else None
        above = (self._failed_above(self.plan.stages[p], seen) for p in stage.parents.values())
        return next((found for found in above if found is not None), None)

    def _some_scores(self, dataset: str) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The scores of any finished cell of a dataset, by name, with the stage's id."""
        ids = [c.score for t in self.plan.trials for c in t.cells if c.dataset == dataset]
        for id_ in ids:
            record = self.record(self.plan.stages[id_])
            if record is not None and record["status"] == "done":
                return {score["name"]: (id_, score) for score in record["results"]["scores"]}
        return {}

    def _split(self, dataset: str) -> str:
        record = self.record(self.plan.stages[self.plan.prepared[dataset]])
        split = str((record or {}).get("results", {}).get("split", ""))
        return f"{split} (checkpoints selected on it)" if dataset in self._leaking else split

    def _base(self, label: str) -> dict[str, Any]:
        return {"suite": self.plan.suite, "trial": "", "label": label}

    def record(self, stage: Stage) -> Mapping[str, Any] | None:
        """A stage's record, read once."""
        if stage.id not in self._records:
            self._records[stage.id] = self.store.record(stage)
        return self._records[stage.id]


def _paper(plan: Plan) -> Iterator[Measurement]:
    """The published figures of the suite's rows."""
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
