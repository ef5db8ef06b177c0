"""Locks on stages: one process works on a stage, and the kernel frees the lock when it ends."""

import errno
import fcntl
import os
import time
from pathlib import Path

from avbench.core.errors import AvbenchError

LOCK = "lock"
POLL = 0.05
"""Seconds between two attempts to take a lock."""

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""Errors of a file system without ``flock``."""


class NoLocksError(AvbenchError):
    """A folder on a file system without file locks."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(
            f"{folder}: its file system has no file locks (flock: {reason}), so two runs could "
            "write the same stage. Give a folder on a local disk with --results, or with "
            "AVBENCH_CACHE if it is in the cache; on NFS or Lustre, mount it with locks"
        )
        self.reason = reason


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

        Raises:
            NoLocksError: the folder's file system has no locks.
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
            except OSError as error:
                os.close(fd)
                if error.errno not in NO_LOCKS:
                    raise
                raise NoLocksError(self._path.parent, str(error.strerror)) from None
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
    """Return True if a process is working on the stage in a folder.

    The look takes a shared lock for a moment: it needs no right to write, and two looks at once
    do not take each other for work.

    Raises:
        NoLocksError: the folder's file system has no locks.
    """
    try:
        fd = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise NoLocksError(directory, str(error.strerror)) from None
    finally:
        os.close(fd)
    return False
