"""The first video stream of a file: passes over its time stamps, and decoding."""

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
    PLAIN,
    Allowance,
    LostReason,
    MediaError,
    late_end_notes,
    open_media,
    origin,
    stated_end,
)
from avbench.data.media.demuxing import Damage, packets
from avbench.data.media.packets import Index, Need
from avbench.data.media.restarts import is_joined, may_restart

DEFAULT_INTERVAL = 0.04
"""Duration of a frame, seconds, if the file states none."""

REFERRING = ("h264", "hevc", "mpeg4", "vp8", "vp9")
"""Codecs that make one frame of a packet and mark the frames that others refer to."""

START = -(2**62)
"""A stamp before every other, in any clock."""

Skip = Literal["DEFAULT", "NONREF"]
"""FFmpeg's names for the frames that a decoder skips."""

SQUARE = 4.0
"""Aspect ratio of a pixel, at most, either way; a pixel beyond it counts as square."""


@dataclass(frozen=True, slots=True)
class Span:
    """A clip's interval, seconds from the file's own start, and the start of reading for it."""

    low: float
    high: float
    back: float | None
    """Seconds before the clip to seek to; None: read from the file's beginning."""


class Video:
    """The first video stream of a file, open for several passes.

    A context manager, which closes the file.

    Attributes:
        interval: duration of a frame by the stream's average rate, seconds.
        duration: end of the picture by the header, seconds; None: not stated.
    """

    def __init__(self, path: Path, threads: int, allowance: Allowance | None = None) -> None:
        self._path = path
        self._threads = threads
        self._allowance = allowance or Allowance()
        self._files = ExitStack()
        self._was_read = self._damaged = False
        self._zero = self._tick = 0.0
        self._skip: Skip = "DEFAULT"
        self.interval = DEFAULT_INTERVAL
        self.duration: float | None = None
        self._stated: float | None = None

    def __enter__(self) -> "Video":
        try:
            self._open()
        except BaseException:
            self._files.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def packets(self, span: Span, damage: Damage | None = None) -> Iterator[Any]:
        """Yield the packets from the start of reading for a clip to the file's end.

        Args:
            span: the clip.
            damage: takes the errors of demuxing; None: the first one is raised.
        """
        target = span.low - span.back if span.back is not None else -1.0
        if target > 0 and may_restart(self._container) and is_joined(self._path):
            target = -1.0
        if self._damaged or (self._was_read and target <= 0 and not self._rewind()):
            self._files.close()
            self._open()
        self._was_read = True
        if target > 0 and self._tick:
            place = int((target + self._zero) / self._tick)
            self._container.seek(place, stream=self._stream, backward=True)
        yield from packets(self._container, self._stream, self._path, self._allowance, damage)

    def can_skip_packets(self, index: Index) -> bool:
        """Return True if the packets' stamps tell which packets a frame needs.

        They do not for unknown codecs and containers, nor if frames are shown in another order
        than they are decoded in and the stamps do not reflect it.
        """
        context = self._stream.codec_context
        return (
            index.trusted
            and self._container.format.name in PLAIN
            and context.codec.canonical_name in REFERRING
            and (index.reordered() or not context.has_b_frames)
        )

    def decode(self, packet: Any, need: Need = Need.FRAME) -> list[VideoFrame]:
        """Decode a packet, and return the frames that are ready."""
        skip: Skip = "NONREF" if need is Need.REFERENCE else "DEFAULT"
        if skip != self._skip:
            self._stream.codec_context.skip_frame = self._skip = skip
        frames: list[VideoFrame] = packet.decode()
        return frames

    def drain(self) -> list[VideoFrame]:
        """Return the frames that the decoder still holds, and make it ready for a key frame."""
        context = self._stream.codec_context
        frames: list[VideoFrame] = context.decode(None)
        context.flush_buffers()
        return frames

    def mark_damaged(self) -> None:
        """Note that a pass met an error, so that the next one opens the file anew."""
        self._damaged = True

    def seconds(self, stamp: int) -> float:
        """Convert a stamp of the stream's clock to seconds from the file's own start."""
        return stamp * self._tick - self._zero

    def length(self, ticks: int) -> float:
        """Convert a duration of the stream's clock to seconds."""
        return ticks * self._tick

    def late_end_notes(self, end: float) -> list[str]:
        """Return a note if the picture ends after the length that the header states."""
        return late_end_notes(self._stated, "picture", end)

    @property
    def aspect(self) -> float:
        """Width over height of a pixel."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        return aspect if 1 / SQUARE <= aspect <= SQUARE else 1.0

    def _rewind(self) -> bool:
        """Seek to the first packet; return False if that is impossible."""
        if self._container.format.name not in PLAIN:
            return False
        try:
            self._container.seek(START, stream=self._stream, backward=True)
        except BROKEN:
            return False
        return True

    def _open(self) -> None:
        self._container = self._files.enter_context(open_media(self._path, self._allowance))
        self._skip = "DEFAULT"
        self._stream = stream = first_stream(self._container, self._path, self._threads)
        self._was_read = self._damaged = False
        self._zero, self._tick = origin(self._container), float(stream.time_base or 0)
        self._stated = stated_end(self._container)
        if stream.average_rate:
            self.interval = 1 / float(stream.average_rate)
        if stream.duration is not None:
            self.duration = self.seconds((stream.start_time or 0) + stream.duration)
        else:
            self.duration = _matroska_end(stream, self._zero)


def index(video: Video, span: Span) -> Index:
    """Read the time stamps of a clip's packets."""
    stamps: list[float] = []
    durations: list[float] = []
    order: list[float] = []
    keys: list[int] = []
    whole, damage = True, Damage("picture")
    try:
        for packet in video.packets(span, damage):
            if packet.size == 0:
                continue
            if damage.count:  # the picture goes on after a hole
                whole = False
                break
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
    except BROKEN as error:
        damage.add(error)
    if damage.count:
        video.mark_damaged()  # decoding meets the error too, and notes it
    usual = median(durations) if durations else 0.0
    return Index(
        stamps=sorted(stamps),
        interval=usual or DEFAULT_INTERVAL,
        trusted=whole and len(set(stamps)) == len(stamps),
        order=order,
        keys=keys,
    )


def first_stream(container: InputContainer, path: Path, threads: int) -> VideoStream:
    """Return the first video stream that can be decoded and is no cover picture.

    Raises:
        MediaError: NO_VIDEO or TOO_LARGE.
    """
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            context = stream.codec_context
            if context.width * context.height > MOST_PIXELS:
                detail = f"a picture of {context.width} × {context.height} pixels"
                most = f"more than {MOST_PIXELS:,} are not decoded"
                raise MediaError(path, LostReason.TOO_LARGE, f"{detail}; {most}")
            # The size may change within the stream.
            context.options = {"max_pixels": str(MOST_PIXELS)}
            context.thread_count = threads
            return stream
    raise MediaError(path, LostReason.NO_VIDEO, "there is no video stream that can be decoded")


def _matroska_end(stream: VideoStream, zero: float) -> float | None:
    """Return the end of a Matroska stream by its tag ``DURATION``, which counts from zero."""
    found = re.fullmatch(r"(\d{1,4}):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if found is None:
        return None
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds - max(0.0, zero)
