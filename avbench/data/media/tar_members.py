"""Media within shards: a path ``…/000003.tar/000000031.mp4`` names a member of a tar file.

The index beside a shard, ``000003.json``, holds each member's offset and checksum, and the defects
that preparation met. So any clip takes one read of one file; the tar, in WebDataset's form, also
serves to read a whole shard in order.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import as_written, read_json
from avbench.core.numbers import shown
from avbench.core.types import SoundState
from avbench.data.media.file_bytes import FileBytes

SHARD, INDEX = ".tar", ".json"

WHOLE = 16 << 20
"""Bytes up to which a member is read at once and its checksum compared. Of a larger one, a source
file that was not re-encoded, FFmpeg reads the parts that it needs."""

KEPT = 32
"""Indices that a process keeps, because several clips of one video share a shard."""

REBUILD_HINT = "delete it and run 'avbench data prepare' again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file within a shard."""

    shard: Path
    name: str
    offset: int
    size: int
    crc: int

    def read(self) -> bytes:
        """Return its bytes.

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
                f"{self.crc:08x}); {REBUILD_HINT}"
            )
        return data

    def open(self, wait: float) -> BytesIO | FileBytes:
        """Open it; a read may wait ``wait`` seconds for storage.

        Raises:
            DataError: the shard is damaged.
        """
        if self.size <= WHOLE:
            return BytesIO(self.read())
        return FileBytes(self.shard, wait, offset=self.offset, size=self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFacts:
    """State of a re-encoded clip's source, which its copy no longer shows."""

    sound: SoundState
    notes: tuple[str, ...]


def member_of(path: Path) -> Member | None:
    """Return the member of a shard that a path names; None: it names none.

    Raises:
        DataError: the shard's index is missing or malformed.
    """
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    place = _index(path.parent).members.get(path.name)
    return None if place is None else Member(shard=path.parent, name=path.name, **place)


def member_name(name: Any) -> str:
    """Return the name of a member unless it could lead out of its shard.

    Raises:
        ValueError: it is no file's name.
    """
    if not _is_name(name):
        raise ValueError(f"a member must be named as a file is, got {shown(name)}")
    return str(name)


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


def media_exists(path: Path) -> bool:
    """Return True if a file, or a member of a shard, exists."""
    return path.is_file() or member_of(path) is not None


def sound_of(path: Path) -> tuple[Path, float | None] | None:
    """Return the path and seconds of a re-encoded clip's separate sound; None: in one file."""
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    found = _index(path.parent).sounds.get(path.name)
    return None if found is None else (path.parent / found[0], found[1])


def source_facts(path: Path) -> SourceFacts | None:
    """Return the facts of a re-encoded clip's source; None: the file is the source."""
    if path.parent.suffix != SHARD or not path.parent.is_file():
        return None
    return _index(path.parent).facts.get(path.name)


@dataclass(frozen=True, slots=True)
class _Index:
    members: Mapping[str, Mapping[str, int]]
    sounds: Mapping[str, tuple[str, float]]
    facts: Mapping[str, SourceFacts]


def _index(shard: Path) -> _Index:
    path = shard.with_suffix(INDEX)
    try:
        status = path.stat()
    except OSError:
        raise DataError(f"{shard}: its index {path.name} is missing; {REBUILD_HINT}") from None
    return _read(shard, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=KEPT)
def _read(shard: Path, changed: int, size: int) -> _Index:  # noqa: ARG001
    path = shard.with_suffix(INDEX)
    members: dict[str, Mapping[str, int]] = {}
    sounds: dict[str, tuple[str, float]] = {}
    facts: dict[str, SourceFacts] = {}
    with as_written(path, hint=REBUILD_HINT):
        for sample in read_samples(path):
            own: Mapping[str, Any] = sample["members"]
            for name, (offset, length, crc) in own.items():
                place = {"offset": int(offset), "size": int(length), "crc": int(crc)}
                if min(place.values()) < 0:
                    raise ValueError(f"places must be 0 or more, got {place}")
                members[name] = place
            if sample["sound"] is not None:
                seconds = float(sample["seconds"])
                if not 0 <= seconds < math.inf:
                    raise ValueError(f"seconds must be a number, 0 or more, got {seconds}")
                sounds[sample["media"]] = (sample["sound"], seconds)
            if sample["recoded"]:
                (clip,) = sample["clips"]
                notes = tuple(map(str, clip["notes"]))
                facts[sample["media"]] = SourceFacts(sound=SoundState(clip["sound"]), notes=notes)
    return _Index(members, sounds, facts)


def read_samples(path: Path) -> Sequence[Mapping[str, Any]]:
    """Read the samples of a shard's index, whose media and sounds are members of their sample.

    Raises:
        DataError: the index is malformed, or names something else.
    """
    with as_written(path, hint=REBUILD_HINT):
        samples: Sequence[Mapping[str, Any]] = read_json(path)["samples"]
        for sample in samples:
            names = set(sample["members"])
            odd = [name for name in names if not _is_name(name)]
            odd += [x for x in (sample["media"], sample["sound"]) if x not in {*names, None}]
            if odd:
                raise DataError(
                    f"{path}: names '{odd[0]}', which is no member of its sample; an index "
                    f"may name members alone, without folders; {REBUILD_HINT}"
                )
    return samples
