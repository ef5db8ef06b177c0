"""Handling of each class of defect of media files.

``used``: the clip counts as any other. ``part``: the good part of the clip is used; the log and
``clips.jsonl`` note the defect, and the record counts the clip as ``partial``. ``lost``: the clip
is left out, or an error under ``policy: fail``; ``lost.jsonl`` gives the reason (a value of
``container.LostReason``) and a message.

Each class has a case in ``tests/data/test_media_defects.py``, which compares the lists.
"""

from dataclasses import dataclass
from typing import Literal

from avbench.data.media.container import LostReason

Use = Literal["used", "part", "lost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Handling:
    """Handling of a class of defect."""

    use: Use
    how: str
    """The method, or why there is none."""
    reason: LostReason | None = None
    """The reason if the clip is lost."""


def _used(how: str) -> Handling:
    return Handling(use="used", how=how)


def _part(how: str) -> Handling:
    return Handling(use="part", how=how)


def _lost(reason: LostReason, how: str) -> Handling:
    return Handling(use="lost", how=how, reason=reason)


HANDLING: dict[str, Handling] = {
    # The picture.
    "rotation flag": _used("turned upright by multiples of 90°; mirror flags are ignored"),
    "variable frame rate": _used("frames are chosen by time stamp"),
    "pixels that are not square": _used("made square; 4:1 and more counts as damage"),
    "more than 8 bits, or the full range": _used("converted to 8 bits"),
    "one pixel": _used("enlarged"),
    "slimmer than 64 to 1": _used("squeezed to 64 to 1, then cut from the centre"),
    "several streams": _used("the first picture that is no cover, and the first sound track"),
    "start other than zero": _used("times count from the container's start, as in players"),
    "no stated duration": _used("the packets give the end"),
    "stamps out of order": _part("frames in the decoder's order, their stamps sorted"),
    "breaks on the way": _part("all that decodes; damaged packets are left out"),
    "picture starts after the clip": _lost(LostReason.NO_FRAME, "the reason says when it starts"),
    "header that states too short a length": _part("the packets give the end"),
    "joined recordings": _used("transport and program streams: each part follows the one before"),
    "cut off": _part("the part that exists, if the container can be read from its beginning"),
    "no frame in the clip": _lost(LostReason.NO_FRAME, "it starts after the end, or none decodes"),
    "picture too large": _lost(LostReason.TOO_LARGE, "a header could ask for any memory"),
    # The sound; the dataset's policy ``sound`` decides on each state.
    "any rate and layout": _used("mixed to mono and resampled"),
    "sound shorter than the picture": _used("the sound that exists; the spectrogram is padded"),
    "gap in the sound": _used("zeros of that length, up to an hour in all"),
    "no sound track": _used("state absent"),
    "silence": _used("state silent"),
    "sound after its end": _part("state silent: there is a track"),
    "sound breaks on the way": _part("all that decodes, each part at its time; zeros between"),
    "channels that cancel": _part("the loudest channel alone, not their silent mix"),
    "sound that cannot be decoded": _part("state undecodable; the picture is used"),
    # The file.
    "odd name": _used("any name works: dashes, spaces, quotes, newlines, protocols"),
    "missing": _lost(LostReason.MISSING, "no such file; a file of another extension is named"),
    "empty": _lost(LostReason.EMPTY, "the file has no bytes"),
    "no media": _lost(LostReason.NOT_MEDIA, "no container, or none with its index"),
    "playlist": _lost(LostReason.NOT_MEDIA, "no container of ``CONTAINERS``; opens nothing else"),
    "sound alone, or a cover": _lost(LostReason.NO_VIDEO, "there is no picture to decode"),
    "no interval": _lost(LostReason.NO_INTERVAL, "the clip ends where or before it starts"),
    # Decoding itself.
    "takes too long": _lost(LostReason.OVERDUE, "more than ``clip_seconds`` of processor time"),
    "crashes the decoder": _lost(LostReason.CRASHED, "two processes died at it"),
}
"""Handling by class of defect."""
