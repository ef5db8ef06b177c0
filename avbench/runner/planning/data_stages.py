"""Plan the stages that make data: the embedded world, prepared splits, and the tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from avbench.config.builder import Settings, Training
from avbench.config.data_file import DataSource
from avbench.config.strict_yaml import FILES_READ
from avbench.core import options
from avbench.core.digest import CONTENT, digest
from avbench.core.errors import DataError
from avbench.core.types import InputSpec
from avbench.data.annotations.cache import SplitSummary, examine, summarise
from avbench.data.annotations.reader import refuse
from avbench.data.contracts import Dataset
from avbench.data.settings import WorldSettings
from avbench.runner.planning.stage_book import StageBook


@dataclass(slots=True)
class Datasets:
    """The readers of a suite's datasets, each opened once."""

    sources: Mapping[str, DataSource]
    book: StageBook
    _readers: dict[str, Dataset] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _read: dict[tuple[str, str], SplitSummary] = field(default_factory=dict)
    _worlds: dict[tuple[str, WorldSettings], SplitSummary] = field(default_factory=dict)

    def reader(self, key: str) -> Dataset:
        """Return a dataset's reader. The embedded world's readers need no files yet."""
        if key not in self._readers:
            self._readers[key] = self.sources[key].open(self.book.registry)
        return self._readers[key]

    def fingerprint(self, key: str) -> str:
        """Return the hash of a real dataset's annotations and list of media files.

        It is empty for the embedded world, whose stage's id covers its contents.
        """
        if self.sources[key].root is None:
            return ""
        if key not in self._fingerprints:
            self._fingerprints[key] = self.reader(key).fingerprint()
        return self._fingerprints[key]

    def examine(self, key: str, role: str) -> None:
        """Read a real dataset's annotations once, to report bad files before any work.

        Raises:
            DataError: the dataset's policy is ``fail`` and its annotations have defects.
        """
        source, dataset = self.sources[key], self.reader(key)
        split = dataset.of(role)
        if split is None or (key, split) in self._read:
            return
        code = self.book.code("prepare", [("datasets", source.reader.name)])
        found = examine(dataset, split, [source.reader.name, source.reader.options, code])
        refuse(found.defects, source.policy, f"{key}, split '{split}'")
        self._read[key, split] = found

    def training_clips(self, key: str, world: WorldSettings) -> SplitSummary:
        """Return the summary of a dataset's training split, as annotated.

        The embedded world's annotations are made for it, without media.

        Raises:
            DataError: the dataset has no training split.
        """
        source, dataset = self.sources[key], self.reader(key)
        if dataset.train is None:
            raise DataError(f"dataset '{key}' has no training split")
        if source.root is not None:
            self.examine(key, "train")
            return self._read[key, dataset.train]
        if (key, world) not in self._worlds:
            # Imported here, as most plans need no annotations of the world.
            from avbench.data.world.stage import FORMS, MEDIA

            corpus = FORMS[key].make(replace(world, datasets=(key,)))
            with TemporaryDirectory() as folder:
                (Path(folder) / MEDIA).mkdir()  # readers list it
                for name, text in corpus.annotations.items():
                    (Path(folder) / name).write_text(text, encoding="utf-8")
                made = replace(source, root=Path(folder)).open(self.book.registry)
                self._worlds[key, world] = summarise(made, str(made.train))
        return self._worlds[key, world]

    def selecting(self, training: Training) -> str | None:
        """Return the role of the split that checkpoints are selected on.

        None: the training clips are divided, and a share of them is used.

        Raises:
            DataError: the suite selects on the reported split, and the dataset has none.
        """
        key = training.dataset
        dataset = self.reader(key)
        if training.train.selection.on_report:
            if dataset.report is None:
                raise DataError(f"selection.on_report: dataset '{key}' has no reported split")
            return "report"
        # The embedded world writes every split; real datasets may lack files of some.
        written = self.sources[key].root is None or dataset.select in dataset.splits()
        return "select" if dataset.select is not None and written else None


@dataclass(slots=True)
class DataStages:
    """Adds the stages of a suite's data to its stage book."""

    datasets: Datasets
    book: StageBook
    _prepared: dict[tuple[str, str, InputSpec, WorldSettings], str] = field(default_factory=dict)

    def prepare(self, key: str, role: str, settings: Settings) -> str:
        """Add the stage that prepares the clips of one split, and return its id."""
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
            # Each dataset of the world is a stage of its own.
            made = options.plain(replace(world, datasets=(key,)))
            parents = {"world": self.book.add("world", made, {}, shared=True)}
            return self.book.add("prepare", spec, parents, parts, shared=True)
        self.datasets.examine(key, role)
        return self.book.add("prepare", spec, {}, parts, local={"root": str(source.root)})

    def vocabulary(self, settings: Settings) -> str:
        """Add the stage of the tokenizer, and return its id.

        The tokenizer comes from a file, or is learnt from the training captions of the suite's
        datasets.

        Raises:
            DataError: the tokenizer's file cannot be read.
        """
        asked = settings.vocabulary
        if asked.file is None:
            keys = settings.vocabulary_datasets
            parents = {f"data/{key}": self.prepare(key, "train", settings) for key in keys}
            return self.book.add("vocabulary", options.plain(asked), parents)
        path = Path(asked.file).expanduser().resolve()
        FILES_READ.add(path)
        try:
            # The id depends on the file's contents, not on its path.
            spec: dict[str, Any] = {"size": asked.size, "file": CONTENT + digest(path)}
        except OSError as error:
            raise DataError(f"vocabulary.file: cannot be read: {error}") from error
        return self.book.add("vocabulary", spec, {}, local={"file": str(path)})
