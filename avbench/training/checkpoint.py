"""Training checkpoints: written atomically, verified when read, the last few kept.

A file's name holds its step and the hash of its contents. A file holds tensors and plain values
only. If a training selects its best step, that step's weights lie beside the checkpoints: a
checkpoint of step n goes with the newest best weights of step n or before.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from avbench.core.digest import sha256
from avbench.models.weights import read_tensors, write_tensors

FOLDER = "checkpoints"
BEST = "best-"
HEX = 32
"""Hexadecimal digits of a hash."""


class _Hashed:
    """A file that hashes what is written to it, so that nothing is read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:HEX]


def save(state: Mapping[str, Any], directory: Path, step: int, keep: int) -> Path:
    """Write the newest checkpoint of a stage; a kill leaves the earlier ones.

    Args:
        state: tensors and plain values.
        directory: the stage's folder.
        step: the number of finished steps.
        keep: the number of newest checkpoints to keep.
    """
    written = place(directory)
    with written.open("wb") as file:
        hashed: Any = _Hashed(file)
        torch.save(dict(state), hashed)
        file.flush()
        os.fsync(file.fileno())
    path = directory / FOLDER / f"{step:09d}-{hashed.digest}.pt"
    written.replace(path)
    for old in newest_first(directory)[max(keep, 1) :]:
        old.unlink()
    # Best weights that belong to no checkpoint any more.
    needed = [best_at(directory, step_of(kept)) for kept in newest_first(directory)]
    oldest = step_of(newest_first(directory)[-1])
    for best in _bests(directory):
        if best not in needed and step_of(best) < oldest:
            best.unlink()
    return path


def save_best(tensors: Mapping[str, Tensor], directory: Path, step: int) -> Path:
    """Write the best weights of a stage so far, those after ``step`` steps."""
    written = place(directory)
    write_tensors(written, tensors)
    with written.open("rb") as file:
        os.fsync(file.fileno())
    path = directory / FOLDER / f"{BEST}{step:09d}-{digest(written)}.safetensors"
    written.replace(path)
    return path


def load_best(directory: Path, step: int) -> dict[str, Tensor] | None:
    """Read the best weights of the first ``step`` steps; None: there are none."""
    path = best_at(directory, step)
    return None if path is None else read_tensors(path)


def best_at(directory: Path, step: int) -> Path | None:
    """Find the best weights of the first ``step`` steps; None: there are none."""
    return max((p for p in _bests(directory) if step_of(p) <= step), default=None)


def forget_bests(directory: Path, after: int) -> None:
    """Delete best weights of later steps than ``after``: a resumed training makes them again."""
    for path in _bests(directory):
        if step_of(path) > after:
            path.unlink()


def step_of(path: Path) -> int:
    """Return the number of steps behind a checkpoint or best weights."""
    return int(path.stem.removeprefix(BEST).partition("-")[0])


def _bests(directory: Path) -> list[Path]:
    return list((directory / FOLDER).glob(f"{BEST}*-*.safetensors"))


def place(directory: Path) -> Path:
    """Return the path at which a file is written before it gets its name."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    return folder / "writing"


def newest_first(directory: Path) -> list[Path]:
    """Return the checkpoints of a stage, the newest first."""
    return sorted((directory / FOLDER).glob("[0-9]*-*.pt"), reverse=True)


def load(directory: Path) -> dict[str, Any] | None:
    """Load the newest undamaged checkpoint of a stage; None: there is none.

    Warns:
        UserWarning: a checkpoint is damaged; an earlier one is loaded, or none.
    """
    for path in newest_first(directory):
        step = step_of(path)
        best = best_at(directory, step)
        damaged = [part for part in (path, best) if part is not None and not whole(part)]
        if not damaged:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        warnings.warn(
            f"checkpoint {damaged[0]} is damaged: its contents do not have the hash in its "
            f"name. Training resumes from a checkpoint before step {step}, if there is one",
            stacklevel=2,
        )
    return None


def whole(path: Path) -> bool:
    """Return True if a file has the hash that its name states."""
    return digest(path) == path.stem.rpartition("-")[2]


def digest(path: Path) -> str:
    """Return the hash of a file's contents."""
    return sha256(path)[:HEX]
