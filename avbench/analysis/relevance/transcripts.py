"""Speech transcripts from files, and the lines that belong to a clip.

JSON lines (``.jsonl``)
    ``{"id": …, "text": …}``, or with ``start`` and ``end`` in seconds
JSON
    ``{id: text}``, or HowTo100M's ``{video: {"text": […], "start": […], "end": […]}}``
csv or tsv
    an id in a column ``id``, ``clip``, ``video_id`` or ``video``, the text in ``text``, ``subs``
    or ``speech``; optional ``start`` and ``end``
a folder
    of ``<video>.csv`` with the columns ``start``, ``end``, ``text``, or ``<video>.….vtt`` or
    ``.srt``; a file that cannot be read is left out

A text without times belongs to the clip with its id. A line with times belongs to the clip of its
video with the same times (within 10 ms). If there is none, it belongs to each clip whose interval
holds the line's middle. A clip without times takes all lines if it is the whole video.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from avbench.core.errors import DataError
from avbench.core.types import Clip
from avbench.data.annotations.json_stream import stream_fields
from avbench.data.annotations.strict_json import (
    MalformedError,
    Node,
    first_line,
    missing,
    open_csv,
    open_lines,
)
from avbench.data.annotations.subtitles import open_speech, speech_files

SAME = 0.01
"""Times count as equal within this, seconds."""

IDS = ("id", "clip", "video_id", "video")
TEXTS = ("text", "subs", "speech")


class Line(NamedTuple):
    """A line of speech and its times, seconds."""

    text: str
    start: float
    end: float


@dataclass(kw_only=True, slots=True)
class Transcripts:
    """The speech of many clips and videos."""

    texts: dict[str, str] = field(default_factory=dict)
    """Texts without times, by id."""
    lines: dict[str, list[Line]] = field(default_factory=dict)
    """Lines with times, by video (without the prefix ``v_``)."""
    unread: list[str] = field(default_factory=list)
    """Why each file of a folder that cannot be read is left out."""

    @classmethod
    def read(cls, path: Path) -> "Transcripts":
        """Read a file or a folder.

        Raises:
            DataError: it is missing, malformed, of another form or empty.
        """
        made = cls()
        suffixes = path.suffixes[-2:]
        if path.is_dir():
            for video, files in speech_files(path).items():
                try:
                    made.lines[_bare(video)] = [Line(*cue) for cue in open_speech(files)]
                except MalformedError as error:
                    made.unread.append(str(error))
        elif ".jsonl" in suffixes:
            for entry in open_lines(path):
                made._add(_id(entry, entry["id"]), entry["text"].string(), entry)
        elif ".csv" in suffixes or ".tsv" in suffixes:
            made._read_csv(path)
        else:
            made._read_json(path)
        if not made.texts and not made.lines:
            raise DataError("; ".join([f"{path}: holds no speech", *made.unread[:1]]))
        return made

    def of(self, clip: Clip) -> str | None:
        """Return the speech in a clip, or None if nothing is known of it."""
        if clip.id in self.texts:
            return self.texts[clip.id]
        lines = self.lines.get(_bare(clip.video))
        if lines is None or (clip.start is None and clip.id != clip.video):
            return None
        start = clip.start or 0.0
        end = math.inf if clip.end is None else clip.end
        same = [x for x in lines if abs(x.start - start) <= SAME and abs(x.end - end) <= SAME]
        return " ".join(x.text for x in same or lines if same or start <= _middle(x) < end)

    def _add(self, id_: str, text: str, entry: Node) -> None:
        if "start" in entry or "end" in entry:
            line = Line(text, entry["start"].seconds(), entry["end"].seconds())
            self.lines.setdefault(_bare(id_), []).append(line)
        else:
            self.texts[id_] = f"{self.texts.get(id_, '')} {text}".strip()

    def _read_csv(self, path: Path) -> None:
        delimiter = "\t" if "\t" in first_line(path) else ","
        for row in open_csv(path, (), delimiter):
            names = {}
            for what, known in (("id", IDS), ("text", TEXTS)):
                names[what] = next((name for name in known if name in row), "")
                if not names[what]:
                    raise DataError(
                        f"{path}: {missing('column', known[0], row.value)}; "
                        f"any of {', '.join(known)} will do"
                    )
            self._add(row[names["id"]].string(), row[names["text"]].string(), row)

    def _read_json(self, path: Path) -> None:
        for id_, entry in stream_fields(path):
            if isinstance(entry.value, str):
                self.texts[id_] = entry.string()
            else:
                self.lines.setdefault(_bare(id_), []).extend(_timed(entry))


def _timed(entry: Node) -> Iterator[Line]:
    texts = entry["text"].strings()
    starts, ends = (entry[name].numbers(len(texts)) for name in ("start", "end"))
    yield from map(Line, texts, starts, ends)


def _id(entry: Node, id_: Node) -> str:
    if not id_.string():
        raise entry.wrong("an object with an id that is not empty")
    return id_.string()


def _bare(video: str) -> str:
    return video.removeprefix("v_")


def _middle(line: Line) -> float:
    return (line.start + line.end) / 2
