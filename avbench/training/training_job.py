"""``TrainingJob.build``: makes everything that one training needs, once and in order."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from avbench.core.errors import AvbenchError
from avbench.core.job import Job
from avbench.core.options import build
from avbench.data.annotations.clip_counts import ClipCounts
from avbench.data.dataset import ClipData, Share, derive_seed
from avbench.data.loader import Feed
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.models import pretrained, weights
from avbench.models.captioner import Captioner
from avbench.models.compute import compile_parts, place
from avbench.models.settings import ComputeSettings
from avbench.models.weights import Architecture
from avbench.training.contracts import LossStrategy, build_loss
from avbench.training.engine import Engine
from avbench.training.schedule import batch_size, hold_out, sample_count, step_count
from avbench.training.selection import Selection
from avbench.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """All parts of one training; ``Trainer`` trains with them."""

    job: Job
    """The stage, for its folder, its progress and the settings of this machine."""
    settings: TrainSettings
    steps: int
    """Optimiser steps of the whole training."""
    per_epoch: int
    """Optimiser steps of one epoch."""
    seed: int
    engine: Engine
    architecture: Architecture
    captioner: Captioner
    """On its device; its weights are drawn, or loaded from the training before."""
    loss: LossStrategy
    feed: Feed
    """The clips to train on."""
    held_out: Sequence[int]
    """Rows kept out of training for the loss's probes."""
    selection: Selection | None = None
    """Finds the best step; None: the last step's weights are the result."""

    @classmethod
    def build(cls, job: Job) -> "TrainingJob":
        """Make the parts of a training stage.

        The order matters: weights come from the global random state, which is seeded first, and
        the processes of one training differ by rank only after they have the same weights.

        Raises:
            AvbenchError: settings, clips, plugins or this machine do not suit the training.
        """
        settings = build(TrainSettings, job.spec["train"])
        seed = derive_seed(job.spec["seed"], job.kind)
        torch.manual_seed(seed)
        engine = Engine(
            torch.device(job.local.get("device", "cpu")),
            tracked=job.directory / "tensorboard" if job.local.get("tensorboard") else None,
            strategy=job.local.get("strategy", "ddp"),
        )
        vocabulary = Vocabulary.open(job.parents["vocabulary"])
        architecture = Architecture.of(job.spec, vocabulary.rows)
        captioner = _captioner(job, architecture, engine)
        if engine.rank:
            # Weights start alike everywhere, dropout differs.
            torch.manual_seed(derive_seed(seed, "rank", engine.rank))
        loss = build_loss(settings.loss, captioner.configuration.encoded, job.registry)
        split = PreparedSplit.open(job.parents["data"])
        data = ClipData(split, vocabulary, architecture.input, sampling=settings, seed=seed)
        selection = None
        if settings.select == "best":
            selection = Selection.of(
                job, settings.selection, split, vocabulary, architecture.input, engine, seed
            )
        carved = selection.split.carved_videos if selection is not None else ()
        rows, held_out = hold_out(data, loss.held_out, seed, carved)
        samples = sample_count(settings, ClipCounts.of(split.clips[i] for i in rows))
        feed = Feed(
            data=data,
            rows=rows,
            batch=batch_size(settings, samples, engine.world),
            group=settings.clips_per_video,
            device=engine.device,
            epoch=settings.epoch,
            workers=int(job.local.get("workers", 0)),
            share=Share(rank=engine.rank, world=engine.world, parts=settings.accumulate),
        )
        per_epoch = samples // feed.batch
        steps = step_count(settings, per_epoch)
        if engine.fully_sharded and loss.probe_at(steps):
            raise AvbenchError(
                f"loss '{settings.loss.name}': it probes copies of the model, which processes "
                "that hold a part each (--strategy fsdp) cannot make; use --strategy ddp"
            )
        return cls(
            job=job,
            settings=settings,
            steps=steps,
            per_epoch=per_epoch,
            seed=seed,
            engine=engine,
            architecture=architecture,
            captioner=captioner,
            loss=loss,
            feed=feed,
            held_out=held_out,
            selection=selection,
        )

    @property
    def held_out_hash(self) -> str:
        """A hash of the ids of the clips kept out for probes; empty if there are none."""
        clips = self.feed.data.split.clips
        ids = sorted(clips[i].id for i in self.held_out)
        return hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest() if ids else ""


def _captioner(job: Job, architecture: Architecture, engine: Engine) -> Captioner:
    """Make the captioner that a stage trains, on its device."""
    captioner = architecture.build(job.registry, job.local.get(pretrained.ROLE))
    if "start" in job.parents:
        weights.restore(job.parents["start"], captioner)
    compute = build(ComputeSettings, job.spec["compute"])
    place(captioner, compute, engine.device)
    compile_parts([*captioner.encoders.values(), captioner.fusion, captioner.decoder], compute)
    return captioner
