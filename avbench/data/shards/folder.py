"""Folder of a split that is being written as shards: its list of clips, and its shards so far."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avbench.core.job import read_json
from avbench.core.types import SoundState
from avbench.data.media.tar_members import INDEX, SHARD
from avbench.data.prepared.lost import LostClip
from avbench.data.shards.manifest import SHARDS

CLIPS = "clips.jsonl"
"""The clips of the annotations, one a line."""


class ShardSums:
    """Sums over shards' indices."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._sound: Counter[str] = Counter()

    def add(self, index: Mapping[str, Any]) -> None:
        """Add a shard's index."""
        clips = [clip for sample in index["samples"] for clip in sample["clips"]]
        self._lost.update(str(item["reason"]) for item in index["lost"])
        self._sound.update(str(clip["sound"]) for clip in clips)
        partial = sum(bool(clip["notes"]) for clip in clips)
        self._sums.update(shards=1, expected=index["rows"], kept=len(clips), partial=partial)
        self._sums.update(bytes=index["bytes"])

    def add_lost(self, clip: LostClip) -> None:
        """Add a clip that a defect of the annotations lost."""
        self._sums.update(expected=1)
        self._lost.update([clip.reason])

    def plain(self) -> dict[str, Any]:
        """Return the sums, with ``lost`` by reason and ``sound`` by state."""
        sums = {k: self._sums[k] for k in ("shards", "expected", "kept", "partial", "bytes")}
        sound = {state.value: self._sound[state.value] for state in SoundState}
        return {**sums, "lost": dict(sorted(self._lost.items())), "sound": sound}


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of a shard in the folder of its split."""
    return folder / SHARDS / f"{number:06d}{SHARD}"


def is_complete(folder: Path, number: int) -> bool:
    """Return True if a shard and its index exist; neither is opened."""
    shard = shard_path(folder, number)
    return shard.is_file() and shard.with_suffix(INDEX).is_file()


def read_index(folder: Path, number: int) -> dict[str, Any] | None:
    """Return the index of a shard; None if the shard is not complete, or of another size."""
    shard = shard_path(folder, number)
    try:
        index: dict[str, Any] = read_json(shard.with_suffix(INDEX))
        return index if shard.stat().st_size == index["bytes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def count_clips(plan: Mapping[str, Any], number: int) -> int:
    """Return the number of clips that the list has for a shard."""
    starts = [*(first for first, _ in plan["shards"][number : number + 2]), plan["clips"]]
    return int(starts[1] - starts[0])


def listed_clips(
    folder: Path, plan: Mapping[str, Any], number: int
) -> tuple[int, list[dict[str, Any]]]:
    """Return the place of a shard's first clip in the list, and its clips as listed."""
    first, offset = plan["shards"][number]
    with (folder / CLIPS).open("rb") as file:
        file.seek(offset)
        return first, [json.loads(file.readline()) for _ in range(count_clips(plan, number))]
