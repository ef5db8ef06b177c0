"""The stage ``shards``: writes some of the shards of a split, each complete or not at all.

Which clips a shard holds is in the list that ``dataprepare`` made, and not a matter of how many
jobs there are: job i of N writes shards i, i + N, i + 2 N … A shard is written under another
name, renamed, and then its index is written: a shard with an index is complete. So a job that is
killed and started again goes on with the first shard that lacks one, to the same bytes.

A shard is a tar file in WebDataset's form. A sample of it is a clip::

    000000031.mp4    H.264, no sound; the clip's frames with their times
    000000031.m4a    its sound, mono (or .flac); none where the clip has none
    000000031.json   dataset, split, fingerprint, and ``clips``: annotation, interval within the
                     sample (``read``), state of the sound, notes

or, where nothing is re-encoded, a source file with all its clips in the shard. Keys are places
in the list of clips.
"""

import fcntl
import importlib.util
import logging
import mmap
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from avbench.errors import DataError
from avbench.media.decode import DecodedClip, read_clip
from avbench.media.digest import sha256
from avbench.media.ledger import Ledger
from avbench.media.members import INDEX
from avbench.media.recode import Encoding, Recoded, recode
from avbench.media.sampling import Timeline
from avbench.media.shardfolder import Tally, listed_clips, read_index, shard_path
from avbench.media.shardset import LIST
from avbench.media.store import clip_from_json
from avbench.options import build, canonical
from avbench.stage import Job, read_json, write_json
from avbench.types import Clip, InputSpec, SoundState

SUFFIX = {"aac": "m4a", "flac": "flac"}

log = logging.getLogger(__name__)


def run(job: Job) -> dict[str, Any]:
    """Write the shards of a job that are not there yet.

    Returns:
        ``shards``, ``expected``, ``kept``, ``lost`` (by reason), ``sound`` (by state),
        ``partial`` and ``bytes``, of all shards of the job.

    Raises:
        DataError: webdataset is not installed, the list is another, another process writes the
            same shard, or, under a policy ``fail``, clips cannot be used; these are named.
    """
    folder, spec = Path(str(job.local["folder"])), job.spec
    plan = read_json(folder / LIST)
    if plan["listed"] != spec["listed"]:
        raise DataError(f"{folder}: the list of clips changed after this job was planned")
    mine = range(spec["job"], len(plan["shards"]), spec["jobs"])
    writer = _Writer(folder=folder, plan=plan)
    sums = Tally()
    for done, number in enumerate(mine):
        job.progress(done, len(mine), f"shard {number}")
        known = read_index(folder, number)
        sums.add(known if known is not None else writer.write(number))
    job.progress(len(mine), len(mine))
    return sums.plain()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Usable:
    """A clip that is kept, and how its sample's media is to be written."""

    row: int
    listed: Mapping[str, Any]
    """The clip as the list has it."""
    read: tuple[float | None, float | None]
    """Its interval within the sample."""
    sound: SoundState
    notes: tuple[str, ...]

    @staticmethod
    def of(
        made: Recoded | DecodedClip,
        *,
        row: int,
        listed: Mapping[str, Any],
        read: tuple[float | None, float | None],
    ) -> "_Usable":
        """A clip as reading it gave it."""
        return _Usable(row=row, listed=listed, read=read, sound=made.state, notes=made.notes)

    def plain(self) -> dict[str, Any]:
        return {
            "row": self.row,
            "clip": self.listed,
            "read": list(self.read),
            "sound": self.sound.value,
            "notes": list(self.notes),
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
    def __init__(self, *, folder: Path, plan: Mapping[str, Any]) -> None:
        self._folder, self._plan = folder, plan
        self._how = build(Encoding, plan["encoding"])

    def write(self, number: int) -> dict[str, Any]:
        """Write a shard, then its index."""
        shard = shard_path(self._folder, number)
        shard.parent.mkdir(exist_ok=True)
        shard.with_suffix(INDEX).unlink(missing_ok=True)
        first, listed = listed_clips(self._folder, self._plan, number)
        clips = [clip_from_json(item, Path(self._plan["root"])) for item in listed]
        ledger = Ledger(self._plan)
        samples: list[dict[str, Any]] = []
        make = self._recoded if self._how.recode else self._copied
        with _own(shard) as (temporary, file):
            with tar_writer(file) as tar:
                for sample in make(first, clips, listed, ledger):
                    samples.append(self._add(tar, sample))
            if ledger.refused:
                said = "".join(f"\n  {line}" for line in ledger.refused)
                raise DataError(
                    f"{self._plan['dataset']}, split '{self._plan['split']}': "
                    f"{len(ledger.refused)} of {len(clips)} clips of shard {number} cannot be "
                    "used (policy 'fail'; 'skip', or 'drop' for sound, leaves such clips out):"
                    f"{said}"
                )
            file.flush()
            os.fsync(file.fileno())
            places = _places(temporary)
            for entry in samples:
                for name, place in entry["members"].items():
                    place[:0] = places[name]
            index = {
                "shard": shard.name,
                "first": first,
                "rows": len(clips),
                "bytes": temporary.stat().st_size,
                "sha256": sha256(temporary),
                "samples": samples,
                "lost": ledger.lost,
            }
            temporary.replace(shard)
        write_json(shard.with_suffix(INDEX), index, indent=None)
        return index

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
            made = ledger.kept(
                clip, partial(recode, clip.media, self._how, start=clip.start, end=clip.end)
            )
            if made is None:
                continue
            end = None if clip.end is None else clip.end - made.first
            usable = _Usable.of(made, row=first + i, listed=listed[i], read=(None, end))
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
        spec = InputSpec(size=16, sample_rate=self._how.sample_rate)
        for media, run in groupby(range(len(clips)), key=lambda i: clips[i].media):
            usable = []
            for i in run:
                clip = clips[i]
                # Decoded to its end, as preparation would, to know whether it can be used.
                read = partial(read_clip, media, spec, _last, start=clip.start, end=clip.end)
                made = ledger.kept(clip, read)
                if made is not None:
                    interval = clip.start, clip.end
                    usable.append(_Usable.of(made, row=first + i, listed=listed[i], read=interval))
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
