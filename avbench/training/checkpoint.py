"""Training checkpoints: written atomically, verified when read, the last few kept.

A file's name holds its step and the hash of its contents. They hold tensors and plain values
only, and are read as such. Beside them lie the weights of the best step so far, where a training
looks for it: a checkpoint of step n goes with the newest of these that is of step n or before.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

FOLDER = "checkpoints"
BEST = "best-"
HEX = 32
"""Digits of a hash."""
_hash = hashlib.sha256  # the quickest of the cryptographic ones, where processors help with it


class _Hashed:
    """A file that hashes what is written to it, so that nothing need be read again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = _hash()

    def write(self, data: bytes | memoryview) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:HEX]


def save(state: Mapping[str, Any], directory: Path, step: int, keep: int) -> Path:
    """Write the newest checkpoint of a stage; a kill leaves the ones before.

    Args:
        state: tensors and plain values.
        directory: of the stage.
        step: how many steps it has behind it.
        keep: how many checkpoints to keep, the newest.
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
    # The best weights that no checkpoint goes with any more.
    needed = [best_at(directory, step_of(kept)) for kept in newest_first(directory)]
    oldest = step_of(newest_first(directory)[-1])
    for best in _bests(directory):
        if best not in needed and step_of(best) < oldest:
            best.unlink()
    return path


def commit_best(written: Path, directory: Path, step: int) -> Path:
    """Make a written file the best weights of a stage, those of ``step``."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    path = directory / FOLDER / f"{BEST}{step:09d}-{digest(written)}.safetensors"
    written.replace(path)
    return path


def best_at(directory: Path, step: int) -> Path | None:
    """The best weights among those of the first ``step`` steps; None: there are none."""
    return max((p for p in _bests(directory) if step_of(p) <= step), default=None)


def forget_bests(directory: Path, after: int) -> None:
    """Drop best weights of later steps than ``after``: a resumed training makes them again."""
    for path in _bests(directory):
        if step_of(path) > after:
            path.unlink()


def step_of(path: Path) -> int:
    """How many steps a checkpoint, or best weights, have behind them."""
    return int(path.stem.removeprefix(BEST).partition("-")[0])


def _bests(directory: Path) -> list[Path]:
    return list((directory / FOLDER).glob(f"{BEST}*-*.safetensors"))


def place(directory: Path) -> Path:
    """Where to write the next checkpoint before it is committed."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    return folder / "writing"


def newest_first(directory: Path) -> list[Path]:
    """The checkpoints of a stage."""
    return sorted((directory / FOLDER).glob("[0-9]*-*.pt"), reverse=True)


def load(directory: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a stage, or None where there is none.

    Warns:
        UserWarning: a checkpoint is damaged; the one before it is taken, or none.
    """
    for path in newest_first(directory):
        step = step_of(path)
        best = best_at(directory, step)
        damaged = [part for part in (path, best) if part is not None and not whole(part)]
        if not damaged:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        warnings.warn(
            f"checkpoint {damaged[0]} is damaged (its hash is not that of its name); "
            f"going on from the one before step {step}, if there is one",
            stacklevel=2,
        )
    return None


def whole(path: Path) -> bool:
    """Whether a file has the hash that its name says."""
    return digest(path) == path.stem.rpartition("-")[2]


def digest(path: Path) -> str:
    """The hash of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _hash).hexdigest()[:HEX]
