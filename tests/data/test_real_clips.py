"""Every real clip gives the same frames and sound by every PyAV that avbench may be used with.

``real_clips.json`` was made by PyAV 18.1.0 (FFmpeg 8.1.2). That 19.0.2 (FFmpeg 9.0.2) gives the
same bits was seen on one machine; scaling and resampling may differ between processors in the
last bits, so the file holds counts, times and means. To make it anew:

    AVBENCH_TEST_DATA=… python tests/data/test_real_clips.py > tests/golden/real_clips.json
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.core.types import InputSpec
from avbench.data.media.audio import read_sound
from avbench.data.media.clip import read_clip
from avbench.data.media.container import MediaError
from avbench.data.media.sampling import Timeline

GOLDEN = Path(__file__).parents[1] / "golden" / "real_clips.json"
MEDIA = {".avi", ".mkv", ".mov", ".mp3", ".mp4", ".mpg", ".wav", ".webm"}


def about_forty(timeline: Timeline) -> list[int]:
    count = len(timeline.times)
    return list(range(0, count, max(1, count // 40)))


def facts(path: Path) -> dict[str, Any]:
    """A clip as a few numbers."""
    try:
        clip = read_clip(path, InputSpec(size=64), about_forty)
    except MediaError as error:
        return {"lost": str(error).removeprefix(f"{path.parent}/")}
    levels = clip.frames.numpy().mean(axis=(1, 2, 3))
    sound = clip.sound.numpy()
    blocks = np.array_split(np.square(sound, dtype=np.float64), 16) if len(sound) else []
    return {
        "frames": list(clip.frames.shape),
        "times": [clip.timeline.start, clip.timeline.end, math.fsum(clip.timeline.times)],
        "levels": [round(float(level), 2) for level in levels],
        "samples": len(sound),
        "rms": [round(float(np.sqrt(block.mean())), 4) for block in blocks],
        **{f"part {key}": value for key, value in sought(path).items()},
        "state": str(clip.state),
        "notes": list(clip.notes),
    }


def sought(path: Path) -> dict[str, Any]:
    """Sound within the file: the reader seeks, and FFmpeg 9 lands elsewhere than FFmpeg 8."""
    sound = read_sound(path, start=2.2, end=4.7, rate=22_050)
    root = (
        float(np.sqrt(np.square(sound.samples, dtype=np.float64).mean()))
        if len(sound.samples)
        else 0.0
    )
    return {"samples": len(sound.samples), "rms": round(root, 4), "notes": list(sound.notes)}


def all_facts(folder: Path) -> dict[str, Any]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA)
    return {path.relative_to(folder).as_posix(): facts(path) for path in paths}


@pytest.mark.slow
def test_every_real_clip_gives_what_pyav_18_gave(test_data: Path) -> None:
    wanted = json.loads(GOLDEN.read_text(encoding="utf-8"))
    found = all_facts(test_data / "videos")
    assert found.keys() == wanted.keys()
    for name, clip in found.items():
        assert clip.keys() == wanted[name].keys(), name
        for key, value in clip.items():
            if key in ("levels", "rms", "times", "part rms"):
                value = pytest.approx(value, abs=0.02 if key == "levels" else 2e-4)
            assert wanted[name][key] == value, (name, key)


if __name__ == "__main__":
    made = all_facts(Path(os.environ["AVBENCH_TEST_DATA"]) / "videos")
    json.dump(made, sys.stdout, indent=1, sort_keys=True)
    print()
