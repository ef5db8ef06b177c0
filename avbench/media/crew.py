"""Processes that decode the parts of a split, this one among them.

This process takes parts from the front and starts at once; the others take them from the back,
and are started only where the work that is left is worth their start (some seconds each, for
they import torch).
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from avbench.errors import DataError
from avbench.media.part import Part, start_worker, work

WORTH = 10.0
"""Seconds of work left that are worth another process."""

Outcomes = list[dict[str, Any]]


class Crew:
    """A map over parts that keeps their order.

    Args:
        workers: processes, this one included.
    """

    def __init__(self, workers: int) -> None:
        self._others = workers - 1
        self._pool: ProcessPoolExecutor | None = None
        self._started: list[BaseProcess] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            if error is not None:  # what they are at is lost, finished parts are not
                for process in self._started:
                    process.terminate()
            self._pool.shutdown(cancel_futures=True)

    def map(self, parts: Sequence[Part], report: Callable[[int], None]) -> Iterator[Outcomes]:
        """The outcomes of each part, in order.

        Args:
            parts: what to do.
            report: is told the number of clips done.

        Raises:
            DataError: a process died.
        """
        futures: dict[int, Future[Outcomes]] = {}
        sizes = [len(part.sources) for part in parts]
        spent, counted = 0.0, 0
        report(0)
        for i, part in enumerate(parts):
            begin = time.monotonic()
            fresh = not part.result.exists()
            future = futures.get(i)
            # A part that no other process has begun is done here.
            yield work(part) if future is None or future.cancel() else self._result(future, part)
            if fresh and self._pool is None:
                spent, counted = spent + time.monotonic() - begin, counted + 1
                if spent / counted * (len(parts) - i - 1) > WORTH and self._others > 0:
                    futures = self._start(parts, i + 1)
            ready = sum(sizes[j] for j, f in futures.items() if j > i and f.done())
            report(sum(sizes[: i + 1]) + ready)

    def _start(self, parts: Sequence[Part], first: int) -> dict[int, Future[Outcomes]]:
        """Let other processes begin with the last part."""
        # Spawned, not forked: the stage's process has threads.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            min(self._others, len(parts) - first), mp_context=context, initializer=start_worker
        )
        before = multiprocessing.active_children()
        futures = {
            i: self._pool.submit(work, parts[i]) for i in reversed(range(first, len(parts)))
        }
        self._started = [p for p in multiprocessing.active_children() if p not in before]
        return futures

    @staticmethod
    def _result(future: Future[Outcomes], part: Part) -> Outcomes:
        try:
            return future.result()
        except BrokenProcessPool as error:
            names = ", ".join(sorted({source.media.name for source in part.sources}))
            raise DataError(
                f"a process died while it decoded (out of memory, or a fault of FFmpeg); "
                f"the part that was waited for holds {names}"
            ) from error
