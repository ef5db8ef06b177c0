"""Passes of the decoder over a clip: which frames there are, and the chosen ones as arrays."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from avbench.core.errors import DataError
from avbench.data.media.container import BROKEN, reason
from avbench.data.media.packets import Need
from avbench.data.media.stream import Span, Video

DISORDER = 1.0
"""Seconds past the clip's end to which a pass reads on, for stamps out of order."""

HELD = 2**24
"""Pixels of decoded frames that are kept in memory rather than decoded again."""

SLIM = 64
"""How many times as long as high a picture may be; a slimmer one is squeezed to that."""

T = TypeVar("T")

Frame = NDArray[np.uint8]
"""One frame as the model reads it: (3, size, size), RGB."""


Shown = tuple[float | None, VideoFrame]
"""When a frame comes on, seconds, and the frame."""


class Pass:
    """Passes of the decoder over a clip, each up to the first error.

    Attributes:
        notes: what was met on the way.
    """

    def __init__(self, video: Video, span: Span, size: int) -> None:
        self._video = video
        self._span = span
        self._size = size
        self._held: list[VideoFrame] | None = None
        self.notes: list[str] = []

    def stamps(self) -> list[float]:
        """The time of every frame from the seek point to the clip's end, in decoding order."""
        found: list[float] = []
        self._held, pixels = [], 0
        for stamp, frame in self._frames(None):
            pixels += frame.width * frame.height
            if pixels > HELD:
                self._held = None
            elif self._held is not None:
                self._held.append(frame)
            time = stamp
            if time is None:
                time = found[-1] + self._video.interval if found else 0.0
            found.append(time)
            if time >= self._span.high + DISORDER:
                break
        if any(b < a for a, b in pairwise(found)):
            self.notes.append("time stamps out of order: frames taken in the decoder's order")
        return found

    def by_stamp(self, wanted: set[float], needs: list[Need] | None = None) -> dict[float, Frame]:
        """Frames by their time; none where stamps are missing or out of order on the way.

        Args:
            wanted: the times.
            needs: of each packet, see ``Index``; None: all are decoded. With it there are also
                none where a frame is damaged, as what FFmpeg puts in its place may come from
                frames that are not decoded.
        """
        kept: dict[float, Frame] = {}
        last = -np.inf
        converter = _Converter(self._video.aspect, self._size)
        for time, frame in self._frames(needs):
            if time is None or time <= last or (needs is not None and frame.is_corrupt):
                return {}
            last = time
            if time in wanted:
                if not self._convert(converter, frame, time, kept):
                    return {}
                if len(kept) == len(wanted):
                    break
        return kept

    def by_place(self, wanted: set[int]) -> dict[int, Frame]:
        """Frames by their place in decoding order; after ``stamps``."""
        kept: dict[int, Frame] = {}
        converter = _Converter(self._video.aspect, self._size)
        frames = self._held or (frame for _, frame in self._frames(None))
        for place, frame in enumerate(frames):
            if place in wanted:
                if not self._convert(converter, frame, place, kept):
                    break
                if len(kept) == len(wanted):
                    break
        return kept

    def _convert(
        self, converter: "_Converter", frame: VideoFrame, key: T, kept: dict[T, Frame]
    ) -> bool:
        """Keep a frame; whether it could be converted."""
        try:
            kept[key] = converter(frame)
        except BROKEN as error:
            self.notes.append(f"a frame cannot be converted: {reason(error)}")
            return False
        return True

    def _frames(self, needs: list[Need] | None) -> Iterator[Shown]:
        video, time = self._video, None
        try:
            for frame in self.decoded(needs):
                time = None if frame.pts is None else video.seconds(frame.pts)
                yield time, frame
        except DataError:
            raise
        except BROKEN as error:
            video.damaged()
            where = "at once" if time is None else f"after the frame at {time:.2f} s"
            self.notes.append(f"the picture breaks {where}: {reason(error)}")

    def decoded(self, needs: list[Need] | None = None) -> Iterator[VideoFrame]:
        """The frames that decode, as they come: all, or those that are needed and some others."""
        video = self._video
        if needs is None:
            for packet in video.packets(self._span):
                yield from video.decode(packet)
            return
        place, holds = -1, False
        for packet in video.packets(self._span):
            if packet.size:
                place += 1
            if place < len(needs) and packet.size and needs[place] is not Need.NONE:
                yield from video.decode(packet, needs[place])
                holds = True
            elif holds and packet.size:
                yield from video.drain()
                holds = False
            if place >= len(needs) - 1:
                break
        if holds:
            yield from video.drain()


class _Converter:
    """Frames of any format and size to (3, size, size) RGB."""

    def __init__(self, aspect: float, size: int) -> None:
        self._size = size
        self._aspect = aspect
        # One for all frames: it keeps swscale's tables.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frame:
        size = self._size
        width, height = frame.width * self._aspect, float(frame.height)
        scale = size / min(width, height)
        width, height = (
            min(max(size, round(side * scale)), SLIM * size) for side in (width, height)
        )
        small = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=Interpolation.BILINEAR,
            threads=1,
        ).to_ndarray()
        left, top = (width - size) // 2, (height - size) // 2
        square = small[top : top + size, left : left + size]
        # FFmpeg gives the angle counter-clockwise, as numpy turns.
        square = np.rot90(square, k=round(frame.rotation / 90) % 4)
        return np.ascontiguousarray(square.transpose(2, 0, 1))
