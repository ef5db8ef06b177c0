"""List of a split's prepared clips: ids, captions and references, without frames or sound.

Scoring, the tokenizer and the baseline read this list alone, so the decoding of media is no part
of their code. Decoding decides which clips are on the list.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import read_json
from avbench.core.options import plain
from avbench.core.types import Clip, Slot

SPLIT, CLIPS, PARAGRAPHS = "split.json", "clips.jsonl", "paragraphs.json"


class PreparedClips:
    """The usable clips of a split, in the annotations' order.

    Attributes:
        directory: the prepare stage's folder.
        clips: the usable clips.
        role: ``train``, ``report`` or ``select``.
        protocol: ``coco`` or ``paragraph``.
        paragraphs: references per video, for the paragraph protocol.
        list_hash: hash of the clips and captions, see ``clip_list_hash``.
    """

    def __init__(self, directory: Path) -> None:
        try:
            split = read_json(directory / SPLIT)
            lines = _lines(directory / CLIPS)
            paragraphs = read_json(directory / PARAGRAPHS)
        except FileNotFoundError as error:
            raise DataError(
                f"{directory}: no prepared split: {error.filename} is missing"
            ) from None
        root = Path(split["root"])
        self.directory = directory
        self.clips: tuple[Clip, ...] = tuple(clip_from_json(line["clip"], root) for line in lines)
        self.role: str = split["role"]
        self.protocol: str = split["protocol"]
        self.paragraphs: Mapping[str, tuple[str, ...]] = {
            video: tuple(texts) for video, texts in paragraphs.items()
        }
        self.list_hash: str = split["list_hash"]
        self._read_results(split, lines)

    @classmethod
    def open(cls, directory: Path) -> "PreparedClips":
        """Open the prepare stage's folder.

        Raises:
            DataError: the folder holds no prepared split.
        """
        return cls(directory)

    def __len__(self) -> int:
        return len(self.clips)

    def _read_results(self, split: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
        """Read the results of decoding; a subclass that needs them overrides this."""


def clip_to_json(clip: Clip, root: Path) -> dict[str, Any]:
    """Return a clip as plain data, the media file relative to ``root`` if it lies within."""
    data: dict[str, Any] = plain(clip)
    if clip.media.is_relative_to(root):
        data["media"] = str(clip.media.relative_to(root))
    return data


def clip_from_json(data: Mapping[str, Any], root: Path) -> Clip:
    """Return the clip that ``clip_to_json`` described."""
    slots = {
        name: Slot(
            value=slot["value"],
            choices=tuple(slot["choices"]),
            evidence=frozenset(slot["evidence"]),
        )
        for name, slot in data["slots"].items()
    }
    given = {**data, "media": root / data["media"], "captions": tuple(data["captions"])}
    return Clip(**{**given, "slots": slots})


def _lines(path: Path) -> list[Any]:
    # Not splitlines(), because a caption may hold a Unicode line separator.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
