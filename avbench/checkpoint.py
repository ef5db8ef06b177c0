"""Training checkpoints: written atomically, read without unpickling foreign objects."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pt"


def save(directory: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint of a stage; a kill leaves the old one or the new one."""
    temporary = directory / f".{CHECKPOINT}"
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / CHECKPOINT)


def load(directory: Path) -> dict[str, Any] | None:
    """The checkpoint of a stage, or None where there is none."""
    path = directory / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def remove(directory: Path) -> None:
    """Drop the checkpoint of a finished stage."""
    (directory / CHECKPOINT).unlink(missing_ok=True)
