"""The folder of a split that is being written in shards: its list of clips, and what is there."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.core.job import read_json
from avbench.core.types import SoundState
from avbench.data.media.tar_members import INDEX, SHARD
from avbench.data.shards.manifest import SHARDS

CLIPS = "clips.jsonl"
"""The clips of the annotations, one a line."""


class Tally:
    """Sums over shards' indices."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._sound: Counter[str] = Counter()

    def add(self, index: Mapping[str, Any]) -> None:
        """Count a shard."""
        clips = [clip for sample in index["samples"] for clip in sample["clips"]]
        self._lost.update(str(item["reason"]) for item in index["lost"])
        self._sound.update(str(clip["sound"]) for clip in clips)
        partial = sum(bool(clip["notes"]) for clip in clips)
        self._sums.update(shards=1, expected=index["rows"], kept=len(clips), partial=partial)
        self._sums.update(bytes=index["bytes"])

    def lose(self, reason: str) -> None:
        """Count a clip that the annotations lost."""
        self._sums.update(expected=1)
        self._lost.update([reason])

    def plain(self) -> dict[str, Any]:
        """``shards``, ``expected``, ``kept``, ``partial``, ``bytes``, ``lost`` and ``sound``."""
        sums = {k: self._sums[k] for k in ("shards", "expected", "kept", "partial", "bytes")}
        sound = {state.value: self._sound[state.value] for state in SoundState}
        return {**sums, "lost": dict(sorted(self._lost.items())), "sound": sound}


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard lies in the folder of its split."""
    return folder / SHARDS / f"{number:06d}{SHARD}"


def written(folder: Path, number: int) -> bool:
    """Whether a shard was written to its end, as far as can be told without opening it."""
    shard = shard_path(folder, number)
    return shard.is_file() and shard.with_suffix(INDEX).is_file()


def read_index(folder: Path, number: int) -> dict[str, Any] | None:
    """The index of a shard; None where it is not complete, or of another size."""
    shard = shard_path(folder, number)
    try:
        index: dict[str, Any] = read_json(shard.with_suffix(INDEX))
        return index if shard.stat().st_size == index["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rows(plan: Mapping[str, Any], number: int) -> int:
    """How many clips the list has for a shard."""
    starts = [*(first for first, _ in plan["shards"][number : number + 2]), plan["clips"]]
    return int(starts[1] - starts[0])


def listed_clips(
    folder: Path, plan: Mapping[str, Any], number: int
) -> tuple[int, list[dict[str, Any]]]:
    """The clips of a shard as the list has them, and the place of the first."""
    first, offset = plan["shards"][number]
    with (folder / CLIPS).open("rb") as file:
        file.seek(offset)
        return first, [json.loads(file.readline()) for _ in range(rows(plan, number))]
