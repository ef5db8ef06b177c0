"""One process at a time works on a stage: a lock that the kernel drops with its holder."""

import fcntl
import os
from pathlib import Path

LOCK = "lock"


class StageLock:
    """An exclusive lock on a stage's folder.

    It belongs to the process that computes the stage, not to the runner: after a runner's
    sudden death it says which stages are still being computed. Held until ``release`` or the
    process's end, however that comes.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False where another process has it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def locked(directory: Path) -> bool:
    """Whether a process is working on a stage."""
    if not (directory / LOCK).exists():
        return False
    lock = StageLock(directory)
    if lock.acquire():
        lock.release()
        return False
    return True
