"""From records to tables: the long rows of a plan, and the layouts that its suite asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from avbench.files import published
from avbench.graph import Cell, Plan, Stage, Store, Trial
from avbench.results import Measurement, Table, signature_notes
from avbench.stage import LOG
from avbench.tables import Column, Row, TableLayout

COSTS = ("macs_g", "flops_g", "params_m", "train_macs_g")
MOST_FREQUENT = "Most frequent caption"
ZEROED = "zeroed"
"""The axis that says which stream was zeroed in generation; empty: none."""
COST_UNITS = {"macs_g": "GMACs", "flops_g": "GFLOPs", "params_m": "M", "train_macs_g": "GMACs"}


@dataclass(slots=True)
class Report:
    """What a suite's records come to."""

    rows: Table
    layouts: list[tuple[TableLayout, Table, list[str]]]
    """Each table's layout, the long rows that it shows, and its notes."""
    failures: dict[str, str]
    """The stages that failed: folder to the last line of the error and the log."""
    unfinished: int
    """Cells that are failed or have not run."""


def collect(plan: Plan, store: Store) -> Report:
    """Read the records of a plan."""
    reader = _Collector(plan, store)
    own = [*reader.trials(), *reader.baselines(), *reader.references()]
    axes = (*plan.axes, ZEROED)
    table = Table.of(own, axes=axes)
    paper = Table.of(list(_paper(plan)), axes=axes)
    unfinished = sum(row.status in ("failed", "pending") for row in own)
    return Report(
        rows=table,
        layouts=list(reader.layouts(table, paper)),
        failures=reader.failures,
        unfinished=unfinished,
    )


