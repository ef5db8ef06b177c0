"""`avbench data prepare` and what is read of its shards, on real files in YouCook2's form."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from avbench.cli.data_check import data_check
from avbench.cli.main import app
from avbench.core.errors import AvbenchError, DataError, SuiteError
from avbench.core.job import Job, read_job, read_json
from avbench.core.options import plain
from avbench.core.registry import load
from avbench.core.types import Clip, InputSpec, SoundState
from avbench.data.contracts import Defect
from avbench.data.media import tar_members
from avbench.data.media.container import LostReason, MediaError
from avbench.data.media.recode import Encoding, recode
from avbench.data.prepared import stage as prepare
from avbench.data.prepared.lost import LOST, read_lost
from avbench.data.prepared.split import PreparedSplit
from avbench.data.shards import shard
from avbench.data.shards import stage as sharding
from avbench.data.shards.folder import shard_path
from avbench.runner.prepare_shards import ShardRequest, data_prepare

SPEC = InputSpec(frames=8, size=64, store_frames=24, mel_frames=128)
SMALL = Encoding(short_side=96, preset="ultrafast", clips_per_shard=3)
AUDIBLE = -4.0
"""Logarithm of a mel bin's amplitude: a full sine gives about 6."""
VIDEOS = {
    "GGSY1Qvo990": ("video_features/v_GGSY1Qvo990.mp4", [(0.0, 4.2), (4.2, 9.77)]),
    "flippancake": ("decord/flipping_a_pancake.mkv", [(3.1, 6.0), (5.5, 8.0)]),
    "nosoundtrac": ("mmaction2/demo.mp4", [(1.0, 3.0)]),
    "breaksearly": ("decord/corrupted.mp4", [(0.0, 2.0), (2.0, 4.0), (6.0, 7.0)]),
    "turned90deg": ("decord/video_90.mov", [(0.0, 1.0)]),
    "disordered1": ("mmaction2/test.avi", [(1.0, 4.0)]),
    "nothingatal": (None, [(0.0, 1.0)]),
    "beyondtheen": ("torchcodec/nasa_13013.mp4", [(2.0, 3.5), (100.0, 101.0)]),
}
"""Eight videos; no file of one is there. Three clips are lost, each for another reason."""


