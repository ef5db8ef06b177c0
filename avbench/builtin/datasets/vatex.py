"""VATEX: ten-second clips of Kinetics-600, ten English captions each.

The lists as released (``vatex_training_v1.0.json``, ``vatex_validation_v1.0.json``,
``vatex_public_test_english_v1.1.json``: ``videoID`` with ``enCap``) and the form of one object a
line that benchmarks use (``vid_name`` with ``descs``). The paper names no split to report; the
public test is usual.

The media may be the clips themselves, named by the whole videoID, or the videos they were cut
from, named by the YouTube id; then the times in the videoID are cut out.

Source: VATEX: A large-scale, high-quality multilingual dataset for video-and-language research
(Wang et al., 2019), https://eric-xw.github.io/vatex-website.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, DataError, Dataset, Register, hookimpl, unknown
from avbench.media.annotations import Node, open_json, open_lines
from avbench.media.local import LocalFiles

SPLITS = ("training", "validation", "public_test")

ID = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")
"""A videoID: the YouTube id and the seconds between which the clip was cut, six digits each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the media, from the root: ``<videoID>.<extension>`` or ``<YouTube id>.…``."""
    training: str = "vatex_training_v1.0.json"
    """File of the split; ``.jsonl``: one object a line."""
    validation: str = "vatex_validation_v1.0.json"
    """File of the split; ``.jsonl``: one object a line."""
    public_test: str = "vatex_public_test_english_v1.1.json"
    """File of the split; ``.jsonl``: one object a line."""
    train: str = "training"
    report: str = "public_test"


@final
class Vatex(Dataset):
    """Reads VATEX. Clip ids are the videoIDs."""

    def __init__(self, options: Options) -> None:
        self._files = LocalFiles("vatex", options.root, options.annotations, options.media)
        self._names = {
            "training": options.training,
            "validation": options.validation,
            "public_test": options.public_test,
        }
        self.train = options.train
        self.report = options.report

    def splits(self) -> tuple[str, ...]:
        """Those whose files are there."""
        return tuple(s for s, name in self._names.items() if self._files.present([name]))

    def clips(self, split: str) -> Sequence[Clip]:
        """The clips of a split, with their English captions."""
        if split not in SPLITS:
            raise DataError(f"vatex: {unknown('split', split, SPLITS)}")
        path = self._files.annotation(self._names[split])
        clips = [self._clip(entry) for entry in _entries(path)]
        if not clips:
            raise DataError(f"{path}: holds no clips")
        return clips

    def fingerprint(self) -> str:
        """Of the annotation files, the sidecars and the media."""
        return self._files.fingerprint(list(self._names.values()))

    def _clip(self, entry: Node) -> Clip:
        if "descs" in entry:
            name = entry["vid_name"]
            captions = [caption["desc"] for caption in entry["descs"].items()]
        else:
            name = entry["videoID"]
            captions = entry["enCap"].items()
        clip_id = name.id()
        match = ID.fullmatch(clip_id)
        if match is None or int(match["end"]) <= int(match["start"]):
            raise name.wrong("a videoID <YouTube id>_<start>_<end>")
        if not captions:
            raise entry.wrong("a clip with at least one English caption")
        video, start, end = match["video"], int(match["start"]), int(match["end"])
        cut = self._files.find(clip_id, f"{video}_{start}_{end}", f"{video}_{start:06d}_{end:06d}")
        whole = None if cut else self._files.find(video)
        return Clip(
            id=clip_id,
            video=video,
            media=cut or whole or self._files.media_or_missing(clip_id),
            captions=tuple(caption.text() for caption in captions),
            start=float(start) if whole else None,
            end=float(end) if whole else None,
            speech=self._files.speech.get(clip_id),
        )


def _entries(path: Path) -> list[Node]:
    return open_lines(path) if path.suffix == ".jsonl" else open_json(path).items()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("vatex", Vatex, config=Options, source="Wang et al., 2019; VATEX")
