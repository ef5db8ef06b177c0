"""What the packets of a clip say of its frames, and which of them must be decoded for a choice.

A frame needs the packets from the last key frame that comes before it, in order of decoding and
on the screen, to its own. Between two chosen frames with a key frame in between, what lies before
that key frame is left out; of the rest, frames that no other frame refers to are skipped by the
decoder (its ``skip_frame``), unless they are chosen. The frames that are decoded are the same to
the bit; where they turn out not to be, the file is read through, see ``video``.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise


class Need(IntEnum):
    """What becomes of a packet."""

    NONE = 0
    """No chosen frame needs it."""
    REFERENCE = 1
    """Chosen frames may refer to it: decoded unless nothing refers to it."""
    FRAME = 2
    """Its frame is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the packets say of a clip's frames, nothing decoded."""

    stamps: list[float]
    """From the seek point to the clip's end, seconds, ascending."""
    interval: float
    """How long a frame lasts, seconds."""
    trusted: bool
    """Whether every packet has a stamp of its own."""
    order: list[float]
    """The stamps in order of decoding, those included that an edit list hides."""
    keys: list[int]
    """Places in ``order`` at which decoding can begin."""

    def reordered(self) -> bool:
        """Whether frames are shown in another order than they are decoded in."""
        return any(b < a for a, b in pairwise(self.order))

    def needs(self, chosen: Collection[float]) -> list[Need]:
        """What becomes of each packet, up to the last that is needed.

        Args:
            chosen: stamps of frames, each one of ``stamps``.
        """
        places = {stamp: place for place, stamp in enumerate(self.order)}
        wanted = sorted(places[stamp] for stamp in chosen)
        needs = [Need.NONE] * (wanted[-1] + 1)
        done = -1
        for place in wanted:
            first = max(self._start(place), done + 1)
            needs[first:place] = [Need.REFERENCE] * (place - first)
            done = place
        for place in wanted:
            needs[place] = Need.FRAME
        return needs

    def _start(self, place: int) -> int:
        """Where decoding begins for the frame at a place."""
        for key in reversed(self.keys[: bisect_right(self.keys, place)]):
            if self.order[key] <= self.order[place]:
                return key
        return 0
