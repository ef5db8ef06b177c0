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
from collections.abc import Iterable, Iterator
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
from avbench.data.media.container import (
    BROKEN,
    Allowance,
    error_text,
    late_end_notes,
    open_media,
    origin,
    stated_end,
)
from avbench.data.media.demuxing import Damage, packets
from avbench.data.media.restarts import is_joined, may_restart
from avbench.data.media.tar_members import sound_of

SILENCE = 1e-4
"""Peak amplitude below which a clip is silent: three steps of 16-bit sound, -80 dB."""

QUIET = 0.02
"""Peak amplitude of a mix, -34 dB, below which its channels are compared with it."""

CANCELLED = 0.03
"""Amplitude of a mix over that of its loudest channel, -30 dB, below which they cancel."""

PREROLL = 0.25
"""Seconds decoded before a clip, so that codecs with memory (AAC, Opus) have settled."""

GAP = 0.05
"""Seconds between a stamp and the sample count above which it is a gap, not jitter."""

BLOCK = 1 << 15
"""Samples resampled at once; decoders give some hundreds at a time."""

SLOWEST = 1000
"""Hz, at least: no sound has a lower rate, and resampling one would take unbounded memory."""

HOLE = 3600.0
"""Seconds of all gaps of a clip, at most; a frame after a longer one is left out."""

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
        context = container.streams.audio[0].codec_context
        if context is None:
            why = "there is no decoder for the sound track"
            return Sound(samples=_empty(), state=SoundState.UNDECODABLE, notes=(why,))
        context.thread_count = threads
        several = context.channels > 1
        mixed = _Collector(rate, start, end)
        samples, notes = _read_track(container, mixed, path, allowance)
    if several and samples.size and float(np.abs(samples).max()) < QUIET:
        with open_media(path, allowance) as container:
            container.streams.audio[0].codec_context.thread_count = threads
            apart = _Collector(rate, start, end, mix=False)
            channels, _ = _read_track(container, apart, path, allowance)
        samples, found = _uncancelled(samples, channels)
        notes += found
    if not samples.size and notes:
        return Sound(samples=_empty(), state=SoundState.UNDECODABLE, notes=tuple(notes))
    if not samples.size:
        notes.append("the sound track has no samples in the clip")
    silent = float(np.abs(samples).max(initial=0.0)) < SILENCE
    state = SoundState.SILENT if silent else SoundState.PRESENT
    return Sound(samples=samples[0], state=state, notes=tuple(notes))


def _empty() -> Samples:
    return np.zeros(0, dtype=np.float32)


def _uncancelled(mixed: Samples, channels: Samples) -> tuple[Samples, list[str]]:
    """Return the mix, or the loudest channel and a note if the channels cancel in the mix.

    Args:
        mixed: (1, S).
        channels: (C, S).
    """
    power = np.square(channels, dtype=np.float64).sum(axis=1)
    loudest = int((power >= 0.9 * power.max()).argmax())  # the first of those about as loud
    left = float(np.square(mixed, dtype=np.float64).sum())
    heard = float(np.abs(channels[loudest]).max(initial=0.0)) >= SILENCE
    if not heard or left >= CANCELLED**2 * power[loudest]:
        return mixed, []
    why = f"the channels cancel each other in the mix: channel {loudest + 1} is used alone"
    return channels[loudest : loudest + 1], [why]


def _read_track(
    container: InputContainer, collector: "_Collector", path: Path, allowance: Allowance
) -> tuple[Samples, list[str]]:
    """Return the channels of the clip's sound, (C, S), and notes of defects."""
    notes = _decode(container, container.streams.audio[0], collector, path, allowance)
    try:
        samples = collector.result()
    except BROKEN as error:
        return _empty()[None], [*notes, f"the sound cannot be resampled: {error_text(error)}"]
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        notes.append("samples that are no numbers were set to zero")
    if samples.size:
        notes += late_end_notes(stated_end(container), "sound", collector.end(samples))
    return samples, notes


def _decode(
    container: InputContainer,
    stream: AudioStream,
    collector: "_Collector",
    path: Path,
    allowance: Allowance,
) -> list[str]:
    """Hand the clip's frames to the collector, past damaged ones, and return a note of these."""
    zero, tick, damage = origin(container), float(stream.time_base or 0), Damage("sound")
    start = collector.low
    try:
        if start > PREROLL and tick and not (may_restart(container) and is_joined(path)):
            # Twice as far: after a seek, FFmpeg 9 gives no frame that has not settled.
            target = int((start - 2 * PREROLL + zero) / tick)
            container.seek(target, stream=stream, backward=True)
        coded = packets(container, stream, path, allowance, damage)
        frames = _frames(coded, zero, damage)
        for frame, hole in _cut_at_track_end(frames, container, stream):
            time = None if frame.time is None else frame.time - zero
            try:
                if not collector.add(frame, time, hole=hole):
                    break
            except BROKEN as error:
                damage.add(error)
    except DataError:
        raise
    except BROKEN as error:
        damage.add(error)
    return damage.notes()


