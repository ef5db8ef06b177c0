"""List of a split's prepared clips: ids, captions and references, without frames or sound.

Scoring, the tokenizer and the baseline read this list alone, so the decoding of media is no part
of their code. Decoding decides which clips are on the list.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from avbench.core.errors import DataError
from avbench.core.job import as_written, read_json, read_json_lines
from avbench.core.options import build, plain
from avbench.core.types import Clip

SPLIT, CLIPS, PARAGRAPHS = "split.json", "clips.jsonl", "paragraphs.json"


_PARAGRAPHS = TypeAdapter(dict[str, tuple[str, ...]])


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
            lines = list(read_json_lines(directory / CLIPS))
            paragraphs = read_json(directory / PARAGRAPHS)
        except FileNotFoundError as error:
            raise DataError(
                f"{directory}: no prepared split: {error.filename} is missing"
            ) from None
        self.directory = directory
        with as_written(directory / SPLIT):
            root = Path(split["root"])
            self.role = str(split["role"])
            self.protocol = str(split["protocol"])
            self.list_hash = str(split["list_hash"])
        with as_written(directory / CLIPS):
            self.clips = tuple(clip_from_json(line["clip"], root) for line in lines)
        with as_written(directory / PARAGRAPHS):
            self.paragraphs = paragraphs_from_json(paragraphs)
        with as_written(directory):
            self._read_results(split, lines)

    @classmethod
    def open(cls, directory: Path) -> "PreparedClips":
        """Open the prepare stage's folder.

        Raises:
            DataError: the folder holds no prepared split, or a damaged one.
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


def clip_from_json(data: Any, root: Path) -> Clip:
    """Return the clip that ``clip_to_json`` described.

    Raises:
        ValueError: it is no clip: a field is missing or of another type, an id is empty, a time
            is below 0, the end lies before the start, or a text is not Unicode.
        TypeError, KeyError: the same.
    """
    clip = build(Clip, {**data, "media": root / data["media"]})
    known = [time for time in (clip.start, clip.end) if time is not None]
    if not clip.id or not clip.video:
        raise ValueError("a clip needs an id and a video")
    if known != sorted(known) or min(known, default=0.0) < 0:
        raise ValueError(f"a clip must end after it starts, got {clip.start} to {clip.end} s")
    _check_texts([clip.id, clip.video, *clip.captions, clip.next_caption or "", clip.speech or ""])
    return clip


def paragraphs_from_json(data: Any) -> dict[str, tuple[str, ...]]:
    """Return the references of each video, which must be lists of texts.

    Raises:
        ValueError: they are not.
    """
    paragraphs = _PARAGRAPHS.validate_python(data)
    for references in paragraphs.values():
        _check_texts(references)
    return paragraphs


def _check_texts(texts: Iterable[str]) -> None:
    """Refuse half of a surrogate pair, which JSON can write and no file can hold."""
    "".join(texts).encode()
