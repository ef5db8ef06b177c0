"""Passes over the first video stream of a file: time stamps without decoding, and decoding."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from avbench.media.container import Loss, MediaError, opened, origin, reason

DEFAULT_INTERVAL = 0.04
"""Seconds that a frame is taken to last where the file does not say."""

DISORDER = 1.0
"""Seconds past the clip's end to which a pass reads on, for stamps out of order."""

BROKEN = (av.FFmpegError, OSError, ValueError, MemoryError)
"""What decoding damaged data raises."""

Frame = NDArray[np.uint8]
"""One frame as the model reads it: (3, size, size), RGB."""


@dataclass(frozen=True, slots=True)
class Span:
    """A clip, in seconds from the file's own start, and where reading for it begins."""

    low: float
    high: float
    back: float | None
    """Seek to so many seconds before the clip; None: read from the file's beginning."""


@dataclass(frozen=True, slots=True)
class Index:
    """What the packets say of a clip's frames, nothing decoded."""

    stamps: list[float]
    """From the seek point to the clip's end, seconds, ascending."""
    interval: float
    """How long a frame lasts, seconds."""
    trusted: bool
    """Whether every packet has a stamp of its own."""


class Video:
    """The first video stream of a file, open for several passes.

    Used as a context manager: the file is closed at its end.

    Attributes:
        interval: how long a frame lasts by the stream's average rate, seconds.
        duration: the end of the picture as the header states it, seconds.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._files = ExitStack()
        self._used = self._damaged = False
        self._zero = self._tick = 0.0
        self.interval = DEFAULT_INTERVAL
        self.duration: float | None = None

    def __enter__(self) -> "Video":
        try:
            self._open()
        except BaseException:
            self._files.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def packets(self, span: Span) -> Iterator[Any]:
        """The packets from the point where reading for a clip begins, to the file's end."""
        target = span.low - span.back if span.back is not None else -1.0
        if self._damaged or (self._used and target <= 0):
            self._files.close()
            self._open()
        self._used = True
        if target > 0 and self._tick:
            place = int((target + self._zero) / self._tick)
            self._container.seek(place, stream=self._stream, backward=True)
        yield from self._container.demux(self._stream)

    def damaged(self) -> None:
        """Say that a pass met an error: the next one opens the file anew."""
        self._damaged = True

    def seconds(self, stamp: int) -> float:
        """A stamp of the stream's clock in seconds from the file's own start."""
        return stamp * self._tick - self._zero

    def length(self, ticks: int) -> float:
        """A duration of the stream's clock in seconds."""
        return ticks * self._tick

    def converter(self, size: int) -> "_Converter":
        """What makes the stream's frames what the model reads."""
        return _Converter(self._stream, size)

    def _open(self) -> None:
        self._container = self._files.enter_context(opened(self._path))
        self._stream = stream = _first(self._container, self._path, self._threads)
        self._used = self._damaged = False
        self._zero, self._tick = origin(self._container), float(stream.time_base or 0)
        if stream.average_rate:
            self.interval = 1 / float(stream.average_rate)
        if stream.duration is not None:
            self.duration = self.seconds((stream.start_time or 0) + stream.duration)


def index(video: Video, span: Span) -> Index:
    """Read the time stamps of a clip's packets."""
    stamps, durations, whole = [], [], True
    try:
        for packet in video.packets(span):
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.pts is None:
                whole = False
                break
            if packet.dts is not None and video.seconds(packet.dts) >= span.high:
                break
            stamps.append(video.seconds(packet.pts))
            durations.append(video.length(packet.duration or 0))
    except BROKEN:
        video.damaged()  # decoding meets it too, and notes it
    usual = median(durations) if durations else 0.0
    trusted = whole and len(set(stamps)) == len(stamps)
    return Index(sorted(stamps), usual or DEFAULT_INTERVAL, trusted)


class Pass:
    """Passes of the decoder over a clip, each up to the first error.

    Attributes:
        notes: what was met on the way.
    """

    def __init__(self, video: Video, span: Span, size: int) -> None:
        self._video = video
        self._span = span
        self._size = size
        self.notes: list[str] = []

    def stamps(self) -> list[float]:
        """The time of every frame from the seek point to the clip's end, in decoding order."""
        found: list[float] = []
        for stamp, _ in self._frames():
            time = stamp
            if time is None:
                time = found[-1] + self._video.interval if found else 0.0
            found.append(time)
            if time >= self._span.high + DISORDER:
                break
        if any(b < a for a, b in pairwise(found)):
            self.notes.append("time stamps out of order: frames taken in the decoder's order")
        return found

    def by_stamp(self, wanted: set[float]) -> dict[float, Frame]:
        """Frames by their time; none where stamps are missing or out of order on the way."""
        kept: dict[float, Frame] = {}
        last = -np.inf
        for time, convert in self._frames():
            if time is None or time <= last:
                return {}
            last = time
            if time in wanted:
                kept[time] = convert()
                if len(kept) == len(wanted):
                    break
        return kept

    def by_place(self, wanted: set[int]) -> dict[int, Frame]:
        """Frames by their place in decoding order."""
        kept: dict[int, Frame] = {}
        for place, (_, convert) in enumerate(self._frames()):
            if place in wanted:
                kept[place] = convert()
                if len(kept) == len(wanted):
                    break
        return kept

    def _frames(self) -> Iterator[tuple[float | None, Callable[[], Frame]]]:
        video, converter, time = self._video, self._video.converter(self._size), None
        try:
            for packet in video.packets(self._span):
                for frame in packet.decode():
                    time = None if frame.pts is None else video.seconds(frame.pts)
                    yield time, partial(converter, frame)
        except BROKEN as error:
            video.damaged()
            where = "at once" if time is None else f"after the frame at {time:.2f} s"
            self.notes.append(f"the picture breaks {where}: {reason(error)}")


class _Converter:
    """Frames of any format and size to (3, size, size) RGB."""

    def __init__(self, stream: VideoStream, size: int) -> None:
        self._size = size
        self._aspect = float(stream.sample_aspect_ratio or 1)
        # One for all frames: it keeps swscale's tables.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frame:
        size = self._size
        width, height = frame.width * self._aspect, float(frame.height)
        scale = size / min(width, height)
        width, height = max(size, round(width * scale)), max(size, round(height * scale))
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


def _first(container: InputContainer, path: Path, threads: int) -> VideoStream:
    """The first video stream that can be decoded and is no cover picture."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = threads
            return stream
    raise MediaError(path, Loss.NO_VIDEO, "there is no video stream that can be decoded")
