"""From a suite to a plan: rows × seeds → trials → a DAG of stages with content-hash ids.

Equal stages have equal ids, so one pre-training feeds all its fine-tunings, and suites share.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from avbench.config.builder import Training
from avbench.config.data_file import DataSource
from avbench.config.rows import Row
from avbench.config.strict_yaml import READ
from avbench.config.suite import Suite
from avbench.core import options
from avbench.core.code_hash import Code, package_version
from avbench.core.contracts import Dataset
from avbench.core.errors import DataError
from avbench.core.registry import Registry
from avbench.core.settings import (
    ComponentRef,
    ModelSettings,
    SelectionSettings,
    TrainSettings,
    WorldSettings,
)
from avbench.data.annotations.cache import examine
from avbench.data.annotations.reader import refuse
from avbench.models import pretrained
from avbench.runner.plan import Cell, Plan, Stage, Trial
from avbench.runner.stage_kinds import KINDS

Component = tuple[str, str]
"""Family and name."""


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """Plan a suite; nothing is run and no media are opened.

    Raises:
        DataError: annotations of a real dataset are missing or malformed.
    """
    planner = _Planner(suite, registry)
    trials = [planner.trial(row, seed) for row in suite.rows for seed in suite.seeds]
    settings = suite.rows[0].settings
    datasets = tuple(dict.fromkeys(t.dataset for r in suite.rows for t in r.settings.finetune))
    prepared = {key: planner.prepare(key, "report", suite.rows[0]) for key in datasets}
    baselines = {}
    if suite.table.most_frequent:
        for key in datasets:
            parents = {
                "train": planner.prepare(key, "train", suite.rows[0]),
                "data": prepared[key],
            }
            predictions = planner.stage("baseline", {}, parents)
            metrics = settings.evaluate.metrics
            baselines[key] = planner.score(metrics, predictions, prepared[key])
    table = options.plain(suite.table)
    return Plan(
        suite=suite.name,
        title=suite.title,
        preset=suite.preset,
        data=suite.data,
        axes=suite.axes,
        datasets=datasets,
        seeds=suite.seeds,
        table=table,
        notes=suite.notes,
        trials=tuple(trials),
        baselines=baselines,
        prepared=prepared,
        stages=planner.stages,
        claims=tuple(options.plain(claim) for claim in suite.claims),
    )


@dataclass(slots=True)
class _Planner:
    suite: Suite
    registry: Registry
    stages: dict[str, Stage] = field(default_factory=dict)
    _code: Code = field(default_factory=Code)
    _codes: dict[tuple[str, ...], str] = field(default_factory=dict)
    _plain: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    _prepared: dict[tuple[str, str, int, int], str] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _readers: dict[str, Dataset] = field(default_factory=dict)
    _read: set[tuple[str, str]] = field(default_factory=set)
    _parts: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def trial(self, row: Row, seed: int) -> Trial:
        """A row with a seed, and its stages."""
        name: dict[str, Any] = {
            "label": row.label,
            "axes": row.axes,
            "published": row.published,
            "seed": seed,
        }
        reason = self.refusal(row)
        if reason is not None:
            return Trial(**name, skipped=reason)
        settings = row.settings
        model = self.model(row)
        network = {
            "model": model,
            "input": self.plain(settings.input),
            "fusion": self.plain(row.fusion),
            "modalities": self.plain(row.modalities),
        }
        parts: list[Component] = [
            ("fusions", row.fusion.name),
            ("modalities", row.modalities.name),
            *(("encoders", ref["name"]) for ref in model["encoders"].values()),
        ]
        # What loads trained weights, or none, has no use for those that training starts from.
        bare = {**network, "model": self.bare(row)}
        pretrain = None
        if settings.pretrain is not None:
            pretrain = self.train("pretrain", network, parts, settings.pretrain, row, seed, {})
        cells = []
        for training in settings.finetune:
            start = {"start": pretrain} if pretrain is not None else {}
            fresh = bare if start else network
            model_id = self.train("finetune", fresh, parts, training, row, seed, start)
            data = self.prepare(training.dataset, "report", row)
            given = {"model": model_id, "vocabulary": self.vocabulary(row), "data": data}
            scores = {}
            generated = ""
            for alteration in (None, *row.alterations):
                spec = {
                    "decode": self.plain(settings.decode),
                    "alteration": self.plain(alteration),
                    "compute": self.plain(settings.compute),
                }
                predictions = self.stage("generate", spec, given, parts)
                generated = generated or predictions
                scores[alteration.name if alteration else ""] = self.score(
                    settings.evaluate.metrics, predictions, data
                )
            cells.append(
                Cell(
                    dataset=training.dataset,
                    finetune=model_id,
                    generate=generated,
                    score=scores.pop(""),
                    altered=scores,
                )
            )
        loss = settings.pretrain.train if settings.pretrain else None
        cost = {
            **bare,
            "train": self.training(loss) if loss else None,
            "vocabulary": settings.vocabulary.size,
        }
        extra = [("losses", loss.loss.name)] if loss else []
        profile = self.stage("profile", cost, {}, [*parts, *extra])
        return Trial(**name, pretrain=pretrain, profile=profile, cells=tuple(cells))

    def refusal(self, row: Row) -> str | None:
        """Why a combination is impossible, or None."""
        streams = row.configuration.streams
        key = ("refusal", row.fusion.name, streams)
        if key not in self._parts:
            # Fusions are classes with ``refuses``; a plain function as ``build`` refuses nothing.
            build = self.registry.get("fusions", row.fusion.name).build
            refuses = getattr(build, "refuses", None)
            self._parts[key] = refuses(streams) if refuses is not None else None
        missing = [m for m in streams if m not in row.settings.model.encoders]
        if missing:
            return f"model.encoders has no encoder for {', '.join(missing)}"
        refused: str | None = self._parts[key]
        return refused

    def model(self, row: Row) -> Mapping[str, Any]:
        """The model's settings, with the encoders that this row's streams need and no others.

        Of weights that they start from, files stand as digests of their contents.
        """
        made: Mapping[str, Any] = self._model(row)[0]
        return made

    def bare(self, row: Row) -> Mapping[str, Any]:
        """The same with every encoder from scratch."""
        made: Mapping[str, Any] = self._model(row)[1]
        return made

    def places(self, row: Row) -> Mapping[str, str]:
        """Where the files lie whose digests the model's settings hold."""
        made: Mapping[str, str] = self._model(row)[2]
        return made

    def words(self, row: Row) -> None:
        """Check that weights which know words get their own vocabulary."""
        file, streams = row.settings.vocabulary.file, row.configuration.streams
        key = ("words", id(row.settings.model), streams, file)
        if key not in self._parts:
            pretrained.check_words(self._needed(row), self.registry, file)
            self._parts[key] = True

    def _needed(self, row: Row) -> ModelSettings:
        settings, streams = row.settings.model, row.configuration.streams
        needed = {m: ref for m, ref in settings.encoders.items() if m in streams}
        return replace(settings, encoders=needed)

    def _model(self, row: Row) -> tuple[Any, Any, dict[str, str]]:
        key = ("model", id(row.settings.model), row.configuration.streams)
        if key not in self._parts:
            model = self._needed(row)
            located, places = pretrained.located(model, self.registry)
            READ.update(map(Path, places.values()))
            bare = pretrained.cleared(model, self.registry)
            self._parts[key] = options.plain(located), options.plain(bare), places
        made: tuple[Any, Any, dict[str, str]] = self._parts[key]
        return made

    def vocabulary(self, row: Row) -> str:
        """The tokenizer, learnt from the training captions of the suite's datasets."""
        settings = row.settings
        key = tuple(map(id, (settings.vocabulary, settings.input, settings.world)))
        if (known := ("vocabulary", *key, settings.vocabulary_datasets)) not in self._parts:
            self._parts[known] = self._vocabulary(row)
        made: str = self._parts[known]
        return made

    def _vocabulary(self, row: Row) -> str:
        settings = row.settings
        spec = dict(self.plain(settings.vocabulary))
        hashed: dict[str, Any] = {}
        local: dict[str, Any] = {}
        parents = {}
        if settings.vocabulary.file is None:
            keys = settings.vocabulary_datasets
            parents = {f"data/{key}": self.prepare(key, "train", row) for key in keys}
        else:
            # The file's contents decide, not its place.
            READ.add(Path(settings.vocabulary.file).expanduser().resolve())
            try:
                contents = Path(settings.vocabulary.file).expanduser().read_bytes()
            except OSError as error:
                raise DataError(f"vocabulary.file: cannot be read: {error}") from error
            hashed = {"file": hashlib.blake2b(contents, digest_size=16).hexdigest()}
            local = {"file": str(Path(settings.vocabulary.file).expanduser().resolve())}
        return self.stage("vocabulary", spec, parents, hashed=hashed, local=local)

    def train(
        self,
        kind: str,
        network: Mapping[str, Any],
        parts: Iterable[Component],
        training: Training,
        row: Row,
        seed: int,
        start: Mapping[str, str],
    ) -> str:
        """A pre-training or fine-tuning."""
        spec = {
            **network,
            "train": self.training(training.train),
            "compute": self.plain(row.settings.compute),
            "seed": seed,
        }
        parents = {
            "vocabulary": self.vocabulary(row),
            "data": self.prepare(training.dataset, "train", row),
            **start,
        }
        used = [*parts, ("losses", training.train.loss.name)]
        places: Mapping[str, str] = {}
        if not start:
            places = self.places(row)
            self.words(row)
        local = {pretrained.ROLE: places} if places else {}
        hashed: dict[str, Any] = {}
        if training.train.select == "best":
            metrics = row.settings.evaluate.metrics
            if not metrics:
                raise DataError(
                    f"{kind}.select: best needs evaluate.metrics, of which one gives the score "
                    f"'{training.train.selection.by}'; got none"
                )
            spec["scoring"] = self.scoring(row, training.train.selection)
            scorers = [("metrics", ref.name) for ref in metrics]
            hashed = {"scoring": [spec["scoring"], self.code("score", scorers)]}
            parents |= self.select(training, row)
        return self.stage(kind, spec, parents, used, local=local, hashed=hashed)

    def training(self, settings: TrainSettings) -> Any:
        """A training's settings as data; without those of a selection that there is none of."""
        if id(settings) not in self._plain:
            last = settings.select == "last"
            bare = replace(settings, selection=SelectionSettings()) if last else settings
            self._plain[id(settings)] = settings, options.plain(bare)
        return self._plain[id(settings)][1]

    def scoring(self, row: Row, selection: SelectionSettings) -> Mapping[str, Any]:
        """How captions are made and scored where a checkpoint is selected by them."""
        decode = replace(row.settings.decode, beam=selection.beam)
        metrics = [self.plain(ref) for ref in row.settings.evaluate.metrics]
        return {"decode": options.plain(decode), "metrics": metrics}

    def select(self, training: Training, row: Row) -> dict[str, str]:
        """The clips that a checkpoint is selected on, by role; none: they are carved from train.

        Raises:
            DataError: the reported split is asked for and there is none.
        """
        source = self.suite.sources[training.dataset]
        dataset = self.reader(source)
        if training.train.selection.on_report:
            if dataset.report is None:
                raise DataError(
                    f"selection.on_report: dataset '{training.dataset}' reports no split"
                )
            return {"report": self.prepare(training.dataset, "report", row)}
        # The embedded world writes every split; of real files some may not be there.
        if dataset.select is None or (source.root and dataset.select not in dataset.splits()):
            return {}
        return {"select": self.prepare(training.dataset, "select", row)}

    def score(self, metrics: tuple[ComponentRef, ...], predictions: str, data: str) -> str:
        """The scores of a file of predictions."""
        spec = {"metrics": [self.plain(ref) for ref in metrics]}
        parts = [("metrics", ref.name) for ref in metrics]
        return self.stage("score", spec, {"predictions": predictions, "data": data}, parts)

    def prepare(self, dataset: str, role: str, row: Row) -> str:
        """The prepared clips of one split of a dataset."""
        settings = row.settings
        key = (dataset, role, id(settings.input), id(settings.world))
        if key not in self._prepared:
            source = self.suite.sources[dataset]
            spec = {
                "dataset": dataset,
                "reader": self.plain(source.reader),
                "role": role,
                "input": self.plain(settings.input),
                "policy": source.policy,
                "read": source.read,
                "sound": self.plain(source.sound),
                "clip_seconds": source.clip_seconds,
                "fingerprint": self.fingerprint(source),
            }
            parts = [("datasets", source.reader.name)]
            if source.root is None:
                world = self.stage("world", self.world(settings.world, dataset), {}, shared=True)
                id_ = self.stage("prepare", spec, {"world": world}, parts, shared=True)
            else:
                self.read(source, role)
                local = {"root": str(source.root)}
                id_ = self.stage("prepare", spec, {}, parts, local=local)
            self._prepared[key] = id_
        return self._prepared[key]

    def world(self, settings: WorldSettings, dataset: str) -> Mapping[str, Any]:
        """The embedded world, one stage a dataset where the world can be made in parts."""
        spec = dict(self.plain(settings))
        if "datasets" in {f.name for f in fields(settings)}:
            spec["datasets"] = [dataset]
        return spec

    def fingerprint(self, source: DataSource) -> str:
        """What a real dataset's annotations and list of media say; the world's id says its own."""
        if source.root is None:
            return ""
        if source.key not in self._fingerprints:
            self._fingerprints[source.key] = self.reader(source).fingerprint()
        return self._fingerprints[source.key]

    def reader(self, source: DataSource) -> Dataset:
        """A dataset's reader, opened once; over no files where the embedded world writes them."""
        if source.key not in self._readers:
            self._readers[source.key] = source.open(self.registry)
        return self._readers[source.key]

    def read(self, source: DataSource, role: str) -> None:
        """Read a real dataset's annotations once, so that bad files are told before any work."""
        dataset, name = self._readers[source.key], source.reader.name
        split = dataset.of(role)
        if split is not None and (source.key, split) not in self._read:
            self._read.add((source.key, split))
            code = self.code("prepare", [("datasets", name)])
            verdict = examine(dataset, split, [name, source.reader.options, code])
            refuse(verdict.defects, source.policy, f"{source.key}, split '{split}'")

    def plain(self, value: Any) -> Any:
        """The JSON form of settings, made once for each object."""
        if id(value) not in self._plain:
            self._plain[id(value)] = value, options.plain(value)
        return self._plain[id(value)][1]

    def stage(
        self,
        kind: str,
        spec: Mapping[str, Any],
        parents: Mapping[str, str],
        components: Iterable[Component] = (),
        *,
        local: Mapping[str, Any] | None = None,
        shared: bool = False,
        hashed: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a stage unless it is there; its id.

        Args:
            kind: a key of KINDS.
            spec: all that it computes from.
            parents: ids by role.
            components: those that it uses, whose code is part of the id.
            local: what the id does not depend on.
            shared: whether it lies in the user's cache.
            hashed: fields of the spec whose hashed value is another than the one handed over.
        """
        code = self.code(kind, components)
        content = {
            "kind": kind,
            "spec": {**spec, **(hashed or {})},
            "parents": parents,
            "code": code,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        id_ = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        if id_ not in self.stages:
            self.stages[id_] = Stage(
                id=id_, kind=kind, spec=spec, parents=parents, local=local or {}, shared=shared
            )
        return id_

    def code(self, kind: str, components: Iterable[Component]) -> str:
        """A hash of the code and the versions that a stage's result depends on."""
        key = (kind, *sorted({f"{family}/{name}" for family, name in components}))
        if key not in self._codes:
            plugins = [self.registry.get(*part.split("/", 1)).module for part in key[1:]]
            versions = [f"{d} {package_version(d)}" for d in KINDS[kind].versions]
            self._codes[key] = " ".join([self._code.hash(KINDS[kind].module, *plugins), *versions])
        return self._codes[key]