@pytest.fixture(scope="module")
def kitchen(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data file of one dataset, beside its folder."""
    pytest.importorskip("webdataset", reason="shards are written by webdataset, an extra")
    folder = tmp_path_factory.mktemp("kitchen")
    root = folder / "youcook2"
    (root / "videos").mkdir(parents=True)
    database = {}
    for video, (file, clips) in VIDEOS.items():
        if file is not None:
            source = test_data / "videos" / file
            (root / "videos" / f"{video}{source.suffix}").symlink_to(source)
        segments = [
            {"id": i, "segment": list(clip), "sentence": f"{video} – {i}"}
            for i, clip in enumerate(clips)
        ]
        database[video] = {"subset": "training", "annotations": segments}
    malformed = [{"id": 0, "segment": [2, 1], "sentence": "backwards"}]
    database["timereverse"] = {"subset": "training", "annotations": malformed}
    (root / "youcookii_annotations_trainval.json").write_text(json.dumps({"database": database}))
    slot = {"value": "red", "choices": ["red", "green"], "evidence": ["video"]}
    (root / "evidence.json").write_text(json.dumps({"GGSY1Qvo990#1": {"colour": slot}}))
    (root / "asr.json").write_text(json.dumps({"flippancake#0": "flip it"}))
    data = folder / "data.yaml"
    data.write_text("datasets:\n  youcook2: {reader: youcook2, root: youcook2}\n")
    return data


def order(data: Path, out: Path, encoding: Encoding = SMALL) -> ShardRequest:
    return ShardRequest(
        file=data, dataset="youcook2", split="training", out=out, encoding=encoding
    )


def shards(data: Path, out: Path, encoding: Encoding = SMALL, **how: Any) -> dict[str, Any]:
    return data_prepare(order(data, out, encoding), load(), **{"jobs": 1, "workers": 1, **how})


@pytest.fixture(scope="module")
def recoded(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recoded")
    assert shards(kitchen, out)["status"] == 0
    return out


@pytest.fixture(scope="module")
def copied(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("copied")
    assert shards(kitchen, out, replace(SMALL, recode=False), jobs=2)["status"] == 0
    return out


def prepared(directory: Path, root: Path, reader: str, read: str) -> PreparedSplit:
    """Return the shards that a suite's prepare stage makes of a dataset."""
    directory.mkdir()
    spec = {
        "dataset": "youcook2",
        "reader": {"name": reader, "options": {}},
        "role": "train",
        "input": plain(SPEC),
        "policy": "skip",
        "read": read,
        "fingerprint": "",
    }
    local = {"root": str(root), "workers": 1}
    prepare.run(Job(kind="prepare", id="x", spec=spec, directory=directory, local=local))
    return PreparedSplit.open(directory)


@pytest.fixture(scope="module")
def raw(kitchen: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSplit:
    """The same clips, from the media themselves."""
    folder = tmp_path_factory.mktemp("raw")
    return prepared(folder / "raw", kitchen.parent / "youcook2", "youcook2", "raw")


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    error = float(((one.double() - other.double()) ** 2).mean())
    return 10 * np.log10(255**2 / max(error, 1e-9))


def without_place(clips: tuple[Clip, ...]) -> list[Clip]:
    return [replace(c, media=Path(), start=None, end=None) for c in clips]


def test_the_record_says_what_is_kept_and_lost(kitchen: Path, recoded: Path) -> None:
    found = shards(kitchen, recoded)
    assert {
        k: found[k] for k in ("complete", "shards", "expected", "kept", "lost", "partial")
    } == {
        "complete": True,
        "shards": 4,
        "expected": 14,
        "kept": 10,
        "lost": {"missing": 1, "no_frame": 2, "no_interval": 1},
        "partial": 2,
    }
    assert found["sound"] == {"present": 6, "absent": 4, "silent": 0, "undecodable": 0}
    assert found["bytes"] == sum(p.stat().st_size for p in recoded.glob("training/shards/*.tar"))


def test_webdataset_reads_the_shards(recoded: Path) -> None:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    samples = []
    for path in sorted(recoded.glob("training/shards/*.tar")):
        with path.open("rb") as stream:
            source = [{"url": str(path), "stream": stream}]
            samples += list(group_by_keys(tar_file_expander(source)))
    assert [s["__key__"] for s in samples] == [f"{i:09d}" for i in (0, 1, 2, 3, 4, 5, 6, 8, 9, 11)]
    said = json.loads(samples[1]["json"])
    assert (said["dataset"], said["split"]) == ("youcook2", "training")
    assert len(said["fingerprint"]) == 32
    (clip,) = said["clips"]
    assert clip["clip"]["captions"] == ["GGSY1Qvo990 – 1"]
    assert (clip["clip"]["start"], clip["clip"]["end"]) == (4.2, 9.77)
    assert clip["clip"]["media"] == "videos/GGSY1Qvo990.mp4"
    assert clip["sound"] == "present"
    assert {"mp4", "m4a", "json"} <= samples[1].keys()
    assert "m4a" not in samples[4]  # there is no sound track


def test_the_clips_of_a_video_are_in_one_shard(recoded: Path) -> None:
    of: dict[str, set[str]] = {}
    for path in recoded.glob("training/shards/*.json"):
        for sample in read_json(path)["samples"]:
            for clip in sample["clips"]:
                of.setdefault(clip["clip"]["video"], set()).add(path.name)
    assert len(of) > 5
    assert all(len(names) == 1 for names in of.values())


def lost_of(split: PreparedSplit) -> list[tuple[str, str]]:
    return sorted((clip.id, clip.reason) for clip in read_lost(split.directory / LOST))


@pytest.mark.parametrize("read", ["stored", "raw"])
def test_copied_shards_give_what_raw_media_give(
    raw: PreparedSplit, copied: Path, tmp_path: Path, read: str
) -> None:
    split = prepared(tmp_path / "prepared", copied, "sharded", read)
    assert without_place(split.clips) == without_place(raw.clips)
    assert [(c.start, c.end) for c in split.clips] == [(c.start, c.end) for c in raw.clips]
    # Rows count the clips that the annotations give: shards no longer name what was lost.
    assert [replace(e, row=0) for e in split.entries] == [replace(e, row=0) for e in raw.entries]
    assert lost_of(split) == lost_of(raw)
    assert split.list_hash == raw.list_hash
    for i in range(len(raw)):
        assert torch.equal(split.mel(i), raw.mel(i))
        assert torch.equal(split.frames(i, SPEC), raw.frames(i, SPEC))


def test_reencoded_shards_give_the_same_frames_nearly(
    raw: PreparedSplit, kitchen: Path, tmp_path: Path
) -> None:
    fine = replace(SMALL, short_side=256, crf=16, preset="veryfast", sound="flac")
    shards(kitchen, tmp_path / "out", fine)
    split = prepared(tmp_path / "prepared", tmp_path / "out", "sharded", "raw")
    assert without_place(split.clips) == without_place(raw.clips)
    assert split.sound == raw.sound
    assert [e.notes for e in split.entries] == [e.notes for e in raw.entries]
    for i, (clip, one, other) in enumerate(
        zip(raw.clips, raw.entries, split.entries, strict=True)
    ):
        # The same frames are there, at the same times after the first: the choice is the same.
        shift = one.timeline.times[0] - other.timeline.times[0]
        assert np.allclose(one.timeline.times, np.add(other.timeline.times, shift), atol=1e-6)
        lengths = [e.timeline.end - e.timeline.start for e in (one, other)]
        assert lengths[0] == pytest.approx(lengths[1], abs=1e-6)
        for seed in (None, 0, 1):
            drawn = [
                s.frames(i, SPEC, None if seed is None else torch.Generator().manual_seed(seed))
                for s in (raw, split)
            ]
            assert psnr(*drawn) > 32, clip.id
        # Sixteen bits: what is not faint is as it was; the floor of digital silence is not.
        heard = raw.mel(i) > AUDIBLE
        if heard.any():
            assert float((raw.mel(i) - split.mel(i))[heard].abs().mean()) < 0.02, clip.id


def test_jobs_make_no_difference(kitchen: Path, recoded: Path, tmp_path: Path) -> None:
    shards(kitchen, tmp_path, jobs=3)
    assert contents(tmp_path) == contents(recoded)


def contents(out: Path) -> Mapping[str, bytes]:
    """All that a folder of shards holds but the jobs and the place of the media."""
    kept = [*out.glob("training/shards/*"), *out.glob("training/*.jsonl")]
    found = {str(p.relative_to(out)): p.read_bytes() for p in kept}
    assert len(found) == 11
    return found | {"hash": read_json(out / "training/shards.json")["hash"].encode()}


CRASH = """
import os, signal, sys
from pathlib import PosixPath
from avbench.runner import stage_process
from avbench.data.shards import shard

class Deadly(PosixPath):
    def is_file(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Endless(PosixPath):
    def is_file(self):
        while True:
            pass

FATAL = {"GGSY1Qvo990#0": Deadly, "breaksearly#0": Deadly, "turned90deg#0": Endless}
known = shard.clip_from_json

def clip_from_json(data, root):
    clip = known(data, root)
    kind = FATAL.get(clip.id)
    if kind is not None:
        object.__setattr__(clip, "media", kind(clip.media))
    return clip

shard.clip_from_json = clip_from_json  # here, and in the processes that are started from here

if __name__ == "__main__":
    sys.exit(stage_process.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_media_that_a_codec_dies_of_or_never_ends_are_lost_with_their_reason(
    kitchen: Path, recoded: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.yaml"
    root = kitchen.parent / "youcook2"
    own = f"{{reader: youcook2, root: {root}, clip_seconds: 4.0}}"
    data.write_text(f"datasets: {{youcook2: {own}}}\n")
    script = tmp_path / "stage.py"
    script.write_text(CRASH)
    (folder,) = shards(data, tmp_path, start=False)["jobs"]
    # The first process dies at the first clip; the second leaves the rest to others.
    for status in (-signal.SIGSEGV, 0):
        assert subprocess.run([sys.executable, str(script), folder]).returncode == status
    found = shards(data, tmp_path, start=False)
    assert (found["complete"], found["kept"]) == (True, 7)
    reasons = {"crashed": 2, "missing": 1, "no_frame": 2, "no_interval": 1, "overdue": 1}
    assert found["lost"] == reasons
    lines = (tmp_path / "training/lost.jsonl").read_text().splitlines()
    told = {item["id"]: item["detail"] for item in map(json.loads, lines)}
    for id_, name in (("GGSY1Qvo990#0", "GGSY1Qvo990"), ("breaksearly#0", "breaksearly")):
        assert told[id_] == (
            f"cannot be decoded: videos/{name}.mp4: the process that decoded it ended with signal "
            "SIGSEGV, and so did another"
        )
    assert told["turned90deg#0"] == (
        "cannot be decoded: videos/turned90deg.mov: one call of the decoder went far beyond the "
        "4 s of a clip, twice"
    )
    # What is left has the bytes of a run in which nothing died, and nothing else is there.
    whole, left = media_of(recoded), media_of(tmp_path)
    gone = {name for name in whole if name[:9] in ("000000000", "000000005", "000000008")}
    assert left == {name: data for name, data in whole.items() if name not in gone}
    assert contents(tmp_path).keys() == contents(recoded).keys()


def media_of(out: Path) -> dict[str, bytes]:
    """The media of all shards, by their names."""
    found = {}
    for path in out.glob("training/shards/*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if not member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found[member.name] = file.read()
    return found


def test_clip_seconds_bound_each_clip_and_are_of_the_plan(
    kitchen: Path, recoded: Path, tmp_path: Path
) -> None:
    media = kitchen.parent / "youcook2/videos/GGSY1Qvo990.mp4"
    with pytest.raises(MediaError, match="decoding took more than 0 s of processor") as caught:
        recode(media, SMALL, start=0.0, end=4.2, seconds=0.0)
    assert caught.value.as_result()["lost"] == "overdue"
    data = tmp_path / "data.yaml"
    own = f"{{reader: youcook2, root: {kitchen.parent / 'youcook2'}, clip_seconds: 7.0}}"
    data.write_text(f"datasets: {{youcook2: {own}}}\n")
    with pytest.raises(DataError, match=r"clip_seconds: 300.0 before, 7.0 now"):
        shards(data, recoded)


def test_the_jobs_give_each_clip_the_data_files_seconds(
    kitchen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data.yaml"
    own = f"{{reader: youcook2, root: {kitchen.parent / 'youcook2'}, clip_seconds: 250.0}}"
    data.write_text(f"datasets: {{youcook2: {own}}}\n")
    (folder,) = shards(data, tmp_path, start=False)["jobs"]
    given = []

    def overdue(path: Path, *_: object, seconds: float, **__: object) -> None:
        given.append(seconds)
        raise MediaError(path, LostReason.OVERDUE, "decoding took too long")

    monkeypatch.setattr(shard, "recode", overdue)
    results = sharding.run(read_job(Path(folder)))
    assert given == [250.0] * 13
    assert (results["kept"], results["lost"]) == (0, {"overdue": 13})
    assert not [*tmp_path.glob("training/shards/.*")], "no journal, nothing half written"


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(
    kitchen: Path, recoded: Path, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-m", "avbench.cli.main", "data", "prepare", str(kitchen), "--dataset"),
        *("youcook2", "--split", "training", "--out", str(tmp_path), "--jobs", "2"),
        *("--short-side", "96", "--preset", "ultrafast", "--clips-per-shard", "3"),
    ]
    folder = tmp_path / "training/shards"
    kills = 0
    for delay in (0.0, 0.1, 0.2, 0.4, 0.7):
        run = subprocess.Popen([*command, "--workers", "1"], start_new_session=True)
        while run.poll() is None and not any(is_being_written(p) for p in folder.glob(".*.part")):
            time.sleep(0.005)
        time.sleep(delay)  # from then on, at another place each time
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            for job in children(tmp_path):
                os.kill(job, signal.SIGKILL)
            kills += 1
        assert run.wait() in (0, -signal.SIGKILL)
    assert kills >= 2
    assert shards(kitchen, tmp_path, jobs=2)["complete"]
    assert contents(tmp_path) == contents(recoded)


def is_being_written(part: Path) -> bool:
    """Return True where a process holds the file; a killed one leaves it, and holds nothing."""
    try:
        with part.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # just finished
        pass
    return False


def children(out: Path) -> list[int]:
    """The jobs of a killed run that live on."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"avbench.runner.stage_process" in words and any(
            w.startswith(os.fsencode(out)) for w in words
        ):
            found.append(int(folder.name))
    return found


def test_jobs_can_be_run_by_other_machines(kitchen: Path, recoded: Path, tmp_path: Path) -> None:
    found = shards(kitchen, tmp_path, jobs=2, start=False)
    assert (found["complete"], found["shards"], len(found["jobs"])) == (False, 0, 2)
    with pytest.raises(DataError, match="not all shards are written; run 'avbench data prepare'"):
        prepared(tmp_path / "early", tmp_path, "sharded", "raw")
    for folder in reversed(found["jobs"]):
        subprocess.run([sys.executable, "-m", "avbench.runner.stage_process", folder], check=True)
    assert shards(kitchen, tmp_path, jobs=2, start=False)["complete"]
    assert contents(tmp_path) == contents(recoded)


def test_an_unfinished_job_is_named_with_its_error(kitchen: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict.yaml"
    root = kitchen.parent / "youcook2"
    said = "reader: youcook2, root: {}, sound: {{absent: fail}}"
    strict.write_text(f"datasets:\n  youcook2: {{{said.format(root)}}}\n")
    found = shards(strict, tmp_path / "out", replace(SMALL, clips_per_shard=20))
    assert (found["status"], found["complete"], found["shards"]) == (1, False, 0)
    (error,) = found["failed"]
    assert error.startswith(
        "youcook2, split 'training': 4 of 13 clips of shard 0 cannot be used (policy 'fail'; "
        "'skip', or 'drop' for sound, leaves such clips out):"
    )
    assert "clip 'nosoundtrac#0': " in error
    assert "its sound is absent" in error


def test_a_member_that_is_damaged_is_named(kitchen: Path, copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(copied, out)
    shard = shard_path(out / "training", 1)
    with tarfile.open(shard) as tar:
        member = tar.getmember("000000004.mp4")
    with shard.open("r+b") as file:
        file.seek(member.offset_data + 1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(DataError) as caught:
        prepared(tmp_path / "prepared", out, "sharded", "raw")
    assert str(caught.value).startswith(
        f"{shard}: damaged: its member 000000004.mp4 is not as it was written "
        f"({member.size} of {member.size} bytes, checksum "
    )
    again = replace(SMALL, recode=False)
    assert shards(kitchen, out, again, jobs=2)["damaged"] == []
    assert shards(kitchen, out, again, jobs=2, verify=True)["damaged"] == ["000001.tar"]
    assert contents(out) == contents(copied)


def test_a_shard_that_is_cut_off_or_gone_is_named(
    kitchen: Path, recoded: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(recoded, out)
    cut, gone = (shard_path(out / "training", n) for n in (0, 2))
    size, whole = cut.stat().st_size, gone.stat().st_size
    os.truncate(cut, size // 2)
    gone.unlink()
    reader = load().get("datasets", "sharded")
    dataset = reader.build(reader.config(root=str(out)))
    with pytest.raises(DataError) as caught:
        dataset.fingerprint()
    assert str(caught.value).splitlines() == [
        f"{out / 'training'}: 2 of 4 shards are damaged; run 'avbench data prepare' with "
        "--verify to write them anew:",
        f"  {cut}: has {size // 2} bytes, must have {size}",
        f"  {gone}: is missing, must have {whole}",
    ]
    assert shards(kitchen, out, verify=True)["damaged"] == ["000000.tar"]
    assert contents(out) == contents(recoded)


def test_the_manifest_and_the_indices_are_hashed(recoded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(recoded, out)
    reader = load().get("datasets", "sharded")
    dataset = reader.build(reader.config(root=str(out)))
    fingerprint = dataset.fingerprint()
    assert fingerprint == reader.build(reader.config(root=str(recoded))).fingerprint()
    index = shard_path(out / "training", 1).with_suffix(".json")
    index.write_text(index.read_text().replace("breaksearly", "breakslate"))
    with pytest.raises(DataError, match=r"000001.json: the index of 000001.tar is damaged"):
        dataset.clips("training")
    manifest = out / "training/shards.json"
    manifest.write_text(manifest.read_text().replace('"000001.tar"', '"000009.tar"'))
    with pytest.raises(DataError, match=r"shards.json: damaged: its hash is not that of"):
        reader.build(reader.config(root=str(out)))


def test_what_shards_keep_of_a_dataset(recoded: Path) -> None:
    reader = load().get("datasets", "sharded")
    dataset = reader.build(reader.config(root=str(recoded)))
    assert dataset.splits() == ("training",)
    assert (dataset.train, dataset.report, dataset.protocol) == ("training", None, "coco")
    clips = {clip.id: clip for clip in dataset.clips("training")}
    assert clips["GGSY1Qvo990#1"].slots["colour"].value == "red"
    assert clips["flippancake#0"].speech == "flip it"
    assert clips["flippancake#0"].next_caption == "flippancake – 1"
    lost = {d.clip: d.reason for d in dataset.defects("training")}
    assert lost == {
        "timereverse#0": "no_interval",
        "nothingatal#0": "missing",
        "breaksearly#2": "no_frame",
        "beyondtheen#1": "no_frame",
    }
    items = list(dataset.iterate("training"))
    assert [i for i in items if not isinstance(i, Defect)] == list(dataset.clips("training"))
    with pytest.raises(DataError, match="unknown split 'trainin'; did you mean 'training'"):
        dataset.clips("trainin")


def test_data_check_looks_into_shards(recoded: Path, tmp_path: Path) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(f"datasets:\n  youcook2: {{reader: sharded, root: {recoded}}}\n")
    found = data_check(file, load())
    (split,) = found["datasets"][0]["splits"]
    assert (split["expected"], split["found"]) == (14, 10)
    assert split["lost"] == {"missing": 1, "no_frame": 2, "no_interval": 1}
    assert split["files"]["video"] == {"h264": 10}
    assert split["files"]["audio"] == {"aac": 6, "none": 4}
    assert found["ok"]


def test_other_settings_are_refused_in_a_folder_that_was_begun(
    kitchen: Path, recoded: Path
) -> None:
    with pytest.raises(DataError) as caught:
        shards(kitchen, recoded, replace(SMALL, crf=20, sound="flac"))
    assert str(caught.value).splitlines() == [
        f"{recoded / 'training'}: was begun with other settings; give another folder, or delete "
        "this one:",
        "  encoding.crf: 23 before, 20 now",
        '  encoding.sound: "aac" before, "flac" now',
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--crf": "99"}, "data prepare.crf: must be from 0 to 51 (quality), got 99"),
        ({"--preset": "fastt"}, "preset must be one of ultrafast, superfast, "),
        ({"--sample-rate": "12345"}, "sample_rate must be one of (8000, 11025, "),
        ({"--sound": "mp3"}, "data prepare.sound: Input should be 'aac' or 'flac', got 'mp3'"),
        ({"--short-side": "3"}, "short_side: must be from 16 to 4,320 pixels, got 3"),
        ({"--fps": "0"}, "fps: must be above 0 and at most 1,000 frames a second, got 0.0"),
        ({"--dataset": "youcook"}, "unknown dataset 'youcook'; did you mean 'youcook2'?"),
        ({"--split": "train"}, "youcook2: unknown split 'train'; did you mean 'training'?"),
    ],
)
def test_wrong_options_are_refused(
    kitchen: Path, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    given = {"--dataset": "youcook2", "--split": "training", "--out": str(tmp_path), **changed}
    words = [word for pair in given.items() for word in pair]
    result = CliRunner().invoke(app, ["data", "prepare", str(kitchen), *words])
    assert isinstance(result.exception, AvbenchError)
    assert said in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_without_webdataset_it_says_what_to_install(
    kitchen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed: pip install 'avbench\[shards\]'"):
        shards(kitchen, tmp_path)


def test_a_data_file_that_is_missing_is_named(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="shards are written by webdataset, an extra")
    with pytest.raises(SuiteError, match=r"data file .*none.yaml: no such file"):
        shards(tmp_path / "none.yaml", tmp_path)


def test_an_index_serves_many_reads(recoded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    known = tar_members.read_json
    monkeypatch.setattr(tar_members, "read_json", lambda path: reads.append(path) or known(path))
    tar_members._read.cache_clear()
    shard = shard_path(recoded / "training", 0)
    for name in ("000000000.mp4", "000000001.mp4", "000000001.m4a", "nothing.mp4"):
        found = tar_members.member_of(shard / name)
        assert (found is None) == (name == "nothing.mp4")
    assert tar_members.source_facts(shard / "000000000.mp4") == tar_members.SourceFacts(
        sound=SoundState.PRESENT, notes=()
    )
    assert len(reads) == 1
