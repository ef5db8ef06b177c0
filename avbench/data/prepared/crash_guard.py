"""Protection against a codec that crashes or hangs: a journal, timers and a second attempt.

FFmpeg decodes foreign data in this process. A fault in it ends the process, and Python cannot end
a call that never returns. So the process that decodes a part writes the current clip to a journal
and sets timers after which the system ends it. The process that continues the part finds the clip
in the journal and decodes it in a process of its own. If that process dies too, the clip is lost
with its reason, and the rest goes on. A process killed for another reason (by a user, for lack of
memory) costs only time, because the second attempt gives the result of the first.
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

from avbench.data.media.container import LostReason
from avbench.data.prepared.lost import ClipResult

PROCESSOR, WALL = 2, 10
"""Limits after which the system ends a process, in multiples of a clip's seconds: processor time
and wall time. The decoder itself gives up after one, see ``container.Allowance``."""

TIMERS = (
    (signal.ITIMER_PROF, PROCESSOR, signal.SIGPROF),
    (signal.ITIMER_REAL, WALL, signal.SIGALRM),
)
"""Timer, multiple of a clip's seconds, and signal. Without a handler each signal ends the process.
"""

AT, FATAL = "at", "fatal"


class Journal:
    """Journal of a part: the clip being decoded, and the clips at which a process died.

    A context manager: its exit clears the current clip, and a process that dies never exits it.

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

    def begin(self, row: int) -> None:
        """Write down that a row's clip is being decoded."""
        self._write(row)

    def remove(self) -> None:
        """Remove the journal of a finished part."""
        self._path.unlink(missing_ok=True)

    def _write(self, row: int | None) -> None:
        text = json.dumps({FATAL: sorted(self.fatal), AT: row}).encode()
        # Write first, then truncate, so that a reader never sees half of it.
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))


@contextmanager
def hard_limits(seconds: float) -> Iterator[None]:
    """Let the system end this process if the body far exceeds a clip's seconds."""
    for timer, multiple, _ in TIMERS:
        signal.setitimer(timer, multiple * seconds)
    try:
        yield
    finally:
        for timer, _, _ in TIMERS:
            signal.setitimer(timer, 0)


def decode_guarded(
    journal: Journal, row: int, task: Callable[[], ClipResult], media: Path, seconds: float
) -> ClipResult:
    """Decode a clip of a part: here, or in a process of its own if one died at it before.

    Args:
        journal: the part's journal.
        row: the clip's row.
        task: decodes the clip; can be sent to a process.
        media: the clip's file.
        seconds: processor time that the clip may take.
    """
    if row in journal.fatal:
        return decode_alone(task, str(media), seconds)
    journal.begin(row)
    with hard_limits(seconds):
        return task()


def decode_alone(task: Callable[[], ClipResult], name: str, seconds: float) -> ClipResult:
    """Decode a clip in a process of its own.

    Args:
        task: decodes the clip; is sent to the process.
        name: name of the media file, for the reason.
        seconds: processor time that the clip may take.

    Returns:
        The task's result; the clip lost as CRASHED or OVERDUE if the process dies.
    """
    # Spawned, not forked, because this process has threads.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run_and_send, args=(sender, task, seconds), daemon=True)
    process.start()
    sender.close()
    try:
        result: ClipResult = receiver.recv()
    except EOFError:
        process.join()
        return _lost_with_process(process.exitcode or 0, name, seconds)
    finally:
        receiver.close()
        process.join()
    return result


def _run_and_send(sender: Any, task: Callable[[], ClipResult], seconds: float) -> None:
    start_worker()
    with hard_limits(seconds):
        result = task()
    sender.send(result)


def _lost_with_process(status: int, name: str, seconds: float) -> ClipResult:
    """Return the lost clip of a process that ended with a status."""
    if -status in {number for _, _, number in TIMERS}:
        # The timer is not named: on a busy machine it could be the other one.
        detail = f"one call of the decoder went far beyond the {seconds:g} s of a clip, twice"
        return {"lost": LostReason.OVERDUE.value, "detail": f"{name}: {detail}"}
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    detail = f"{name}: the process that decoded it ended with {how}, and so did another"
    return {"lost": LostReason.CRASHED.value, "detail": detail}


def start_worker() -> None:
    """Set up a worker process: one thread, and an exit once the parent is gone."""
    import torch

    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None
    watch = threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True)
    watch.start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
