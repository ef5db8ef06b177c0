"""Batches on a device, in an order that depends on the seed alone."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import torch
from torch.utils.data import DataLoader

from avbench.core.job import NOTICES
from avbench.core.types import Batch
from avbench.data.dataset import ClipData, Share, StepSampler, collate


def to(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    moved = {f.name: getattr(batch, f.name) for f in fields(batch)}
    for name, value in moved.items():
        if isinstance(value, torch.Tensor):
            moved[name] = value.to(device, non_blocking=True)
    return Batch(**moved)


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started within are never reached by a notice; we are, after it.

    Schedulers give notice to every process of a job, and a training that saves on it still needs
    its workers, whom it ends itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """Some rows of the training clips, ready to be dealt into batches."""

    data: ClipData
    rows: Sequence[int]
    batch: int
    """Clips a step, in all processes together."""
    group: int
    """Clips of one video drawn together."""
    device: torch.device
    workers: int = 0
    """Processes that read ahead; they change nothing but time."""
    share: Share = field(default_factory=Share)
    """What of each step this process takes."""

    @property
    def per_epoch(self) -> int:
        """Steps in one pass over the rows."""
        return len(self.rows) // self.batch

    def batches(self, start: int, steps: int, seed: int) -> Iterator[list[Batch]]:
        """The micro-batches of steps ``start`` to ``steps`` (not included), step by step."""
        sampler = StepSampler(
            [self.data.split.clips[i].video for i in self.rows],
            rows=self.rows,
            batch=self.batch,
            group=self.group,
            seed=seed,
            start=start,
            steps=steps,
            share=self.share,
        )
        loader = DataLoader(
            self.data,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=self.workers,
            # A loader draws a seed when it starts: from a generator of its own, or a resumed run
            # would have drawn once more from the global one.
            generator=torch.Generator(),
        )
        with _deaf():
            read = iter(loader)
        parts: list[Batch] = []
        for batch in read:
            parts.append(to(batch, self.device))
            if len(parts) == self.share.parts:
                yield parts
                parts = []

    def in_order(self, rows: Sequence[int], epoch: int) -> Iterator[Batch]:
        """Batches of given rows, for measuring; the draws are those of ``epoch``."""
        for i in range(0, len(rows), self.batch):
            chosen = [self.data[row, epoch] for row in rows[i : i + self.batch]]
            yield to(collate(chosen), self.device)
