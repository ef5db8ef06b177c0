"""A shard of a split: written under another name, renamed, and then its index is written.

A shard with an index is complete. It is a tar file in WebDataset's form; a sample of it is a
clip::

    000000031.mp4    H.264, no sound; the clip's frames with their times
    000000031.m4a    its sound, mono (or .flac); none where the clip has none
    000000031.json   dataset, split, fingerprint, and ``clips``: annotation, interval within the
                     sample (``read``), state of the sound, notes

or, where nothing is re-encoded, a source file with all its clips in the shard. Keys are places
in the list of clips.
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
from avbench.data.prepared.crash_guard import Journal, Outcome, guarded
from avbench.data.prepared.lost import Ledger
from avbench.data.shards.folder import listed_clips, read_index, shard_path
from avbench.data.shards.manifest import LIST

SUFFIX = {"aac": "m4a", "flac": "flac"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One shard as a part of a job, see ``pool``."""

    folder: Path
    """Of the split; its list of clips is there already."""
    number: int
    clips: int
    """How many the list has for it."""

    @property
    def path(self) -> Path:
        """The tar file."""
        return shard_path(self.folder, self.number)

    @property
    def journal(self) -> Path:
        """What is written while it is worked on, see ``crash_guard``."""
        return self.path.with_name(f".{self.path.stem}.journal")

    @property
    def done(self) -> bool:
        """Whether it is complete."""
        return read_index(self.folder, self.number) is not None

    def named(self) -> str:
        """The shard, for an error."""
        return self.path.name

    def work(self) -> None:
        """Write it, then its index, unless that was done before.

        Raises:
            DataError: see ``stage.run``.
        """
        if self.done:
            return
        self.path.parent.mkdir(exist_ok=True)
        self.path.with_suffix(INDEX).unlink(missing_ok=True)
        with _own(self.path) as (temporary, file), Journal(self.journal) as journal:
            index = _Writer(self, read_json(self.folder / LIST), journal).write(temporary, file)
            temporary.replace(self.path)
        # Before the index, so that a complete shard has none.
        journal.done()
        write_json(self.path.with_suffix(INDEX), index, indent=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Usable:
    """A clip that is kept, and how its sample's media is to be written."""

    row: int
    listed: Mapping[str, Any]
    """The clip as the list has it."""
    read: tuple[float | None, float | None]
    """Its interval within the sample."""
    entry: Mapping[str, Any]
    """What reading it gave: ``sound`` and ``notes``."""

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
    clips: Sequence[_Usable]
    media: str
    """The suffix of the media's member."""
    members: Members
    """By suffix, the annotation not among them."""
    sound: str | None
    """The suffix of the sound's member, where it is one of its own."""
    seconds: float
    recoded: bool


class _Writer:
    """Writes one shard.

    Args:
        shard: which.
        plan: how all of them are made.
        journal: of this one.
    """

    def __init__(self, shard: Shard, plan: Mapping[str, Any], journal: Journal) -> None:
        self._shard, self._plan, self._journal = shard, plan, journal
        self._how = build(Encoding, plan["encoding"])
        self._seconds = float(plan["clip_seconds"])

    def write(self, temporary: Path, file: IO[bytes]) -> dict[str, Any]:
        """Write the shard to a file; its index."""
        shard, plan = self._shard, self._plan
        first, listed = listed_clips(shard.folder, plan, shard.number)
        clips = [clip_from_json(item, Path(plan["root"])) for item in listed]
        ledger = Ledger(plan)
        samples: list[dict[str, Any]] = []
        make = self._recoded if self._how.recode else self._copied
        with tar_writer(file) as tar:
            for sample in make(first, clips, listed, ledger):
                samples.append(self._add(tar, sample))
        if ledger.refused:
            said = "".join(f"\n  {line}" for line in ledger.refused)
            raise DataError(
                f"{plan['dataset']}, split '{plan['split']}': {len(ledger.refused)} of "
                f"{len(clips)} clips of shard {shard.number} cannot be used (policy 'fail'; "
                f"'skip', or 'drop' for sound, leaves such clips out):{said}"
            )
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
            "lost": ledger.lost,
        }

    def _add(self, tar: Any, sample: _Sample) -> dict[str, Any]:
        """Write a sample; its entry in the index, the members' places still lacking."""
        clips = [clip.plain() for clip in sample.clips]
        said = {k: self._plan[k] for k in ("dataset", "split", "fingerprint")} | {"clips": clips}
        members: Members = {**sample.members, "json": canonical(said).encode()}
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

    def _recoded(
        self,
        first: int,
        clips: Sequence[Clip],
        listed: Sequence[Mapping[str, Any]],
        ledger: Ledger,
    ) -> Iterator[_Sample]:
        """A sample for each clip that can be used."""
        for i, clip in enumerate(clips):
            task = partial(_encode, clip, self._how, self._seconds)
            outcome = self._outcome(first + i, clip, task)
            if not ledger.kept(clip, outcome):
                continue
            made = outcome["made"]
            end = None if clip.end is None else clip.end - made.first
            usable = _Usable(
                row=first + i, listed=listed[i], read=(None, end), entry=outcome["entry"]
            )
            suffix, members = None, Members(mp4=made.video)
            if made.sound is not None:
                suffix = SUFFIX[self._how.sound]
                members[suffix] = made.sound
            yield _Sample(
                key=f"{first + i:09d}",
                clips=[usable],
                media="mp4",
                members=members,
                sound=suffix,
                seconds=made.seconds,
                recoded=True,
            )

    def _copied(
        self,
        first: int,
        clips: Sequence[Clip],
        listed: Sequence[Mapping[str, Any]],
        ledger: Ledger,
    ) -> Iterator[_Sample]:
        """A sample for each run of neighbouring clips of one file, which is copied as it is."""
        for media, run in groupby(range(len(clips)), key=lambda i: clips[i].media):
            usable = []
            for i in run:
                clip = clips[i]
                task = partial(_look, clip, self._how.sample_rate, self._seconds)
                outcome = self._outcome(first + i, clip, task)
                if ledger.kept(clip, outcome):
                    interval = clip.start, clip.end
                    usable.append(
                        _Usable(
                            row=first + i, listed=listed[i], read=interval, entry=outcome["entry"]
                        )
                    )
            if usable:
                suffix = media.suffix.lower().removeprefix(".")
                with media.open("rb") as file:
                    yield _Sample(
                        key=f"{usable[0].row:09d}",
                        clips=usable,
                        media=suffix,
                        members={
                            suffix: memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
                        },
                        sound=None,
                        seconds=0.0,
                        recoded=False,
                    )

    def _outcome(self, row: int, clip: Clip, task: Callable[[], Outcome]) -> Outcome:
        return guarded(self._journal, row, task, clip.media, self._seconds)


