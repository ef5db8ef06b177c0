"""Writing of a shard: under another name, then renamed, then its index.

A shard with an index is complete. It is a tar file in WebDataset's form, and each of its samples
is a clip::

    000000031.mp4    H.264, no sound; the clip's frames with their times
    000000031.m4a    its sound, mono (or .flac), if the clip has sound
    000000031.json   dataset, split, fingerprint, and ``clips``: annotation, interval within the
                     sample (``read``), state of the sound, notes

or, without re-encoding, a source file with all its clips in the shard. A key is a place in the
list of clips.
"""

import fcntl
import importlib.util
import mmap
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from avbench.core.digest import sha256
from avbench.core.errors import DataError
from avbench.core.job import read_json, write_json
from avbench.core.options import build, canonical
from avbench.core.types import Clip, InputSpec
from avbench.data.media.clip import read_clip
from avbench.data.media.container import MediaError
from avbench.data.media.recode import Encoding, recode
from avbench.data.media.sampling import Timeline
from avbench.data.media.tar_members import INDEX
from avbench.data.prepared.clips import clip_from_json
from avbench.data.prepared.crash_guard import Journal, decode_guarded
from avbench.data.prepared.lost import ClipResult, LostClips
from avbench.data.settings import SoundPolicy
from avbench.data.shards.folder import listed_clips, read_index, shard_path
from avbench.data.shards.manifest import LIST

