"""Locks on stages: one process works on a stage, and the kernel frees the lock when it ends."""

import fcntl
import os
import time
from pathlib import Path

LOCK = "lock"
POLL = 0.05
"""Seconds between two attempts to take a lock."""


class StageLock:
    """An exclusive lock on a stage's folder.

    The process that computes the stage holds it, not the runner, so after a runner's sudden death
    it still tells which stages are being computed. It is held until ``release`` or until the
    process ends for any reason. Forked children, such as data workers, do not share it: a child
    that briefly outlives its parent would otherwise keep the stage from being restarted.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd: int | None = None

    def acquire(self, patience: float = 0.0) -> bool:
        """Take the lock.

        Args:
            patience: seconds to wait while another process holds it.

        Returns:
            False if another process still holds the lock.
        """
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
        """Release the lock, if it is held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            _held.discard(self)


_held: set[StageLock] = set()


def _close_in_child() -> None:
    """Close the parent's locks in a forked child; the parent keeps them."""
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_close_in_child)


def locked(directory: Path) -> bool:
    """Return True if a process is working on the stage in a folder."""
    if not (directory / LOCK).exists():
        return False
    lock = StageLock(directory)
    if lock.acquire():
        lock.release()
        return False
    return True
