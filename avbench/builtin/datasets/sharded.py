"""Sharded: a split that ``avbench data prepare`` has written, as a dataset like any other.

Clips, captions, roles, protocol and losses are those of the dataset that the shards were made
of; neither its annotations nor its media are needed. A clip's media is a member of a tar file,
see ``avbench.data.media.tar_members``.

Source: the form is WebDataset's (Aizman, Maltby, Breuel, 2019, "High performance I/O for large
scale deep learning"), https://github.com/webdataset/webdataset, with an index beside each shard.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from avbench.api import Clip, DataError, Dataset, Defect, Register, hookimpl, unknown
from avbench.data.prepared.clips import LOST
from avbench.data.shards.manifest import MANIFEST, ShardSplit, shard_splits


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the shards lie."""

    root: str = ""
    """The folder that ``avbench data prepare --out`` wrote."""
    train: str | None = None
    """The split that models are trained on; null: as in the dataset that the shards are of."""
    report: str | None = None
    """The split that is reported; null: the same."""
    select: str | None = None
    """The split for selection; null: the same."""


@final
class Sharded(Dataset):
    """Reads shards. Ids are those of the dataset that they were made of."""

    def __init__(self, options: Options) -> None:
        self._root = options.root
        self.train, self.report, self.select = None, None, None
        if options.root and Path(options.root).expanduser().is_dir():
            roles = {role: name for name, s in self._held.items() for role in s.roles}
            self.train = options.train or roles.get("train")
            self.report = options.report or roles.get("report")
            self.select = options.select or roles.get("select")
            self.protocol = next(iter(self._held.values())).protocol

    def splits(self) -> tuple[str, ...]:
        """Those that were prepared."""
        return tuple(self._held)

    def clips(self, split: str) -> Sequence[Clip]:
        """The clips in the shards' order, which is the annotations'."""
        return tuple(self._split(split).clips())

    def defects(self, split: str) -> Sequence[Defect]:
        """The clips that were lost in preparation, with their reasons."""
        return tuple(self._split(split).lost())

    def iterate(self, split: str) -> Iterator[Clip | Defect]:
        """The same, in the memory of one shard's."""
        held = self._split(split)
        yield from held.lost()
        yield from held.clips()

    def files(self) -> Sequence[Path]:
        """The manifests, which hold the hashes of all else."""
        return [s.folder / name for s in self._held.values() for name in (MANIFEST, LOST)]

    def fingerprint(self) -> str:
        """Of the shards' contents; each shard is looked at for its size."""
        for split in self._held.values():
            split.check_sizes()
        return "-".join(split.hash[:16] for split in self._held.values())

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """References per video, for the paragraph protocol."""
        return self._split(split).paragraphs()

    def _split(self, name: str) -> ShardSplit:
        if name not in self._held:
            raise DataError(f"sharded: {unknown('split', name, self._held)}")
        return self._held[name]

    @cached_property
    def _held(self) -> Mapping[str, ShardSplit]:
        if not self._root:
            raise DataError("sharded: option 'root' is empty; give the folder of the shards")
        return shard_splits(Path(self._root).expanduser().absolute())


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    source = "Aizman et al., 2019; https://github.com/webdataset/webdataset"
    register("sharded", Sharded, config=Options, source=source)
