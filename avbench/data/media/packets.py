"""Index of a clip's packets: its frames' time stamps, and the packets that a choice needs.

A frame needs the packets from the last key frame before it, both in decoding order and on the
screen, to its own. If a key frame lies between two chosen frames, the packets before it are left
out. Among the others, the decoder skips frames that no frame refers to (its ``skip_frame``),
unless they are chosen. The decoded frames are the same to the bit; if they turn out not to be,
``video`` reads the whole clip.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise


class Need(IntEnum):
    """Need of a packet for the chosen frames."""

    NONE = 0
    """No chosen frame needs it."""
    REFERENCE = 1
    """Chosen frames may refer to it: decoded unless nothing refers to it."""
    FRAME = 2
    """Its frame is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Facts about a clip's frames from its packets, without decoding."""

    stamps: list[float]
    """From the seek point to the clip's end, seconds, ascending."""
    interval: float
    """Duration of a frame, seconds."""
    trusted: bool
    """True if every packet has its own stamp."""
    order: list[float]
    """The stamps in decoding order, with those that an edit list hides."""
    keys: list[int]
    """Places in ``order`` at which decoding can begin."""

    def reordered(self) -> bool:
        """Return True if the order on the screen differs from the order of decoding."""
        return any(b < a for a, b in pairwise(self.order))

    def needs(self, chosen: Collection[float]) -> list[Need]:
        """Return the need of each packet, up to the last one needed.

        Args:
            chosen: stamps of the chosen frames, each in ``stamps``.
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
        """Return the place at which decoding begins for the frame at a place."""
        for key in reversed(self.keys[: bisect_right(self.keys, place)]):
            if self.order[key] <= self.order[place]:
                return key
        return 0
