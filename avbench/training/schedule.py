"""The schedule of a training: its rows, batches, steps, learning rates and checkpoints."""

import math
import time
from collections.abc import Collection, Mapping
from typing import Any

import torch

from avbench.core.errors import DataError
from avbench.data.annotations.clip_counts import ClipCounts, videos_apart
from avbench.data.dataset import ClipData, epoch_samples, generator
from avbench.training.settings import TrainSettings


def rate(step: int, steps: int, warmup: float) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to 0 (Sec. 4.2)."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return (steps - step) / max(1, steps - rise)


def hold_out(
    data: ClipData, share: float, seed: int, without: Collection[str] = ()
) -> tuple[list[int], list[int]]:
    """Divide the clips into rows to train on and rows of whole videos kept out for probes.

    Clips of the videos ``without``, and those without a caption for any task, are in neither.

    Raises:
        DataError: a share must be kept out of a single video, or no clip has a target.
    """
    videos = sorted({clip.video for clip in data.split.clips}.difference(without))
    held: set[str] = set()
    if share:
        if len(videos) < 2:
            raise DataError(
                f"the loss keeps {share:.0%} of the videos out of training, at least one: "
                f"two videos are needed, got {len(videos)}"
            )
        order = torch.randperm(len(videos), generator=generator(seed, "held out")).tolist()
        held = {videos[i] for i in order[: videos_apart(len(videos), share)]}
    rows: tuple[list[int], list[int]] = ([], [])
    for i, clip in enumerate(data.split.clips):
        if clip.video not in without and data.has_target(i):
            rows[clip.video in held].append(i)
    if not rows[0]:
        tasks = ", ".join(data.sampling.tasks) if data.sampling else ""
        raise DataError(f"none of {len(data)} clips has a caption for the tasks {tasks}")
    return rows


def sample_count(settings: TrainSettings, counts: ClipCounts) -> int:
    """Return the samples of one epoch: clips, each with one caption.

    Args:
        settings: of the training.
        counts: the clips to train on.
    """
    samples = counts.captions if settings.captions == "all" else counts.clips
    return epoch_samples(
        settings.epoch, settings.clips_per_video, videos=counts.videos, samples=samples
    )


def batch_size(settings: TrainSettings, samples: int, world: int) -> int:
    """Return the samples per step: as set, or an epoch's if they are fewer, in equal parts.

    Raises:
        DataError: they do not divide among processes and micro-batches.
    """
    parts = world * settings.accumulate
    if settings.batch % parts:
        raise DataError(
            f"batch must divide among {world} processes of {settings.accumulate} micro-batches, "
            f"got {settings.batch}"
        )
    size = min(settings.batch, samples) // parts * parts
    if not size:
        raise DataError(f"{samples} clips do not fill {parts} micro-batches")
    return size


def step_count(settings: TrainSettings, per_epoch: int) -> int:
    """Return the optimiser steps of a training, at ``per_epoch`` steps an epoch."""
    return settings.steps or max(1, math.ceil((settings.epochs or 0.0) * per_epoch))


class Saving:
    """Decides when checkpoints are due: every so many seconds or steps, as this machine asks."""

    def __init__(self, local: Mapping[str, Any]) -> None:
        self.keep = int(local.get("checkpoint_keep", 2))
        self._seconds = float(local.get("checkpoint_seconds", 30))
        self._steps = local.get("checkpoint_steps")
        self._last = time.monotonic()

    def due(self, step: int) -> bool:
        """Return True if a checkpoint is due after ``step`` steps."""
        by_steps = self._steps is not None and step % int(self._steps) == 0
        return by_steps or time.monotonic() - self._last > self._seconds

    def done(self) -> None:
        """Note that a checkpoint has been written."""
        self._last = time.monotonic()
