"""Clotho: sounds of Freesound of 15 to 30 seconds, five captions each.

It reads ``clotho_captions_{development,validation,evaluation}.csv`` as released (``file_name``,
``caption_1`` to ``caption_5``), and the lists of objects with ``sound_name`` and ``captions`` that
toolkits make of them. Clotho has no pictures: the audio relevance score uses its captions (Sec.
4.1), and its clips cannot be prepared for a model that needs video.

Source: Clotho: An audio captioning dataset (Drossos, Lipping and Virtanen, 2020),
https://zenodo.org/records/4783391.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import SOUNDS, LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import Node, open_csv, open_json

SPLITS = ("development", "validation", "evaluation")

CAPTIONS = tuple(f"caption_{i}" for i in range(1, 6))


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "audio"
    """Folder of the sounds, from the root, at any depth; not needed for captions alone."""
    development: str = "clotho_captions_development.csv"
    """File of the split, csv or json."""
    validation: str = "clotho_captions_validation.csv"
    """File of the split, csv or json."""
    evaluation: str = "clotho_captions_evaluation.csv"
    """File of the split, csv or json."""
    train: str = "development"
    report: str = "evaluation"
    select: str | None = "validation"
    """The split for selection; null: keep videos of the training split for it."""


@final
class Clotho(FileDataset):
    """Reader of Clotho. Clip ids are the file names without extension."""

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
        """Return the splits whose files exist."""
        return tuple(s for s, name in self._lists.items() if self._files.existing([name]))

    def _names(self) -> Sequence[str]:
        return list(self._lists.values())

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """The sounds of a split, with their captions."""
        path = self._files.annotation(self._lists[split])
        for name, captions in _rows(path) if path.suffix == ".csv" else _objects(path):
            with defects.skip_malformed(str(name.value)):
                clip_id = self._files.without_extension(name.id())
                texts = defects.captions(captions, clip_id, name.place)
                if texts:
                    yield Clip(
                        id=clip_id,
                        video=clip_id,
                        media=self._files.media_or_missing(clip_id),
                        captions=texts,
                        speech=self._files.speech(clip_id),
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
