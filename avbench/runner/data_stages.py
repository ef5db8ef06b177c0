"""The stages that make data: the embedded world, prepared splits, and the tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from avbench.config.builder import Settings, Training
from avbench.config.data_file import DataSource
from avbench.config.strict_yaml import READ
from avbench.core import options
from avbench.core.digest import CONTENT, digest
from avbench.core.errors import DataError
from avbench.core.types import InputSpec
from avbench.data.annotations.cache import examine
from avbench.data.annotations.reader import refuse
from avbench.data.contracts import Dataset
from avbench.data.settings import WorldSettings
from avbench.runner.stage_book import StageBook


@dataclass(slots=True)
class Datasets:
    """The readers of a suite's datasets, each opened once."""

    sources: Mapping[str, DataSource]
    book: StageBook
    _readers: dict[str, Dataset] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _read: set[tuple[str, str]] = field(default_factory=set)

    def reader(self, key: str) -> Dataset:
        """A dataset's reader; over no files where the embedded world writes them."""
        if key not in self._readers:
            self._readers[key] = self.sources[key].open(self.book.registry)
        return self._readers[key]

    def fingerprint(self, key: str) -> str:
        """What a real dataset's annotations and list of media say; the world's id says its own."""
        if self.sources[key].root is None:
            return ""
        if key not in self._fingerprints:
            self._fingerprints[key] = self.reader(key).fingerprint()
        return self._fingerprints[key]

    def examine(self, key: str, role: str) -> None:
        """Read a real dataset's annotations once, so that bad files are told before any work.

        Raises:
            DataError: the dataset's policy is ``fail``, and there are defects.
        """
        source, dataset = self.sources[key], self.reader(key)
        split = dataset.of(role)
        if split is None or (key, split) in self._read:
            return
        self._read.add((key, split))
        code = self.book.code("prepare", [("datasets", source.reader.name)])
        verdict = examine(dataset, split, [source.reader.name, source.reader.options, code])
        refuse(verdict.defects, source.policy, f"{key}, split '{split}'")

    def selecting(self, training: Training) -> str | None:
        """The role of the clips that a checkpoint is selected on; None: carved from training's.

        Raises:
            DataError: the reported split is asked for and there is none.
        """
        key = training.dataset
        dataset = self.reader(key)
        if training.train.selection.on_report:
            if dataset.report is None:
                raise DataError(f"selection.on_report: dataset '{key}' reports no split")
            return "report"
        # The embedded world writes every split; of real files some may not be there.
        written = self.sources[key].root is None or dataset.select in dataset.splits()
        return "select" if dataset.select is not None and written else None


@dataclass(slots=True)
class DataStages:
    """The stages of a suite's data."""

    datasets: Datasets
    book: StageBook
    _prepared: dict[tuple[str, str, InputSpec, WorldSettings], str] = field(default_factory=dict)

    def prepare(self, key: str, role: str, settings: Settings) -> str:
        """The prepared clips of one split of a dataset."""
        wanted = (key, role, settings.input, settings.world)
        if wanted not in self._prepared:
            self._prepared[wanted] = self._prepare(*wanted)
        return self._prepared[wanted]

    def _prepare(self, key: str, role: str, shape: InputSpec, world: WorldSettings) -> str:
        source = self.datasets.sources[key]
        spec = {
            "dataset": key,
            "reader": options.plain(source.reader),
            "role": role,
            "input": shape.stored(),
            "policy": source.policy,
            "read": source.read,
            "sound": options.plain(source.sound),
            "clip_seconds": source.clip_seconds,
            "fingerprint": self.datasets.fingerprint(key),
        }
        parts = [("datasets", source.reader.name)]
        if source.root is None:
            # One stage a dataset: the world is made in parts.
            made = options.plain(replace(world, datasets=(key,)))
            parents = {"world": self.book.add("world", made, {}, shared=True)}
            return self.book.add("prepare", spec, parents, parts, shared=True)
        self.datasets.examine(key, role)
        return self.book.add("prepare", spec, {}, parts, local={"root": str(source.root)})

    def vocabulary(self, settings: Settings) -> str:
        """The tokenizer: given, or learnt from the training captions of the suite's datasets.

        Raises:
            DataError: the file that is given cannot be read.
        """
        asked = settings.vocabulary
        if asked.file is None:
            keys = settings.vocabulary_datasets
            parents = {f"data/{key}": self.prepare(key, "train", settings) for key in keys}
            return self.book.add("vocabulary", options.plain(asked), parents)
        path = Path(asked.file).expanduser().resolve()
        READ.add(path)
        try:
            # The file's contents decide, not its place.
            spec: dict[str, Any] = {"size": asked.size, "file": CONTENT + digest(path)}
        except OSError as error:
            raise DataError(f"vocabulary.file: cannot be read: {error}") from error
        return self.book.add("vocabulary", spec, {}, local={"file": str(path)})
