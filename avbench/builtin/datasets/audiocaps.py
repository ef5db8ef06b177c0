"""AudioCaps: ten-second excerpts of AudioSet's videos, captioned by their sound.

``train.csv``, ``val.csv`` and ``test.csv`` as released (``audiocap_id``, ``youtube_id``,
``start_time``, ``caption``): one caption an excerpt in training, five in the others. Its captions
are those that the audio relevance score compares with (Sec. 4.1); its media, which have pictures
too, can be trained on like any other.

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
from avbench.data.annotations.reader import FileDataset, Notes
from avbench.data.annotations.strict_json import Node, open_csv

SPLITS = ("train", "val", "test")

SECONDS = 10
"""Length of an excerpt."""

COLUMNS = ("youtube_id", "start_time", "caption")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the media, from the root, at any depth; captions alone need none."""
    media_are: Literal["excerpts", "videos"] = "excerpts"
    """Whether a file named by the YouTube id alone is the excerpt, or the video it is cut from."""
    train: str = "train"
    report: str = "test"
    select: str | None = "val"
    """The split for selection; null: videos of the training split are kept for it."""


@final
class AudioCaps(FileDataset):
    """Reads AudioCaps. Clip ids are ``<YouTube id>_<start>``."""

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
        """Those whose files are there."""
        return tuple(s for s in SPLITS if self._files.present([f"{s}.csv"]))

    def _names(self) -> Sequence[str]:
        return [f"{split}.csv" for split in SPLITS]

    def _read(self, split: str, notes: Notes) -> Iterator[Clip]:
        """The excerpts of a split, with all their captions."""
        path = self._files.annotation(f"{split}.csv")
        excerpts: defaultdict[tuple[str, str], list[Node]] = defaultdict(list)
        for row in open_csv(path, COLUMNS):
            excerpts[row["youtube_id"].string(), row["start_time"].string()].append(row)
        for (video, start), rows in excerpts.items():
            with notes.costing(f"{video}_{start}"):
                yield self._clip(rows)

    def _clip(self, rows: Sequence[Node]) -> Clip:
        video, start = rows[0]["youtube_id"].id(), rows[0]["start_time"].seconds()
        clip_id = f"{video}_{start:g}"
        media, whole = self._media(video, round(start))
        return Clip(
            id=clip_id,
            video=video,
            media=media or self._files.media_or_missing(clip_id),
            captions=tuple(row["caption"].text() for row in rows),
            start=start if whole else None,
            end=start + SECONDS if whole else None,
            speech=self._files.speech.get(clip_id),
        )

    def _media(self, video: str, start: int) -> tuple[Path | None, bool]:
        """A file of the excerpt by the names in use, else of the video; whether it is the video.

        AudioSet's tools write seconds, seconds of six digits or milliseconds, and a ``Y`` first.
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


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("audiocaps", AudioCaps, config=Options, source="Kim et al., 2019; AudioCaps")
