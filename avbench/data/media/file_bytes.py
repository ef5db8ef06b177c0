"""The bytes of a file, or of a part of it, as PyAV reads them.

FFmpeg opens nothing itself: it reads what this module opened, so a media file cannot name another
one, whatever its container allows.
"""

import os
import time
from pathlib import Path


class FileBytes:
    """A file, or a part of it, open for reading.

    PyAV asks for these methods. FFmpeg judges a container by its name too.

    Attributes:
        name: the file's path.

    Args:
        path: the file.
        wait: seconds that a read may wait for storage.
        offset: first byte of the part.
        size: length of the part, bytes; None: to the end of the file.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: Path, wait: float, *, offset: int = 0, size: int | None = None
    ) -> None:
        self.name = str(path)
        self._wait = wait
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._offset = offset
        self._size = os.fstat(self._file).st_size - offset if size is None else size
        self._at = 0

    def read(self, count: int) -> bytes:
        """Return at most so many bytes from the current place on; none at the end.

        Raises:
            TimeoutError: storage took too long.
        """
        begun = time.monotonic()
        wanted = min(count, max(0, self._size - self._at))
        data = os.pread(self._file, wanted, self._offset + self._at)
        if time.monotonic() - begun > self._wait:
            raise TimeoutError
        self._at += len(data)
        return data

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Move to a place, counted as by ``io.IOBase.seek``, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + place)
        return self._at

    def tell(self) -> int:
        """Return the current place."""
        return self._at

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
