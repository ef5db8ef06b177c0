"""Modality use of a suite's models: final losses, scores with altered streams, Shapley values.

Everything is made from records; no model runs here.
"""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, TypeVar

from avbench.analysis import pretraining
from avbench.analysis.loss_curves import loss_picture
from avbench.evaluation.perturbation import Alteration
from avbench.reports.collect import Report
from avbench.reports.layouts import alterations, use_layout, use_notes
from avbench.reports.long_table import Measurement, Table
from avbench.reports.notes import signature_notes
from avbench.reports.pivot import pivot
from avbench.reports.table import TITLES, Column, Sheet, TableLayout, TableRow
from avbench.runner.plan import Cell, Plan, Trial

NOTHING, EVERYTHING, VALUE = "shapley_none", "shapley_all", "shapley_of_"
"""The metrics of v(∅) and v(all), and the prefix of a modality's Shapley value."""

P = TypeVar("P", bound=Hashable)

FIGURES = {
    "L": "L",
    "L_": "L",
    "gap_": "Gap",
    "w": "Weight",
    "w_": "Weight",
    "gradient_": "Gradient",
}
"""Names and prefixes of a pre-training's figures, in order → their titles."""


def use_sheets(report: Report) -> list[Sheet]:
    """Return the tables of modality use: final losses, altered streams, Shapley values.

    A table that the suite has nothing for is left out.
    """
    tables = _Tables(report)
    found = (tables.losses(), tables.altered(), tables.shapley())
    return [sheet for sheet in found if sheet is not None]