def _encode(clip: Clip, how: Encoding, seconds: float) -> Outcome:
    """A clip encoded anew, as ``made``."""
    try:
        made = recode(clip.media, how, start=clip.start, end=clip.end, seconds=seconds)
    except MediaError as error:
        return error.outcome
    return {"entry": {"sound": made.state.value, "notes": list(made.notes)}, "made": made}


def _look(clip: Clip, sample_rate: int, seconds: float) -> Outcome:
    """Decode a clip to its end, as preparation would, to know whether it can be used."""
    spec = InputSpec(size=16, sample_rate=sample_rate)
    try:
        made = read_clip(clip.media, spec, _last, start=clip.start, end=clip.end, seconds=seconds)
    except MediaError as error:
        return error.outcome
    return {"entry": {"sound": made.state.value, "notes": list(made.notes)}}


def _last(timeline: Timeline) -> list[int]:
    return [len(timeline.times) - 1]


def tar_writer(file: IO[bytes]) -> Any:
    """A WebDataset writer whose output depends on the samples alone."""
    need_webdataset()
    from webdataset import TarWriter

    return TarWriter(file, encoder=False, mtime=0)


def need_webdataset() -> None:
    """See that what writes shards is there; reading them takes nothing.

    Raises:
        DataError: it is not installed.
    """
    if importlib.util.find_spec("webdataset") is None:
        raise DataError(
            "shards are written by webdataset, which is not installed: "
            "pip install 'avbench[shards]'"
        )


@contextmanager
def _own(shard: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A file beside a shard to write it into, which one process at a time has.

    What a killed process left there is overwritten.

    Raises:
        DataError: another process has it.
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
    """Where each member of a tar file lies, and its size."""
    with tarfile.open(path) as tar:
        return {member.name: [member.offset_data, member.size] for member in tar}
