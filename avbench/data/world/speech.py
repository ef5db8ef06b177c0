"""Speech by espeak-ng, at its own rate of 22,050 Hz.

The only module that loads the engine, which is GPL-3: only while a world is being generated, and
unloaded after every film.
"""

import _ctypes  # ctypes itself cannot unload a library
import ctypes
from dataclasses import dataclass
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
    Voice(speaker="man", name="en-us+m1", pitch=45),
    Voice(speaker="woman", name="en-us+f3", pitch=50),
)
"""The narrators, in the order in which a world takes them."""

CHILD = Voice(speaker="child", name="en-us+f5", pitch=99)
"""Heard in the captioned sets only."""


class Engine:
    """A freshly loaded engine, for the sentences of one film; a context manager.

    The engine keeps the phase of its oscillators and noise from one sentence to the next, through
    its own termination too, so it is unloaded after each film: what a film sounds like depends on
    its own sentences, never on those spoken before. Loading takes 5 ms, a sentence 2 ms.

    Raises:
        RuntimeError: the engine does not start at ``RATE``.
    """

    def __enter__(self) -> "Engine":
        import espeakng_loader

        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        rate = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        if rate != RATE:
            raise RuntimeError(f"espeak-ng does not start at {RATE} Hz: it answers {rate}")
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._callback = _Callback(self._collect)  # must outlive the synthesis
        self._lib.espeak_SetSynthCallback(self._callback)
        return self

    def __exit__(self, *_: object) -> None:
        self._lib.espeak_Terminate()
        _ctypes.dlclose(self._lib._handle)

    def _collect(self, samples: Any, n: int, _events: Any) -> int:
        if n > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (n,)).copy())
        return 0

    def say(self, text: str, voice: Voice) -> npt.NDArray[np.floating[Any]]:
        """Speak a sentence.

        Returns:
            Samples (n,) at ``RATE``, silence trimmed at both ends, with an RMS of 0.1.

        Raises:
            RuntimeError: the engine does not know the voice, or says nothing.
        """
        self._chunks.clear()
        if self._lib.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice.name!r}")
        self._lib.espeak_SetParameter(_PARAMETERS["rate"], voice.rate, 0)
        self._lib.espeak_SetParameter(_PARAMETERS["pitch"], voice.pitch, 0)
        raw = text.encode()
        self._lib.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8, None, None)
        if not self._chunks:
            raise RuntimeError(f"espeak-ng gave no samples for {text!r} in voice {voice.name!r}")
        samples = np.concatenate(self._chunks).astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        samples = samples[loud[0] : loud[-1] + 1]
        return samples * np.float32(0.1 / np.sqrt(np.mean(samples**2)))
