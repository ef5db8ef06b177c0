"""Re-encoding of a clip of any media file as a small H.264 MP4 and a separate sound file.

Every frame of the clip is kept with its time, so that the model's frames are chosen among the
same ones. Times are those of the source in its own clock, counted from the clip's first frame.
The frame after the clip is kept too, because it gives the duration of the last one. The picture
is turned upright; its short side shrinks to ``short_side``, never grows, and pixels keep their
shape. Sound is mono at the rate that the spectrogram needs.

One thread encodes, so that equal input gives equal bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from avbench.core.errors import DataError
from avbench.core.numbers import Number
from avbench.core.types import SoundState
from avbench.data.media.audio import Samples, read_sound
from avbench.data.media.container import (
    BROKEN,
    CLIP_SECONDS,
    Allowance,
    LostReason,
    MediaError,
    error_text,
)
from avbench.data.media.decoder_pass import SLIM, Pass, timed_frames
from avbench.data.media.demuxing import Damage
from avbench.data.media.sampling import EPSILON, Timeline
from avbench.data.media.stream import Span, Video
from avbench.data.media.video import check_interval, cut, end_notes, no_frame_reason, scan

CLOCK = 90_000
"""Ticks a second if the source's clock does not suit MP4."""

FINEST = 1_000_000
"""Ticks a second of MP4's clock, at most."""

BLOCK = 4096
"""Samples handed to the encoder at once."""

LEAST = 16
"""Pixels of a side, at least; a smaller one is enlarged to it."""

GROUP = 60
"""Frames from one key frame to the next, at most."""

AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast",
    "medium", "slow", "slower", "veryslow",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """Encoding of clips in shards. Every option changes the shards' bytes."""

    recode: bool = True
    """False: whole source files are copied byte for byte, once for their clips in a shard."""
    short_side: Annotated[int, Number(unit="pixels", least=16, most=4320)] = 256
    """Pixels of the picture's shorter side, at most."""
    crf: Annotated[int, Number(unit="quality", least=0, most=51)] = 23
    """x264's constant rate factor: 0 is lossless, 51 the worst."""
    preset: str = "veryfast"
    """x264's preset."""
    fps: Annotated[float, Number(unit="frames a second", above=0, most=1000)] | None = None
    """Frames a second, at most; None: all of the source's."""
    sound: Literal["aac", "flac"] = "aac"
    """``flac`` is lossless at 16 bits; peaks above 1 are cut."""
    sample_rate: Annotated[int, Number(unit="Hz", least=1000, most=384000)] = 22_050
    """Hz of the sound; the spectrogram's, so that nothing is resampled twice."""
    bitrate: Annotated[int, Number(unit="kbit/s", least=8, most=512)] = 64
    """Of AAC, kbit/s."""
    clips_per_shard: Annotated[int, Number(unit="clips", least=1, most=1000000)] = 1000
    """A shard ends with the first video after so many clips."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got '{self.preset}'")
        if self.sound == "aac" and self.sample_rate not in AAC_RATES:
            raise ValueError(f"sample_rate must be one of {AAC_RATES}, got {self.sample_rate}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecodedClip:
    """A re-encoded clip."""

    video: bytes
    """MP4 without sound."""
    sound: bytes | None
    """MP4 (``aac``) or FLAC, from the clip's start to its last sample; None: no sound."""
    seconds: float
    """Length of the sound."""
    first: float
    """Start of the first frame, seconds in the source."""
    state: SoundState
    notes: tuple[str, ...]


def recode(
    path: Path,
    how: Encoding,
    *,
    start: float | None,
    end: float | None,
    seconds: float = CLIP_SECONDS,
) -> RecodedClip:
    """Encode a clip anew.

    Args:
        path: the media file.
        how: the encoding.
        start: seconds from the file's own start; None: its beginning.
        end: seconds; None: its end.
        seconds: limit of processor time, encoding included.

    Raises:
        MediaError: as of ``read_clip``, or a frame cannot be encoded.
    """
    allowance = Allowance(seconds)
    video, first, notes = _picture(path, how, start, end, allowance)
    sound = read_sound(path, start=start, end=end, rate=how.sample_rate, allowance=allowance)
    return RecodedClip(
        video=video,
        sound=_sound(sound.samples, how) if sound.samples.size else None,
        seconds=sound.samples.size / how.sample_rate,
        first=first,
        state=sound.state,
        notes=(*notes, *sound.notes),
    )


def _picture(
    path: Path, how: Encoding, start: float | None, end: float | None, allowance: Allowance
) -> tuple[bytes, float, list[str]]:
    """Return the picture as MP4, the time of its first frame, and notes of defects."""
    check_interval(path, start, end)
    with Video(path, 1, allowance) as video:
        span, timeline = scan(video, start, end)
        notes: list[str] = []
        try:
            made = None if timeline is None else _encode_by_stamps(video, span, timeline, how)
            if timeline is None or made is None:
                run = Pass(video, span, how.short_side)
                stamps = run.stamps()
                timeline, places = cut(stamps, span, video.interval)
                notes = run.notes[:]
                if timeline is None:
                    raise MediaError(
                        path, LostReason.NO_FRAME, no_frame_reason(stamps, span, notes)
                    )
                made = _encode_by_places(video, span, places, sorted(stamps), how)
        except DataError:
            raise
        except BROKEN as error:
            why = f"a frame cannot be converted or encoded: {error_text(error)}"
            raise MediaError(path, LostReason.NO_FRAME, why) from error
        if made is None:
            raise MediaError(path, LostReason.NO_FRAME, "decoding it twice gave different frames")
        return made, timeline.times[0], [*notes, *end_notes(timeline, span, video)]


