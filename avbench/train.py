"""Stages ``pretrain`` and ``finetune``: a captioner trained on prepared clips."""

from typing import Any

import torch

from avbench import curve, initial, weights
from avbench.compute import backends
from avbench.contracts import LossContext
from avbench.data import ClipData, derive_seed
from avbench.engine import Engine
from avbench.media.store import PreparedSplit
from avbench.options import build, make
from avbench.settings import ComputeSettings, TrainSettings
from avbench.stage import Job
from avbench.trainer import Trainer
from avbench.vocabulary import Vocabulary


def run(job: Job) -> dict[str, Any]:
    """Stages ``pretrain`` and ``finetune``: train, write weights and curve.csv."""
    settings = build(TrainSettings, job.spec["train"])
    vocabulary = Vocabulary.open(job.parents["vocabulary"])
    architecture = weights.Architecture.of(job.spec, vocabulary.rows)
    seed = derive_seed(job.spec["seed"], job.kind)
    torch.manual_seed(seed)
    engine = Engine(
        torch.device(job.local.get("device", "cpu")),
        tracked=job.directory / "tensorboard" if job.local.get("tensorboard") else None,
    )
    captioner = architecture.build(job.registry, job.local.get(initial.ROLE))
    if "start" in job.parents:
        weights.restore(job.parents["start"], captioner)
    if engine.rank:
        # Weights start alike everywhere, dropout differs.
        torch.manual_seed(derive_seed(seed, "rank", engine.rank))
    component = job.registry.get("losses", settings.loss.name)
    trainer = Trainer(
        captioner,
        make(
            component, settings.loss.options, LossContext(streams=captioner.configuration.encoded)
        ),
        ClipData(
            PreparedSplit.open(job.parents["data"]),
            vocabulary,
            architecture.input,
            training=settings,
            seed=seed,
        ),
        settings,
        seed=seed,
        engine=engine,
        compute=build(ComputeSettings, job.spec["compute"]),
        workers=int(job.local.get("workers", 0)),
    )
    trainer.fit(job.directory, job)
    if engine.rank == 0:
        weights.save(job.directory, captioner, architecture.bare(job.registry))
    return {
        "steps": trainer.steps,
        "clips": len(trainer.feed.rows),
        "held_out_clips": len(trainer.held_out),
        "held_out_hash": trainer.held_out_hash,
        "loss": curve.final_losses(job.directory),
        "attention": backends(captioner),
        "encoders": weights.started_from(captioner),
    }
