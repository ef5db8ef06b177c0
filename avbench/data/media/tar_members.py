"""Media within shards: a path ``…/000003.tar/000000031.mp4`` names a member of a tar file.

A shard has an index beside it, ``000003.json``, that says where each member lies, its checksum,
and what preparation met. So any clip is read at random, by one read of one file; whoever wants
the whole shard in order reads the tar, which is in WebDataset's form.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import read_json
from avbench.core.types import SoundState

SHARD, INDEX = ".tar", ".json"

WHOLE = 16 << 20
"""Bytes up to which a member is read at once, and its checksum compared; FFmpeg reads the parts
that it needs of a larger one, a source file that was not re-encoded."""

KEPT = 32
"""Indices that a process keeps: three clips of one video are of one shard."""

MEMORY = {"protocol_whitelist": ""}
"""What is in memory may not make FFmpeg open anything."""

SUBFILE = {"protocol_whitelist": "file,subfile"}
"""FFmpeg's protocol for a part of a local file."""

AGAIN = "delete it and run 'avbench data prepare' again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file within a shard."""

    shard: Path
    name: str
    offset: int
    size: int
    crc: int

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            DataError: the shard is damaged.
        """
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise DataError(
                f"{self.shard}: damaged: its member {self.name} is not as it was written "
                f"({len(data)} of {self.size} bytes, checksum {zlib.crc32(data):08x} and not "
                f"{self.crc:08x}); {AGAIN}"
            )
        return data

    def target(self) -> tuple[str | BytesIO, Mapping[str, str]]:
        """What FFmpeg is to open, and with which options."""
        if self.size <= WHOLE:
            return BytesIO(self.read()), MEMORY
        end = self.offset + self.size
        return f"subfile,,start,{self.offset},end,{end},,:{self.shard}", SUBFILE


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What preparation met in the source of a re-encoded clip, which its copy no longer shows."""

    sound: SoundState
    notes: tuple[str, ...]


def member_of(path: Path) -> Member | None:
    """The member of a shard that a path names; None: the path names none.

    Raises:
        DataError: the shard's index is missing or malformed.
    """
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    place = _index(path.parent).members.get(path.name)
    return None if place is None else Member(shard=path.parent, name=path.name, **place)


def is_there(path: Path) -> bool:
    """Whether there is such a file, or such a member of a shard."""
    return path.is_file() or member_of(path) is not None


def sound_of(path: Path) -> tuple[Path, float | None] | None:
    """Where the sound of a re-encoded clip is, and its seconds; None: where the picture is."""
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    found = _index(path.parent).sounds.get(path.name)
    return None if found is None else (path.parent / found[0], found[1])


def facts_of(path: Path) -> Facts | None:
    """What preparation met in a re-encoded clip's source; None: the file shows it itself."""
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    return _index(path.parent).facts.get(path.name)


@dataclass(frozen=True, slots=True)
class _Index:
    members: Mapping[str, Mapping[str, int]]
    sounds: Mapping[str, tuple[str, float]]
    facts: Mapping[str, Facts]


def _index(shard: Path) -> _Index:
    path = shard.with_suffix(INDEX)
    try:
        status = path.stat()
    except OSError:
        raise DataError(f"{shard}: its index {path.name} is missing; {AGAIN}") from None
    return _read(shard, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=KEPT)
def _read(shard: Path, changed: int, size: int) -> _Index:  # noqa: ARG001
    path = shard.with_suffix(INDEX)
    members: dict[str, Mapping[str, int]] = {}
    sounds: dict[str, tuple[str, float]] = {}
    facts: dict[str, Facts] = {}
    try:
        for sample in read_json(path)["samples"]:
            own: Mapping[str, Any] = sample["members"]
            for name, (offset, length, crc) in own.items():
                members[name] = {"offset": int(offset), "size": int(length), "crc": int(crc)}
            if sample["sound"] is not None:
                sounds[sample["media"]] = (sample["sound"], float(sample["seconds"]))
            if sample["recoded"]:
                (clip,) = sample["clips"]
                notes = tuple(map(str, clip["notes"]))
                facts[sample["media"]] = Facts(sound=SoundState(clip["sound"]), notes=notes)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a shard's index ({error!r}); {AGAIN}") from error
    return _Index(members, sounds, facts)
