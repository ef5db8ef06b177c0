"""A copy of a dataset's folder: small files are copied, large ones and media linked."""

import os
import shutil
from pathlib import Path

FILES = 5_000
"""Largest number of files of a folder that is copied."""
COPIED = 4 * 2**20
"""Bytes of the largest file that is copied; larger ones are linked."""
TOTAL = 64 * 2**20
"""Bytes of all files that are copied."""
DAY = 86_400.0


def mirror(source: Path, target: Path, *, days: float = 0.0) -> list[Path] | None:
    """Copy a folder, unless it is too large.

    Args:
        source: the folder.
        target: the copy, which need not exist.
        days: age to add to the dates of the copied files.

    Returns:
        The copies of files, which may be changed, unlike the targets of links. None: the folder
        has too many files, and the copy is incomplete.
    """
    files, left, copies = 0, TOTAL, list[Path]()
    for folder, folders, names in os.walk(source, followlinks=False):
        at = target / Path(folder).relative_to(source)
        at.mkdir(parents=True, exist_ok=True)
        for name in folders:
            if (Path(folder) / name).is_symlink():
                (at / name).symlink_to((Path(folder) / name).resolve())
        for name in names:
            files += 1
            path = Path(folder) / name
            if files > FILES or not path.is_file():
                return None
            size = path.stat().st_size
            if size > min(COPIED, left):
                (at / name).symlink_to(path.resolve())
                continue
            left -= size
            shutil.copy2(path, at / name)
            date = path.stat().st_mtime - days * DAY
            os.utime(at / name, (date, date))
            copies.append(at / name)
    return copies
