"""Speech by espeak-ng, at its own rate of 22,050 Hz.

The only module that loads the engine, which is GPL-3: only while a world is being generated, and
unloaded after every sentence.
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 22_050
"""Samples a second, espeak-ng's native rate and the paper's."""

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, no sound device
_UTF8 = 1  # espeakCHARS_UTF8
_PARAMETERS = {"rate": 1, "pitch": 3}  # espeakRATE, espeakPITCH
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """One speaker."""

    speaker: str
    """The word that captions use for it."""
    name: str
    """espeak-ng's voice, with its variant."""
    pitch: int = 50
    """0 to 99; espeak-ng's default is 50."""
    rate: int = 205
    """Words a minute."""


VOICES = (
    Voice(speaker="man", name="en-us+m3", pitch=40),
    Voice(speaker="woman", name="en-us+f2", pitch=55),
    Voice(speaker="man", name="en-us+m7", pitch=30),
    Voice(speaker="woman", name="en-us+f4", pitch=60),
    Voice(speaker="man", name="en-gb+m1", pitch=45),
    Voice(speaker="woman", name="en-gb+f3", pitch=50),
)
"""The narrators, in the order in which a world takes them."""

CHILD = Voice(speaker="child", name="en-us+f5", pitch=99, rate=195)
"""Heard in the captioned sets only."""


@lru_cache(maxsize=512)
def say(text: str, voice: Voice) -> npt.NDArray[np.floating[Any]]:
    """Speak a sentence.

    The engine keeps the phase of its oscillators and noise from one sentence to the next, so it
    is loaded anew for each (5 ms): a sentence sounds the same whatever was said before.

    Returns:
        Samples (n,) at ``RATE``, silence trimmed at both ends, with an RMS of 0.1. Read-only.

    Raises:
        RuntimeError: the engine does not start, or does not know the voice.
    """
    import _ctypes

    import espeakng_loader

    lib = ctypes.CDLL(espeakng_loader.get_library_path())
    chunks: list[npt.NDArray[np.int16]] = []

    def collect(samples: Any, n: int, _events: Any) -> int:
        if n > 0:
            chunks.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0

    callback = _Callback(collect)  # must outlive the synthesis
    try:
        data = espeakng_loader.get_data_path().encode()
        rate = lib.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if rate != RATE:
            raise RuntimeError(f"espeak-ng does not start at {RATE} Hz: it answers {rate}")
        lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        lib.espeak_SetSynthCallback(callback)
        if lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice.name!r}")
        lib.espeak_SetParameter(_PARAMETERS["rate"], voice.rate, 0)
        lib.espeak_SetParameter(_PARAMETERS["pitch"], voice.pitch, 0)
        raw = text.encode()
        lib.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8, None, None)
        lib.espeak_Terminate()
    finally:
        _ctypes.dlclose(lib._handle)
    if not chunks:
        raise RuntimeError(f"espeak-ng gave no samples for {text!r} in voice {voice.name!r}")
    samples = np.concatenate(chunks).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    samples = samples[loud[0] : loud[-1] + 1]
    samples *= 0.1 / np.sqrt(np.mean(samples**2))
    samples.flags.writeable = False
    return samples
