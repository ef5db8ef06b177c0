"""The folders of a package's data files and of the user's cache."""

import os
from importlib.resources import files
from pathlib import Path

from avbench.core.errors import AvbenchError

RESULTS = Path("results")
"""The usual folder of stages and tables."""


def folder(package: str) -> Path:
    """Return the folder of a package's data files."""
    return Path(str(files(package)))


def cache() -> Path:
    """Return the user's cache folder: ``$AVBENCH_CACHE``, else the system's folder for caches.

    Raises:
        AvbenchError: the user has no home folder, and no variable names another one.
    """
    own = os.environ.get("AVBENCH_CACHE")
    xdg = os.environ.get("XDG_CACHE_HOME")
    try:
        if own:
            return Path(own).expanduser().resolve()
        base = Path(xdg) if xdg and Path(xdg).is_absolute() else Path.home() / ".cache"
    except RuntimeError as error:
        raise AvbenchError(
            "no home folder for the cache: set AVBENCH_CACHE to the absolute path of a folder of "
            f"yours ({error})"
        ) from None
    return base / "avbench"
