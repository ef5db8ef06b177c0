"""Encoding clips anew: the same clip gives the same bytes, whatever came before it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avbench.data.media.recode import Encoding, recode


def scene(path: Path, size: int, seed: int) -> Path:
    """A square that moves over a texture, with some noise."""
    dice = np.random.default_rng(seed)
    ground = dice.integers(60, 180, (size // 8, size // 8, 3)).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for i in range(33):
            view = ground + dice.integers(-12, 12, ground.shape)
            x, y = (int(size * (0.4 + 0.3 * f(i / 5))) for f in (np.sin, np.cos))
            view[y : y + size // 4, x : x + size // 4] = (230, 30, 40)
            frame = av.VideoFrame.from_ndarray(view.clip(0, 255).astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("preset", ["veryfast", "medium"])
@pytest.mark.parametrize("size", [64, 144])
def test_equal_bytes_each_time(tmp_path: Path, size: int, preset: str) -> None:
    """By presets that look ahead, in which x264's mbtree would differ."""
    clips = [scene(tmp_path / f"{seed}.mp4", size, seed) for seed in range(4)]
    how = Encoding(preset=preset)
    made = [[recode(clip, how, start=None, end=None).video for clip in clips] for _ in range(4)]
    assert all(again == made[0] for again in made)
