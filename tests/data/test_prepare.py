"""The prepare stage and the prepared split, on small films in YouCook2's form."""

import json
import pickle
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from avbench.core.errors import DataError
from avbench.core.job import Job, write_json
from avbench.core.options import plain
from avbench.core.types import InputSpec, SoundState
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.media import sampling
from avbench.data.prepared import pool
from avbench.data.prepared import stage as prepare
from avbench.data.prepared.lost import LOST, LostClip, read_lost
from avbench.data.prepared.part import Part
from avbench.data.prepared.split import PreparedSplit

SPEC = InputSpec(frames=4, size=32, store_frames=12, mel_frames=64)
SHORT, LONG = 10, 40
"""Frames a clip: fewer than are stored, and more."""


def film(path: Path, frames: int, *, sound: str = "tone", broken: bool = False) -> None:
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10, options={"crf": "4"})
        video.width, video.height, video.pix_fmt, video.gop_size = 48, 32, "yuv420p", 5
        audio = out.add_stream("aac", rate=22_050, layout="mono") if sound else None
        for i in range(frames):
            grey = np.full((32, 48, 3), 3 * i, dtype=np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            t = np.arange(frames * 2205) / 22_050
            wave = 0.5 * np.sin(2 * np.pi * 440 * t) * (sound == "tone")
            block = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
            block.sample_rate, block.pts, block.time_base = 22_050, 0, Fraction(1, 22_050)
            out.mux(audio.encode(block))
            out.mux(audio.encode())
    if broken:
        path.write_bytes(b"not a film")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five training videos of two clips, one of them no film, and one validation video."""
    root = tmp_path_factory.mktemp("youcook2")
    (root / "videos").mkdir()
    film(root / "videos/toneSHORT00.mp4", 2 * SHORT)
    film(root / "videos/toneLONG000.mkv", 2 * LONG)
    film(root / "videos/silent00000.mp4", 2 * SHORT, sound="silence")
    film(root / "videos/absent00000.mp4", 2 * SHORT, sound="")
    film(root / "videos/broken00000.mp4", SHORT, broken=True)
    film(root / "videos/validation0.mp4", 2 * SHORT)
    database: dict[str, Any] = {}
    for name, half in [
        ("toneSHORT00", SHORT),
        ("toneLONG000", LONG),
        ("broken00000", SHORT),
        ("silent00000", SHORT),
        ("absent00000", SHORT),
        ("validation0", SHORT),
    ]:
        segments = [
            {"id": i, "segment": [i * half / 10, (i + 1) * half / 10], "sentence": f"{name} {i}"}
            for i in range(2)
        ]
        subset = "validation" if name == "validation0" else "training"
        database[name] = {"subset": subset, "duration": half / 5, "annotations": segments}
    (root / "youcookii_annotations_trainval.json").write_text(json.dumps({"database": database}))
    slot = {"value": "red", "choices": ["red", "green"], "evidence": ["video"]}
    (root / "evidence.json").write_text(json.dumps({"toneSHORT00#0": {"colour": slot}}))
    (root / "asr.json").write_text(json.dumps({"toneSHORT00#0": "say it"}))
    return root


def make_job(root: Path, directory: Path, *, workers: int = 1, **changes: Any) -> Job:
    directory.mkdir(parents=True, exist_ok=True)
    spec = {
        "dataset": "cooking",
        "reader": {"name": "youcook2", "options": {}},
        "role": "train",
        "input": plain(SPEC),
        "policy": "skip",
        "read": "stored",
        "fingerprint": "",
    }
    return Job(
        kind="prepare",
        id="x",
        spec={**spec, **changes},
        directory=directory,
        local={"root": str(root), "workers": workers},
    )


@pytest.fixture(scope="module")
def prepared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, PreparedSplit]:
    directory = tmp_path_factory.mktemp("prepared")
    return prepare.run(make_job(root, directory)), PreparedSplit.open(directory)


def test_the_record_counts_what_is_kept_lost_and_heard(prepared: tuple) -> None:
    results, split = prepared
    assert len(results["clips_hash"]) == 64
    kept = {c.id: c.captions for c in split.clips}
    assert results["list_hash"] == split.list_hash == clip_list_hash(kept)
    assert {k: v for k, v in results.items() if not k.endswith("_hash")} == {
        "split": "training",
        "expected": 10,
        "kept": 8,
        "lost": {"not_media": 2},
        "partial": 0,
        "sound": {"present": 4, "absent": 2, "silent": 2, "undecodable": 0},
        "fingerprint": "",
    }


def test_clips_keep_order_and_content(root: Path, prepared: tuple) -> None:
    _, split = prepared
    assert [clip.id for clip in split.clips] == [
        f"{video}#{i}"
        for video in ("toneSHORT00", "toneLONG000", "silent00000", "absent00000")
        for i in (0, 1)
    ]
    first, second = split.clips[:2]
    assert first.captions == ("toneSHORT00 0",)
    assert (first.next_caption, second.next_caption) == ("toneSHORT00 1", None)
    assert (first.start, first.end) == (0.0, 1.0)
    assert first.media == root / "videos/toneSHORT00.mp4"
    assert first.speech == "say it"
    assert first.slots["colour"].choices == ("red", "green")
    assert first.slots["colour"].evidence == frozenset({"video"})
    assert split.protocol == "coco"
    assert split.paragraphs == {}
    assert split.sound["silent00000#1"] is SoundState.SILENT
    assert split.sound["absent00000#0"] is SoundState.ABSENT
    assert [(lost.id, lost.reason) for lost in lost_of(split)] == [
        ("broken00000#0", "not_media"),
        ("broken00000#1", "not_media"),
    ]
    assert "broken00000.mp4: not a media file" in lost_of(split)[0].detail


def lost_of(split: PreparedSplit) -> list[LostClip]:
    return [*read_lost(split.directory / LOST)]


def greys(frames: torch.Tensor) -> list[int]:
    return [round(float(frame.float().mean()) / 3) for frame in frames]


def test_frames_are_uniform_or_drawn(prepared: tuple) -> None:
    _, split = prepared
    assert greys(split.frames(1, SPEC)) == [11, 13, 16, 18]
    assert greys(split.frames(2, SPEC)) == [5, 15, 25, 35]
    drawn = [
        tuple(greys(split.frames(2, SPEC, torch.Generator().manual_seed(seed))))
        for seed in range(20)
    ]
    assert len(set(drawn)) > 10
    assert all(10 * i <= g < 10 * i + 10 for sample in drawn for i, g in enumerate(sample))
    assert split.frames(0, SPEC).shape == (4, 3, 32, 32)


def test_mels_are_padded_and_absent_sound_is_padding(prepared: tuple) -> None:
    _, split = prepared
    floor = float(np.float32(np.log(1e-5)))
    tone, silent, absent = split.mel(0), split.mel(4), split.mel(6)
    assert tone.shape == (64, 64)
    assert float(tone[: 22_050 // 588].max()) > 1
    assert (tone[1 + 22_050 // 588 :] == floor).all()
    assert (absent == floor).all()
    assert torch.allclose(silent, absent)


def test_stored_and_raw_give_equal_results(root: Path, tmp_path: Path, prepared: tuple) -> None:
    results, stored = prepared
    raw_results = prepare.run(make_job(root, tmp_path, read="raw"))
    raw = PreparedSplit.open(tmp_path)
    assert raw_results == results
    assert raw.clips == stored.clips
    assert not (tmp_path / "frames.u8").exists()
    for i, clip in enumerate(stored.clips):
        assert torch.equal(raw.mel(i), stored.mel(i))
        # Uniform frames are equal even where not all frames are stored: 12 is 3 times 4.
        assert torch.equal(raw.frames(i, SPEC), stored.frames(i, SPEC))
        if clip.video == "toneLONG000":
            continue
        for seed in range(5):
            one, other = (torch.Generator().manual_seed(seed) for _ in range(2))
            assert torch.equal(raw.frames(i, SPEC, one), stored.frames(i, SPEC, other))


def test_a_split_can_be_sent_to_another_process(prepared: tuple) -> None:
    _, split = prepared
    split.frames(0, SPEC)  # maps the file
    sent = pickle.dumps(split)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent).frames(1, SPEC), split.frames(1, SPEC))


def output(directory: Path) -> dict[str, bytes]:
    names = ("split.json", "clips.jsonl", "lost.jsonl", "paragraphs.json", "frames.u8", "mels.f32")
    return {name: (directory / name).read_bytes() for name in names}


def test_a_killed_stage_goes_on_and_gives_the_same(
    root: Path, tmp_path: Path, prepared: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, whole = prepared
    monkeypatch.setattr(prepare, "PART", 3)
    job, calls, work = make_job(root, tmp_path), [], Part.work

    def dies_in_the_third(part: Any) -> Any:
        calls.append(part.first)
        if len(calls) == 3:
            # As a kill leaves it: some frames written, no outcomes.
            with (tmp_path / "frames.u8").open("r+b") as file:
                file.seek(part.first * SPEC.store_frames * 3 * 32 * 32)
                file.write(b"\x07" * 5000)
            raise KeyboardInterrupt
        return work(part)

    monkeypatch.setattr(Part, "work", dies_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        prepare.run(job)
    assert not (tmp_path / "clips.jsonl").exists()
    stamps = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "parts").glob("0*.json")}
    assert sorted(stamps) == ["00000000.json", "00000003.json"]
    monkeypatch.setattr(Part, "work", work)
    assert prepare.run(job) == results
    again = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "parts").glob("0*.json")}
    assert stamps.items() <= again.items()
    assert output(tmp_path) == output(whole.directory)


def test_parts_of_another_input_are_not_kept(root: Path, tmp_path: Path) -> None:
    prepare.run(make_job(root, tmp_path))
    other = InputSpec(frames=4, size=16, store_frames=12, mel_frames=64)
    prepare.run(make_job(root, tmp_path, input=plain(other)))
    assert PreparedSplit.open(tmp_path).frames(0, other).shape == (4, 3, 16, 16)


@pytest.mark.slow
def test_processes_give_the_same_bytes(
    root: Path, tmp_path: Path, prepared: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = prepared
    monkeypatch.setattr(prepare, "PART", 1)
    monkeypatch.setattr(pool, "WORTH", 0.0)
    # This process takes its time, so that the other one has started before all is done.
    monkeypatch.setattr(Job, "progress", lambda *_: time.sleep(1.5))
    elsewhere, result = [], pool.WorkerPool._result

    def count(self: Any, parts: Any, place: int) -> Any:
        elsewhere.append(parts[place].first)
        return result(self, parts, place)

    monkeypatch.setattr(pool.WorkerPool, "_result", count)
    prepare.run(make_job(root, tmp_path, workers=2))
    assert 9 in elsewhere  # the last part is the first that the other process takes
    assert output(tmp_path) == output(whole.directory)


def test_the_policy_fail_names_every_clip_and_its_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 10 clips cannot be used \(policy 'fail'") as caught:
        prepare.run(make_job(root, tmp_path, policy="fail"))
    _, *lines = str(caught.value).splitlines()
    assert len(lines) == 2
    for i, line in enumerate(lines):
        assert f"clip 'broken00000#{i}': cannot be decoded:" in line
        assert "broken00000.mp4: not a media file" in line


def test_missing_sound_has_a_policy_for_each_kind(root: Path, tmp_path: Path) -> None:
    results = prepare.run(make_job(root, tmp_path / "a", sound={"absent": "drop"}))
    assert results["lost"] == {"not_media": 2, "sound_absent": 2}
    assert (results["expected"], results["kept"]) == (10, 6)
    # What was heard is counted whether or not it is used.
    assert results["sound"] == {"present": 4, "absent": 2, "silent": 2, "undecodable": 0}
    split = PreparedSplit.open(tmp_path / "a")
    assert set(split.sound.values()) == {SoundState.PRESENT, SoundState.SILENT}
    assert [x.id for x in lost_of(split) if x.reason == "sound_absent"] == [
        "absent00000#0",
        "absent00000#1",
    ]
    assert lost_of(split)[-1].detail.endswith("absent00000.mp4: its sound is absent")
    # The arrays' rows are those of all clips: what is left is read from its own place.
    assert greys(split.frames(1, SPEC)) == [11, 13, 16, 18]
    assert greys(split.frames(5, SPEC)) == [11, 13, 16, 18]
    other = prepare.run(make_job(root, tmp_path / "b", sound={"silent": "drop"}))
    assert other["lost"] == {"not_media": 2, "sound_silent": 2}
    assert other["list_hash"] != results["list_hash"]
    with pytest.raises(DataError, match=r"2 of 10 clips cannot be used") as caught:
        prepare.run(make_job(root, tmp_path / "c", sound={"silent": "fail", "absent": "drop"}))
    assert "clip 'silent00000#0': " in str(caught.value)
    assert "its sound is silent" in str(caught.value)
    assert "absent00000" not in str(caught.value)


def test_malformed_clips_are_lost_with_their_place(root: Path, tmp_path: Path) -> None:
    name = "youcookii_annotations_trainval.json"
    data = json.loads((root / name).read_text())
    data["database"]["toneSHORT00"]["annotations"][0]["segment"] = [1.0, 1.0]
    data["database"]["toneLONG000"]["annotations"][1]["sentence"] = ""
    (tmp_path / name).write_text(json.dumps(data))
    (tmp_path / "videos").symlink_to(root / "videos")
    results = prepare.run(make_job(tmp_path, tmp_path / "out"))
    assert results["lost"] == {"malformed": 1, "no_interval": 1, "not_media": 2}
    assert (results["expected"], results["kept"]) == (10, 6)
    split = PreparedSplit.open(tmp_path / "out")
    assert greys(split.frames(0, SPEC)) == [11, 13, 16, 18]
    assert lost_of(split)[0].id == "toneSHORT00#0"
    assert lost_of(split)[0].detail.endswith(
        f"{name}: database.toneSHORT00.annotations[0].segment: "
        "the clip must end after it starts, got 1 to 1 s"
    )
    with pytest.raises(DataError, match="2 clips have malformed annotations") as caught:
        prepare.run(make_job(tmp_path, tmp_path / "no", policy="fail"))
    assert "annotations[0].segment: the clip must end" in str(caught.value)
    assert "annotations[1].sentence: must be a text that is not empty" in str(caught.value)


def test_the_report_split_is_the_datasets(root: Path, tmp_path: Path) -> None:
    assert prepare.run(make_job(root, tmp_path, role="report"))["split"] == "validation"


def test_the_embedded_world_is_found_by_the_datasets_key(root: Path, tmp_path: Path) -> None:
    (tmp_path / "world/data").mkdir(parents=True)
    (tmp_path / "world/data/cooking").symlink_to(root)
    job = make_job(root, tmp_path / "out", role="report")
    inside = Job(
        kind=job.kind,
        id=job.id,
        spec=job.spec,
        directory=job.directory,
        parents={"world": tmp_path / "world"},
    )
    assert prepare.run(inside)["kept"] == 2


def test_files_that_changed_since_planning_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the files changed after the suite was planned"):
        prepare.run(make_job(root, tmp_path, fingerprint="0" * 32))


def test_nothing_usable_is_an_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("youcookii_annotations_trainval.json",):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    with pytest.raises(DataError, match=r"none of 10 clips can be used: \{'missing': 10\}"):
        prepare.run(make_job(tmp_path, tmp_path / "out"))


def test_wrong_evidence_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text('{"a#0": {"colour": {"value": "red"}}}')
    (tmp_path / "videos").mkdir()
    name = "youcookii_annotations_trainval.json"
    (tmp_path / name).write_bytes((root / name).read_bytes())
    with pytest.raises(
        DataError, match=r"evidence\.json: a#0\.colour: the field 'choices' is missing"
    ):
        prepare.run(make_job(tmp_path, tmp_path / "out"))


def test_another_size_than_the_prepared_one_is_refused(prepared: tuple) -> None:
    with pytest.raises(DataError, match=r"input\.size is 64, the clips were prepared at 32"):
        prepared[1].frames(0, InputSpec(size=64))


def test_a_folder_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no prepared split: .*split\.json is missing"):
        PreparedSplit.open(tmp_path)


def test_stored_frames_hold_the_uniform_ones() -> None:
    from avbench.data.prepared.part import stored_frames

    times = tuple(np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 500)).tolist())
    whole = sampling.Timeline(times, times[0], times[-1] + 0.1)
    kept = stored_frames(whole, 48)
    part = sampling.Timeline([times[i] for i in kept], whole.start, whole.end)
    assert [kept[i] for i in sampling.uniform(part, 16)] == sampling.uniform(whole, 16)


CRASH = """
import json, os, signal, sys
from pathlib import Path, PosixPath
from avbench.data.prepared import stage
from avbench.data.prepared.part import Source
from avbench.core.job import read_job

class Deadly(PosixPath):
    def is_file(self):
        os.kill(os.getpid(), signal.SIGSEGV)

def source(media, start, end):
    return Source(media=Deadly(media) if "LONG" in media.name else media, start=start, end=end)

if __name__ == "__main__":
    stage.Source = source
    print(json.dumps(stage.run(read_job(Path(sys.argv[1])))))
"""


@pytest.mark.slow
def test_a_stage_that_a_codec_crashes_goes_on_past_the_clip(root: Path, tmp_path: Path) -> None:
    job = make_job(root, tmp_path / "out", workers=1)
    data = {name: getattr(job, name) for name in ("kind", "id", "spec", "local")}
    write_json(job.directory / "job.json", {**data, "parents": {}})
    script = tmp_path / "stage.py"
    script.write_text(CRASH)
    statuses = []
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, str(script), str(job.directory)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        statuses.append(ended.returncode)
    assert statuses == [-signal.SIGSEGV, 0], ended.stderr
    results = json.loads(ended.stdout.splitlines()[-1])
    assert results["lost"] == {"crashed": 2, "not_media": 2}
    assert results["kept"] == 6
    lost = [*read_lost(job.directory / LOST)]
    assert "toneLONG000.mkv: the process that decoded it ended with signal" in lost[0].detail
