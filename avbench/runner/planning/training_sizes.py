"""The work of a suite's trainings, before anything runs: steps, clips and FLOPs.

Steps follow from annotations and settings, FLOPs from closed forms (``avbench.training.costs``).
No media file is opened, and no weights are made.
"""

import json
from dataclasses import dataclass, field

import torch

from avbench.config.builder import Training
from avbench.config.rows import Row
from avbench.core import options
from avbench.core.errors import DataError
from avbench.core.registry import Registry
from avbench.data.settings import WorldSettings
from avbench.models.captioner import Captioner, build_captioner
from avbench.models.settings import ModelSettings
from avbench.runner.planning.data_stages import Datasets
from avbench.runner.planning.networks import Network
from avbench.training.contracts import build_loss
from avbench.training.costs import closed_form, closed_form_training
from avbench.training.schedule import batch_size, sample_count, step_count

PLENTY = 8
"""A set of the embedded world fills a batch if its clips are this many batches; fewer clips are
counted, because an epoch may take only some of each video."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSize:
    """The expected work of one training, over all its processes."""

    dataset: str
    steps: int | None = None
    """Optimiser steps. None: the training cannot run, see ``unknown``."""
    clips: int | None = None
    """Clips seen in all steps, each with one caption, or one caption a task."""
    flops: float | None = None
    """FLOPs of all steps, forward and backward; None: unknown."""
    rough: bool = False
    """True if an epoch is of clips and some videos are kept out of training: steps then assume
    that these have as many clips as the others."""
    unknown: str = ""
    """The reason why a figure is unknown."""


@dataclass(slots=True)
class TrainingSizes:
    """Works out the sizes of trainings, each once.

    Attributes:
        found: sizes by the ids of the stages.
    """

    registry: Registry
    datasets: Datasets
    found: dict[str, TrainingSize] = field(default_factory=dict)
    _captioners: dict[str, tuple[Captioner, dict[str, int | None]]] = field(default_factory=dict)

    def add(self, id_: str, row: Row, network: Network, training: Training) -> None:
        """Work out the size of a training stage, unless it is known.

        Args:
            id_: id of the stage.
            row: the row that it belongs to.
            network: the row's network.
            training: its settings and its dataset.
        """
        if id_ not in self.found:
            self.found[id_] = self._size(row, network, training)

    def _size(self, row: Row, network: Network, training: Training) -> TrainingSize:
        train, dataset = training.train, training.dataset
        loss = build_loss(train.loss, row.configuration.encoded, self.registry)
        shares = [loss.held_out] if loss.held_out else []
        if train.select == "best" and self.datasets.selecting(training) is None:
            shares.insert(0, train.selection.share)
        steps, batch = train.steps, train.batch
        if steps is None or not self._is_plenty(training, row.settings.world):
            try:
                split = self.datasets.training_clips(dataset, row.settings.world)
                counts = split.counts if "pcc" in train.tasks else split.followed
                for share in shares:
                    counts = counts.without(share)
                samples = sample_count(train, counts)
                batch = batch_size(train, samples, 1)
            except DataError as error:
                return TrainingSize(dataset=dataset, unknown=str(error))
            steps = step_count(train, samples // batch)
        flops, unknown = None, ""
        try:
            captioner, parts = self._parts(row, network)
        except Exception as error:  # the stage itself reports what is wrong
            unknown = f"the network cannot be built: {error}"
        else:
            macs = closed_form_training(
                parts,
                captioner,
                row.settings.model,
                row.settings.input,
                loss,
                captions=len(train.tasks),
                steps=steps,
            )
            flops = None if macs is None else 2 * macs * steps * batch
            open_parts = [name for name, n in parts.items() if n is None]
            unknown = f"no closed form: {', '.join(open_parts)}" if open_parts else ""
        return TrainingSize(
            dataset=dataset,
            steps=steps,
            clips=steps * batch,
            flops=flops,
            rough=bool(shares) and train.steps is None and train.epoch == "clips",
            unknown=unknown,
        )

    def _is_plenty(self, training: Training, world: WorldSettings) -> bool:
        """Return True if a set of the embedded world has clips for many batches."""
        clips = min(world.clips, world.narrated_videos * world.steps_per_video)
        embedded = self.datasets.sources[training.dataset].root is None
        return embedded and clips >= PLENTY * training.train.batch

    def _parts(self, row: Row, network: Network) -> tuple[Captioner, dict[str, int | None]]:
        """Return a row's captioner without weights, and the closed form of its parts."""
        words = row.settings.vocabulary.size
        key = json.dumps([network.bare, words], sort_keys=True)
        if key not in self._captioners:
            model = options.build(ModelSettings, network.bare["model"])
            shape, registry = row.settings.input, self.registry
            arguments = (model, shape, words, row.fusion, row.modalities, registry)
            try:
                with torch.device("meta"):
                    captioner = build_captioner(*arguments)
            except Exception:  # a component computes with values while it is built
                captioner = build_captioner(*arguments)
            parts = closed_form(captioner, model, shape, words, row.fusion, registry)
            self._captioners[key] = captioner, parts
        return self._captioners[key]
