"""What outlives a codec that crashes or never comes back: a journal, clocks, and a last attempt.

FFmpeg decodes foreign data in this process: a fault of it ends the process, and one call that
never returns cannot be ended by Python. So the process that decodes a part notes in a journal
which clip it is at, and sets clocks after which the system ends it. Whoever goes on with the part
finds the clip in the journal, and decodes it in a process of its own. Where that process dies as
well, the clip is lost with its reason, and the rest goes on. A process that was killed for
another reason (by a user, for want of memory) costs nothing but time, for the second attempt then
gives what the first would have given.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from avbench.data.media.container import Loss

PROCESSOR, WALL = 2, 10
"""How many times the seconds of a clip until the system ends a process, by the processor's clock
and by the wall clock. The decoder itself gives up after one, see ``container.Allowance``."""

CLOCKS = (
    (signal.ITIMER_PROF, PROCESSOR, signal.SIGPROF),
    (signal.ITIMER_REAL, WALL, signal.SIGALRM),
)
"""Neither signal has a handler, so each ends the process."""

AT, FATAL = "at", "fatal"

Outcome = dict[str, Any]
"""``{"lost": reason, "detail": …}``, or ``{"entry": {"sound": state, "notes": [], …}, …}``."""


class Journal:
    """Which clip of a part is being decoded, and at which ones a process died.

    Used as a context manager, which a process leaves only alive.

    Attributes:
        fatal: rows at which a process died.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fatal: set[int] = set()
        known: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # none, or killed while it was written
            known = json.loads(path.read_text(encoding="utf-8"))
        self.fatal = {*known.get(FATAL, ()), *([known[AT]] if known.get(AT) is not None else ())}

    def __enter__(self) -> "Journal":
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._write(None)
        return self

    def __exit__(self, *error: object) -> None:
        self._write(None)
        os.close(self._file)

    def at(self, row: int) -> None:
        """Say that a row is begun."""
        self._write(row)

    def done(self) -> None:
        """The part is finished."""
        self._path.unlink(missing_ok=True)

    def _write(self, row: int | None) -> None:
        text = json.dumps({FATAL: sorted(self.fatal), AT: row}).encode()
        # Longer or equal first, then cut: a reader never sees half of it.
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


@contextmanager
def clocks(seconds: float) -> Iterator[None]:
    """Let the system end this process if what is within takes far longer than it may."""
    for clock, times, _ in CLOCKS:
        signal.setitimer(clock, times * seconds)
    try:
        yield
    finally:
        for clock, _, _ in CLOCKS:
            signal.setitimer(clock, 0)


def guarded(
    journal: Journal, row: int, task: Callable[[], Outcome], media: Path, seconds: float
) -> Outcome:
    """Decode a clip of a part: here, or where a process died at it before, alone.

    Args:
        journal: of the part.
        row: of the clip.
        task: gives the outcome; can be sent to a process.
        media: the clip's file.
        seconds: that the clip may take.
    """
    if row in journal.fatal:
        return alone(task, str(media), seconds)
    journal.at(row)
    with clocks(seconds):
        return task()


def alone(task: Callable[[], Outcome], name: str, seconds: float) -> Outcome:
    """Decode a clip, at which a process died, in a process of its own.

    Args:
        task: gives the outcome; sent to the process.
        name: of the media file, for the reason.
        seconds: that the clip may take.

    Returns:
        The outcome, or the clip's loss as CRASHED or OVERDUE.
    """
    # Spawned, not forked: this process has threads.
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(its, task, seconds), daemon=True)
    process.start()
    its.close()
    try:
        outcome: Outcome = mine.recv()
    except EOFError:
        process.join()
        return _death(process.exitcode or 0, name, seconds)
    finally:
        mine.close()
        process.join()
    return outcome


def _send(its: Any, task: Callable[[], Outcome], seconds: float) -> None:
    start_worker()
    with clocks(seconds):
        outcome = task()
    its.send(outcome)


def _death(status: int, name: str, seconds: float) -> Outcome:
    if -status in {number for _, _, number in CLOCKS}:
        # Not by which clock: a busy machine would write other bytes.
        detail = f"one call of the decoder went far beyond the {seconds:g} s of a clip, twice"
        return {"lost": Loss.OVERDUE.value, "detail": f"{name}: {detail}"}
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    detail = f"{name}: the process that decoded it ended with {how}, and so did another"
    return {"lost": Loss.CRASHED.value, "detail": detail}


def start_worker() -> None:
    """Prepare a worker process: one thread, and an end when the parent is gone."""
    import torch

    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None
    watch = threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True)
    watch.start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
