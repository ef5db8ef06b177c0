"""What becomes of media that are not as they should be: one outcome for each class of defect.

``used``: the clip counts as any other. ``part``: what can be had of it is used; what was wrong is
a note in the log and in ``clips.jsonl``, and the record counts such clips as ``partial``.
``lost``: the clip is left out, or stops the suite under ``policy: fail``; ``lost.jsonl`` names
the reason (a value of ``container.Loss``) and says it in words.

Each class has a case in ``tests/data/test_media_defects.py``, which compares the lists.
"""

from dataclasses import dataclass
from typing import Literal

from avbench.data.media.container import Loss

Use = Literal["used", "part", "lost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What becomes of a class of defect."""

    use: Use
    how: str
    """What is done, or why nothing can be."""
    loss: Loss | None = None
    """The reason, where the clip is lost."""


def _used(how: str) -> Outcome:
    return Outcome(use="used", how=how)


def _part(how: str) -> Outcome:
    return Outcome(use="part", how=how)


def _lost(loss: Loss, how: str) -> Outcome:
    return Outcome(use="lost", how=how, loss=loss)


OUTCOMES: dict[str, Outcome] = {
    # The picture.
    "rotation flag": _used("turned upright, by multiples of 90°; a mirror flag is not honoured"),
    "variable frame rate": _used("frames are chosen by their time stamps"),
    "pixels that are not square": _used("made square; 4:1 and more is taken for damage"),
    "more than 8 bits, or the full range": _used("converted to 8 bits"),
    "one pixel": _used("enlarged"),
    "slimmer than 64 to 1": _used("squeezed to 64 to 1, then cut from the centre"),
    "several streams": _used("the first picture that is no cover, the first sound track"),
    "start other than zero": _used("times count from the container's start, as in players"),
    "no stated duration": _used("the packets tell the end"),
    "stamps out of order": _part("frames in the decoder's order, their stamps sorted"),
    "breaks on the way": _part("what came before the first error that a chosen frame meets"),
    "cut off": _part("what is there, where the container can be read from its beginning"),
    "no frame in the clip": _lost(Loss.NO_FRAME, "it starts after the end, or none decodes"),
    "picture too large": _lost(Loss.TOO_LARGE, "a header could ask for any amount of memory"),
    # The sound; what becomes of each state is the dataset's policy ``sound``.
    "any rate and layout": _used("mixed to mono and resampled"),
    "sound shorter than the picture": _used("what is there; the spectrogram is padded"),
    "gap in the sound": _used("zeros of that length, up to an hour"),
    "no sound track": _used("state absent"),
    "silence": _used("state silent"),
    "sound after its end": _part("state silent: there is a track"),
    "sound breaks on the way": _part("what came before the error"),
    "sound that cannot be decoded": _part("state undecodable; the picture is used"),
    # The file.
    "odd name": _used("a name is only a name: dashes, spaces, quotes, newlines, protocols"),
    "missing": _lost(Loss.MISSING, "there is no such file"),
    "empty": _lost(Loss.EMPTY, "the file has no bytes"),
    "no media": _lost(Loss.NOT_MEDIA, "no container, or its index is gone"),
    "playlist": _lost(Loss.NOT_MEDIA, "a file may not make others be opened"),
    "sound alone, or a cover": _lost(Loss.NO_VIDEO, "there is no picture to decode"),
    "no interval": _lost(Loss.NO_INTERVAL, "the clip ends where or before it starts"),
    # Decoding itself.
    "takes too long": _lost(Loss.OVERDUE, "more than ``clip_seconds`` of processor time"),
    "crashes the decoder": _lost(Loss.CRASHED, "a process died at it, and so did another"),
}
"""By class of defect."""