SUFFIX = {"aac": "m4a", "flac": "flac"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A shard as a part of a job, see ``pool``."""

    folder: Path
    """Folder of the split, with its list of clips."""
    number: int
    clips: int
    """Number of its clips in the list."""

    @property
    def path(self) -> Path:
        """The tar file."""
        return shard_path(self.folder, self.number)

    @property
    def journal(self) -> Path:
        """The journal, which exists while the shard is written, see ``crash_guard``."""
        return self.path.with_name(f".{self.path.stem}.journal")

    @property
    def done(self) -> bool:
        """True if the shard is complete."""
        return read_index(self.folder, self.number) is not None

    def label(self) -> str:
        """Return the shard's name, for an error."""
        return self.path.name

    def work(self) -> None:
        """Write the shard and its index, unless it is complete.

        Raises:
            DataError: see ``stage.run``.
        """
        if self.done:
            return
        self.path.parent.mkdir(exist_ok=True)
        self.path.with_suffix(INDEX).unlink(missing_ok=True)
        with _exclusive(self.path) as (temporary, file), Journal(self.journal) as journal:
            index = _Writer(self, read_json(self.folder / LIST), journal).write(temporary, file)
            temporary.replace(self.path)
        # Before the index, so that a complete shard has no journal.
        journal.remove()
        write_json(self.path.with_suffix(INDEX), index, indent=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _KeptClip:
    """A clip that the shard keeps."""

    row: int
    listed: Mapping[str, Any]
    """The clip as listed."""
    read: tuple[float | None, float | None]
    """Its interval within the sample."""
    entry: Mapping[str, Any]
    """Result of reading it: ``sound`` and ``notes``."""

    def plain(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "clip": self.listed,
            "read": list(self.read),
            **self.entry,
        }


Members = dict[str, bytes | memoryview]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    key: str
    clips: Sequence[_KeptClip]
    media: str
    """Suffix of the media's member."""
    members: Members
    """Members by suffix, without the annotation."""
    sound: str | None
    """Suffix of the sound's own member, if it has one."""
    seconds: float
    """Length of that member."""
    recoded: bool


class _Writer:
    """Writes one shard.

    Args:
        shard: the shard.
        plan: the plan of all shards of the split.
        journal: the shard's journal.
    """

    def __init__(self, shard: Shard, plan: Mapping[str, Any], journal: Journal) -> None:
        self._shard, self._plan, self._journal = shard, plan, journal
        self._how = build(Encoding, plan["encoding"])
        self._seconds = float(plan["clip_seconds"])

    def write(self, temporary: Path, file: IO[bytes]) -> dict[str, Any]:
        """Write the shard to a file, and return its index."""
        shard, plan = self._shard, self._plan
        first, listed = listed_clips(shard.folder, plan, shard.number)
        clips = [clip_from_json(item, Path(plan["root"])) for item in listed]
        left_out = LostClips(
            plan["policy"], build(SoundPolicy, plan["sound"]), root=Path(plan["root"])
        )
        samples: list[dict[str, Any]] = []
        make = self._recode_clips if self._how.recode else self._copy_files
        with tar_writer(file) as tar:
            for sample in make(first, clips, listed, left_out):
                samples.append(self._add(tar, sample))
        where = f"{plan['dataset']}, split '{plan['split']}'"
        left_out.check(where, f"{len(clips)} clips of shard {shard.number}")
        file.flush()
        os.fsync(file.fileno())
        places = _places(temporary)
        for entry in samples:
            for name, place in entry["members"].items():
                place[:0] = places[name]
        return {
            "shard": shard.path.name,
            "first": first,
            "rows": len(clips),
            "bytes": temporary.stat().st_size,
            "sha256": sha256(temporary),
            "samples": samples,
            "lost": [clip.plain() for clip in left_out.lost],
        }

    def _add(self, tar: Any, sample: _Sample) -> dict[str, Any]:
        """Write a sample, and return its entry in the index, yet without the members' places."""
        clips = [clip.plain() for clip in sample.clips]
        plan = {name: self._plan[name] for name in ("dataset", "split", "fingerprint")}
        annotation = {**plan, "clips": clips}
        members: Members = {**sample.members, "json": canonical(annotation).encode()}
        tar.write({"__key__": sample.key, **members})
        entry = {
            "key": sample.key,
            "media": f"{sample.key}.{sample.media}",
            "recoded": sample.recoded,
            "sound": f"{sample.key}.{sample.sound}" if sample.sound else None,
            "seconds": sample.seconds,
            "members": {f"{sample.key}.{s}": [zlib.crc32(data)] for s, data in members.items()},
            "clips": clips,
        }
        for data in members.values():
            if isinstance(data, memoryview):
                data.release()
        return entry

    def _recode_clips(
        self,
        first: int,
        clips: Sequence[Clip],
        listed: Sequence[Mapping[str, Any]],
        left_out: LostClips,
    ) -> Iterator[_Sample]:
        """Yield a sample for each clip that can be used, encoded anew."""
        for i, clip in enumerate(clips):
            task = partial(_encode, clip, self._how, self._seconds)
            result = self._read(first + i, clip, task)
            if not left_out.keep(clip, result):
                continue
            made = result["made"]
            end = None if clip.end is None else clip.end - made.first
            kept = _KeptClip(
                row=first + i, listed=listed[i], read=(None, end), entry=result["entry"]
            )
            suffix, members = None, Members(mp4=made.video)
            if made.sound is not None:
                suffix = SUFFIX[self._how.sound]
                members[suffix] = made.sound
            yield _Sample(
                key=f"{first + i:09d}",
                clips=[kept],
                media="mp4",
                members=members,
                sound=suffix,
                seconds=made.seconds,
                recoded=True,
            )

    def _copy_files(
        self,
        first: int,
        clips: Sequence[Clip],
        listed: Sequence[Mapping[str, Any]],
        left_out: LostClips,
    ) -> Iterator[_Sample]:
        """Yield a sample for each run of neighbouring clips of one file, copied unchanged."""
        for media, run in groupby(range(len(clips)), key=lambda i: clips[i].media):
            kept = []
            for i in run:
                clip = clips[i]
                task = partial(_decode, clip, self._how.sample_rate, self._seconds)
                result = self._read(first + i, clip, task)
                if left_out.keep(clip, result):
                    interval = clip.start, clip.end
                    kept.append(
                        _KeptClip(
                            row=first + i, listed=listed[i], read=interval, entry=result["entry"]
                        )
                    )
            if kept:
                suffix = media.suffix.lower().removeprefix(".")
                with media.open("rb") as file:
                    yield _Sample(
                        key=f"{kept[0].row:09d}",
                        clips=kept,
                        media=suffix,
                        members={
                            suffix: memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
                        },
                        sound=None,
                        seconds=0.0,
                        recoded=False,
                    )

    def _read(self, row: int, clip: Clip, task: Callable[[], ClipResult]) -> ClipResult:
        return decode_guarded(self._journal, row, task, clip.media, self._seconds)


def _encode(clip: Clip, how: Encoding, seconds: float) -> ClipResult:
    """Encode a clip anew; the result holds it as ``made``."""
    try:
        made = recode(clip.media, how, start=clip.start, end=clip.end, seconds=seconds)
    except MediaError as error:
        return error.as_result()
    return {"entry": {"sound": made.state.value, "notes": list(made.notes)}, "made": made}


def _decode(clip: Clip, sample_rate: int, seconds: float) -> ClipResult:
    """Decode a clip to its end, as preparation would, to learn if it can be used."""
    spec = InputSpec(size=16, sample_rate=sample_rate)
    try:
        decoded = read_clip(
            clip.media, spec, _last, start=clip.start, end=clip.end, seconds=seconds
        )
    except MediaError as error:
        return error.as_result()
    return {"entry": {"sound": decoded.state.value, "notes": list(decoded.notes)}}


def _last(timeline: Timeline) -> list[int]:
    return [len(timeline.times) - 1]


def tar_writer(file: IO[bytes]) -> Any:
    """Return a WebDataset writer whose output depends on the samples alone."""
    need_webdataset()
    from webdataset import TarWriter

    return TarWriter(file, encoder=False, mtime=0)


def need_webdataset() -> None:
    """Check that webdataset, which writes shards, is installed; reading does not need it.

    Raises:
        DataError: it is not installed.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise DataError(
            "shards are written by webdataset, which is not installed: "
            "pip install 'avbench[shards]'"
        )


@contextmanager
def _exclusive(shard: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Open a temporary file beside a shard and lock it; a killed process's file is overwritten.

    Raises:
        DataError: another process has locked it.
    """
    temporary = shard.with_name(f".{shard.name}.part")
    with temporary.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(file.fileno()), temporary.stat())
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:  # held, or just finished, by another
            raise DataError(f"{shard}: another process is writing it; start this job again")
        file.truncate(0)
        yield temporary, file
    temporary.unlink(missing_ok=True)


def _places(path: Path) -> dict[str, list[int]]:
    """Return the offset and size of each member of a tar file."""
    with tarfile.open(path) as tar:
        return {member.name: [member.offset_data, member.size] for member in tar}
