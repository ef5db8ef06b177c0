"""Data loader: batches on a device, in an order that depends on the seed alone."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import torch
from torch.utils.data import DataLoader

from avbench.core.job import NOTICES
from avbench.core.types import Batch
from avbench.data.dataset import ClipData, Share, StepSampler, collate
from avbench.data.settings import EpochOf


def to(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device."""
    moved = {f.name: getattr(batch, f.name) for f in fields(batch)}
    for name, value in moved.items():
        if isinstance(value, torch.Tensor):
            moved[name] = value.to(device, non_blocking=True)
    return Batch(**moved)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block the schedulers' signals in the body, so that processes started there ignore them.

    Schedulers signal every process of a job. A training that saves on such a notice still needs
    its workers, and ends them itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, NOTICES)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, kw_only=True, slots=True)
class Feed:
    """Loads batches of some rows of the training clips."""

    data: ClipData
    rows: Sequence[int]
    batch: int
    """Samples a step, over all processes."""
    group: int
    """Samples of one video drawn together."""
    device: torch.device
    epoch: EpochOf = "clips"
    """The things that an epoch passes over once, see ``StepSampler``."""
    workers: int = 0
    """Processes that read ahead; they do not change the batches."""
    share: Share = field(default_factory=Share)
    """Share of each step that this process takes."""

    def batches(self, start: int, steps: int, seed: int) -> Iterator[list[Batch]]:
        """Yield each step's micro-batches, from ``start`` to ``steps`` (not included)."""
        clips, sampling = self.data.split.clips, self.data.sampling
        rows, uses = self.rows, None
        if sampling is not None and sampling.captions == "all":
            each = [(i, use) for i in self.rows for use in range(len(clips[i].captions))]
            rows, uses = [i for i, _ in each], [use for _, use in each]
        sampler = StepSampler(
            [clips[i].video for i in rows],
            rows=rows,
            uses=uses,
            epoch=self.epoch,
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
            # A loader draws a seed when it starts. It has its own generator, because a resumed
            # run would draw once more from the global one.
            generator=torch.Generator(),
        )
        with _signals_blocked():
            read = iter(loader)
        parts: list[Batch] = []
        for batch in read:
            parts.append(to(batch, self.device))
            if len(parts) == self.share.parts:
                yield parts
                parts = []

    def in_order(self, rows: Sequence[int], epoch: int) -> Iterator[Batch]:
        """Yield batches of given rows in order, for measuring, with the draws of ``epoch``."""
        for i in range(0, len(rows), self.batch):
            chosen = [self.data[row, epoch] for row in rows[i : i + self.batch]]
            yield to(collate(chosen), self.device)
