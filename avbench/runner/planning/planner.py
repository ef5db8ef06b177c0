"""Turns a suite into a plan: rows × seeds → trials → a DAG of stages with content-hash ids.

Equal stages have equal ids, so one pre-training serves all its fine-tunings, in all suites.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from avbench.config.builder import Training
from avbench.config.rows import Row
from avbench.config.shipped import suite_names
from avbench.config.suite import Suite
from avbench.core import options
from avbench.core.errors import DataError
from avbench.core.registry import Registry
from avbench.models import pretrained
from avbench.runner.plan import Cell, Plan, Trial
from avbench.runner.planning.data_stages import Datasets, DataStages
from avbench.runner.planning.networks import Network, Networks
from avbench.runner.planning.stage_book import StageBook
from avbench.runner.planning.training_sizes import TrainingSizes
from avbench.training.settings import SelectionSettings, TrainSettings


def make_plan(suite: Suite, registry: Registry) -> Plan:
    """Plan a suite. Nothing is run, and no media files are opened.

    Raises:
        DataError: annotations of a real dataset are missing or malformed.
    """
    book = StageBook(registry)
    data = DataStages(Datasets(suite.sources, book), book)
    networks = Networks(registry)
    sizes = TrainingSizes(registry, data.datasets)
    trials = [
        t for row in suite.rows for t in _trials(row, suite.seeds, book, data, networks, sizes)
    ]
    datasets = tuple(dict.fromkeys(t.dataset for r in suite.rows for t in r.settings.finetune))
    prepared, baselines = {}, {}
    for key in datasets:
        first = suite.rows[0].settings
        prepared[key] = data.prepare(key, "report", first)
        if suite.table.most_frequent:
            parents = {"train": data.prepare(key, "train", first), "data": prepared[key]}
            predictions = book.add("baseline", {}, parents)
            metrics = [options.plain(ref) for ref in first.evaluate.metrics]
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
        published=tuple(options.plain(figure) for figure in suite.published),
        file="" if suite.name in suite_names() else suite.file,
        show=suite.show,
        shown={
            "captions": options.plain(suite.captions),
            "relevance": options.plain(suite.relevance),
        },
        trainings={id_: options.plain(size) for id_, size in sizes.found.items()},
        codes=book.codes,
    )


def _trials(
    row: Row,
    seeds: tuple[int, ...],
    book: StageBook,
    data: DataStages,
    networks: Networks,
    sizes: TrainingSizes,
) -> list[Trial]:
    """Return a row's trials, one per seed; without stages if the combination is impossible."""
    reason = networks.refusal(row)
    if reason is None:
        stages = _RowStages(row, book, data, networks, sizes)
        return [stages.trial(seed) for seed in seeds]
    return [
        Trial(
            label=row.label,
            short=row.short,
            axes=row.axes,
            published=row.published,
            seed=seed,
            skipped=reason,
        )
        for seed in seeds
    ]


@dataclass(frozen=True)
class _RowStages:
    """Adds the stages of one row to the stage book."""

    row: Row
    book: StageBook
    data: DataStages
    networks: Networks
    sizes: TrainingSizes

    @cached_property
    def network(self) -> Network:
        """The row's network."""
        return self.networks.of(self.row)

    @cached_property
    def vocabulary(self) -> str:
        """Id of the tokenizer's stage."""
        return self.data.vocabulary(self.row.settings)

    @cached_property
    def compute(self) -> Any:
        """The settings ``compute`` as plain data."""
        return options.plain(self.row.settings.compute)

    @cached_property
    def metrics(self) -> list[Any]:
        """The metrics as plain data."""
        return [options.plain(ref) for ref in self.row.settings.evaluate.metrics]

    @cached_property
    def generations(self) -> Mapping[str, Any]:
        """Specs of generate stages by the name of the alteration; ``""``: unaltered streams."""
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
        """Id of the stage that counts the costs of a caption and of a pre-training step."""
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
        """Return the row's trial with a seed, and add its stages."""
        row, pretraining = self.row, self.row.settings.pretrain
        pretrain = self.train("pretrain", pretraining, seed) if pretraining else None
        return Trial(
            label=row.label,
            short=row.short,
            axes=row.axes,
            published=row.published,
            seed=seed,
            pretrain=pretrain,
            cells=tuple(self.cell(t, seed, pretrain) for t in row.settings.finetune),
            profile=self.profile,
        )

    def cell(self, training: Training, seed: int, pretrain: str | None) -> Cell:
        """Add a fine-tuning, and its captions and scores for unaltered and altered streams."""
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
        """Add a training, which starts from ``pretrain`` if given; return its stage's id."""
        settings, network = self.row.settings, self.network
        # A fine-tuning that loads pre-trained weights does not read the initial ones.
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
            # Also without places: published weights have a name and no path.
            initial = network.spec != network.bare
            local = {pretrained.ROLE: network.places} if initial else {}
            self.networks.check_words(network, settings.vocabulary.file)
        components = [*network.components, ("losses", training.train.loss.name)]
        selects = training.train.select == "best"
        if selects:
            spec["scoring"] = self.scoring(kind, training.train.selection)
            components += [("metrics", ref["name"]) for ref in self.metrics]
            role = self.data.datasets.selecting(training)
            if role is not None:
                parents[role] = self.data.prepare(training.dataset, role, settings)
        id_ = self.book.add(kind, spec, parents, components, local=local, selects=selects)
        self.sizes.add(id_, self.row, network, training)
        return id_

    def scoring(self, kind: str, selection: SelectionSettings) -> Mapping[str, Any]:
        """Return the settings by which captions select a checkpoint: decoding and metrics.

        Raises:
            DataError: the suite has no metrics.
        """
        if not self.metrics:
            raise DataError(
                f"{kind}.select: best needs a metric in evaluate.metrics that gives the score "
                f"'{selection.by}', got no metrics"
            )
        decode = replace(self.row.settings.decode, beam=selection.beam)
        return {"decode": options.plain(decode), "metrics": self.metrics}


def _score(book: StageBook, metrics: list[Any], predictions: str, data: str) -> str:
    """Add the stage that scores a file of predictions, and return its id."""
    parts = [("metrics", ref["name"]) for ref in metrics]
    parents = {"predictions": predictions, "data": data}
    return book.add("score", {"metrics": metrics}, parents, parts)


def _training(settings: TrainSettings) -> Any:
    """Return training settings as plain data; ``selection`` is reset if nothing is selected."""
    last = settings.select == "last"
    return options.plain(replace(settings, selection=SelectionSettings()) if last else settings)
