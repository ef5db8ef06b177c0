"""Hashes of files' contents, cached for the user by size and time.

Annotations may be gigabytes, and every plan needs their hash.
"""

import hashlib
import os
import time
from pathlib import Path

from avbench.core.errors import DataError
from avbench.core.job import read_json, remember
from avbench.core.paths import cache

CONTENT = "content:"
"""Prefix of a setting that holds the digest of a local file instead of its path."""

SMALL = 1 << 20
"""Bytes below which hashing is quicker than the cache."""

SETTLED = 2.0
"""Seconds after its last change from which a file's time shows a further change."""

DIGITS = 32
"""Hexadecimal digits of ``digest``."""

Stamp = list[int]


def stamp(path: Path) -> Stamp:
    """Return size, times of the last change of content and of anything, and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def settled(*paths: Path) -> bool:
    """Return True if files are old enough for their stamps to show a change."""
    now = time.time()
    return all(now - max(s.st_mtime, s.st_ctime) > SETTLED for s in map(os.stat, paths))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, from the cache if possible.

    Raises:
        OSError: it cannot be read.
    """
    seen = stamp(path)
    if seen[0] < SMALL:
        return sha256(path)
    name = hashlib.blake2b(os.fsencode(path.absolute()), digest_size=16).hexdigest()
    known = cache() / "digests" / f"{name}.json"
    try:
        kept = read_json(known)
        if kept["stamp"] == seen:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent, or of another version
    found = sha256(path)
    if settled(path) and stamp(path) == seen:
        remember(known, {"stamp": seen, "sha256": found})
    return found


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(path: Path) -> str:
    """Return a hash of a file's contents, or of the names and contents of a folder's files.

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
