"""YouCook2: cooking videos cut into steps, one sentence each.

``youcookii_annotations_trainval.json`` as released. The split ``training`` is trained on,
``validation`` reported, as in the literature (the test captions were never published).

Source: Towards automatic learning of procedures from web instructional videos (Zhou, Xu and
Corso, 2018), http://youcook2.eecs.umich.edu.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

from avbench.api import Clip, DataError, Dataset, Register, hookimpl, unknown
from avbench.media.annotations import Node, checked_id, open_json
from avbench.media.local import LocalFiles

SPLITS = ("training", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation file, from the root."""
    media: str = "videos"
    """Folder of the videos, from the root: ``<video id>.<extension>`` at any depth."""
    file: str = "youcookii_annotations_trainval.json"
    train: str = "training"
    report: str = "validation"


@final
class YouCook2(Dataset):
    """Reads YouCook2. Clip ids are ``<video>#<segment id>``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._files = LocalFiles("youcook2", options.root, options.annotations, options.media)
        self.train = options.train
        self.report = options.report

    def splits(self) -> tuple[str, ...]:
        """Both, as one file holds them."""
        return SPLITS

    def clips(self, split: str) -> Sequence[Clip]:
        """The segments of a split's videos."""
        if split not in SPLITS:
            raise DataError(f"youcook2: {unknown('split', split, SPLITS)}")
        clips: list[Clip] = []
        for video, entry in open_json(self._files.annotation(self._options.file))[
            "database"
        ].fields():
            if entry["subset"].choice((*SPLITS, "testing")) == split:
                clips += self._segments(checked_id(video, entry.file.name), entry)
        if not clips:
            raise DataError(f"{self._options.file}: split '{split}' holds no segments")
        return clips

    def fingerprint(self) -> str:
        """Of the annotation file, the sidecars and the media."""
        return self._files.fingerprint([self._options.file])

    def _segments(self, video: str, entry: Node) -> list[Clip]:
        segments = entry["annotations"].items()
        captions = [segment["sentence"].text() for segment in segments]
        media = self._files.media_or_missing(video)
        clips = []
        for segment, caption, following in zip_longest(segments, captions, captions[1:]):
            start, end = segment["segment"].interval()
            clip_id = f"{video}#{segment['id'].integer()}"
            clips.append(
                Clip(
                    id=clip_id,
                    video=video,
                    media=media,
                    captions=(caption,),
                    start=start,
                    end=end,
                    next_caption=following,
                    speech=self._files.speech.get(clip_id),
                )
            )
        return clips


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register(
        "youcook2", YouCook2, config=Options, source="Zhou et al., 2018; youcook2.eecs.umich.edu"
    )
