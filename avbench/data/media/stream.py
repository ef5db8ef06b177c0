"""Passes over the first video stream of a file: time stamps without decoding, and decoding."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from avbench.core.errors import DataError
from avbench.data.media.container import (
    BROKEN,
    MOST_PIXELS,
    Allowance,
    Loss,
    MediaError,
    opened,
    origin,
    packets,
)
from avbench.data.media.packets import Index, Need

DEFAULT_INTERVAL = 0.04
"""Seconds that a frame is taken to last where the file does not say."""

PLAIN = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers that state when each frame is shown, and that can be read again from their first
packet; others (AVI) leave the former to be guessed, and are opened anew for the latter."""

REFERRING = ("h264", "hevc", "mpeg4", "vp8", "vp9")
"""Codecs that make one frame of a packet and tell which frames others refer to."""

START = -(2**62)
"""A stamp before every other, in any clock."""

Skip = Literal["DEFAULT", "NONREF"]
"""FFmpeg's names for what a decoder skips."""

SQUARE = 4.0
"""How many times as wide as high, or as high as wide, a pixel may be; else it counts as square."""


@dataclass(frozen=True, slots=True)
class Span:
    """A clip, in seconds from the file's own start, and where reading for it begins."""

    low: float
    high: float
    back: float | None
    """Seek to so many seconds before the clip; None: read from the file's beginning."""


class Video:
    """The first video stream of a file, open for several passes.

    Used as a context manager: the file is closed at its end.

    Attributes:
        interval: how long a frame lasts by the stream's average rate, seconds.
        duration: the end of the picture as the header states it, seconds.
    """

    def __init__(self, path: Path, threads: int, allowance: Allowance | None = None) -> None:
        self._path = path
        self._threads = threads
        self._allowance = allowance or Allowance()
        self._files = ExitStack()
        self._used = self._damaged = False
        self._zero = self._tick = 0.0
        self._skip: Skip = "DEFAULT"
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
        if self._damaged or (self._used and target <= 0 and not self._rewound()):
            self._files.close()
            self._open()
        self._used = True
        if target > 0 and self._tick:
            place = int((target + self._zero) / self._tick)
            self._container.seek(place, stream=self._stream, backward=True)
        yield from packets(self._container, self._stream, self._path, self._allowance)

    def economical(self, index: Index) -> bool:
        """Whether the stamps of packets tell which of them a frame needs.

        They do not where a codec or container is none of those known to tell, or frames are
        decoded in another order than they are shown in and the stamps do not say so.
        """
        context = self._stream.codec_context
        return (
            index.trusted
            and self._container.format.name in PLAIN
            and context.codec.canonical_name in REFERRING
            and (index.reordered() or not context.has_b_frames)
        )

    def decode(self, packet: Any, need: Need = Need.FRAME) -> list[VideoFrame]:
        """The frames that are ready once a packet is decoded."""
        skip: Skip = "NONREF" if need is Need.REFERENCE else "DEFAULT"
        if skip != self._skip:
            self._stream.codec_context.skip_frame = self._skip = skip
        frames: list[VideoFrame] = packet.decode()
        return frames

    def drain(self) -> list[VideoFrame]:
        """The frames that the decoder still holds; it is ready for a key frame then."""
        context = self._stream.codec_context
        frames: list[VideoFrame] = context.decode(None)
        context.flush_buffers()
        return frames

    def damaged(self) -> None:
        """Say that a pass met an error: the next one opens the file anew."""
        self._damaged = True

    def seconds(self, stamp: int) -> float:
        """A stamp of the stream's clock in seconds from the file's own start."""
        return stamp * self._tick - self._zero

    def length(self, ticks: int) -> float:
        """A duration of the stream's clock in seconds."""
        return ticks * self._tick

    @property
    def aspect(self) -> float:
        """Width over height of a pixel."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        return aspect if 1 / SQUARE <= aspect <= SQUARE else 1.0

    def _rewound(self) -> bool:
        """Go back to the first packet; False where that cannot be."""
        if self._container.format.name not in PLAIN:
            return False
        try:
            self._container.seek(START, stream=self._stream, backward=True)
        except BROKEN:
            return False
        return True

    def _open(self) -> None:
        self._container = self._files.enter_context(opened(self._path, self._allowance))
        self._skip = "DEFAULT"
        self._stream = stream = _first(self._container, self._path, self._threads)
        self._used = self._damaged = False
        self._zero, self._tick = origin(self._container), float(stream.time_base or 0)
        if stream.average_rate:
            self.interval = 1 / float(stream.average_rate)
        if stream.duration is not None:
            self.duration = self.seconds((stream.start_time or 0) + stream.duration)
        else:
            self.duration = _tagged(stream, self._zero)


def index(video: Video, span: Span) -> Index:
    """Read the time stamps of a clip's packets."""
    stamps: list[float] = []
    durations: list[float] = []
    order: list[float] = []
    keys: list[int] = []
    whole = True
    try:
        for packet in video.packets(span):
            if packet.size == 0:
                continue
            if packet.pts is None and not packet.is_discard:
                whole = False
                break
            if (
                packet.dts is not None
                and not packet.is_discard
                and video.seconds(packet.dts) >= span.high
            ):
                break
            if packet.is_keyframe:
                keys.append(len(order))
            order.append(-np.inf if packet.pts is None else video.seconds(packet.pts))
            if not packet.is_discard:
                stamps.append(order[-1])
                durations.append(video.length(packet.duration or 0))
    except DataError:
        raise
    except BROKEN:
        video.damaged()  # decoding meets it too, and notes it
    usual = median(durations) if durations else 0.0
    return Index(
        stamps=sorted(stamps),
        interval=usual or DEFAULT_INTERVAL,
        trusted=whole and len(set(stamps)) == len(stamps),
        order=order,
        keys=keys,
    )


def _first(container: InputContainer, path: Path, threads: int) -> VideoStream:
    """The first video stream that can be decoded and is no cover picture."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            context = stream.codec_context
            if context.width * context.height > MOST_PIXELS:
                detail = f"a picture of {context.width} × {context.height} pixels"
                most = f"more than {MOST_PIXELS:,} are not decoded"
                raise MediaError(path, Loss.TOO_LARGE, f"{detail}; {most}")
            # Its size may change on the way.
            context.options = {"max_pixels": str(MOST_PIXELS)}
            context.thread_count = threads
            return stream
    raise MediaError(path, Loss.NO_VIDEO, "there is no video stream that can be decoded")


def _tagged(stream: VideoStream, zero: float) -> float | None:
    """The end of a Matroska stream by its tag ``DURATION``, which counts from the clock's zero."""
    found = re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if found is None:
        return None
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds - max(0.0, zero)
