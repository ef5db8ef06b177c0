"""What a file or a folder holds, as a digest; where it lies plays no part."""

import hashlib
from pathlib import Path

from avbench.core.digest import file_digest
from avbench.core.errors import DataError

DIGITS = 32
"""Hexadecimal digits."""


def digest(path: Path) -> str:
    """A hash of a file's contents, or of the names and contents of a folder's files.

    Subfolders and hidden files of a folder do not count.

    Raises:
        DataError: a file cannot be read.
    """
    try:
        if not path.is_dir():
            return file_digest(path)[:DIGITS]
        whole = hashlib.sha256()
        for file in sorted(path.iterdir()):
            if file.is_file() and not file.name.startswith("."):
                whole.update(f"{file.name}\0{file_digest(file)}\0".encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return whole.hexdigest()[:DIGITS]
