"""Processes that decode the parts of a split, this one among them.

This process takes parts from the front and starts at once; the others take them from the back,
and are started only where the work that is left is worth their start (some seconds each, for
they import torch). Once a process has died at a clip, this one decodes no more, so that the next
death costs one of the others; a process that dies is replaced.
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
"""Seconds of work left that are worth another process."""

BARREN = 3
"""Deaths in a row, none of them at a clip, after which the stage fails."""

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)


@runtime_checkable
class Work(Protocol[Made_co]):
    """A part of a stage: clips that one process decodes one after the other.

    It can be sent to another process.
    """

    @property
    def journal(self) -> Path:
        """What is written while it is worked on, see ``crash_guard``."""

    @property
    def clips(self) -> int:
        """How many they are."""

    @property
    def done(self) -> bool:
        """Whether it was done before."""

    def named(self) -> str:
        """What it holds, for an error."""

    def work(self) -> Made_co:
        """Do it; what was done before is not done again."""


class Crew(Generic[Made]):
    """A map over parts that keeps their order.

    Args:
        workers: processes, this one included.
        apart: whether this one decodes nothing, as no other process would go on after its death.
    """

    def __init__(self, workers: int, *, apart: bool = False) -> None:
        self._others = workers - 1
        self._apart = apart
        self._pool: ProcessPoolExecutor | None = None
        self._started: list[BaseProcess] = []
        self._futures: dict[int, Future[Made]] = {}
        self._deaths = 0
        self._afraid = False

    def __enter__(self) -> "Crew[Made]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:  # what they are at is lost, finished parts are not
            for process in self._started:
                process.terminate()
        self._leave()

    def map(self, parts: Sequence[Work[Made]], report: Callable[[int], None]) -> Iterator[Made]:
        """What each part gives, in order.

        Args:
            parts: what to do.
            report: is told the number of clips done.

        Raises:
            DataError: processes die again and again, and not at a clip.
        """
        sizes = [part.clips for part in parts]
        spent, counted = 0.0, 0
        report(0)
        if self._apart or any(_deaths(part) for part in parts):
            self._start(parts, 0)
        for i, part in enumerate(parts):
            begin = time.monotonic()
            fresh = self._others > 0 and not part.done
            future = self._futures.get(i)
            # A part that no other process has begun is done here.
            here = not self._afraid and (future is None or future.cancel())
            yield part.work() if here else self._result(parts, i)
            if fresh and self._pool is None:
                spent, counted = spent + time.monotonic() - begin, counted + 1
                left = len(parts) - i - 1
                if left and spent / counted * left > WORTH:
                    self._start(parts, i + 1)
            ready = sum(sizes[j] for j, f in self._futures.items() if j > i and f.done())
            report(sum(sizes[: i + 1]) + ready)

    def _start(self, parts: Sequence[Work[Made]], first: int) -> None:
        """Let other processes begin with the last part, or do all where this one must not."""
        self._leave()
        # Of processes that live, journals say the same as of those that died: nobody lives here.
        self._deaths = sum(map(_deaths, parts))
        self._afraid = self._apart or self._deaths > 0
        places = [i for i in range(first, len(parts)) if not parts[i].done]
        # Spawned, not forked: the stage's process has threads.
        context = multiprocessing.get_context("spawn")
        count = max(1, min(self._others + self._afraid, len(places)))
        self._pool = ProcessPoolExecutor(count, mp_context=context, initializer=start_worker)
        before = multiprocessing.active_children()
        self._futures = {
            i: self._pool.submit(parts[i].work)
            for i in (places if self._afraid else reversed(places))
        }
        self._started = [p for p in multiprocessing.active_children() if p not in before]

    def _result(self, parts: Sequence[Work[Made]], place: int) -> Made:
        """What another process made of a part, after as many deaths as there are clips for it."""
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
            f"part that was waited for holds {parts[place].named()}"
        )

    def _leave(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _deaths(part: Work[object]) -> int:
    """At how many clips of a part that is not done processes have died."""
    fatal = Journal(part.journal).fatal
    return 0 if not fatal or part.done else len(fatal)
