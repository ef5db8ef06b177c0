"""AudioCaps: ten-second excerpts of AudioSet's videos, captioned by their sound.

It reads ``train.csv``, ``val.csv`` and ``test.csv`` as released (``audiocap_id``, ``youtube_id``,
``start_time``, ``caption``): an excerpt has one caption in training, five in the other splits. The
audio relevance score uses its captions (Sec. 4.1). Its media have pictures too, so models can
train on them as on any other.

Source: AudioCaps: Generating captions for audios in the wild (Kim et al., 2019),
https://github.com/cdjkim/audiocaps.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import EXTENSIONS, SOUNDS, LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import MalformedError, Node, open_csv

SPLITS = ("train", "val", "test")

SECONDS = 10
"""Length of an excerpt."""

COLUMNS = ("youtube_id", "start_time", "caption")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the media, from the root, at any depth; not needed for captions alone."""
    media_are: Literal["excerpts", "videos"] = "excerpts"
    """Content of a file named by the YouTube id alone: the excerpt, or the whole video."""
    train: str = "train"
    report: str = "test"
    select: str | None = "val"
    """The split for selection; null: keep videos of the training split for it."""


@final
class AudioCaps(FileDataset):
    """Reader of AudioCaps. Clip ids are ``<YouTube id>_<start>``."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles(
            "audiocaps",
            options.root,
            options.annotations,
            options.media,
            extensions=(*EXTENSIONS, *SOUNDS),
            captions_alone=True,
        )
        super().__init__(files, SPLITS)
        self._whole = options.media_are == "videos"
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return the splits whose files exist."""
        return tuple(s for s in SPLITS if self._files.existing([f"{s}.csv"]))

    def _names(self) -> Sequence[str]:
        return [f"{split}.csv" for split in SPLITS]

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the excerpts of a split, with all their captions."""
        path = self._files.annotation(f"{split}.csv")
        excerpts: defaultdict[tuple[str, float | str], list[Node]] = defaultdict(list)
        for row in open_csv(path, COLUMNS):
            excerpts[row["youtube_id"].string(), _start(row)].append(row)
        for (video, start), rows in excerpts.items():
            with defects.skip_malformed(f"{video}_{start}"):
                yield from self._clips(rows, defects)

    def _clips(self, rows: Sequence[Node], defects: DefectLog) -> Iterator[Clip]:
        """Yield the clip of an excerpt, unless all its captions are blank."""
        video, start = rows[0]["youtube_id"].id(), rows[0]["start_time"].seconds()
        clip_id = f"{video}_{start:.15g}"
        captions = defects.captions([row["caption"] for row in rows], clip_id, rows[0].place)
        if not captions:
            return
        media, whole = self._media(video, round(start))
        yield Clip(
            id=clip_id,
            video=video,
            media=media or self._files.media_or_missing(clip_id),
            captions=captions,
            start=start if whole else None,
            end=start + SECONDS if whole else None,
            speech=self._files.speech(clip_id),
        )

    def _media(self, video: str, start: int) -> tuple[Path | None, bool]:
        """Return the file of the excerpt, else of the video, and True if it is the video.

        AudioSet's tools name excerpts by seconds, six-digit seconds or milliseconds, and may put
        a ``Y`` before the id.
        """
        end = start + SECONDS
        spans = (
            f"{start}",
            f"{start}_{end}",
            f"{start:06d}_{end:06d}",
            f"{start * 1000}_{end * 1000}",
            f"{start}.000_{end}.000",
        )
        names = (video, f"Y{video}")
        found = self._files.find(*(f"{name}_{span}" for name in names for span in spans))
        return (found, False) if found else (self._files.find(*names), self._whole)


def _start(row: Node) -> float | str:
    """Return the start of an excerpt, which may be written 10 and 10.0; else what is written."""
    try:
        return row["start_time"].seconds()
    except MalformedError:
        return row["start_time"].string()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("audiocaps", AudioCaps, config=Options, source="Kim et al., 2019; AudioCaps")
