"""A plan as data: stages, their parents, and the cells that they make up.

Nothing here imports torch, so a cached plan is shown and run without delay.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from avbench.core.job import RECORD
from avbench.runner import stage_record
from avbench.runner.stage_record import Finding, Findings


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One piece of work, computed once even if many cells, tables and suites need it."""

    id: str
    """Hash of everything that can change its result."""
    kind: str
    spec: Mapping[str, Any]
    parents: Mapping[str, str]
    """Ids of the stages whose results it reads, by role."""
    local: Mapping[str, Any] = field(default_factory=dict)
    """Settings that change no result, such as folders of this machine."""
    shared: bool = False
    """True if it lies in the user's cache: the embedded world and its prepared clips."""
    code: str = ""
    """Hash of the code that it runs; a key of ``Plan.codes``."""

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.kind}-{self.id}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """One purpose that a stage serves in a suite."""

    row: str = ""
    """Label of a row; empty: any row."""
    seed: int | None = None
    dataset: str = ""
    part: str = ""
    """Role of a split, an alteration, or a share of the work."""

    def text(self, *, seeds: bool) -> str:
        """Return the name of this use in listings, with the seed if ``seeds`` is true."""
        row = _seeded(self.row, self.seed) if seeds and self.row else self.row
        return ", ".join(filter(None, (": ".join(filter(None, (self.dataset, row))), self.part)))


