"""Passes of the decoder over a clip: its frames' times, and the chosen frames as arrays."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TypeVar

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from avbench.core.errors import DataError
from avbench.data.media.container import BROKEN, error_text
from avbench.data.media.demuxing import Damage
from avbench.data.media.packets import Need
from avbench.data.media.stream import Span, Video

DISORDER = 1.0
"""Seconds past the clip's end that a pass reads, for stamps out of order."""

HELD = 2**24
"""Pixels of decoded frames that stay in memory instead of being decoded again."""

SLIM = 64
"""Aspect ratio of a picture, at most, either way; a slimmer one is squeezed to it."""

T = TypeVar("T")

Frame = NDArray[np.uint8]
"""One frame as the model reads it: (3, size, size), RGB."""


TimedFrame = tuple[float | None, VideoFrame]
"""Start of a frame, seconds (None: no stamp), and the frame."""


def timed_frames(
    video: Video,
    span: Span,
    *,
    needs: list[Need] | None = None,
    damage: Damage | None = None,
) -> Iterator[TimedFrame]:
    """Yield the frames of a clip as they decode, from the seek point on, with their times.

    Args:
        video: the open stream.
        span: the clip.
        needs: need of each packet, see ``Index``: the needed frames and some others; None: all.
        damage: takes the errors, and decoding goes on after each; None: the first one ends it.
    """
    try:
        for frame in _decoded(video, span, needs, damage):
            time = None if frame.pts is None else video.seconds(frame.pts)
            if damage is not None:
                damage.passed(time)
            yield time, frame
    except DataError:
        raise
    except BROKEN as error:
        if damage is not None:
            damage.add(error)
        video.mark_damaged()


def _decoded(
    video: Video, span: Span, needs: list[Need] | None, damage: Damage | None
) -> Iterator[VideoFrame]:
    if needs is None:
        for packet in video.packets(span, damage):
            try:
                frames = video.decode(packet)
            except BROKEN as error:
                if damage is None:
                    raise
                damage.add(error)
                video.mark_damaged()
                frames = []
            yield from frames
        return
    place, holds = -1, False
    for packet in video.packets(span):
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


class Pass:
    """Passes of the decoder over a clip.

    Those by stamp end at the first error; the others go on after it.

    Attributes:
        notes: defects met so far.
    """

    def __init__(self, video: Video, span: Span, size: int) -> None:
        self._video = video
        self._span = span
        self._size = size
        self._held: list[VideoFrame] | None = None
        self.notes: list[str] = []

    def stamps(self) -> list[float]:
        """Return each frame's time from the seek point to the clip's end, in decoding order."""
        found: list[float] = []
        self._held, pixels = [], 0
        damage = _damage()
        for stamp, frame in timed_frames(self._video, self._span, damage=damage):
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
        self.notes += damage.notes()
        if any(b < a for a, b in pairwise(found)):
            self.notes.append("time stamps out of order: frames taken in the decoder's order")
        return found

    def by_stamp(self, wanted: set[float], needs: list[Need] | None = None) -> dict[float, Frame]:
        """Return frames by time; none if stamps are missing or out of order on the way.

        Args:
            wanted: the times.
            needs: need of each packet, see ``Index``; None: decode all. With needs, a damaged
                frame also gives none, because FFmpeg may conceal it from frames not decoded.
        """
        kept: dict[float, Frame] = {}
        last = -np.inf
        converter = _Converter(self._video.aspect, self._size)
        for time, frame in timed_frames(self._video, self._span, needs=needs):
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
        """Return frames by their place in decoding order; call ``stamps`` before."""
        kept: dict[int, Frame] = {}
        converter = _Converter(self._video.aspect, self._size)
        damage = _damage()
        again = timed_frames(self._video, self._span, damage=damage)
        frames = self._held or (frame for _, frame in again)
        for place, frame in enumerate(frames):
            if place in wanted:
                if not self._convert(converter, frame, place, kept):
                    break
                if len(kept) == len(wanted):
                    break
        self.notes += damage.notes()
        return kept

    def _convert(
        self, converter: "_Converter", frame: VideoFrame, key: T, kept: dict[T, Frame]
    ) -> bool:
        """Convert and keep a frame; return False if that fails."""
        try:
            kept[key] = converter(frame)
        except BROKEN as error:
            self.notes.append(f"a frame cannot be converted: {error_text(error)}")
            return False
        return True


def _damage() -> Damage:
    return Damage("picture", "after the frame at")


class _Converter:
    """Converts frames of any format and size to (3, size, size) RGB."""

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
        # FFmpeg's angle is counter-clockwise, as is numpy's.
        square = np.rot90(square, k=round(frame.rotation / 90) % 4)
        return np.ascontiguousarray(square.transpose(2, 0, 1))
