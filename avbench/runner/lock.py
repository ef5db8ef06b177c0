"""One process at a time works on a stage: a lock that the kernel drops with its holder."""

import fcntl
import os
import time
from pathlib import Path

LOCK = "lock"
POLL = 0.05
"""Seconds between two tries for a lock."""


class StageLock:
    """An exclusive lock on a stage's folder.

    It belongs to the process that computes the stage, not to the runner: after a runner's
    sudden death it says which stages are still being computed. Held until ``release`` or the
    process's end, however that comes. Forked children, such as data workers, have no part in it:
    one that outlives its parent for a moment would else keep the stage from being started again.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd: int | None = None

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock; False where another process has it for all of ``patience`` seconds."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    return False
                time.sleep(POLL)
        self._fd = fd
        _held.add(self)
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            _held.discard(self)


_held: set[StageLock] = set()


def _leave_to_parent() -> None:
    """In a forked child: close what the parent holds, which stays its own."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_leave_to_parent)


def locked(directory: Path) -> bool:
    """Whether a process is working on a stage."""
    if not (directory / LOCK).exists():
        return False
    lock = StageLock(directory)
    if lock.acquire():
        lock.release()
        return False
    return True
