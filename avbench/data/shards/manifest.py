"""Finished folders of shards: the manifest of each split, and its clips shard by shard."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avbench.core.digest import sha256
from avbench.core.errors import DataError
from avbench.core.job import read_json
from avbench.core.options import canonical
from avbench.core.types import Clip
from avbench.data.contracts import Defect
from avbench.data.media.tar_members import AGAIN, INDEX
from avbench.data.prepared.clips import LOST, clip_from_json

FORM = 1
"""Of the folder; another is refused."""

MANIFEST, PARAGRAPHS, SHARDS, LIST = "shards.json", "paragraphs.json", "shards", "plan.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """A shard as the manifest has it."""

    name: str
    bytes: int
    sha256: str
    index: str
    """The SHA-256 of its index."""


def hash_of(files: Sequence[ShardFile], lost: str) -> str:
    """A hash of all that the shards of a split hold, and of what was lost."""
    lines = [[f.name, f.bytes, f.sha256, f.index] for f in files]
    return hashlib.sha256(canonical([FORM, lines, lost]).encode()).hexdigest()


class ShardSplit:
    """A split in shards.

    Attributes:
        folder: the folder of the split.
        name: the split's name.
        roles: ``train``, ``report``, ``select``: what the dataset that it was made of used it for.
        protocol: see ``Dataset``.
        hash: see ``hash_of``.
        files: the shards, in order.

    Raises:
        DataError: the folder holds no finished shards, or the manifest is not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / MANIFEST
        if not path.is_file():
            begun = (folder / LIST).is_file()
            why = "not all shards are written" if begun else "no shards are here"
            raise DataError(f"{folder}: {why}; run 'avbench data prepare' to the end")
        try:
            data: Mapping[str, Any] = read_json(path)
            if data["form"] != FORM:
                raise DataError(f"{path}: form must be {FORM}, got {data['form']!r}")
            self.folder = folder
            self.name = str(data["split"])
            self.roles = tuple(map(str, data["roles"]))
            self.protocol = str(data["protocol"])
            self.hash = str(data["hash"])
            self.files = tuple(
                ShardFile(name=name, bytes=size, sha256=whole, index=index)
                for name, size, whole, index in data["files"]
            )
            lost = str(data["lost_sha256"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: not a manifest of shards ({error!r}); {AGAIN}") from error
        if hash_of(self.files, lost) != self.hash:
            raise DataError(f"{path}: damaged: its hash is not that of what it lists; {AGAIN}")
        self._lost = lost

    def check_sizes(self) -> None:
        """See whether every shard is there with its size; hashes take reading them all.

        Raises:
            DataError: some are not; they are named.
        """
        wrong = []
        for file in self.files:
            path = self.folder / SHARDS / file.name
            size = path.stat().st_size if path.is_file() else None
            if size != file.bytes:
                got = "is missing" if size is None else f"has {size} bytes"
                wrong.append(f"{path}: {got}, must have {file.bytes}")
        if wrong:
            said = "".join(f"\n  {line}" for line in wrong)
            raise DataError(
                f"{self.folder}: {len(wrong)} of {len(self.files)} shards are damaged; run "
                f"'avbench data prepare' with --verify to write them anew:{said}"
            )

    def clips(self) -> Iterator[Clip]:
        """The clips in the annotations' order, the memory of one shard at a time.

        Raises:
            DataError: an index is missing or not as it was written; it is named.
        """
        for file in self.files:
            shard = self.folder / SHARDS / file.name
            index = shard.with_suffix(INDEX)
            if not index.is_file() or sha256(index) != file.index:
                what = "damaged" if index.is_file() else "missing"
                raise DataError(f"{index}: the index of {file.name} is {what}; {AGAIN}")
            for sample in read_json(index)["samples"]:
                for item in sample["clips"]:
                    clip = clip_from_json(item["clip"], self.folder)
                    start, end = item["read"]
                    media = shard / sample["media"]
                    yield replace(clip, media=media, start=start, end=end)

    def lost(self) -> Iterator[Defect]:
        """The clips that were left out.

        Raises:
            DataError: their list is missing or not as it was written.
        """
        path = self.folder / LOST
        if not path.is_file() or sha256(path) != self._lost:
            raise DataError(f"{path}: missing or damaged; {AGAIN}")
        with path.open(encoding="utf-8") as file:
            for line in file:
                item = json.loads(line)
                yield Defect(
                    place=f"{path}",
                    problem=item["detail"],
                    clip=item["id"],
                    reason=item["reason"],
                )

    def paragraphs(self) -> Mapping[str, tuple[str, ...]]:
        """References per video, for the paragraph protocol."""
        found: Mapping[str, Sequence[str]] = read_json(self.folder / PARAGRAPHS)
        return {video: tuple(texts) for video, texts in found.items()}


def shard_splits(root: Path) -> dict[str, ShardSplit]:
    """The splits of a folder of shards, by name.

    Raises:
        DataError: it holds none, one is not finished, or their protocols differ.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{LIST}"))
    if not folders:
        raise DataError(f"{root}: no shards are here; 'avbench data prepare' writes them")
    splits = [ShardSplit(folder) for folder in folders]
    if len({split.protocol for split in splits}) > 1:
        said = ", ".join(f"{split.name} {split.protocol}" for split in splits)
        raise DataError(f"{root}: its splits are of several datasets: {said}")
    return {split.name: split for split in splits}