@dataclass(frozen=True, slots=True)
class Cell:
    """The stages of one trial on one dataset."""

    dataset: str
    finetune: str
    generate: str
    score: str
    altered: Mapping[str, str] = field(default_factory=dict)
    """Score stages with altered streams: name of the alteration to id of the stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row with one seed."""

    label: str
    axes: Mapping[str, str]
    published: Mapping[str, Any]
    seed: int
    short: str = ""
    """The row's short name, if the suite gives one; see ``reports.short_names``."""
    skipped: str | None = None
    """The reason why the combination is impossible; the trial then has no stages."""
    pretrain: str | None = None
    profile: str | None = None
    cells: tuple[Cell, ...] = ()

    @property
    def id(self) -> str:
        """Hash of the trial's label, its value on each axis, and its seed."""
        text = json.dumps([self.label, dict(self.axes), self.seed], ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def name(self) -> str:
        """Name in listings."""
        return _seeded(self.label, self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All trials and stages of a suite."""

    suite: str
    title: str
    preset: str
    data: str
    axes: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    table: Mapping[str, Any]
    notes: tuple[str, ...]
    trials: tuple[Trial, ...]
    baselines: Mapping[str, str]
    """Score stages of the most frequent caption: dataset to id of the stage."""
    prepared: Mapping[str, str]
    """Prepare stages of the reported clips: dataset to id of the stage."""
    stages: Mapping[str, Stage]
    """Stages by id, parents before children."""
    claims: tuple[Mapping[str, Any], ...] = ()
    """The suite's claims, as plain data of ``config.claims.Claim``."""
    ends: tuple[str, ...] = ()
    """Ids of stages that tables show even if another stage reads them: of several suites, those
    that no stage of their own suite reads."""
    file: str = ""
    """The suite's file, as it was given; empty: the suite is a predefined one."""
    show: tuple[str, ...] = ("table",)
    """Its reports, see ``config.showing``."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """Choices of its reports by name, as plain data of ``config.showing``."""
    published: tuple[Mapping[str, Any], ...] = ()
    """Published figures by row, as plain data of ``config.published_figures.PublishedFigure``."""
    trainings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Expected work of each training stage, by id: plain data of
    ``runner.planning.training_sizes.TrainingSize``."""
    codes: Mapping[str, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)
    """For each ``Stage.code``: ``modules``, the hashes of the modules that the stage runs, and
    ``versions``, those of the distributions that its id covers."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the rows, in order."""
        return tuple(dict.fromkeys(trial.label for trial in self.trials))

    def children(self) -> dict[str, list[str]]:
        """Return the ids of the stages that read each stage, by its id."""
        waiting: dict[str, list[str]] = {id_: [] for id_ in self.stages}
        for stage in self.stages.values():
            for parent in dict.fromkeys(stage.parents.values()):
                waiting[parent].append(stage.id)
        return waiting

    def uses(self) -> dict[str, list[Use]]:
        """Return the uses of each stage, by its id."""
        uses: dict[str, dict[Use, None]] = {s.id: _own_use(s) for s in self.stages.values()}
        for dataset, id_ in self.baselines.items():
            for stage in (id_, self.stages[id_].parents["predictions"]):
                uses[stage][Use(dataset=dataset, part="most frequent caption")] = None
        for trial in self.trials:
            of = partial(Use, row=trial.label, seed=trial.seed)
            for shared in (trial.pretrain, trial.profile):
                if shared is not None:
                    uses[shared][of()] = None
            for cell in trial.cells:
                for id_ in (cell.finetune, cell.generate, cell.score):
                    uses[id_][of(dataset=cell.dataset)] = None
                for alteration, id_ in cell.altered.items():
                    for stage in (id_, self.stages[id_].parents["predictions"]):
                        uses[stage][of(dataset=cell.dataset, part=alteration)] = None
        return {id_: list(found) for id_, found in uses.items()}

    def names(self) -> dict[str, str]:
        """Return a readable name of each stage's work, by its id.

        A stage that several rows share is named after the first of them.
        """
        several = len(self.seeds) > 1
        return {id_: uses[0].text(seeds=several) for id_, uses in self.uses().items() if uses}

    def needed(self, done: Collection[str], damaged: Iterable[str] = ()) -> list[str]:
        """Return the ids of the stages that tables show, and of those they still need, in order.

        A stage above a finished one is left out, unless another stage needs it or it is damaged.

        Args:
            done: ids of the stages that are done.
            damaged: ids of stages to do again in any case.
        """
        ahead = [id_ for id_, below in self.children().items() if not below]
        ahead += [*self.ends, *damaged]
        needed: set[str] = set()
        while ahead:
            id_ = ahead.pop()
            if id_ in needed:
                continue
            needed.add(id_)
            if id_ not in done:
                ahead.extend(self.stages[id_].parents.values())
        return [id_ for id_ in self.stages if id_ in needed]

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the plan cache. Equal parts of specs are written once."""
        pool: dict[str, int] = {}
        places: dict[int, int] = {}  # by object id; the stages keep the objects alive

        def place(value: Any) -> int:
            if id(value) not in places:
                places[id(value)] = pool.setdefault(json.dumps(value), len(pool))
            return places[id(value)]

        stages = []
        for s in self.stages.values():
            spec = {k: place(v) for k, v in s.spec.items()}
            stages.append([s.id, s.kind, spec, s.parents, s.local, s.shared, s.code])
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        trials = [
            {f.name: getattr(t, f.name) for f in fields(t)}
            | {"cells": [[getattr(c, f.name) for f in fields(c)] for c in t.cells]}
            for t in self.trials
        ]
        return {**own, "trials": trials, "stages": stages, "pool": [json.loads(v) for v in pool]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Rebuild the plan from the data that ``to_json`` returned."""
        own = dict(data)
        pool = own.pop("pool")
        trials = tuple(
            Trial(**{**t, "cells": tuple(Cell(*cell) for cell in t["cells"])})
            for t in own.pop("trials")
        )
        stages = {
            id_: Stage(
                id=id_,
                kind=kind,
                spec={k: pool[i] for k, i in spec.items()},
                parents=parents,
                local=local,
                shared=shared,
                code=code,
            )
            for id_, kind, spec, parents, local, shared, code in own.pop("stages")
        }
        names = ("axes", "datasets", "seeds", "notes", "claims", "published", "show", "ends")
        tuples = {name: tuple(own[name]) for name in names}
        return cls(**{**own, **tuples, "trials": trials, "stages": stages})


def together(name: str, title: str, plans: Sequence[Plan]) -> Plan:
    """Return one plan for the stages of several suites; equal stages are in it once.

    Its tables are those of the suites: it has no table of its own.
    """
    first = plans[0]
    return replace(
        first,
        suite=name,
        title=title,
        preset=", ".join(dict.fromkeys(plan.preset for plan in plans)),
        datasets=tuple(dict.fromkeys(key for plan in plans for key in plan.datasets)),
        seeds=tuple(dict.fromkeys(seed for plan in plans for seed in plan.seeds)),
        axes=tuple(dict.fromkeys(axis for plan in plans for axis in plan.axes)),
        trials=tuple(trial for plan in plans for trial in plan.trials),
        baselines={key: id_ for plan in plans for key, id_ in plan.baselines.items()},
        prepared={key: id_ for plan in plans for key, id_ in plan.prepared.items()},
        stages={id_: stage for plan in plans for id_, stage in plan.stages.items()},
        trainings={id_: size for plan in plans for id_, size in plan.trainings.items()},
        codes={code: of for plan in plans for code, of in plan.codes.items()},
        ends=tuple(
            dict.fromkeys(
                id_ for plan in plans for id_, below in plan.children().items() if not below
            )
        ),
        notes=(),
        claims=(),
        published=(),
        show=(),
        shown={},
    )


def stage_name(kind: str, id_: str, work: str) -> str:
    """Return the name of a stage in lines for people: kind, work, beginning of the id."""
    return " ".join(part for part in (kind, work, f"[{id_[:8]}]") if part)


def _seeded(label: str, seed: int | None) -> str:
    return f"{label} (seed {seed})"


def _own_use(stage: Stage) -> dict[Use, None]:
    """Return the use that a stage's spec names, independent of rows; empty if it names none."""
    match stage.kind, stage.spec:
        case "world", {"datasets": datasets}:
            return {Use(dataset=", ".join(datasets)): None}
        case "prepare", {"dataset": dataset, "role": role}:
            return {Use(dataset=dataset, part=role): None}
        case "shards", {"dataset": dataset, "split": split, "job": job, "jobs": jobs}:
            return {Use(dataset=dataset, part=f"{split}, {job + 1} of {jobs}"): None}
        case "vocabulary", _:
            return {Use(part="tokenizer"): None}
    return {}


@dataclass(frozen=True, slots=True)
class Store:
    """The folders of stages: in a results folder, or in the user's cache if shared."""

    results: Path
    cache: Path

    def directory(self, stage: Stage) -> Path:
        """Return a stage's folder."""
        base = self.cache if stage.shared else self.results
        return base.resolve() / "stages" / stage.folder

    def examine(self, stage: Stage, *, contents: bool = False) -> Finding:
        """Read a stage's record, and compare its outputs with it, see ``stage_record.examine``."""
        found = stage_record.examine(self.directory(stage), contents=contents)
        if found.record is None:
            return found
        of = f"{found.record['kind']}-{found.record['id']}"
        return found if of == stage.folder else Finding(None, f"{RECORD} is of {of}")

    def record(self, stage: Stage) -> Mapping[str, Any] | None:
        """Return a stage's record; None if there is none or it proves nothing."""
        return self.examine(stage).record

    def done(self, stage: Stage) -> bool:
        """Return True if a stage has finished without error, and its outputs are there."""
        return self.examine(stage).done

    def examine_all(self, stages: Iterable[Stage]) -> Findings:
        """Return the findings on those of the stages that have a folder."""
        folders = {
            name
            for base in (self.results, self.cache)
            if (folder := base.resolve() / "stages").is_dir()
            for name in os.listdir(folder)
        }
        return Findings((s.id, self.examine(s)) for s in stages if s.folder in folders)
