"""Decoding of a clip's sound from the first sound track of a media file.

libswresample mixes and resamples, through PyAV. It takes any layout and rate that the decoder
gives (5.1, 8 kHz, a change on the way), mixes by the standard coefficients and works on the
stream as it comes; torchaudio would need whole channels in memory and a mixing rule of ours. At
equal speed its filter is steeper: of a 12 kHz tone at 48 kHz, above the band of 22,050 Hz, it
passes -36 dB, torchaudio's default -13 dB; a 9 kHz tone loses 0.0 dB instead of 0.7 dB. Mixing is
normalised, so that stereo gives (L + R) / 2, not 0.71 (L + R), the float default.

Samples are placed by their time stamps, so sound and picture stay in step: a track that starts
late starts with zeros, and a gap holds zeros. A track that ends before the clip gives a shorter
sound. An MP4 track ends where its edit list ends, within the encoder's last frame: FFmpeg 9 cuts
there, and ``_cut_at_track_end`` makes older versions give the same sound.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from av import AudioFifo, AudioResampler
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from avbench.core.errors import DataError
from avbench.core.types import SoundState
from avbench.data.media.container import BROKEN, Allowance, error_text, open_media, origin, packets
from avbench.data.media.tar_members import sound_of

SILENCE = 1e-4
"""Peak amplitude below which a clip is silent: three steps of 16-bit sound, -80 dB."""

PREROLL = 0.25
"""Seconds decoded before a clip, so that codecs with memory (AAC, Opus) have settled."""

GAP = 0.05
"""Seconds between a stamp and the sample count above which it is a gap, not jitter."""

BLOCK = 1 << 15
"""Samples resampled at once; decoders give some hundreds at a time."""

SLOWEST = 1000
"""Hz, at least: no sound has a lower rate, and resampling one would take unbounded memory."""

HOLE = 3600.0
"""Seconds of a gap, at most; the sound after a longer one is left out."""

MIXING = {"rematrix_maxval": "1.0"}
"""Option of libswresample that scales the mixing coefficients to a sum of at most one."""

Samples = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """The decoded sound of a clip."""

    samples: Samples
    """Mono, (S,); empty if there is no sound or it cannot be decoded."""
    state: SoundState
    notes: tuple[str, ...] = ()
    """Defects of the sound, or the reason why it cannot be decoded."""


def read_sound(
    path: Path,
    *,
    start: float | None,
    end: float | None,
    rate: int,
    threads: int = 1,
    allowance: Allowance | None = None,
) -> Sound:
    """Decode the sound of a clip, mono at ``rate``.

    A clip after the end of its file's sound is SILENT, not ABSENT, because there is a track.

    Args:
        path: the media file.
        start: seconds from the file's own start; None: its start.
        end: seconds; None: the end of the sound.
        rate: Hz.
        threads: threads of the decoder.
        allowance: time limit; None: the default.

    Raises:
        MediaError: the file cannot be opened, or takes too long. No other defect raises.
    """
    allowance = allowance or Allowance()
    separate = sound_of(path)
    if separate is not None:  # a re-encoded clip of a shard
        (path, end), start = separate, None
    with open_media(path, allowance) as container:
        if not container.streams.audio:
            return Sound(samples=_empty(), state=SoundState.ABSENT)
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            why = "there is no decoder for the sound track"
            return Sound(samples=_empty(), state=SoundState.UNDECODABLE, notes=(why,))
        stream.codec_context.thread_count = threads
        collector = _Collector(rate, *_limits(container, start, end))
        notes = _decode(container, stream, collector, start or 0.0, path, allowance)
        try:
            samples = collector.result()
        except BROKEN as error:
            samples = _empty()
            notes.append(f"the sound cannot be resampled: {error_text(error)}")
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        notes.append("samples that are no numbers were set to zero")
    if not collector.decoded and notes:
        return Sound(samples=_empty(), state=SoundState.UNDECODABLE, notes=tuple(notes))
    silent = samples.size == 0 or float(np.abs(samples).max()) < SILENCE
    if samples.size == 0:
        notes.append("the sound track has no samples in the clip")
    state = SoundState.SILENT if silent else SoundState.PRESENT
    return Sound(samples=samples, state=state, notes=tuple(notes))


def _empty() -> Samples:
    return np.zeros(0, dtype=np.float32)


def _limits(
    container: InputContainer, start: float | None, end: float | None
) -> tuple[float, float]:
    """Return the clip's interval from the file's start, at most 1 s past the stated end."""
    stated = math.inf if container.duration is None else container.duration / 1e6 + 1.0
    return max(start or 0.0, 0.0), min(math.inf if end is None else end, stated)


def _decode(
    container: InputContainer,
    stream: AudioStream,
    collector: "_Collector",
    start: float,
    path: Path,
    allowance: Allowance,
) -> list[str]:
    """Hand the clip's frames to the collector up to the first error, and return a note of it."""
    zero, tick = origin(container), float(stream.time_base or 0)
    time = None
    try:
        if start > PREROLL and tick:
            # Twice as far: after a seek, FFmpeg 9 gives no frame that has not settled.
            target = int((start - 2 * PREROLL + zero) / tick)
            container.seek(target, stream=stream, backward=True)
        coded = packets(container, stream, path, allowance)
        frames = (frame for packet in coded for frame in packet.decode())
        for frame in _cut_at_track_end(frames, container, stream):
            time = None if frame.time is None else frame.time - zero
            if not collector.add(frame, time):
                return []
    except DataError:
        raise
    except BROKEN as error:
        where = "at once" if time is None else f"after {time:.2f} s"
        return [f"the sound breaks {where}: {error_text(error)}"]
    return []


