"""Media in a dataset's folder: what is found, and what is said of what is not."""

import os
from pathlib import Path

import pytest

from avbench.core.types import Clip
from avbench.data.annotations.local_files import EXTENSIONS, SOUNDS, LocalFiles, missing_hint
from avbench.data.prepared.lost import lost_clip
from avbench.data.settings import SoundPolicy


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "list.json").write_text("{}")
    return folder


def files(media: Path) -> LocalFiles:
    return LocalFiles("set", str(media.parent), ".", "videos")


def test_a_dangling_link_costs_its_own_clip(media: Path) -> None:
    (media / "a.mp4").write_text("a")
    (media / "b.mp4").symlink_to("/nowhere/b.mp4")
    found = files(media)
    assert len(found.fingerprint(["list.json"])) == 32
    assert found.media_or_missing("a") == media / "a.mp4"
    path = found.media_or_missing("b")
    assert missing_hint(path) == "; it is a link to /nowhere/b.mp4, which is not there"


def test_a_file_that_is_there_is_preferred_to_a_dangling_link(media: Path) -> None:
    (media / "a.mp4").symlink_to("/nowhere/a.mp4")
    (media / "deep/a.mkv").write_text("a")
    assert files(media).find("a") == media / "deep/a.mkv"


def test_a_name_that_is_not_utf8_is_told_and_costs_its_own_clip(media: Path) -> None:
    (media / "a.mp4").write_text("a")
    folder = os.fsencode(media)
    for name in (b"\xff.mp4", b"\xe9t\xe9 [abcdefghijk].mp4"):
        with open(os.path.join(folder, name), "wb"):
            pass
    found = files(media)
    assert found.fingerprint(["list.json"])
    assert found.find("a") == media / "a.mp4"
    hint = missing_hint(found.media_or_missing("abcdefghijk"))
    assert hint == ("; found \\xe9t\\xe9 [abcdefghijk].mp4, whose name is not in UTF-8: rename it")


@pytest.mark.parametrize("name", ["video33.flac", "deep/video33.mp4.part", "video33"])
def test_media_under_another_extension_is_named(media: Path, name: str) -> None:
    (media / name).write_text("x")
    path = files(media).media_or_missing("video33")
    clip = Clip(id="1", video="video33", media=path, captions=("x",))
    result = {"lost": "missing", "detail": f"{path}: no such file"}
    lost = lost_clip(clip, result, SoundPolicy())
    assert lost is not None
    assert lost.detail == (
        f"cannot be decoded: {path}: no such file; found {name}; accepted: {', '.join(EXTENSIONS)}"
    )
    assert missing_hint(media / "video34.mp4") == ""


def test_a_set_of_sounds_accepts_sounds(media: Path) -> None:
    (media / "rain.mp4").write_text("x")
    (media / "rain 2.flac").write_text("x")
    found = LocalFiles("set", str(media.parent), ".", "videos", extensions=SOUNDS)
    assert missing_hint(found.media_or_missing("rain")) == (
        f"; found rain.mp4; accepted: {', '.join(SOUNDS)}"
    )
    assert missing_hint(found.media_or_missing("rain 2")) == ""