def _frames(
    coded: Iterable[Any], zero: float, damage: Damage
) -> Iterator[tuple[AudioFrame, bool]]:
    """Yield the frames that decode, each with True if sound may be missing right before it."""
    begun = hole = False
    try:
        for packet in coded:
            try:
                frames = packet.decode()
            except BROKEN as error:
                damage.add(error)
                frames = []
            # Some decoders drop a damaged packet without a word.
            hole |= begun and not frames
            for frame in frames:
                damage.passed(None if frame.time is None else frame.time - zero)
                yield frame, hole
                begun, hole = True, False
    except DataError:
        raise
    except BROKEN as error:
        damage.add(error)


def _cut_at_track_end(
    frames: Iterator[tuple[AudioFrame, bool]], container: InputContainer, stream: AudioStream
) -> Iterator[tuple[AudioFrame, bool]]:
    """Yield frames, the last one without the padding that lies after the end of an MP4 track."""
    held: tuple[AudioFrame, bool] | None = None
    for item in frames:
        if held is not None:
            yield held
        held = item
    if held is None:
        return
    last, hole = held
    end = stream.duration if "mp4" in container.format.name.split(",") else None
    if end is not None and last.pts is not None and stream.time_base:
        kept = round((end - last.pts) * float(stream.time_base) * last.sample_rate)
        if 0 < kept < last.samples:
            last = _shorten(last, kept)
    yield last, hole


def _shorten(frame: AudioFrame, samples: int) -> AudioFrame:
    width = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    kept: NDArray[Any] = np.ascontiguousarray(frame.to_ndarray()[:, :width])
    short = AudioFrame.from_ndarray(kept, format=frame.format.name, layout=frame.layout.name)
    short.sample_rate, short.pts, short.time_base = frame.sample_rate, frame.pts, frame.time_base
    return short


class _Collector:
    """Collects decoded frames as sound, each contiguous run placed by its time.

    Attributes:
        low: start of the clip, seconds.

    Args:
        rate: Hz.
        start: start of the clip, seconds; None: the file's.
        end: end of the clip, seconds; None: that of the sound.
        mix: True: mono; False: the channels apart, by the first frame's layout.
    """

    def __init__(
        self, rate: int, start: float | None, end: float | None, *, mix: bool = True
    ) -> None:
        self.low = max(start or 0.0, 0.0)
        self._rate = rate
        self._high = math.inf if end is None else end
        self._layout = "mono" if mix else ""
        self._runs: list[tuple[float, list[Samples]]] = []
        self._form: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._waiting = AudioFifo()
        self._next = 0.0
        self._gaps = HOLE

    def add(self, frame: AudioFrame, time: float | None, *, hole: bool) -> bool:
        """Add a frame; return False once the clip is complete.

        Args:
            frame: the frame.
            time: its start, seconds; None: no stamp.
            hole: True if sound is missing right before it.

        Raises:
            ValueError: its rate or its time is impossible.
        """
        if frame.sample_rate < SLOWEST:
            raise ValueError(f"a sample rate of {frame.sample_rate} Hz")
        time = self._next if time is None else time
        if time >= self._high:
            return False
        gap = time - max(self._next, self.low)
        if gap > self._gaps:
            raise ValueError(f"a gap up to {time:.0f} s")
        length = frame.samples / frame.sample_rate
        if time + length <= self.low - PREROLL:
            return True
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if hole or form != self._form or abs(time - self._next) > GAP:
            self._finish()
            self._form = form
            self._layout = self._layout or frame.layout.name
            self._resampler = AudioResampler("fltp", self._layout, self._rate, options=MIXING)
            self._runs.append((time, []))
            self._gaps -= max(0.0, gap)
            self._next = time
        frame.pts = None  # the resampler counts samples; this class judges the stamps
        self._waiting.write(frame)
        if self._waiting.samples >= BLOCK:
            self._resample(self._waiting.read())
        self._next += length
        return True

    def result(self) -> Samples:
        """Return the channels from the clip's start to the last sample within it, (C, S)."""
        self._finish()
        runs = [
            (round((t - self.low) * self._rate), np.concatenate(r, axis=1))
            for t, r in self._runs
            if r
        ]
        size = max([0, *(at + samples.shape[1] for at, samples in runs)])
        if math.isfinite(self._high):
            size = min(size, round((self._high - self.low) * self._rate))
        sound = np.zeros((len(runs[0][1]) if runs else 1, max(size, 0)), dtype=np.float32)
        for at, samples in runs:
            piece = samples[:, max(0, -at) : max(0, size - at)]
            sound[:, max(0, at) : max(0, at) + piece.shape[1]] = piece
        return sound

    def end(self, sound: Samples) -> float:
        """Return the end of what ``result`` returned, seconds from the file's start."""
        return self.low + float(sound.shape[1] / self._rate)

    def _resample(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            self._runs[-1][1].append(out.to_ndarray().astype(np.float32))

    def _finish(self) -> None:
        if self._resampler is not None:
            if self._waiting.samples:
                self._resample(self._waiting.read())
            self._resample(None)
            self._resampler = None
            self._waiting = AudioFifo()
