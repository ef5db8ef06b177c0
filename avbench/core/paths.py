"""The folders of a package's data files and of the user's cache."""

import os
from importlib.resources import files
from pathlib import Path


def folder(package: str) -> Path:
    """Return the folder of a package's data files."""
    return Path(str(files(package)))


def cache() -> Path:
    """Return the user's cache folder: ``$AVBENCH_CACHE``, else the system's folder for caches."""
    own = os.environ.get("AVBENCH_CACHE")
    if own:
        return Path(own).expanduser().resolve()
    xdg = os.environ.get("XDG_CACHE_HOME")
    base = Path(xdg) if xdg and Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "avbench"
