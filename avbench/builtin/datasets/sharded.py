"""Sharded: splits that ``avbench data prepare`` wrote, as a dataset like any other.

Clips, captions, roles, protocol and lost clips are those of the original dataset, whose
annotations and media are not needed. A clip's media is a member of a tar file, see
``avbench.data.media.tar_members``.

Source: the form is WebDataset's (Aizman, Maltby, Breuel, 2019, "High performance I/O for large
scale deep learning"), https://github.com/webdataset/webdataset, with an index beside each shard.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from avbench.api import Clip, DataError, Dataset, Defect, Register, hookimpl, unknown
from avbench.data.prepared.lost import LOST
from avbench.data.shards.manifest import MANIFEST, ShardSplit, shard_splits


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Place of the shards, and roles of the splits."""

    root: str = ""
    """The folder that ``avbench data prepare --out`` wrote."""
    train: str | None = None
    """The training split; null: as in the original dataset."""
    report: str | None = None
    """The reported split; null: as in the original dataset."""
    select: str | None = None
    """The split for selection; null: as in the original dataset."""


@final
class Sharded(Dataset):
    """Reader of shards. Ids are those of the original dataset."""

    def __init__(self, options: Options) -> None:
        self._root = options.root
        self.train, self.report, self.select = None, None, None
        if options.root and Path(options.root).expanduser().is_dir():
            roles = {role: name for name, s in self._shard_splits.items() for role in s.roles}
            self.train = options.train or roles.get("train")
            self.report = options.report or roles.get("report")
            self.select = options.select or roles.get("select")
            self.protocol = next(iter(self._shard_splits.values())).protocol

    def splits(self) -> tuple[str, ...]:
        """Return the splits that were prepared."""
        return tuple(self._shard_splits)

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips in the shards' order, which is the annotations'."""
        return tuple(self._split(split).clips())

    def defects(self, split: str) -> Sequence[Defect]:
        """Return the clips lost in preparation, with their reasons."""
        return tuple(self._split(split).lost())

    def iterate(self, split: str) -> Iterator[Clip | Defect]:
        """Yield the lost clips and the clips, holding one shard's in memory."""
        held = self._split(split)
        yield from held.lost()
        yield from held.clips()

    def files(self) -> Sequence[Path]:
        """Return the manifests, which hold all hashes, and the lists of lost clips."""
        return [s.folder / name for s in self._shard_splits.values() for name in (MANIFEST, LOST)]

    def fingerprint(self) -> str:
        """Return a hash of the shards' contents; each shard's size is checked."""
        for split in self._shard_splits.values():
            split.check_sizes()
        return "-".join(split.hash[:16] for split in self._shard_splits.values())

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Return the references of each video, for the paragraph protocol."""
        return self._split(split).paragraphs()

    def _split(self, name: str) -> ShardSplit:
        if name not in self._shard_splits:
            raise DataError(f"sharded: {unknown('split', name, self._shard_splits)}")
        return self._shard_splits[name]

    @cached_property
    def _shard_splits(self) -> Mapping[str, ShardSplit]:
        if not self._root:
            raise DataError("sharded: option 'root' is empty; give the folder of the shards")
        return shard_splits(Path(self._root).expanduser().absolute())


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    source = "Aizman et al., 2019; https://github.com/webdataset/webdataset"
    register("sharded", Sharded, config=Options, source=source)