@dataclass(slots=True)
class _Collector:
    plan: Plan
    store: Store
    failures: dict[str, str] = field(default_factory=dict)
    signatures: dict[str, dict[str, str]] = field(default_factory=dict)
    """Dataset to each metric's signature."""
    _records: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)

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
                        given = {"value": score["value"], "unit": score["unit"]}
                        yield Measurement(**base, **given, metric=name, split=self._split(dataset))

    def layouts(
        self, table: Table, paper: Table
    ) -> Iterator[tuple[TableLayout, Table, list[str]]]:
        """The suite's table, then modality use and the paper's figures where asked for."""
        plan, asked = self.plan, self.plan.table
        labels = list(dict.fromkeys(trial.label for trial in plan.trials))
        columns = tuple(
            Column(metric=m, delta=m in asked["delta_metrics"]) for m in asked["metrics"]
        )
        baseline = [Row(label=MOST_FREQUENT, ranked=False)] if plan.baselines else []
        if plan.datasets or asked["costs"]:
            layout = TableLayout(
                title=plan.title or plan.suite,
                columns=columns,
                costs=tuple(Column(metric=m) for m in asked["costs"]),
                datasets=plan.datasets,
                rows=(*(Row(label=label) for label in labels), *baseline),
                delta_to=asked["delta_to"] if asked["delta_to"] in labels else None,
            )
            yield layout, table.where(zeroed=""), self._notes(asked["metrics"])
        zeroed = {
            label: list(
                dict.fromkeys(
                    stream
                    for trial in plan.trials
                    if trial.label == label
                    for cell in trial.cells
                    for stream in cell.zeroed
                )
            )
            for label in labels
        }
        if any(zeroed.values()):
            rows = [
                Row(label=name, ranked=False)
                for label in labels
                for name in (label, *(_zeroed(label, stream) for stream in zeroed[label]))
            ]
            others = [Row(label=label, ranked=False) for label in asked["references"]]
            layout = TableLayout(
                title=f"{plan.title or plan.suite}: use of the modalities",
                columns=tuple(Column(metric=m, delta=False) for m in asked["use_metrics"]),
                datasets=plan.datasets,
                rows=(*rows, *baseline, *others),
            )
            notes = ["A zeroed stream is zeros at the cross-modal encoder (Eq. 2)."]
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
        notes = [*plan.notes, f"Preset {plan.preset}; data: {plan.data}."]
        started: dict[str, None] = {}
        for stage in plan.stages.values():
            record = self.record(stage) if stage.kind in ("pretrain", "finetune") else None
            if record and "start" not in stage.parents and record["status"] == "done":
                for modality, text in record["results"].get("encoders", {}).items():
                    started[f"{modality} {text}"] = None
        if started:
            notes.append(f"Encoders started from: {', '.join(sorted(started))}.")
        return [*notes, *self._clips(), *self._signatures(metrics)]

    def _signatures(self, metrics: Sequence[str]) -> list[str]:
        """How the metrics that a table shows were made."""
        return signature_notes(
            {
                dataset: [made[name] for name in metrics if name in made]
                for dataset, made in self.signatures.items()
            }
        )

    def _clips(self) -> list[str]:
        """How many clips each split gave, and what became of the others."""
        told, lost = [], []
        for stage in self.plan.stages.values():
            record = self.record(stage) if stage.kind == "prepare" else None
            if record is None or record["status"] != "done":
                continue
            results = record["results"]
            name = f"{stage.spec['dataset']} {results['split']}"
            told.append(f"{name} {results['kept']}")
            if results["lost"]:
                reasons = ", ".join(f"{n} {why}" for why, n in results["lost"].items())
                lost.append(f"{name} {results['expected'] - results['kept']} ({reasons})")
        if not told:
            return []
        return [f"Clips used: {', '.join(told)}; lost: {', '.join(lost) or 'none'}."]

    def _costs(self, trial: Trial, base: Mapping[str, Any]) -> Iterator[Measurement]:
        if trial.profile is None:
            return
        stage = self.plan.stages[trial.profile]
        record = self.record(stage)
        if record is None or record["status"] != "done":
            yield Measurement(**base, **self._absence(stage))
            return
        for metric in COSTS:
            value = record["results"].get(metric)
            if value is not None:
                unit = COST_UNITS[metric]
                yield Measurement(**base, metric=metric, value=value, unit=unit, record=stage.id)

    def _cell(self, trial: Trial, cell: Cell, base: Mapping[str, Any]) -> Iterator[Measurement]:
        here = {**base, "seed": trial.seed, "dataset": cell.dataset}
        yield from self._scores(self.plan.stages[cell.score], here)
        for stream, id_ in cell.zeroed.items():
            name = {"label": _zeroed(trial.label, stream)}
            axes = {"axes": {**trial.axes, ZEROED: stream}}
            yield from self._scores(self.plan.stages[id_], {**here, **name, **axes})

    def _scores(self, stage: Stage, base: Mapping[str, Any]) -> Iterator[Measurement]:
        record = self.record(stage)
        split = self._split(base["dataset"])
        if record is None or record["status"] != "done":
            yield Measurement(**base, split=split, **self._absence(stage))
            return
        for score in record["results"]["scores"]:
            self.signatures.setdefault(base["dataset"], {})[score["name"]] = score["signature"]
            yield Measurement(
                **base,
                split=split,
                metric=score["name"],
                value=score["value"],
                unit=score["unit"],
                record=stage.id,
            )

    def _absence(self, stage: Stage) -> dict[str, Any]:
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
        return str((record or {}).get("results", {}).get("split", ""))

    def _base(self, label: str) -> dict[str, Any]:
        return {"suite": self.plan.suite, "trial": "", "label": label}

    def record(self, stage: Stage) -> Mapping[str, Any] | None:
        """A stage's record, read once."""
        if stage.id not in self._records:
            self._records[stage.id] = self.store.record(stage)
        return self._records[stage.id]


def _zeroed(label: str, stream: str) -> str:
    return f"{label} – {stream} zeroed"


def _paper(plan: Plan) -> Iterator[Measurement]:
    """The published figures of the suite's rows."""
    name = plan.table["published"]
    if name is None:
        return
    lines = published(name)
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
