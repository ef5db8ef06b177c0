"""Clotho: sounds of Freesound of 15 to 30 seconds, five captions each.

``clotho_captions_{development,validation,evaluation}.csv`` as released (``file_name``,
``caption_1`` to ``caption_5``), and the lists of objects with ``sound_name`` and ``captions`` that
toolkits make of them. It has no pictures: its captions are what the audio relevance score
compares with (Sec. 4.1), and no clip of it can be prepared for a model that sees.

Source: Clotho: An audio captioning dataset (Drossos, Lipping and Virtanen, 2020),
https://zenodo.org/records/4783391.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import SOUNDS, LocalFiles
from avbench.data.annotations.reader import FileDataset, Notes
from avbench.data.annotations.strict_json import Node, open_csv, open_json

SPLITS = ("development", "validation", "evaluation")

CAPTIONS = tuple(f"caption_{i}" for i in range(1, 6))


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "audio"
    """Folder of the sounds, from the root, at any depth; captions alone need none."""
    development: str = "clotho_captions_development.csv"
    """File of the split, csv or json."""
    validation: str = "clotho_captions_validation.csv"
    """File of the split, csv or json."""
    evaluation: str = "clotho_captions_evaluation.csv"
    """File of the split, csv or json."""
    train: str = "development"
    report: str = "evaluation"
    select: str | None = "validation"
    """The split for selection; null: videos of the training split are kept for it."""


@final
class Clotho(FileDataset):
    """Reads Clotho. Clip ids are the files' names without their extension."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles(
            "clotho",
            options.root,
            options.annotations,
            options.media,
            extensions=SOUNDS,
            captions_alone=True,
        )
        super().__init__(files, SPLITS)
        self._lists = {split: str(getattr(options, split)) for split in SPLITS}
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Those whose files are there."""
        return tuple(s for s, name in self._lists.items() if self._files.present([name]))

    def _names(self) -> Sequence[str]:
        return list(self._lists.values())

    def _read(self, split: str, notes: Notes) -> Iterator[Clip]:
        """The sounds of a split, with their captions."""
        path = self._files.annotation(self._lists[split])
        for name, captions in _rows(path) if path.suffix == ".csv" else _objects(path):
            with notes.costing(str(name.value)):
                clip_id = Path(name.id()).stem
                yield Clip(
                    id=clip_id,
                    video=clip_id,
                    media=self._files.media_or_missing(clip_id),
                    captions=tuple(caption.text() for caption in captions),
                    speech=self._files.speech.get(clip_id),
                )


def _rows(path: Path) -> Iterator[tuple[Node, list[Node]]]:
    for row in open_csv(path, ("file_name", *CAPTIONS)):
        yield row["file_name"], [row[name] for name in CAPTIONS]


def _objects(path: Path) -> Iterator[tuple[Node, list[Node]]]:
    for entry in open_json(path).items():
        yield entry["sound_name"], entry["captions"].items()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("clotho", Clotho, config=Options, source="Drossos et al., 2020; Clotho v2.1")
