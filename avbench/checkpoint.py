"""Training checkpoints: written atomically, verified when read, the last few kept.

A file's name holds its step and the hash of its contents. They hold tensors and plain values
only, and are read as such.
"""

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FOLDER = "checkpoints"
HEX = 32
"""Digits of a hash."""


def commit(written: Path, directory: Path, step: int, keep: int) -> Path:
    """Make a written file the newest checkpoint of a stage; a kill leaves the ones before.

    Args:
        written: a complete file in the folder of ``place``.
        directory: of the stage.
        step: how many steps it has behind it.
        keep: how many checkpoints to keep, the newest.
    """
    with written.open("rb") as file:
        os.fsync(file.fileno())
    path = directory / FOLDER / f"{step:09d}-{digest(written)}.pt"
    written.replace(path)
    for old in newest_first(directory)[max(keep, 1) :]:
        old.unlink()
    return path


def place(directory: Path) -> Path:
    """Where to write the next checkpoint before it is committed."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    return folder / "writing"


def newest_first(directory: Path) -> list[Path]:
    """The checkpoints of a stage."""
    return sorted((directory / FOLDER).glob("[0-9]*-*.pt"), reverse=True)


def load(
    directory: Path,
    read: Callable[[Path], dict[str, Any]] = lambda path: torch.load(
        path, map_location="cpu", weights_only=True
    ),
) -> dict[str, Any] | None:
    """The newest whole checkpoint, or None where there is none.

    Args:
        directory: of the stage.
        read: makes the state of a file that has been verified.

    Warns:
        UserWarning: a checkpoint is damaged; the one before it is taken, or none.
    """
    for path in newest_first(directory):
        step, said = path.stem.split("-", 1)
        if digest(path) == said:
            return read(path)
        warnings.warn(
            f"checkpoint {path} is damaged (its hash is not {said}); "
            f"going on from the one before step {int(step)}, if there is one",
            stacklevel=2,
        )
    return None


def digest(path: Path) -> str:
    """The hash of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:HEX]