def _cut_at_track_end(
    frames: Iterator[AudioFrame], container: InputContainer, stream: AudioStream
) -> Iterator[AudioFrame]:
    """Yield frames, the last one without the padding that lies after the end of an MP4 track."""
    last: AudioFrame | None = None
    try:
        for frame in frames:
            if last is not None:
                yield last
            last = frame
    except BROKEN:
        if last is not None:
            yield last
        raise
    if last is None:
        return
    end = stream.duration if "mp4" in container.format.name.split(",") else None
    if end is not None and last.pts is not None and stream.time_base:
        kept = round((end - last.pts) * float(stream.time_base) * last.sample_rate)
        if 0 < kept < last.samples:
            last = _shorten(last, kept)
    yield last


def _shorten(frame: AudioFrame, samples: int) -> AudioFrame:
    width = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    kept: NDArray[Any] = np.ascontiguousarray(frame.to_ndarray()[:, :width])
    short = AudioFrame.from_ndarray(kept, format=frame.format.name, layout=frame.layout.name)
    short.sample_rate, short.pts, short.time_base = frame.sample_rate, frame.pts, frame.time_base
    return short


class _Collector:
    """Collects decoded frames as mono sound, each contiguous run placed by its time."""

    def __init__(self, rate: int, low: float, high: float) -> None:
        self.decoded = False
        self._rate = rate
        self._low = low
        self._high = high
        self._runs: list[tuple[float, list[Samples]]] = []
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._waiting = AudioFifo()
        self._next = 0.0

    def add(self, frame: AudioFrame, time: float | None) -> bool:
        """Add a frame; return False once the clip is complete.

        Raises:
            ValueError: its rate or its time is impossible.
        """
        if frame.sample_rate < SLOWEST:
            raise ValueError(f"a sample rate of {frame.sample_rate} Hz")
        time = self._next if time is None else time
        if time >= self._high:
            self.decoded = True
            return False
        if time > max(self._next, self._low) + HOLE:
            raise ValueError(f"a gap up to {time:.0f} s")
        self.decoded = True
        length = frame.samples / frame.sample_rate
        if time + length <= self._low - PREROLL:
            return True
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form or abs(time - self._next) > GAP:
            self._finish()
            self._form = form
            self._resampler = AudioResampler("fltp", "mono", self._rate, options=MIXING)
            self._runs.append((time, []))
            self._next = time
        frame.pts = None  # the resampler counts samples; this class judges the stamps
        self._waiting.write(frame)
        if self._waiting.samples >= BLOCK:
            self._resample(self._waiting.read())
        self._next += length
        return True

    def result(self) -> Samples:
        """Return the sound from the clip's start to the last sample within it."""
        self._finish()
        runs = [
            (round((t - self._low) * self._rate), np.concatenate(r)) for t, r in self._runs if r
        ]
        ends = [at + len(samples) for at, samples in runs]
        size = max([0, *ends])
        if math.isfinite(self._high):
            size = min(size, round((self._high - self._low) * self._rate))
        sound = np.zeros(max(size, 0), dtype=np.float32)
        for at, samples in runs:
            piece = samples[max(0, -at) : max(0, size - at)]
            sound[max(0, at) : max(0, at) + len(piece)] = piece
        return sound

    def _resample(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            self._runs[-1][1].append(out.to_ndarray()[0].copy())

    def _finish(self) -> None:
        if self._resampler is not None:
            if self._waiting.samples:
                self._resample(self._waiting.read())
            self._resample(None)
            self._resampler = None
            self._waiting = AudioFifo()