@dataclass(slots=True)
class _Tables:
    report: Report
    plan: Plan = field(init=False)
    alterations: Mapping[str, Alteration] = field(init=False)
    """Score stage → the alteration of the captions that it scores."""
    scores: Mapping[tuple[str, str], Mapping[str, Any]] = field(init=False)
    """Stage and score → the long row."""

    def __post_init__(self) -> None:
        self.plan = self.report.plan
        self.alterations = alterations(self.plan)
        rows: list[Any] = self.report.figures.frame.to_dict("records")
        self.scores = {(r["record"], r["metric"]): r for r in rows if r["status"] == "ok"}

    # ------------------------------------------------------------- pre-training

    def losses(self) -> Sheet | None:
        """Return the final figures of each pre-training, with the picture of losses."""
        trained = [t for t in self.plan.trials if t.pretrain is not None]
        if not trained:
            return None
        rows = [row for trial in self.plan.trials for row in self._closing(trial)]
        names = {row.metric for row in rows if row.metric} or {"L"}
        columns = tuple(
            Column(metric=n, title=_title(n), decimals=3, ranked=False, delta=False)
            for n in sorted(names, key=lambda n: (list(FIGURES).index(_kind(n)), n))
        )
        specs = [self.plan.stages[str(trial.pretrain)].spec for trial in trained]
        every = " or ".join(map(str, sorted({spec["train"]["measure_every"] for spec in specs})))
        notes = [
            f"Means over the last {100 * pretraining.LAST:g} % of pre-training steps. Losses are "
            "in nats per token. L: all modalities; L m: modality m alone, the others zeroed "
            "(Eq. 2). Gap m: L m − L, signed, over the steps that have both. Weight: weight of a "
            "loss in the objective. Gradient m: gradient norm of m's encoder, before modulation "
            "and clipping.",
            f"Untrained losses are measured without gradients every {every} steps and at the last "
            "step; gradient norms are measured at the same steps.",
            *self.report.notes.clips,
        ]
        layout = TableLayout(
            title=f"{self._suite}: how pre-training ended",
            columns=columns,
            datasets=tuple(dict.fromkeys(row.dataset for row in rows if row.dataset)),
            rows=tuple(TableRow(label=label, ranked=False) for label in self.plan.labels),
        )
        picture = loss_picture(self.report.records)
        sheet = pivot(Table.of(rows, axes=self.plan.axes), layout, notes)
        return replace(sheet, pictures=(picture,) if picture is not None else ())

    def _closing(self, trial: Trial) -> Iterator[Measurement]:
        """Yield the final figures of a trial's pre-training."""
        base = self._base(trial)
        if trial.pretrain is None:
            yield Measurement(**base, status="skipped", reason=trial.skipped or "no pre-training")
            return
        stage = self.plan.stages[trial.pretrain]
        dataset = self.plan.stages[stage.parents["data"]].spec["dataset"]
        records = self.report.records
        if records.results(stage.id) is None:
            yield Measurement(**base, dataset=dataset, **records.absence(stage))
            return
        for name, value in pretraining.closing(records.store, stage).items():
            if not math.isfinite(value):
                why = f"the training logged {value}"
                yield Measurement(
                    **base, dataset=dataset, metric=name, status="missing", reason=why
                )
                continue
            nats = "nats per token" if _kind(name) in ("L", "L_", "gap_") else ""
            yield Measurement(
                **base, dataset=dataset, metric=name, value=value, unit=nats, record=stage.id
            )

    # ------------------------------------------------------------- scores

    def altered(self) -> Sheet | None:
        """Return the scores under each alteration, with differences to the unaltered rows."""
        if not self.alterations:
            return None
        score = [self._score] if self._divided else []
        metrics = tuple(dict.fromkeys([*self.plan.table["use_metrics"], *score]))
        layout = use_layout(self.plan, metrics, differences=True)
        return pivot(self._scored, layout, use_notes(self.report, metrics))

    def shapley(self) -> Sheet | None:
        """Return the Shapley value of each modality in a score."""
        if not self._divided:
            return None
        rows = [row for trial in self.plan.trials for row in self._values(trial)]
        streams = dict.fromkeys(m for game in self._divided.values() for m in max(game, key=len))
        titles = {
            NOTHING: "Nothing",
            **{f"{VALUE}{m}": m.capitalize() for m in sorted(streams)},
            EVERYTHING: "Everything",
        }
        score = TITLES.get(self._score, self._score)
        notes = [
            "A modality's value is what it adds to the score, averaged over all orders of adding "
            "the modalities; those not yet added are zeroed. A row's values add up to the score "
            "with everything minus the score with nothing.",
            *self.report.notes.clips,
            *signature_notes(self.report.signatures, [self._score]),
        ]
        layout = TableLayout(
            title=f"{self._suite}: Shapley values of the modalities, {score}",
            columns=tuple(
                Column(metric=metric, title=title, ranked=False, delta=False)
                for metric, title in titles.items()
            ),
            datasets=self.plan.datasets,
            rows=tuple(TableRow(label=label, ranked=False) for label in self.plan.labels),
        )
        return pivot(Table.of(rows, axes=self.plan.axes), layout, notes)

    @property
    def _divided(self) -> dict[str, dict[frozenset[str], str]]:
        """Score stage of each cell whose every set of streams was zeroed → the stages of v.

        v's stages are keyed by the streams that stay.
        """
        found = {}
        for cell in (cell for trial in self.plan.trials for cell in trial.cells):
            zeroed = {
                frozenset(self.alterations[id_].streams): id_
                for id_ in cell.altered.values()
                if self.alterations[id_].how == "zeroed"
            }
            everyone = max(zeroed, key=len, default=frozenset[str]())
            if everyone and len(zeroed) == 2 ** len(everyone) - 1:
                of = {everyone - gone: id_ for gone, id_ in zeroed.items()}
                found[cell.score] = {everyone: cell.score, **of}
        return found

    def _values(self, trial: Trial) -> Iterator[Measurement]:
        """Yield the Shapley values of a trial on every dataset."""
        if not trial.cells:
            why = trial.skipped or ""
            yield Measurement(**self._base(trial), status="skipped", reason=why)
        for cell in trial.cells:
            if cell.score in self._divided:
                yield from self._of_cell(trial, cell, self._divided[cell.score])

    def _of_cell(
        self, trial: Trial, cell: Cell, game: Mapping[frozenset[str], str]
    ) -> Iterator[Measurement]:
        base = {**self._base(trial), "dataset": cell.dataset}
        records = self.report.records
        unfinished = [self.plan.stages[i] for i in game.values() if records.results(i) is None]
        if unfinished:
            # A failure says more than a stage that has not run.
            why = [records.absence(stage) for stage in unfinished]
            yield Measurement(**base, **min(why, key=lambda given: given["status"] != "failed"))
            return
        found = {kept: self.scores.get((id_, self._score)) for kept, id_ in game.items()}
        rows = {kept: row for kept, row in found.items() if row is not None}
        if len(rows) < len(game):
            yield Measurement(**base, status="missing", reason=f"no score '{self._score}'")
            return
        value = {kept: float(row["value"]) for kept, row in rows.items()}
        everyone = max(value, key=len)
        example = rows[everyone]
        figures = {
            NOTHING: value[frozenset()],
            **{f"{VALUE}{m}": v for m, v in shapley(value).items()},
            EVERYTHING: value[everyone],
        }
        given = {k: example[k] for k in ("split", "unit", "signature", "record")}
        for metric, figure in figures.items():
            yield Measurement(**base, **given, metric=metric, value=figure)

    # ------------------------------------------------------------- what tables share

    @property
    def _scored(self) -> Table:
        """The long rows without costs."""
        table = self.report.figures
        ok = (table.frame["status"] != "ok") | (table.frame["dataset"] != "")
        return Table(table.frame[ok], table.axes)

    @property
    def _score(self) -> str:
        """The score that Shapley values divide."""
        return str(self.plan.table["shapley_score"])

    @property
    def _suite(self) -> str:
        return self.plan.title or self.plan.suite

    def _base(self, trial: Trial) -> dict[str, Any]:
        name = {"suite": self.plan.suite, "trial": trial.id, "label": trial.label}
        return {**name, "seed": trial.seed, "axes": dict(trial.axes)}


def _kind(name: str) -> str:
    """Return the key of ``FIGURES`` for a figure's name."""
    return name if name in FIGURES else f"{name.partition('_')[0]}_"


def _title(name: str) -> str:
    kind = _kind(name)
    return f"{FIGURES[kind]} {name.removeprefix(kind) if name != kind else ''}".strip()


def shapley(value: Mapping[frozenset[P], float]) -> dict[P, float]:
    """Return the exact Shapley value of each player.

    ::

        φ_i = Σ_{S ∌ i} |S|! (n − |S| − 1)! / n! · (v(S ∪ {i}) − v(S))

    They add up to v(all) − v(∅). Here the players are the modalities of a model, and the value of
    a set is its score with all other modalities zeroed.

    Args:
        value: v, of every subset of the players.

    Raises:
        KeyError: a subset is missing.

    Source: L. S. Shapley, A Value for n-Person Games (1953).
    """
    # In a fixed order: that of a set changes from process to process.
    players = sorted(frozenset[P]().union(*value), key=str)
    n = len(players)
    return {
        player: sum(
            math.factorial(size)
            * math.factorial(n - size - 1)
            / math.factorial(n)
            * (value[frozenset(others) | {player}] - value[frozenset(others)])
            for size in range(n)
            for others in combinations([p for p in players if p != player], size)
        )
        for player in players
    }


__all__ = ["EVERYTHING", "NOTHING", "VALUE", "shapley", "use_sheets"]
