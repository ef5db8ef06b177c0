"""Pool of processes that decode the parts of a split; this process is one of them.

This process takes parts from the front and starts at once. The workers take parts from the back,
and start only if the remaining work is worth their start, which takes some seconds because they
import torch. Once a process has died at a clip, this one stops decoding, so that the next death
costs a worker. A worker that dies is replaced.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Generic, Protocol, TypeVar, runtime_checkable

from avbench.core.errors import DataError
from avbench.data.prepared.crash_guard import Journal, start_worker

WORTH = 10.0
"""Seconds of remaining work that are worth another process."""

BARREN = 3
"""Deaths in a row, none of them at a clip, after which the stage fails."""

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


@runtime_checkable
class Work(Protocol[Made_co]):
    """Part of a stage: clips that one process decodes in turn; can be sent to a process."""

    @property
    def journal(self) -> Path:
        """The journal, which exists during the work, see ``crash_guard``."""

    @property
    def clips(self) -> int:
        """The number of clips."""

    @property
    def done(self) -> bool:
        """True if the work is done."""

    def label(self) -> str:
        """Return a name of the part, for an error."""

    def work(self) -> Made_co:
        """Do the work unless it is done, and return its result."""


class WorkerPool(Generic[Made]):
    """Maps over parts in their order; a context manager.

    Args:
        workers: number of processes, this one included.
        delegate: this process decodes nothing, for a caller that must survive any clip.
    """

    def __init__(self, workers: int, *, delegate: bool = False) -> None:
        self._others = workers - 1
        self._delegate = delegate
        self._pool: ProcessPoolExecutor | None = None
        self._workers: list[BaseProcess] = []
        self._futures: dict[int, Future[Made]] = {}
        self._deaths = 0
        self._delegates_all = False

    def __enter__(self) -> "WorkerPool[Made]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # finished parts stay finished
            for process in self._workers:
                process.terminate()
        self._shut_down()

    def map(self, parts: Sequence[Work[Made]], report: Callable[[int], None]) -> Iterator[Made]:
        """Yield the result of each part, in order.

        Args:
            parts: the work.
            report: called with the number of clips done.

        Raises:
            DataError: processes die repeatedly, and not at a clip.
        """
        sizes = [part.clips for part in parts]
        spent, counted = 0.0, 0
        report(0)
        if self._delegate or any(map(_count_deaths, parts)):
            self._start(parts, 0)
        for i, part in enumerate(parts):
            begin = time.monotonic()
            fresh = self._others > 0 and not part.done
            future = self._futures.get(i)
            # A part that no worker has begun is done here.
            here = not self._delegates_all and (future is None or future.cancel())
            yield part.work() if here else self._result(parts, i)
            if fresh and self._pool is None:
                spent, counted = spent + time.monotonic() - begin, counted + 1
                left = len(parts) - i - 1
                if left and spent / counted * left > WORTH:
                    self._start(parts, i + 1)
            ready = sum(sizes[j] for j, f in self._futures.items() if j > i and f.done())
            report(sum(sizes[: i + 1]) + ready)

    def _start(self, parts: Sequence[Work[Made]], first: int) -> None:
        """Start workers; they take parts from the end, or all in order if this one must not."""
        self._shut_down()
        # Counted while no worker lives: a journal does not tell a living process from a dead one.
        self._deaths = sum(map(_count_deaths, parts))
        self._delegates_all = self._delegate or self._deaths > 0
        places = [i for i in range(first, len(parts)) if not parts[i].done]
        # Spawned, not forked, because the stage's process has threads.
        context = multiprocessing.get_context("spawn")
        count = max(1, min(self._others + self._delegates_all, len(places)))
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=start_worker)
        before = multiprocessing.active_children()
        self._futures = {
            i: self._pool.submit(parts[i].work)
            for i in (places if self._delegates_all else reversed(places))
        }
        self._workers = [p for p in multiprocessing.active_children() if p not in before]

    def _result(self, parts: Sequence[Work[Made]], place: int) -> Made:
        """Return a worker's result for a part; each death at a clip allows another attempt."""
        barren = 0
        while barren < BARREN:
            if parts[place].done:
                return parts[place].work()
            try:
                return self._futures[place].result()
            except BrokenProcessPool:
                known = self._deaths
                self._start(parts, place)
                barren = 0 if self._deaths > known else barren + 1
        raise DataError(
            f"processes died {BARREN} times before they began to decode (out of memory?); the "
            f"next part holds {parts[place].label()}"
        )

    def _shut_down(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _count_deaths(part: Work[object]) -> int:
    """Count the clips at which a process died, 0 for a finished part."""
    fatal = Journal(part.journal).fatal
    return 0 if not fatal or part.done else len(fatal)
