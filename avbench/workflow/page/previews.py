"""Small copies of prepared clips for a page: a strip of frames, and a short sound.

Frames come from the prepared arrays. Sound comes from the clip's media file, because only its
spectrogram is prepared.
"""

import io
from base64 import b64encode
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from avbench.core.errors import DataError
from avbench.core.types import Clip
from avbench.data.media.audio import read_sound
from avbench.data.prepared.split import PreparedSplit

FRAMES = 4
HEIGHT = 96
"""Pixels, at most."""
GAP = 2
"""White pixels between frames."""
QUALITY = 70
"""Of WebP, 1 to 100."""

FAULTS = (DataError, OSError, ValueError, av.FFmpegError)
"""Errors of arrays or files that are missing or damaged, and of encoders that FFmpeg lacks."""

SECONDS = 10.0
"""Of sound, at most."""
RATE = 16_000
"""Hz."""
BIT_RATE = 16_000
"""Bits a second of Opus."""


def strip(split: PreparedSplit, index: int) -> str:
    """Return frames of a clip side by side, as the data URL of a WebP; empty: it has none."""
    try:
        frames = split.frames(index, replace(split.input, frames=FRAMES))
        return _url("image/webp", _webp(_side_by_side(frames)))
    except FAULTS:
        return ""


def _side_by_side(frames: UInt8[Tensor, "T 3 H W"]) -> UInt8[np.ndarray, "h w 3"]:
    if frames.shape[-1] > HEIGHT:
        frames = interpolate(frames.float(), size=(HEIGHT, HEIGHT), mode="area").to(torch.uint8)
    row = torch.cat([pad(frame, (0, GAP), value=255) for frame in frames], dim=-1)[..., :-GAP]
    return row.permute(1, 2, 0).numpy()


def sound(clip: Clip) -> str:
    """Return the beginning of a clip's sound, as the data URL of Opus; empty: it has none."""
    start = clip.start or 0.0
    end = start + SECONDS if clip.end is None else min(clip.end, start + SECONDS)
    try:
        samples = read_sound(clip.media, start=clip.start, end=end, rate=RATE).samples
        return _url("audio/webm", _opus(samples)) if samples.size else ""
    except FAULTS:
        return ""


def _webp(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture, (H, W, 3)."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    encoder = av.CodecContext.create("libwebp", "w")
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1)
    encoder.options = {"quality": str(QUALITY)}
    frame = frame.reformat(format="yuv420p")
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


def _opus(samples: NDArray[np.float32]) -> bytes:
    """Encode mono samples at ``RATE`` as Opus in WebM."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono", bit_rate=BIT_RATE)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def _url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"
