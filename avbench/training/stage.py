"""Stages ``pretrain`` and ``finetune``: a captioner trained on prepared clips."""

from typing import Any

import torch

from avbench.core.job import Job
from avbench.core.options import build, make
from avbench.data.dataset import ClipData, derive_seed
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.models import pretrained, weights
from avbench.models.compute import backends
from avbench.models.settings import ComputeSettings
from avbench.training import loss_log
from avbench.training.contracts import LossContext
from avbench.training.engine import Engine
from avbench.training.selection import Selection
from avbench.training.settings import TrainSettings
from avbench.training.trainer import Trainer


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
        strategy=job.local.get("strategy", "ddp"),
    )
    captioner = architecture.build(job.registry, job.local.get(pretrained.ROLE))
    if "start" in job.parents:
        weights.restore(job.parents["start"], captioner)
    if engine.rank:
        # Weights start alike everywhere, dropout differs.
        torch.manual_seed(derive_seed(seed, "rank", engine.rank))
    component = job.registry.get("losses", settings.loss.name)
    train_split = PreparedSplit.open(job.parents["data"])
    selection = None
    if settings.select == "best":
        selection = Selection.of(
            job, settings.selection, train_split, vocabulary, architecture.input, engine, seed
        )
    trainer = Trainer(
        captioner,
        make(
            component, settings.loss.options, LossContext(streams=captioner.configuration.encoded)
        ),
        ClipData(
            train_split,
            vocabulary,
            architecture.input,
            sampling=settings.sampling,
            seed=seed,
        ),
        settings,
        seed=seed,
        engine=engine,
        compute=build(ComputeSettings, job.spec["compute"]),
        workers=int(job.local.get("workers", 0)),
        selection=selection,
    )
    try:
        trainer.fit(job.directory, job)
    finally:
        if selection is not None:
            selection.close()
    tensors = engine.tensors(captioner)
    chosen: dict[str, Any] = {}
    if selection is not None:
        tensors = selection.best(job.directory) or tensors
        chosen = {"selection": selection.record(job.directory, trainer.feed.per_epoch)}
    if engine.rank == 0:
        weights.save(job.directory, captioner, architecture.bare(job.registry), tensors)
    return {
        "steps": trainer.steps,
        "clips": len(trainer.feed.rows),
        "held_out_clips": len(trainer.held_out),
        "held_out_hash": trainer.held_out_hash,
        "loss": loss_log.final_losses(job.directory),
        "attention": backends(captioner),
        "encoders": weights.started_from(captioner),
        **chosen,
    }
