"""VATEX: ten-second clips of Kinetics-600, ten English captions each.

It reads the released lists (``vatex_training_v1.0.json``, ``vatex_validation_v1.0.json``,
``vatex_public_test_english_v1.1.json``: ``videoID`` with ``enCap``) and the form of benchmarks,
one object a line (``vid_name`` with ``descs``). The paper names no split to report; the public
test is usual.

The media may be the clips themselves, named by the whole videoID (with or without zeros before
its seconds) or, with a mapping file, ``video<N>``. They may also be the whole videos, named by
the YouTube id: the times in the videoID then give the clip.

Source: VATEX: A large-scale, high-quality multilingual dataset for video-and-language research
(Wang et al., 2019), https://eric-xw.github.io/vatex-website.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import Node, open_json, open_lines, open_words

SPLITS = ("training", "validation", "public_test")

ID = re.compile(r"(?P<video>.+)_(?P<start>[0-9]{1,9})_(?P<end>[0-9]{1,9})")
"""A videoID: the YouTube id and the seconds between which the clip was cut, six digits each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

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
    mapping: str = "vatex_mapping.txt"
    """Optional: lines ``<videoID> video<N>``, if the clips are named ``video<N>``."""
    train: str = "training"
    report: str = "public_test"
    select: str | None = "validation"
    """The split for selection; null: keep videos of the training split for it."""


@final
class Vatex(FileDataset):
    """Reader of VATEX. Clip ids are the videoIDs."""

    def __init__(self, options: Options) -> None:
        super().__init__(
            LocalFiles("vatex", options.root, options.annotations, options.media), SPLITS
        )
        self._lists = {
            "training": options.training,
            "validation": options.validation,
            "public_test": options.public_test,
        }
        self._mapping = options.mapping
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return the splits whose files exist."""
        return tuple(s for s, name in self._lists.items() if self._files.existing([name]))

    def _names(self) -> Sequence[str]:
        return [name for name in (*self._lists.values(), self._mapping) if name]

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the clips of a split, with their English captions."""
        numbers = self._numbers()
        for entry in _entries(self._files.annotation(self._lists[split])):
            name, captions = _fields(entry)
            with defects.skip_malformed(str(name.value)):
                if not captions.items():
                    raise captions.wrong("a list of at least one English caption")
                texts = defects.captions(
                    list(map(_sentence, captions.items())), name.id(), captions.place
                )
                if texts:
                    yield self._clip(name, texts, numbers)

    def _clip(self, name: Node, captions: Sequence[str], numbers: Mapping[str, str]) -> Clip:
        clip_id = name.id()
        match = ID.fullmatch(clip_id)
        if match is None or int(match["end"]) <= int(match["start"]):
            raise name.wrong("a videoID <YouTube id>_<start>_<end>")
        video, start, end = match["video"], int(match["start"]), int(match["end"])
        names = [clip_id, f"{video}_{start}_{end}", f"{video}_{start:06d}_{end:06d}"]
        if clip_id in numbers:
            names.append(numbers[clip_id])
        cut = self._files.find(*names)
        whole = None if cut else self._files.find(video)
        return Clip(
            id=clip_id,
            video=video,
            media=cut or whole or self._files.media_or_missing(clip_id),
            captions=tuple(captions),
            start=float(start) if whole else None,
            end=float(end) if whole else None,
            speech=self._files.speech(clip_id),
        )

    def _numbers(self) -> Mapping[str, str]:
        """Return the name ``video<N>`` of each clip; empty without the mapping file."""
        path = self._files.annotation(self._mapping)
        if not self._mapping or not path.is_file():
            return {}
        numbers = {}
        for line in open_words(path):
            words = line.strings(2)
            numbers[words[0]] = words[1]
        return numbers


def _fields(entry: Node) -> tuple[Node, Node]:
    """Return the id and the captions of an entry in either form."""
    return (
        (entry["vid_name"], entry["descs"])
        if "descs" in entry
        else (entry["videoID"], entry["enCap"])
    )


def _sentence(caption: Node) -> Node:
    return caption["desc"] if isinstance(caption.value, dict) else caption


def _entries(path: Path) -> list[Node]:
    return open_lines(path) if path.suffix == ".jsonl" else open_json(path).items()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("vatex", Vatex, config=Options, source="Wang et al., 2019; VATEX")
