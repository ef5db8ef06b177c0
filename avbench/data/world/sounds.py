"""Sound events, synthesised: one function a value of the slot ``sound``."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.world.speech import RATE

Wave = npt.NDArray[np.floating[Any]]


def _time(n: int) -> Wave:
    return np.arange(n, dtype=np.float32) / RATE


def _smooth(x: Wave, width: int) -> Wave:
    """Moving average over ``width`` samples: a crude low-pass filter."""
    total = np.cumsum(np.concatenate([np.zeros(width, np.float32), x]), dtype=np.float64)
    return ((total[width:] - total[:-width]) / width).astype(np.float32)


def _strikes(n: int, period: float, draw: np.random.Generator, one: Wave) -> Wave:
    """The sound ``one``, struck every ``period`` seconds (give or take 5 %) from the start."""
    out = np.zeros(n + len(one), np.float32)
    at = draw.uniform(0, 0.3 * period)
    while at * RATE < n:
        start = int(at * RATE)
        out[start : start + len(one)] += one * draw.uniform(0.8, 1.0)
        at += period * draw.uniform(0.95, 1.05)
    return out[:n]


def _bell(n: int, draw: np.random.Generator) -> Wave:
    """Inharmonic partials that die away, struck about once a second."""
    t = _time(RATE)
    base = draw.uniform(640, 880)
    ratios, decays = (1.0, 2.0, 2.41, 3.0, 4.53), (3, 4, 5, 6, 8)
    one = sum(
        np.sin(2 * np.pi * base * ratio * t) * np.exp(-decay * t) / (i + 1)
        for i, (ratio, decay) in enumerate(zip(ratios, decays, strict=True))
    )
    return _strikes(n, 1.0, draw, np.asarray(one, np.float32))


def _dog(n: int, draw: np.random.Generator) -> Wave:
    """Barks: a rough tone that falls in pitch, 0.15 s long, twice a second."""
    t = _time(int(0.15 * RATE))
    pitch = draw.uniform(380, 520) * (1.3 - 4 * t)
    tone = np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / RATE))
    rough = tone * 0.6 + draw.standard_normal(len(t)) * 0.4
    one = rough * np.sin(np.pi * t / t[-1]) ** 2
    return _strikes(n, 0.5, draw, _smooth(one.astype(np.float32), 6))


def _drum(n: int, draw: np.random.Generator) -> Wave:
    """A low thump with a noisy attack, three times a second."""
    t = _time(int(0.25 * RATE))
    pitch = draw.uniform(70, 95) * (1 + 1.5 * np.exp(-40 * t))
    thump = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-12 * t)
    attack = draw.standard_normal(len(t)) * np.exp(-150 * t) * 0.4
    return _strikes(n, 0.33, draw, (thump + attack).astype(np.float32))


def _clock(n: int, draw: np.random.Generator) -> Wave:
    """Dry high clicks, four a second."""
    t = _time(int(0.02 * RATE))
    one = np.sin(2 * np.pi * draw.uniform(2600, 3400) * t) * np.exp(-300 * t)
    return _strikes(n, 0.25, draw, one.astype(np.float32))


def _motor(n: int, draw: np.random.Generator) -> Wave:
    """A low saw tooth with slow swells, and hiss."""
    t = _time(n)
    base = draw.uniform(55, 80)
    turn = base * t + 0.3 * np.sin(2 * np.pi * 0.4 * t)
    saw = 2 * (turn % 1) - 1
    hiss = _smooth(draw.standard_normal(n).astype(np.float32), 20)
    return ((_smooth(saw.astype(np.float32), 12) + hiss) * (1 + 0.3 * np.sin(9 * t))).astype(
        np.float32
    )


def _siren(n: int, draw: np.random.Generator) -> Wave:
    """A tone that rises and falls between 600 and 1,300 Hz about once in 1.5 seconds."""
    t = _time(n)
    pitch = 950 + 350 * np.sin(2 * np.pi * t / draw.uniform(1.3, 1.8) + draw.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return (np.sin(phase) + 0.3 * np.sin(2 * phase)).astype(np.float32)


EVENTS: Mapping[str, Callable[[int, np.random.Generator], Wave]] = {
    "bell": _bell,
    "dog": _dog,
    "drum": _drum,
    "clock": _clock,
    "motor": _motor,
    "siren": _siren,
}


def event(word: str, n: int, draw: np.random.Generator) -> Wave:
    """``n`` samples of a sound event with an RMS of 0.06."""
    wave = EVENTS[word](n, draw)
    return wave * np.float32(0.06 / np.sqrt(np.mean(wave**2)))
