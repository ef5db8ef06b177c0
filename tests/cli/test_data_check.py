"""`avbench data check`: losses with reasons, hashes, statistics and overlaps, on real files."""

import json
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from avbench.cli.data_check import data_check, print_data_check
from avbench.cli.main import app
from avbench.core.errors import SuiteError
from avbench.core.registry import load
from avbench.core.types import InputSpec
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.media.clip import read_clip
from avbench.data.media.headers import read_header, read_headers
from tests.data.test_media_repair import shorten_header

NAME = "youcookii_annotations_trainval.json"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def film(path: Path, seed: int, *, seconds: int = 2, sound: bool = True) -> None:
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        audio = out.add_stream("aac", rate=22_050, layout="mono") if sound else None
        for _ in range(10 * seconds):
            picture = generator.integers(0, 255, (32, 48, 3), dtype=np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            wave = generator.normal(size=(1, 22_050 * seconds)).astype(np.float32) / 9
            block = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
            block.sample_rate, block.pts = 22_050, 0
            out.mux(audio.encode(block))
            out.mux(audio.encode())


def cooking(videos: dict[str, tuple[str, list[list[float]]]]) -> dict[str, Any]:
    return {
        "database": {
            video: {
                "subset": subset,
                "annotations": [
                    {"id": i, "segment": segment, "sentence": f"{video} {i}"}
                    for i, segment in enumerate(segments)
                ],
            }
            for video, (subset, segments) in videos.items()
        }
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two datasets of films, with every kind of loss that a header tells, and two overlaps."""
    root = tmp_path / "cooking"
    (root / "videos").mkdir(parents=True)
    videos = {
        "aaaaaaaaaaa": ("training", [[0, 1], [1, 2], [1, 1], [7, 8]]),
        "bbbbbbbbbbb": ("training", [[0, 2]]),
        "ccccccccccc": ("training", [[0, 1]]),
        "ddddddddddd": ("training", [[0, 1]]),
        "eeeeeeeeeee": ("validation", [[0, 1]]),
        "fffffffffff": ("validation", [[0, 1]]),
    }
    (root / NAME).write_text(json.dumps(cooking(videos)))
    film(root / "videos/aaaaaaaaaaa.mp4", 0)
    film(root / "videos/bbbbbbbbbbb.mkv", 1, sound=False)
    (root / "videos/ccccccccccc.mp4").write_text("not a film")
    film(root / "videos/eeeeeeeeeee.mp4", 2)
    # One validation video is a training video under another name.
    shutil.copy(root / "videos/aaaaaaaaaaa.mp4", root / "videos/fffffffffff.mp4")
    other = tmp_path / "web"
    (other / "videos").mkdir(parents=True)
    info = {
        "videos": [{"video_id": "video0", "split": "test"}],
        "sentences": [{"video_id": "video0", "caption": "a film", "sen_id": 0}],
    }
    (other / "MSRVTT_data.json").write_text(json.dumps(info))
    film(other / "videos/video0.mp4", 3)
    path = tmp_path / "my_data.yaml"
    path.write_text(
        "datasets:\n"
        "  cooking: {reader: youcook2, root: cooking}\n"
        "  web: {reader: msrvtt, root: web, train: test}\n"
    )
    return path


def check(path: Path, **options: Any) -> dict[str, Any]:
    return data_check(path, load(), **options)


def test_losses_are_counted_by_reason_and_named(data: Path) -> None:
    found = check(data)
    train, validation = found["datasets"][0]["splits"]
    assert (train["roles"], validation["roles"]) == (["train"], ["report"])
    assert (train["expected"], train["found"], train["videos"]) == (7, 3, 2)
    assert train["lost"] == {"missing": 1, "no_frame": 1, "no_interval": 1, "not_media": 1}
    said = {item["id"]: item["detail"] for item in train["lost_clips"]}
    assert said["aaaaaaaaaaa#2"].endswith("the clip must end after it starts, got 1 to 1 s")
    assert said["aaaaaaaaaaa#3"].endswith("aaaaaaaaaaa.mp4: starts at 7 s, the file ends at 2 s")
    assert said["ddddddddddd#0"].endswith("ddddddddddd.mp4: no such file")
    assert "ccccccccccc.mp4: not a media file" in said["ccccccccccc#0"]
    assert said["ccccccccccc#0"].count("ccccccccccc.mp4") == 1
    assert (validation["expected"], validation["found"]) == (2, 2)
    assert found["ok"]


def test_hashes_are_of_what_is_found_and_of_what_is_annotated(data: Path) -> None:
    train = check(data)["datasets"][0]["splits"][0]
    texts = {f"aaaaaaaaaaa#{i}": (f"aaaaaaaaaaa {i}",) for i in (0, 1)}
    texts["bbbbbbbbbbb#0"] = ("bbbbbbbbbbb 0",)
    assert train["list_hash"] == clip_list_hash(texts)
    assert train["annotated_hash"] != train["list_hash"]
    (data.parent / "cooking/videos/bbbbbbbbbbb.mkv").unlink()
    again = check(data)["datasets"][0]["splits"][0]
    assert again["list_hash"] != train["list_hash"]
    assert again["annotated_hash"] == train["annotated_hash"]


def test_durations_and_codecs_are_what_was_written(data: Path) -> None:
    train = check(data)["datasets"][0]["splits"][0]
    assert train["clip_seconds"]["least"] == 1
    assert train["clip_seconds"]["most"] == 2
    assert train["clip_seconds"]["sum"] == pytest.approx(4, abs=0.1)
    files = train["files"]
    assert (files["all"], files["opened"]) == (2, 2)
    assert files["video"] == {"h264": 2}
    assert files["audio"] == {"aac": 1, "none": 1}
    assert files["height"]["most"] == 32
    assert files["rate"]["median"] == pytest.approx(10)
    assert (files["sample_rate"], files["channels"]) == ({"22050": 1}, {"1": 1})


def test_splits_that_share_videos_or_files_of_equal_content_are_told(data: Path) -> None:
    (overlap,) = check(data)["overlaps"]
    assert overlap["splits"] == ["cooking training", "cooking validation"]
    assert overlap["serious"]
    assert (overlap["videos"], overlap["clips"], overlap["copies"]) == (0, 0, 1)
    ((one, other),) = overlap["same_content"]
    assert (Path(one).name, Path(other).name) == ("aaaaaaaaaaa.mp4", "fffffffffff.mp4")


def test_a_video_of_two_datasets_is_told_whatever_the_prefix(data: Path) -> None:
    root = data.parent / "dense"
    (root / "videos").mkdir(parents=True)
    entry = {"timestamps": [[0, 1]], "sentences": ["x"], "duration": 2}
    (root / "train.json").write_text(json.dumps({"v_eeeeeeeeeee": entry}))
    with data.open("a") as file:
        file.write("  dense: {reader: activitynet, root: dense, report: train}\n")
    found = check(data)
    shared = next(o for o in found["overlaps"] if "dense train" in o["splits"])
    assert shared["splits"] == ["cooking validation", "dense train"]
    assert shared["serious"]
    assert shared["examples"] == ["eeeeeeeeeee"]
    # Its only video is missing, so there is nothing to train on.
    assert not found["ok"]


def test_the_split_for_selection_is_told_and_is_apart_from_the_reported_one(data: Path) -> None:
    web = data.parent / "web"
    info = {
        "videos": [
            {"video_id": f"video{i}", "split": split}
            for i, split in enumerate(("test", "train", "validate"))
        ],
        "sentences": [
            {"video_id": f"video{i}", "caption": "a film", "sen_id": i} for i in range(3)
        ],
    }
    (web / "MSRVTT_data.json").write_text(json.dumps(info))
    film(web / "videos/video1.mp4", 4)
    shutil.copy(web / "videos/video0.mp4", web / "videos/video2.mp4")
    data.write_text(
        "datasets:\n"
        "  cooking: {reader: youcook2, root: cooking, select: validation}\n"
        "  web: {reader: msrvtt, root: web}\n"
    )
    found = check(data)
    roles = {s["split"]: s["roles"] for d in found["datasets"] for s in d["splits"]}
    assert roles == {
        "training": ["train"], "validation": ["report", "select"],
        "train": ["train"], "validate": ["select"], "test": ["report"],
    }  # fmt: skip
    overlap = next(o for o in found["overlaps"] if "web test" in o["splits"])
    assert (overlap["serious"], overlap["roles"]) == (True, ["select", "report"])
    shown = CliRunner().invoke(app, ["data", "check", str(data)], env={"COLUMNS": "200"})
    assert "selected and reported on: web validate and web test share" in shown.output
    # It is needed only where a suite asks for selection.
    (web / "videos/video2.mp4").unlink()
    assert check(data)["ok"]


@pytest.mark.slow
def test_decoding_tells_what_headers_do_not(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of 5 s with a damaged packet at 2.8 s, and one without sound."""
    root = tmp_path / "cooking"
    (root / "videos").mkdir(parents=True)
    videos: dict[str, tuple[str, list[list[float]]]] = {
        "aaaaaaaaaaa": ("training", [[0, 2], [1, 4], [6, 7]]),
        "bbbbbbbbbbb": ("training", [[1, 3]]),
        "ccccccccccc": ("validation", [[0, 2]]),
    }
    (root / NAME).write_text(json.dumps(cooking(videos)))
    for video, file in (
        ("aaaaaaaaaaa.mp4", "decord/corrupted.mp4"),
        ("bbbbbbbbbbb.mkv", "decord/flipping_a_pancake.mkv"),
        ("ccccccccccc.mp4", "mmaction2/demo.mp4"),
    ):
        (root / "videos" / video).symlink_to(test_data / "videos" / file)
    path = tmp_path / "my_data.yaml"
    path.write_text("datasets: {cooking: {reader: youcook2, root: cooking}}")
    train, _ = check(path)["datasets"][0]["splits"]
    assert (train["found"], train["lost"], train["decoded"]) == (3, {"no_frame": 1}, None)
    found = check(path, decode=True)
    train, validation = found["datasets"][0]["splits"]
    assert (train["found"], train["lost"]) == (3, {"no_frame": 1})
    assert (
        "the clip starts at 6.00 s, the picture ends at 4.90 s" in train["lost_clips"][0]["detail"]
    )
    assert train["decoded"]["sound"] == {"absent": 2, "present": 1}
    assert train["decoded"]["partial"] == 1
    assert {note["id"] for note in train["decoded"]["notes"]} == {"aaaaaaaaaaa#1"}
    assert validation["decoded"] == {"partial": 0, "notes": [], "sound": {"absent": 1}}
    print_data_check(found)
    said = capsys.readouterr().out
    assert "cooking training: decoded; sound: 2 absent, 1 present" in said
    assert "cooking training: used in part: aaaaaaaaaaa#1: " in said
    path.write_text(
        "datasets: {cooking: {reader: youcook2, root: cooking, sound: {absent: drop}}}"
    )
    train, validation = check(path, decode=True)["datasets"][0]["splits"]
    assert train["lost"] == {"no_frame": 1, "sound_absent": 2}
    assert validation["lost"] == {"sound_absent": 1}


@pytest.mark.parametrize("decode", [False, True])
def test_packets_decide_where_a_file_ends_and_not_its_header(tmp_path: Path, decode: bool) -> None:
    root = tmp_path / "cooking"
    (root / "videos").mkdir(parents=True)
    videos = {"aaaaaaaaaaa": ("training", [[0, 1], [6, 8], [30, 31]])}
    (root / NAME).write_text(json.dumps(cooking(videos)))
    media = root / "videos/aaaaaaaaaaa.mkv"
    film(media, 1, seconds=10)
    shorten_header(media, 2.0)
    path = tmp_path / "my_data.yaml"
    path.write_text("datasets: {cooking: {reader: youcook2, root: cooking, report: training}}")
    (train, *_) = check(path, decode=decode)["datasets"][0]["splits"]
    assert (train["found"], train["lost"]) == (2, {"no_frame": 1})
    assert train["clip_seconds"]["sum"] == pytest.approx(3)
    if decode:
        clip = read_clip(media, InputSpec(size=16), lambda _: [0], start=6.0, end=8.0)
        assert [item["note"] for item in train["decoded"]["notes"]] == [*clip.notes]
        assert clip.notes[0] == "the header states 2.00 s, the picture goes on to 8.00 s"


def test_time_bounds_what_is_opened_not_what_is_looked_for(data: Path) -> None:
    train = check(data, seconds=0.0)["datasets"][0]["splits"][0]
    assert train["files"]["opened"] <= 1
    assert train["lost"]["missing"] == 1


def test_the_policy_fail_makes_a_loss_a_fault(data: Path) -> None:
    assert check(data)["ok"]
    text = data.read_text().replace("root: cooking}", "root: cooking, policy: fail}")
    data.write_text(text)
    assert not check(data)["ok"]


def test_a_dataset_that_cannot_be_read_leaves_the_others(data: Path) -> None:
    (data.parent / "web/MSRVTT_data.json").write_text("{")
    found = check(data)
    assert "MSRVTT_data.json: not JSON at line 1" in found["datasets"][1]["problem"]
    assert found["datasets"][0]["splits"]
    assert not found["ok"]
    with pytest.raises(SuiteError, match=r"none\.yaml: no such file"):
        check(data.parent / "none.yaml")


def test_the_command_prints_tables_or_json_and_its_status(data: Path) -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["data", "check", str(data)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    for text in ("cooking", "1 missing, 1 no_frame", "trained on and reported:", "1 h264"):
        assert text in shown.output
    asked = runner.invoke(app, ["data", "check", str(data), "--json"])
    assert json.loads(asked.output) == check(data)
    (data.parent / "web/videos/video0.mp4").unlink()
    assert runner.invoke(app, ["data", "check", str(data)]).exit_code == 1


@pytest.mark.slow
def test_processes_read_the_same_headers(tmp_path: Path) -> None:
    film(tmp_path / "0.mp4", 0, seconds=1)
    for i in range(1, 70):
        shutil.copy(tmp_path / "0.mp4", tmp_path / f"{i}.mp4")
    paths = sorted(tmp_path.glob("*.mp4"))
    alone = read_headers(paths, seconds=100.0)
    assert len(alone) == 70
    assert read_headers(paths, seconds=100.0, workers=2) == alone


def test_headers_agree_with_what_decoding_gave(test_data: Path) -> None:
    folder = test_data / "videos"
    probes = [p for p in json.loads((folder / "probe.json").read_text()) if p["nv"]]
    assert len(probes) > 30
    for probe in probes:
        found, video = read_header(folder / probe["file"]), probe["v"]
        assert (found.reason, found.size) == (None, (video["w"], video["h"])), probe["file"]
        assert found.video == video["codec"].replace("libdav1d", "av1")
        assert found.seconds == pytest.approx(probe["container_dur"], abs=1e-3)
        assert found.rate == pytest.approx(video["avg"], abs=1e-2)
        assert bool(found.audio) == bool(probe["na"])
        if probe["na"]:
            sound = probe["a"]
            assert found.audio == sound["codec"].replace("mp3float", "mp3")
            assert (found.sample_rate, found.channels) == (sound["sr"], sound["ch"])


BROKEN = '''
import random
from dataclasses import dataclass
from pathlib import Path

from avbench.api import Clip, Dataset, hookimpl


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    root: str = ""
    fault: str = ""


class Broken(Dataset):
    """Source: this test."""

    report = "test"

    def __init__(self, options):
        self.fault, self.root = options.fault, Path(options.root)

    def splits(self):
        return ("train", "test")

    def clips(self, split):
        names = [f"{split}{i}" for i in range(9)]
        if self.fault == "duplicates":
            names.append(names[0])
        if self.fault == "order":
            random.Random().shuffle(names)
        if self.fault == "two splits" and split == "test":
            names.append("train0")
        caption = " " if self.fault == "captions" else "a film"
        media = self.root / "film.mp4"
        return [
            Clip(id=n, video=n, media=media, captions=(caption,), start=float(i), end=i + 1.0)
            for i, n in enumerate(names, start=10 * (split == "test"))
        ]

    def fingerprint(self):
        return "x"


@hookimpl
def register_datasets(register):
    register("broken", Broken, config=Options, source="this test")
'''


@pytest.mark.parametrize(
    ("fault", "check_", "said"),
    [
        ("duplicates", "ids", "'train0' twice (clips 0 and 9); 1 repeated"),
        ("order", "order", "instead of 'train"),
        ("captions", "captions", "clip 'train0': caption 0 of 1 is empty"),
        ("two splits", "apart", "1 clips in both 'train' and 'test', e.g. 'train0'"),
    ],
)
def test_a_dataset_whose_clips_break_the_contract_ends_with_1(
    tmp_path: Path, fault: str, check_: str, said: str
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "broken.py").write_text(BROKEN)
    film(tmp_path / "film.mp4", 0, seconds=1)
    path = tmp_path / "my_data.yaml"
    path.write_text(f"datasets: {{web: {{reader: broken, root: ., fault: {fault}}}}}")
    words = ["data", "check", str(path), "--plugins-dir", str(folder)]
    shown = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert shown.exit_code == 1, shown.output
    assert f"web: {check_}: split" in shown.output or f"web: {check_}: 1 clips" in shown.output
    assert said in shown.output
    assert shown.output.splitlines()[-1].startswith("not ok")


def test_the_last_line_counts_what_is_lost(data: Path) -> None:
    shown = CliRunner().invoke(app, ["data", "check", str(data)], env={"COLUMNS": "200"})
    assert shown.output.splitlines()[-1] == "ok, 4 of 10 lost"


def test_a_reader_is_checked_with_the_options_of_the_command_line(data: Path) -> None:
    root = data.parent / "cooking"
    words = ["check", "youcook2", "--option", f"root={root}"]
    done = CliRunner().invoke(app, [*words, "--verbose"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "ok     datasets youcook2: contents" in done.output
    done = CliRunner().invoke(app, [*words, "--option", "train=no_split"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0] == "FAILED datasets youcook2: splits"
    assert "['no_split'] not in ('training', 'validation')" in lines[2]
