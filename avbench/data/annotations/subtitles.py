"""Subtitles, as downloaders write them (``<video>.<language>.vtt``, or ``.srt``): WebVTT, SubRip.

Their character references (``&amp;``) stand for characters, as in HTML.

YouTube's subtitles roll: a cue repeats the lines still on the screen and adds some, and between
two such cues lies one of 10 ms that adds none. Repeated lines are read once.
"""

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from avbench.core.errors import DataError
from avbench.core.numbers import shown
from avbench.data.annotations.strict_json import MalformedError, open_csv, read_text

CLOCK = r"(?:([0-9]{1,4}):)?([0-5][0-9]):([0-5][0-9][.,][0-9]{3})"
CUE = re.compile(rf"{CLOCK}[ \t]+-->[ \t]+{CLOCK}(?:[ \t].*)?")
TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")
VTT, SRT = ".vtt", ".srt"
SUBTITLED = re.compile(r"(\.[A-Za-z][\w-]*)*\.(vtt|srt)$")
"""The end of a file name after the video's id, which may hold a dot (``Storm 2.1.en.vtt``)."""

JOINED = 0.05
"""Seconds after a cue within which the next one may repeat its lines."""


class Cue(NamedTuple):
    """The text between two times, seconds."""

    text: str
    start: float
    end: float


def open_vtt(path: Path) -> list[Cue]:
    """Read a WebVTT or SubRip file: the cues that add words, with the added words alone.

    Raises:
        DataError: the file is missing, not in UTF-8, a ``.vtt`` that does not begin with
            ``WEBVTT``, or a cue's times are malformed; the message names the line.
    """
    lines = read_text(path).split("\n")
    if path.suffix == VTT and not lines[0].startswith("WEBVTT"):
        raise MalformedError(f"{path}: line 1", f"must be 'WEBVTT', got {lines[0][:20]!r}")
    cues, before, ended = [], [""], 0.0
    for start, end, words in _cues(path, lines):
        repeated = 0
        if start <= ended + JOINED:
            most = min(len(words), len(before))
            repeated = next((n for n in range(most, 0, -1) if words[:n] == before[-n:]), 0)
        added = words[repeated:]
        if added:
            cues.append(Cue(" ".join(added), start, end))
        before, ended = words, end
    return cues


def _cues(path: Path, lines: list[str]) -> Iterator[tuple[float, float, list[str]]]:
    """Yield each cue's times, and its lines without tags; empty lines are left out."""
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if "-->" not in line:  # the header, a note, a cue's name
            continue
        match = CUE.fullmatch(line)
        if match is None:
            problem = f"must be '00:00:00.000 --> 00:00:00.000', got {shown(line)}"
            raise MalformedError(f"{path}: line {number}", problem)
        words = []
        # Only an empty line ends a cue; YouTube writes blank lines within cues.
        while number < len(lines) and lines[number].rstrip("\r"):
            words.append(" ".join(html.unescape(TAG.sub("", lines[number])).split()))
            number += 1
        yield _seconds(*match.groups()[:3]), _seconds(*match.groups()[3:]), [w for w in words if w]


def _seconds(hours: str | None, minutes: str, seconds: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))


def speech_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return a folder's speech files by video: ``<video>.csv`` or ``<video>.<language>.vtt``.

    A ``.srt`` serves a video that has neither. A video should have one file; ``open_speech``
    refuses several.
    """
    found: dict[str, tuple[Path, ...]] = {}
    others = [*folder.glob("*.csv"), *folder.glob(f"*{VTT}")]
    for file in [*sorted(others), *sorted(folder.glob(f"*{SRT}"))]:
        video = file.stem if file.suffix == ".csv" else SUBTITLED.sub("", file.name)
        before = found.get(video, ())
        if not before or file.suffix != SRT or before[0].suffix == SRT:
            found[video] = (*before, file)
    return found


def open_speech(files: Sequence[Path]) -> list[Cue]:
    """Read the lines of a video's own speech file that hold words.

    Raises:
        MalformedError: the video has several files, or anything in its file, or all of it, cannot
            be read: this costs the video.
    """
    path, *more = files
    if more:
        names = ", ".join(file.name for file in files)
        raise MalformedError(f"{path.parent}", f"a video must have one speech file, got {names}")
    try:
        if path.suffix != ".csv":
            return open_vtt(path)
        rows = open_csv(path, ("start", "end", "text"))
        cues = [Cue(r["text"].string(), r["start"].seconds(), r["end"].seconds()) for r in rows]
        return [cue for cue in cues if cue.text]
    except MalformedError:
        raise
    except DataError as error:
        raise MalformedError(f"{path}", str(error).removeprefix(f"{path}: ")) from error
