"""From a suite to a plan: rows × seeds → trials → a DAG of stages with content-hash ids.

Equal stages have equal ids, so one pre-training feeds all its fine-tunings, and suites share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from avbench.config.builder import Training
from avbench.config.rows import Row
from avbench.config.suite import Suite
from avbench.core import options
from avbench.core.errors import DataError
from avbench.core.registry import Registry
from avbench.models import pretrained
from avbench.runner.data_stages import Datasets, DataStages
from avbench.runner.networks import Network, Networks
from avbench.runner.plan import Cell, Plan, Trial
from avbench.runner.stage_book import StageBook
from avbench.training.settings import SelectionSettings, TrainSettings


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """Plan a suite; nothing is run and no media are opened.

    Raises:
        DataError: annotations of a real dataset are missing or malformed.
    """
    book = StageBook(registry)
    data = DataStages(Datasets(suite.sources, book), book)
    networks = Networks(registry)
    trials = [t for row in suite.rows for t in _trials(row, suite.seeds, book, data, networks)]
    first = suite.rows[0].settings
    datasets = tuple(dict.fromkeys(t.dataset for r in suite.rows for t in r.settings.finetune))
    prepared = {key: data.prepare(key, "report", first) for key in datasets}
    metrics = [options.plain(ref) for ref in first.evaluate.metrics]
    baselines = {}
    for key in datasets if suite.table.most_frequent else ():
        parents = {"train": data.prepare(key, "train", first), "data": prepared[key]}
        predictions = book.add("baseline", {}, parents)
        baselines[key] = _score(book, metrics, predictions, prepared[key])
    return Plan(
        suite=suite.name,
        title=suite.title,
        preset=suite.preset,
        data=suite.data,
        axes=suite.axes,
        datasets=datasets,
        seeds=suite.seeds,
        table=options.plain(suite.table),
        notes=suite.notes,
        trials=tuple(trials),
        baselines=baselines,
        prepared=prepared,
        stages=book.stages,
        claims=tuple(options.plain(claim) for claim in suite.claims),
        codes=book.codes,
    )


def _trials(
    row: Row, seeds: tuple[int, ...], book: StageBook, data: DataStages, networks: Networks
) -> list[Trial]:
    """The trials of a row, one a seed; without stages where the combination is impossible."""
    reason = networks.refusal(row)
    if reason is None:
        planned = _Row(row, book, data, networks)
        return [planned.trial(seed) for seed in seeds]
    return [
        Trial(label=row.label, axes=row.axes, published=row.published, seed=seed, skipped=reason)
        for seed in seeds
    ]


@dataclass(frozen=True)
class _Row:
    """The stages of one row."""

    row: Row
    book: StageBook
    data: DataStages
    networks: Networks

    @cached_property
    def network(self) -> Network:
        """What is trained."""
        return self.networks.of(self.row)

    @cached_property
    def vocabulary(self) -> str:
        """The tokenizer's stage."""
        return self.data.vocabulary(self.row.settings)

    @cached_property
    def compute(self) -> Any:
        """How the network is computed, as data."""
        return options.plain(self.row.settings.compute)

    @cached_property
    def metrics(self) -> list[Any]:
        """What captions are scored by, as data."""
        return [options.plain(ref) for ref in self.row.settings.evaluate.metrics]

    @cached_property
    def generations(self) -> Mapping[str, Any]:
        """The specs of generations, by what is altered in them; ``""``: nothing."""
        decode = options.plain(self.row.settings.decode)
        return {
            alteration.name if alteration else "": {
                "decode": decode,
                "alteration": options.plain(alteration),
                "compute": self.compute,
            }
            for alteration in (None, *self.row.alterations)
        }

    @cached_property
    def profile(self) -> str:
        """The stage of the cost of a caption, and of a step of pre-training."""
        settings, components = self.row.settings, [*self.network.components]
        spec = {**self.network.bare, "train": None, "vocabulary": settings.vocabulary.size}
        if settings.pretrain is not None:
            train = settings.pretrain.train
            spec["train"] = {
                "loss": options.plain(train.loss),
                "tasks": list(train.tasks),
                "steps": train.steps,
            }
            components.append(("losses", train.loss.name))
        return self.book.add("profile", spec, {}, components)

    def trial(self, seed: int) -> Trial:
        """The row with a seed, and its stages."""
        row, pretraining = self.row, self.row.settings.pretrain
        pretrain = self.train("pretrain", pretraining, seed) if pretraining else None
        return Trial(
            label=row.label,
            axes=row.axes,
            published=row.published,
            seed=seed,
            pretrain=pretrain,
            cells=tuple(self.cell(t, seed, pretrain) for t in row.settings.finetune),
            profile=self.profile,
        )

    def cell(self, training: Training, seed: int, pretrain: str | None) -> Cell:
        """A fine-tuning, and the captions and scores that it gives, as they are and altered."""
        model = self.train("finetune", training, seed, pretrain)
        data = self.data.prepare(training.dataset, "report", self.row.settings)
        parents = {"model": model, "vocabulary": self.vocabulary, "data": data}
        generated, scores = {}, {}
        for name, spec in self.generations.items():
            generated[name] = self.book.add("generate", spec, parents, self.network.components)
            scores[name] = _score(self.book, self.metrics, generated[name], data)
        return Cell(
            dataset=training.dataset,
            finetune=model,
            generate=generated[""],
            score=scores.pop(""),
            altered=scores,
        )

    def train(self, kind: str, training: Training, seed: int, pretrain: str | None = None) -> str:
        """A pre-training or fine-tuning; the latter starts from ``pretrain`` if there is one."""
        settings, network = self.row.settings, self.network
        # What loads trained weights has no use for those that training starts from.
        spec: dict[str, Any] = {
            **(network.bare if pretrain else network.spec),
            "train": _training(training.train),
            "compute": self.compute,
            "seed": seed,
        }
        parents = {
            "vocabulary": self.vocabulary,
            "data": self.data.prepare(training.dataset, "train", settings),
        }
        local: Mapping[str, Any] = {}
        if pretrain:
            parents["start"] = pretrain
        else:
            local = {pretrained.ROLE: network.places} if network.places else {}
            self.networks.check_words(network, settings.vocabulary.file)
        components = [*network.components, ("losses", training.train.loss.name)]
        selects = training.train.select == "best"
        if selects:
            spec["scoring"] = self.scoring(kind, training.train.selection)
            components += [("metrics", ref["name"]) for ref in self.metrics]
            role = self.data.datasets.selecting(training)
            if role is not None:
                parents[role] = self.data.prepare(training.dataset, role, settings)
        return self.book.add(kind, spec, parents, components, local=local, selects=selects)

    def scoring(self, kind: str, selection: SelectionSettings) -> Mapping[str, Any]:
        """How captions are made and scored where a checkpoint is selected by them.

        Raises:
            DataError: the suite has no metrics.
        """
        if not self.metrics:
            raise DataError(
                f"{kind}.select: best needs evaluate.metrics, of which one gives the score "
                f"'{selection.by}'; got none"
            )
        decode = replace(self.row.settings.decode, beam=selection.beam)
        return {"decode": options.plain(decode), "metrics": self.metrics}


def _score(book: StageBook, metrics: list[Any], predictions: str, data: str) -> str:
    """The scores of a file of predictions."""
    parts = [("metrics", ref["name"]) for ref in metrics]
    parents = {"predictions": predictions, "data": data}
    return book.add("score", {"metrics": metrics}, parents, parts)


def _training(settings: TrainSettings) -> Any:
    """A training's settings as data; without those of a selection that there is none of."""
    last = settings.select == "last"
    return options.plain(replace(settings, selection=SelectionSettings()) if last else settings)
