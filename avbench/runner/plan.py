"""A plan as data: the stages, what each waits for, and which of them make up each cell.

Nothing here needs torch, so that a plan that was made before is shown and run at once.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from avbench.core.job import RECORD, read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One piece of work, computed once however many cells, tables and suites need it."""

    id: str
    """A hash of all that can change its result."""
    kind: str
    spec: Mapping[str, Any]
    parents: Mapping[str, str]
    """Ids of the stages whose results it reads, by role."""
    local: Mapping[str, Any] = field(default_factory=dict)
    """What no result depends on: folders of this machine."""
    shared: bool = False
    """Whether it lies in the user's cache: the embedded world and what is prepared of it."""

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{self.kind}-{self.id}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one trial gives on one dataset."""

    dataset: str
    finetune: str
    generate: str
    score: str
    altered: Mapping[str, str] = field(default_factory=dict)
    """Scores under alterations of the streams: the alteration's name to the stage's id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row with one seed."""

    label: str
    axes: Mapping[str, str]
    published: Mapping[str, Any]
    seed: int
    skipped: str | None = None
    """Why the combination is impossible; it then has no stages."""
    pretrain: str | None = None
    profile: str | None = None
    cells: tuple[Cell, ...] = ()

    @property
    def id(self) -> str:
        """A hash of what the trial is on each axis, and its seed."""
        text = json.dumps([self.label, dict(self.axes), self.seed], ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def name(self) -> str:
        """What listings call it."""
        return f"{self.label} (seed {self.seed})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that is to be done for a suite."""

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
    """The score of always giving the most frequent caption: dataset to the stage's id."""
    prepared: Mapping[str, str]
    """The prepared clips that are scored: dataset to the stage's id."""
    stages: Mapping[str, Stage]
    """By id, parents before children."""
    claims: tuple[Mapping[str, Any], ...] = ()
    """What the suite expects, as plain data of ``claims_form.Claim``."""

    def children(self) -> dict[str, list[str]]:
        """The stages that wait for each stage."""
        waiting: dict[str, list[str]] = {id_: [] for id_ in self.stages}
        for stage in self.stages.values():
            for parent in dict.fromkeys(stage.parents.values()):
                waiting[parent].append(stage.id)
        return waiting

    def names(self) -> dict[str, str]:
        """What each stage works on, for people; one that several rows share, by the first."""
        names = {
            s.id: ", ".join(str(s.spec[k]) for k in ("dataset", "role") if k in s.spec)
            for s in self.stages.values()
            if s.kind == "prepare"
        }
        names |= {
            s.id: ", ".join(s.spec["datasets"])
            for s in self.stages.values()
            if s.kind == "world" and s.spec.get("datasets")
        }
        names |= {
            s.id: f"{s.spec['dataset']}, {s.spec['split']}, "
            f"{s.spec['job'] + 1} of {s.spec['jobs']}"
            for s in self.stages.values()
            if s.kind == "shards"
        }
        for dataset, id_ in self.baselines.items():
            for stage in (id_, self.stages[id_].parents["predictions"]):
                names[stage] = f"{dataset}, most frequent caption"
        for trial in self.trials:
            name = trial.name if len(self.seeds) > 1 else trial.label
            for shared in (trial.pretrain, trial.profile):
                if shared is not None:
                    names.setdefault(shared, name)
            for cell in trial.cells:
                here = f"{cell.dataset}: {name}"
                for id_ in (cell.finetune, cell.generate, cell.score):
                    names.setdefault(id_, here)
                for alteration, id_ in cell.altered.items():
                    for stage in (id_, self.stages[id_].parents["predictions"]):
                        names.setdefault(stage, f"{here}, {alteration}")
        return names

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the cache of plans. Equal parts of specs are written once."""
        pool: dict[str, int] = {}
        places: dict[int, int] = {}  # of objects, which the stages keep alive

        def place(value: Any) -> int:
            if id(value) not in places:
                places[id(value)] = pool.setdefault(json.dumps(value), len(pool))
            return places[id(value)]

        stages = []
        for s in self.stages.values():
            spec = {k: place(v) for k, v in s.spec.items()}
            stages.append([s.id, s.kind, spec, s.parents, s.local, s.shared])
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        trials = [
            {f.name: getattr(t, f.name) for f in fields(t)}
            | {"cells": [[getattr(c, f.name) for f in fields(c)] for c in t.cells]}
            for t in self.trials
        ]
        return {**own, "trials": trials, "stages": stages, "pool": [json.loads(v) for v in pool]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan that ``to_json`` described."""
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
            )
            for id_, kind, spec, parents, local, shared in own.pop("stages")
        }
        tuples = {k: tuple(own[k]) for k in ("axes", "datasets", "seeds", "notes", "claims")}
        return cls(**{**own, **tuples, "trials": trials, "stages": stages})


@dataclass(frozen=True, slots=True)
class Store:
    """Where stages lie: a results folder, and the user's cache for the embedded world."""

    results: Path
    cache: Path

    def directory(self, stage: Stage) -> Path:
        """A stage's folder."""
        base = self.cache if stage.shared else self.results
        return base.resolve() / "stages" / stage.folder

    def record(self, stage: Stage) -> Mapping[str, Any] | None:
        """A stage's record; None where it has none that can be read."""
        try:
            record: Mapping[str, Any] = read_json(self.directory(stage) / RECORD)
        except (OSError, ValueError):
            return None
        return record

    def done(self, stage: Stage) -> bool:
        """Whether a stage has come to its end."""
        record = self.record(stage)
        return record is not None and record.get("status") == "done"

    def all_done(self, stages: Iterable[Stage]) -> set[str]:
        """The ids of the stages that are done."""
        there = {
            name
            for base in (self.results, self.cache)
            if (folder := base.resolve() / "stages").is_dir()
            for name in os.listdir(folder)
        }
        return {stage.id for stage in stages if stage.folder in there and self.done(stage)}
