"""The stages ``pretrain`` and ``finetune``: a captioner trained on prepared clips."""

from typing import Any

from avbench.core.job import Job
from avbench.models import weights
from avbench.models.compute import backends
from avbench.training import loss_log
from avbench.training.trainer import Trainer
from avbench.training.training_job import TrainingJob


def run(job: Job) -> dict[str, Any]:
    """Train a captioner; write its weights and ``curve.csv``.

    Returns:
        Steps, clips, clips held out for probes, final losses, the attention backends that ran,
        the encoders' initial weights and, if the best step is selected, its selection.
    """
    training = TrainingJob.build(job)
    selection, feed = training.selection, training.feed
    try:
        Trainer(training).fit()
    finally:
        if selection is not None:
            selection.close()
    tensors = training.engine.tensors(training.captioner)
    if selection is not None:
        tensors = selection.best(job.directory) or tensors
    if training.engine.rank == 0:
        bare = training.architecture.bare(job.registry)
        weights.save(job.directory, training.captioner, bare, tensors)
    results = {
        "steps": training.steps,
        "clips": len(feed.rows),
        "held_out_clips": len(training.held_out),
        "held_out_hash": training.held_out_hash,
        "loss": loss_log.final_losses(job.directory),
        "attention": backends(training.captioner),
        "encoders": weights.started_from(training.captioner),
    }
    if selection is not None:
        results["selection"] = selection.record(job.directory, training.per_epoch)
    return results
