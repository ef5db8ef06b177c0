"""Media files: scenes rendered, mixed and written as H.264 and AAC by PyAV."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from avbench.data.settings import WorldSettings
from avbench.data.world import chance, render
from avbench.data.world.render import SECONDS
from avbench.data.world.slots import Values
from avbench.data.world.sounds import Wave, event
from avbench.data.world.speech import RATE, Engine, Voice

SAMPLES = round(SECONDS * RATE)
"""Samples of a clip's sound."""
TAIL = 0.1
"""Seconds that stay free of speech at a clip's end."""
_AUDIO_BITS = 48_000  # bits a second of AAC
_QUALITY = "23"  # x264's default constant rate factor
_GOP = 10  # frames between key frames: seeking decodes few


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One clip's content."""

    seed: int
    """Of all that no caption states: light, phases, noise."""
    shown: Values
    """A word for each visual slot."""
    words: str | None = None
    """What is said."""
    voice: Voice | None = None
    onset: float = 0.2
    """Seconds before the speech."""
    sound: str | None = None
    """The sound event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Film:
    """One media file: scenes one after another, ``SECONDS`` each."""

    video: str
    """Its id, the file's name without suffix."""
    scenes: tuple[Scene, ...]


def sound(scene: Scene, engine: Engine) -> Wave:
    """A clip's sound: speech, event and faint noise.

    Args:
        scene: what is to be heard.
        engine: speaks.

    Returns:
        Samples (``SAMPLES``,) at ``RATE``, within ±1.

    Raises:
        ValueError: the sentence is longer than the clip; speech is never cut off.
    """
    draw = chance.noise(scene.seed, "sound")
    mixed = draw.standard_normal(SAMPLES, dtype=np.float32)
    mixed *= np.float32(10 ** draw.uniform(-3.2, -2.5))
    if scene.sound is not None:
        mixed += event(scene.sound, SAMPLES, draw) * np.float32(draw.uniform(0.7, 1.0))
    if scene.words is not None and scene.voice is not None:
        speech = engine.say(scene.words, scene.voice)
        start = round(scene.onset * RATE)
        if start + len(speech) > SAMPLES - TAIL * RATE:
            raise ValueError(
                f"{scene.words!r} takes {len(speech) / RATE:.2f} s in voice {scene.voice.name}, "
                f"which with its onset at {scene.onset:.2f} s does not fit in {SECONDS} s"
            )
        mixed[start : start + len(speech)] += speech
    return np.clip(mixed, -1, 1)


def write(film: Film, folder: Path, settings: WorldSettings) -> Path:
    """Write a film as ``folder/<video>.mp4``, unless it is there already.

    The file appears under its name only when it is complete.
    """
    path = folder / f"{film.video}.mp4"
    if path.exists():
        return path
    part = folder / f".{film.video}.{os.getpid()}.part"
    with Engine() as engine, av.open(str(part), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=settings.fps)
        video.width = video.height = settings.size
        video.pix_fmt = "yuv420p"
        video.gop_size = _GOP
        video.thread_count = 1  # as many would give other bytes on other machines
        video.options = {"preset": "ultrafast", "crf": _QUALITY}
        audio = container.add_stream("aac", rate=RATE)
        audio.layout = "mono"
        audio.bit_rate = _AUDIO_BITS
        audio.codec_context.thread_count = 1
        audio.options = {"aac_coder": "fast"}  # a quarter of the time of the default
        shown = 0
        heard = 0
        for scene in film.scenes:
            pictures = render.frames(
                scene.shown,
                size=settings.size,
                fps=settings.fps,
                distractors=settings.distractors,
                draw=chance.noise(scene.seed, "picture"),
            )
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = shown, Fraction(1, settings.fps)
                shown += 1
                container.mux(video.encode(frame))
            for block in _blocks(sound(scene, engine)):
                tone = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = RATE, heard, Fraction(1, RATE)
                heard += len(block)
                container.mux(audio.encode(tone))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    part.replace(path)
    return path


def _blocks(samples: Wave, size: int = 4096) -> Iterator[Wave]:
    """Cut sound into blocks; the encoder gathers its own frames from them."""
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
