"""Finished folders of shards: each split's manifest, and its clips shard by shard."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.core.digest import sha256
from avbench.core.errors import DataError
from avbench.core.job import as_written, read_json
from avbench.core.numbers import shown
from avbench.core.options import canonical
from avbench.core.types import Clip
from avbench.data.contracts import Defect
from avbench.data.media.tar_members import INDEX, REBUILD_HINT, member_name, read_samples
from avbench.data.prepared.clips import clip_from_json, paragraphs_from_json
from avbench.data.prepared.lost import LOST, read_lost

FORM = 1
"""Version of the folder's form; another is refused."""

MANIFEST, PARAGRAPHS, SHARDS, LIST = "shards.json", "paragraphs.json", "shards", "plan.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """A shard as the manifest lists it."""

    name: str
    bytes: int
    sha256: str
    index: str
    """SHA-256 of its index."""


def hash_of(files: Sequence[ShardFile], lost: str) -> str:
    """Return a hash of the contents of a split's shards and of its lost clips."""
    lines = [[f.name, f.bytes, f.sha256, f.index] for f in files]
    return hashlib.sha256(canonical([FORM, lines, lost]).encode()).hexdigest()


class ShardSplit:
    """A split in shards.

    Attributes:
        folder: the folder of the split.
        name: the split's name.
        roles: ``train``, ``report``, ``select``: its roles in the dataset it was made from.
        protocol: see ``Dataset``.
        hash: see ``hash_of``.
        files: the shards, in order.

    Raises:
        DataError: the folder holds no finished shards, or the manifest is damaged.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / MANIFEST
        if not path.is_file():
            begun = (folder / LIST).is_file()
            why = "not all shards are written" if begun else "no shards are here"
            raise DataError(f"{folder}: {why}; run 'avbench data prepare' to the end")
        with as_written(path, hint=REBUILD_HINT):
            data: Mapping[str, Any] = read_json(path)
            if data["form"] != FORM:
                raise DataError(f"{path}: form must be {FORM}, got {shown(data['form'])}")
            self.folder = folder
            self.name = str(data["split"])
            self.roles = tuple(map(str, data["roles"]))
            self.protocol = str(data["protocol"])
            self.hash = str(data["hash"])
            self.files = tuple(
                ShardFile(
                    name=member_name(name), bytes=int(size), sha256=str(whole), index=str(index)
                )
                for name, size, whole, index in data["files"]
            )
            lost = str(data["lost_sha256"])
            _check_distinct("shard", [file.name for file in self.files])
        if hash_of(self.files, lost) != self.hash:
            raise DataError(
                f"{path}: damaged: its hash is not that of what it lists; {REBUILD_HINT}"
            )
        self._lost = lost

    def check_sizes(self) -> None:
        """Check that every shard exists with its size; contents are not hashed.

        Raises:
            DataError: some do not; the message names them.
        """
        wrong = []
        for file in self.files:
            path = self.folder / SHARDS / file.name
            size = path.stat().st_size if path.is_file() else None
            if size != file.bytes:
                got = "is missing" if size is None else f"has {size} bytes"
                wrong.append(f"{path}: {got}, must have {file.bytes}")
        if wrong:
            listed = "".join(f"\n  {line}" for line in wrong)
            raise DataError(
                f"{self.folder}: {len(wrong)} of {len(self.files)} shards are damaged; run "
                f"'avbench data prepare' with --verify to write them anew:{listed}"
            )

    def clips(self) -> Iterator[Clip]:
        """Yield the clips in the annotations' order, holding one shard's index at a time.

        Raises:
            DataError: an index is missing or damaged; the message names it.
        """
        for file in self.files:
            shard = self.folder / SHARDS / file.name
            index = shard.with_suffix(INDEX)
            if not index.is_file() or sha256(index) != file.index:
                what = "damaged" if index.is_file() else "missing"
                raise DataError(f"{index}: the index of {file.name} is {what}; {REBUILD_HINT}")
            with as_written(index, hint=REBUILD_HINT):
                clips = [
                    _clip(item, shard, sample)
                    for sample in read_samples(index)
                    for item in sample["clips"]
                ]
                _check_distinct("clip", [clip.id for clip in clips])
            yield from clips

    def lost(self) -> Iterator[Defect]:
        """Yield the lost clips, each as the defect that lost it.

        Raises:
            DataError: their list is missing or damaged.
        """
        path = self.folder / LOST
        if not path.is_file() or sha256(path) != self._lost:
            raise DataError(f"{path}: missing or damaged; {REBUILD_HINT}")
        for clip in read_lost(path):
            yield Defect(place=f"{path}", problem=clip.detail, clip=clip.id, reason=clip.reason)

    def paragraphs(self) -> Mapping[str, tuple[str, ...]]:
        """Return the references of each video, for the paragraph protocol."""
        path = self.folder / PARAGRAPHS
        with as_written(path, hint=REBUILD_HINT):
            return paragraphs_from_json(read_json(path))


def _check_distinct(what: str, names: Sequence[str]) -> None:
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice is not None:
        raise ValueError(f"the {what} {shown(twice)} is listed twice")


def _clip(item: Any, shard: Path, sample: Any) -> Clip:
    """Return a clip of a sample of a shard, as ``read_samples`` checked it."""
    start, end = item["read"]
    own = {**item["clip"], "media": sample["media"], "start": start, "end": end}
    return clip_from_json(own, shard)


def shard_splits(root: Path) -> dict[str, ShardSplit]:
    """Return the splits of a folder of shards, by name.

    Raises:
        DataError: the folder holds none, one is not finished, or their protocols differ.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{LIST}"))
    if not folders:
        raise DataError(f"{root}: no shards are here; 'avbench data prepare' writes them")
    splits = [ShardSplit(folder) for folder in folders]
    if len({split.protocol for split in splits}) > 1:
        listed = ", ".join(f"{split.name} {split.protocol}" for split in splits)
        raise DataError(f"{root}: its splits are of several datasets: {listed}")
    return {split.name: split for split in splits}
