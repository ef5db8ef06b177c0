"""YouCook2: cooking videos cut into steps, one sentence each.

It reads ``youcookii_annotations_trainval.json`` as released. Models train on ``training`` and are
reported on ``validation``, as in the literature (the test captions were never published).

Source: Towards automatic learning of procedures from web instructional videos (Zhou, Xu and
Corso, 2018), http://youcook2.eecs.umich.edu.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset, caption_or_none
from avbench.data.annotations.strict_json import Node, checked_id, open_json

SPLITS = ("training", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation file, from the root."""
    media: str = "videos"
    """Folder of the videos, from the root: ``<video id>.<extension>`` at any depth."""
    file: str = "youcookii_annotations_trainval.json"
    train: str = "training"
    report: str = "validation"
    select: str | None = None
    """The split for selection; null: keep videos of the training split for it."""


@final
class YouCook2(FileDataset):
    """Reader of YouCook2. Clip ids are ``<video>#<segment id>``."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles("youcook2", options.root, options.annotations, options.media)
        super().__init__(files, SPLITS)
        self._file = options.file
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return both splits, which one file holds."""
        return SPLITS

    def _names(self) -> Sequence[str]:
        return [self._file]

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the segments of a split's videos."""
        database = open_json(self._files.annotation(self._file))["database"]
        for video, entry in database.fields():
            if entry["subset"].choice((*SPLITS, "testing")) == split:
                yield from self._segments(checked_id(video, database.place), entry, defects)

    def _segments(self, video: str, entry: Node, defects: DefectLog) -> Iterator[Clip]:
        segments = entry["annotations"].items()
        media = self._files.media_or_missing(video)
        for place, segment in enumerate(segments):
            with defects.skip_malformed(f"{video}#{place}"):
                clip_id = f"{video}#{segment['id'].integer()}"
                caption = segment["sentence"].text()
                start, end = (bound.number() for bound in segment["segment"].items(2))
                if not defects.check_interval(segment["segment"].place, start, end, clip_id):
                    continue
                yield Clip(
                    id=clip_id,
                    video=video,
                    media=media,
                    captions=(caption,),
                    start=start,
                    end=end,
                    next_caption=next(map(_sentence, segments[place + 1 : place + 2]), None),
                    speech=self._files.speech(clip_id),
                )


def _sentence(segment: Node) -> str | None:
    """Return a segment's sentence, or None if it has no well-formed one."""
    return caption_or_none(segment["sentence"]) if "sentence" in segment else None


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register(
        "youcook2", YouCook2, config=Options, source="Zhou et al., 2018; youcook2.eecs.umich.edu"
    )
