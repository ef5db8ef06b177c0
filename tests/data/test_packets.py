"""The packets decoded for a choice of frames: fewer than all, and equal frames."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from avbench.data.media.decoder_pass import Pass
from avbench.data.media.packets import Index, Need
from avbench.data.media.sampling import Timeline, uniform
from avbench.data.media.stream import Video
from avbench.data.media.video import read_frames
from tests.data.test_media import film, levels

N, R, F = Need.NONE, Need.REFERENCE, Need.FRAME


def index(order: list[float], keys: list[int]) -> Index:
    return Index(stamps=sorted(order), interval=1.0, trusted=True, order=order, keys=keys)


def test_a_frame_needs_what_follows_the_key_frame_before_it() -> None:
    # Key frames at 0, 4 and 8.
    found = index([float(i) for i in range(12)], [0, 4, 8])
    assert found.needs({2.0}) == [R, R, F]
    assert found.needs({0.0, 9.0}) == [F, N, N, N, N, N, N, N, R, F]
    assert found.needs({5.0, 7.0}) == [N, N, N, N, R, F, R, F]
    assert found.needs({4.0, 5.0}) == [N, N, N, N, F, F]


def test_a_frame_shown_before_its_key_frame_needs_the_one_before() -> None:
    # Decoded 0 3 1 2 | 6 4 5 7: 4 and 5 are shown before the key frame 6 and may refer to 3.
    found = index([0.0, 3.0, 1.0, 2.0, 6.0, 4.0, 5.0, 7.0], [0, 4])
    assert found.reordered()
    assert found.needs({7.0}) == [N, N, N, N, R, R, R, F]
    assert found.needs({5.0}) == [R, R, R, R, R, R, F]
    assert found.needs({6.0}) == [N, N, N, N, F]


def test_without_key_frames_everything_before_is_needed() -> None:
    assert index([0.0, 1.0, 2.0], []).needs({1.0}) == [R, F]


FILMS = {
    "bframes.mp4": {"gop": 10, "bf": "3"},
    "pyramid.mkv": {"gop": 12, "bf": "4", "x264-params": "b-pyramid=normal:scenecut=0"},
    "open.mkv": {"gop": 8, "bf": "3", "x264-params": "open-gop=1:scenecut=0:b-adapt=0"},
    "refresh.mkv": {"gop": 10, "x264-params": "intra-refresh=1"},
    "simple.mp4": {"gop": 6, "codec": "mpeg4"},
    "b.mp4": {"gop": 9, "codec": "mpeg4", "bf": "2"},
    "hevc.mkv": {"gop": 8, "codec": "libx265", "x265-params": "log-level=none:bframes=3"},
    "vp8.mkv": {"gop": 7, "codec": "libvpx", "deadline": "realtime"},
    "vp9.webm": {"gop": 7, "codec": "libvpx-vp9", "deadline": "good", "auto-alt-ref": "1"},
    "av1.mkv": {"gop": 7, "codec": "libsvtav1", "preset": "12"},
}


@pytest.mark.parametrize("name", FILMS)
def test_economy_changes_no_frame(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / name, 32, **FILMS[name])
    choices = [[0], [31], [5, 6, 30], [3, 14, 15], list(range(0, 32, 5)), list(range(32))]
    spans = [(None, None), (1.05, 2.9)]

    def all_ways() -> list[np.ndarray]:
        return [
            read_frames(
                path,
                start=start,
                end=end,
                size=32,
                pick=lambda t, c=chosen: [min(i, len(t.times) - 1) for i in c],
            ).frames
            for chosen in choices
            for start, end in spans
        ]

    thrifty = all_ways()
    monkeypatch.setattr(Video, "can_skip_packets", lambda *_: False)
    for a, b in zip(thrifty, all_ways(), strict=True):
        assert (a == b).all()
    assert levels(thrifty[4]) == [5, 6, 30]


def counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """The packets of a clip decoded and skipped when 16 of its frames were read."""
    needs: Counter = Counter()
    whole = Pass.by_stamp

    def count(self, wanted, given=None):
        needs.update(["all"] if given is None else [need.name for need in given])
        return whole(self, wanted, given)

    monkeypatch.setattr(Pass, "by_stamp", count)
    read_frames(path, start=None, end=None, size=32, pick=lambda t: uniform(t, 4))
    return needs


def test_what_is_not_needed_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", 80, gop=5, **{"x264-params": "scenecut=0"})
    found = counted(path, monkeypatch)
    assert found["FRAME"] == 4
    assert found["NONE"] > 50
    assert found["all"] == 0


def test_containers_that_guess_stamps_are_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = counted(film(tmp_path / "a.avi", 20, codec="mpeg4"), monkeypatch)
    assert set(found) <= {"all"}


@pytest.mark.slow
def test_economy_changes_no_frame_of_real_files(
    test_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames(timeline: Timeline) -> list[int]:
        return uniform(timeline, 16)

    files = [p for p in (test_data / "videos").rglob("*") if p.suffix in (".mp4", ".mkv", ".mov")]
    assert len(files) > 20
    spans = [(None, 6.8), (1.3, None)]

    def read(path: Path, start: float | None, end: float | None) -> np.ndarray | str:
        try:
            return read_frames(path, start=start, end=end, size=64, pick=frames).frames
        except ValueError as error:
            return str(error)

    thrifty = {(p, *s): read(p, *s) for p in files for s in spans}
    monkeypatch.setattr(Video, "can_skip_packets", lambda *_: False)
    for key, found in thrifty.items():
        plain = read(*key)
        assert found == plain if isinstance(plain, str) else (found == plain).all(), key