def _encode_by_stamps(video: Video, span: Span, timeline: Timeline, how: Encoding) -> bytes | None:
    """Encode the clip by its packets' stamps, in one pass; None: decoding does not match them."""
    writer, left, last = _Writer(how, video), set(timeline.times), -np.inf
    for time, frame in timed_frames(video, span):
        if time is None or time <= last:
            return None
        last = time
        if time in left or (not left and time > timeline.times[-1]):
            writer.add(frame, time)
        if not left:
            break
        left.discard(time)
        if not left and span.high == np.inf:
            break
    return None if left else writer.close()


def _encode_by_places(
    video: Video, span: Span, places: Sequence[int], times: Sequence[float], how: Encoding
) -> bytes | None:
    """Encode the clip by its frames' places in decoding order; None: frames are missing."""
    writer, last = _Writer(how, video), places[-1]
    damage = Damage("picture")  # noted before
    for place, (_, frame) in enumerate(timed_frames(video, span, damage=damage)):
        if place >= places[0] and place < len(times):
            writer.add(frame, times[place])
        if place > last:
            break
    whole = writer.frames >= len(places) or (how.fps is not None and writer.frames > 0)
    return writer.close() if whole else None


class _Writer:
    """Encodes frames with their times as MP4.

    Attributes:
        frames: number of frames encoded.
    """

    def __init__(self, how: Encoding, video: Video) -> None:
        self.frames = 0
        self._how = how
        self._clock = _clock(video.length(1))
        self._buffer = BytesIO()
        self._file: OutputContainer | None = None
        self._reformatter = VideoReformatter()
        self._first = self._last = 0.0
        self._aspect = video.aspect

    def add(self, frame: VideoFrame, time: float) -> None:
        """Encode a frame; times ascend."""
        if self._file is None:
            self._first = self._last = time
            self._open(frame)
        elif self._how.fps is not None and time - self._last < 1 / self._how.fps - EPSILON:
            return
        self._last = time
        self.frames += 1
        small = self._resize(frame)
        small.pts = round((time - self._first) / self._clock)
        small.time_base = self._clock
        small.pict_type = PictureType.NONE  # the source's choice is not the encoder's
        self._mux(self._stream.encode(small))

    def close(self) -> bytes:
        """Return the file; no frame may follow."""
        assert self._file is not None, "no frame was added"
        self._mux(self._stream.encode(None))
        self._file.close()
        return self._buffer.getvalue()

    def _open(self, frame: VideoFrame) -> None:
        how, turned = self._how, round(frame.rotation / 90) % 4
        shape = Fraction(self._aspect).limit_denominator(1000)
        # The short side on the screen; pixels keep their shape.
        scale = min(1.0, how.short_side / min(frame.width * self._aspect, frame.height))
        most = SLIM * how.short_side
        # H.264 in 4:2:0 needs even sides.
        self._size = tuple(
            min(max(LEAST, 2 * round(side * scale / 2)), most)
            for side in (frame.width, frame.height)
        )
        self._file = av.open(self._buffer, "w", format="mp4")
        stream = self._stream = self._file.add_stream("libx264", rate=30)
        across, down = self._size if turned % 2 == 0 else self._size[::-1]
        stream.width, stream.height, stream.pix_fmt = across, down, "yuv420p"
        stream.gop_size = GROUP
        stream.thread_count = 1  # more threads would give other bytes on other machines
        # With mbtree, x264 gives other bytes each time where a processor has AVX-512.
        quality = {"preset": how.preset, "crf": str(how.crf)}
        stream.options = {**quality, "x264-params": "mbtree=0"}
        context = stream.codec_context
        context.time_base = self._clock
        context.sample_aspect_ratio = shape if turned % 2 == 0 else 1 / shape
        # Colour metadata, which players and swscale would otherwise guess.
        context.colorspace, context.color_range = frame.colorspace, ColorRange.MPEG
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc

    def _resize(self, frame: VideoFrame) -> VideoFrame:
        width, height = self._size
        turned = round(frame.rotation / 90) % 4
        small = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24" if turned else "yuv420p",
            dst_color_range=None if turned else ColorRange.MPEG,
            interpolation=Interpolation.BILINEAR,
            threads=1,
        )
        if turned:
            upright = np.ascontiguousarray(np.rot90(small.to_ndarray(), k=turned), dtype=np.uint8)
            upright_frame = VideoFrame.from_ndarray(upright, format="rgb24")
            small = upright_frame.reformat(format="yuv420p", dst_color_range=ColorRange.MPEG)
        return small

    def _mux(self, packets: Iterable[Any]) -> None:
        assert self._file is not None
        for packet in packets:
            self._file.mux(packet)


def _clock(tick: float) -> Fraction:
    """Return the source's clock if MP4 can count it, so that times stay exact, else CLOCK's."""
    exact = Fraction(tick).limit_denominator(FINEST) if tick else Fraction(1, CLOCK)
    if exact and abs(float(exact) - tick) < 1e-15:
        return Fraction(1, exact.denominator)
    return Fraction(1, CLOCK)


def _sound(samples: Samples, how: Encoding) -> bytes:
    """Encode mono sound as a file."""
    buffer = BytesIO()
    form, layout = ("fltp", "mp4") if how.sound == "aac" else ("s16", "flac")
    if how.sound == "flac":
        samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    with av.open(buffer, "w", format=layout) as out:
        stream = out.add_stream(how.sound, rate=how.sample_rate, layout="mono")
        stream.codec_context.thread_count = 1
        if how.sound == "aac":
            stream.bit_rate = 1000 * how.bitrate
        for first in range(0, len(samples), BLOCK):
            block = AudioFrame.from_ndarray(samples[None, first : first + BLOCK], form, "mono")
            block.sample_rate, block.pts = how.sample_rate, first
            block.time_base = Fraction(1, how.sample_rate)
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    return buffer.getvalue()
