"""Records of stages: the outputs that they seal, and each way in which they can prove nothing."""

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from avbench.core.errors import AvbenchError
from avbench.core.job import JOB, LOG, RECORD, Job, read_json, replacing, sweep, write_json
from avbench.runner import export, stage_record
from avbench.runner.lock import LOCK
from avbench.runner.plan import Store, Trial
from avbench.runner.scheduler import Run
from avbench.runner.stage_process import main
from tests.fake_stages import Bench, plan_of, stage


def job_in(folder: Path, kind: str = "finetune") -> Job:
    folder.mkdir(exist_ok=True)
    return Job(kind=kind, id="x", spec={"seed": 1}, directory=folder)


def sealed(folder: Path, kind: str = "finetune") -> Path:
    """A folder with outputs of every kind of name, and its record."""
    job = job_in(folder, kind)
    (folder / "weights.safetensors").write_bytes(bytes(1000))
    (folder / "sub").mkdir()
    (folder / "sub" / "film.mp4").write_bytes(b"film")
    for name in (JOB, LOG, LOCK):
        (folder / name).write_text("{}")
    for name in (".weights.safetensors.17", ".predictions.jsonl"):
        (folder / name).write_text("half of")
    for name in ("checkpoints", "tensorboard"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("none of a result")
    stage_record.write(folder, job, results={"a": 1}, error=None, provenance={})
    return folder


def test_a_record_names_every_output_with_its_size_and_hash(tmp_path: Path) -> None:
    outputs = read_json(sealed(tmp_path / "s") / RECORD)["outputs"]
    written = {"sub/film.mp4": b"film", "weights.safetensors": bytes(1000)}
    assert outputs == {
        name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in written.items()
    }


def test_a_record_removes_the_temporary_files_of_killed_writers(tmp_path: Path) -> None:
    assert [p.name for p in sealed(tmp_path / "s").glob(".*")] == []


@pytest.mark.parametrize(
    ("name", "how", "damage"),
    [
        ("weights.safetensors", "cut", "weights.safetensors has 10 of 1000 bytes"),
        ("sub/film.mp4", "cut", "sub/film.mp4 has 3 of 4 bytes"),
        ("weights.safetensors", "gone", "weights.safetensors is missing"),
        ("weights.safetensors", "a folder", "weights.safetensors has 4096 of 1000 bytes"),
    ],
)
def test_an_output_of_another_size_makes_its_record_prove_nothing(
    tmp_path: Path, name: str, how: str, damage: str
) -> None:
    folder = sealed(tmp_path / "s")
    assert stage_record.examine(folder).done
    path = folder / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[: min(10, path.stat().st_size - 1)])
    else:
        path.unlink()
    if how == "a folder":
        path.mkdir()
        damage = damage.replace("4096", str(path.stat().st_size))
    found = stage_record.examine(folder)
    assert (found.record, found.damage, found.gone) == (None, damage, how == "gone")


def test_an_output_of_other_contents_is_found_when_contents_are_compared(tmp_path: Path) -> None:
    folder = sealed(tmp_path / "s")
    (folder / "weights.safetensors").write_bytes(b"1" + bytes(999))
    assert stage_record.examine(folder).done
    found = stage_record.examine(folder, contents=True)
    assert found.damage == "weights.safetensors has other contents than its record says"


GOOD = {
    **{"kind": "finetune", "id": "x", "status": "done", "results": {}, "error": None},
    "provenance": {},
}


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "null", "7", '"done"', "", "{", "\0" * 100, '{"status": "done"}'),
        *("[" * 100_000, '{"kind": "fin', "\xff"),
        json.dumps(GOOD | {"status": "finished"}),
        json.dumps(GOOD | {"results": None}),
        json.dumps(GOOD | {"results": []}),
        json.dumps(GOOD | {"kind": 3}),
        json.dumps(GOOD | {"error": "boom"}),
        json.dumps(GOOD | {"status": "failed"}),
        json.dumps(GOOD | {"outputs": ["weights"]}),
        json.dumps(GOOD | {"outputs": {"weights": None}}),
        json.dumps(GOOD | {"outputs": {"weights": ["big", "hash"]}}),
    ],
)
def test_what_is_no_record_proves_nothing_and_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text, encoding="latin-1")
    found = stage_record.examine(tmp_path)
    assert found.record is None
    assert found.damage.startswith(f"{RECORD} ")
    assert "\n" not in found.damage


def test_records_that_were_written_before_stay_valid(tmp_path: Path) -> None:
    assert stage_record.examine(tmp_path) == (None, "", False)
    (tmp_path / RECORD).write_text(json.dumps(GOOD))
    assert stage_record.examine(tmp_path, contents=True).done


def test_a_record_of_another_stage_proves_nothing(tmp_path: Path) -> None:
    store, one = Store(results=tmp_path, cache=tmp_path), stage("x2")
    store.directory(one).mkdir(parents=True)
    (store.directory(one) / RECORD).write_text(json.dumps(GOOD))
    assert store.examine(one).damage == "record.json is of finetune-x"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="names of files are from /proc")
def test_outputs_and_record_are_on_disk_before_the_record_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(opened: int) -> None:
        events.append(f"sync {Path(os.readlink(f'/proc/self/fd/{opened}')).name}")
        real_sync(opened)

    def replace(self: Path, target: Path) -> Path:
        events.append(f"rename {self.name} {target.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    sealed(tmp_path / "s")
    hidden = f".{RECORD}.{os.getpid()}"
    assert events == [
        *("sync film.mp4", "sync weights.safetensors", f"sync {hidden}"),
        *(f"rename {hidden} {RECORD}", "sync s"),
    ]


def test_a_file_system_that_cannot_sync_is_no_fault_and_a_full_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        def fsync(opened: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)
    write_json(tmp_path / "a", 1, durable=True)
    fail(errno.ENOSPC)
    with pytest.raises(OSError, match="No space left on device"):
        write_json(tmp_path / "a", 2, durable=True)
    assert read_json(tmp_path / "a") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_file_that_could_not_be_written_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"table.md": "old"}


def test_hidden_files_of_killed_writers_are_swept_up_once_they_are_nobodys(tmp_path: Path) -> None:
    names = {".table.md.17": 100, ".table.md.18": 1, ".gitignore": 100, ".a.b": 100, "x.17": 100}
    for name, age in names.items():
        (tmp_path / name).touch()
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(names) - {".table.md.17"}
    sweep(tmp_path / "none")


# ------------------------------------------------------------------ a run on damaged stages


def damaged(bench: Bench) -> tuple[list[str], dict[str, str]]:
    """The needed stages that a new run would do, and the damage that it reports."""
    plan = bench.run.plan
    run = Run(plan, bench.store, bench.run.executor, {})
    return [i for i, s in run.status.items() if s != "done"], run.damaged


OUTPUT = "weights.safetensors"


@pytest.fixture
def finished(bench: Bench) -> Bench:
    """A run of two stages, each with an output."""
    text = "w" * 100
    a = stage("a", x=1, output=text)
    plan = plan_of(a, stage("b", "generate", {"model": "a"}, x=2, output=text))
    assert bench.go(plan) == 0
    return bench


def test_a_damaged_stage_is_done_again_and_its_children_only_if_they_are_damaged(
    finished: Bench,
) -> None:
    a, b = finished.run.plan.stages.values()
    of_a, of_b = finished.store.directory(a), finished.store.directory(b)
    assert damaged(finished) == ([], {})
    (of_a / OUTPUT).write_text("w" * 99)
    assert damaged(finished) == (["a"], {"a": f"{OUTPUT} has 99 of 100 bytes"})
    (of_a / OUTPUT).unlink()  # deleted to make room: no other stage waits for it
    assert damaged(finished) == ([], {})
    (of_b / OUTPUT).write_text("v" * 100)
    assert damaged(finished) == (
        ["a", "b"],
        {
            "a": f"{OUTPUT} is missing",
            "b": f"{OUTPUT} has other contents than its record says",
        },
    )
    (of_a / "left").write_text("by the damaged one")
    assert finished.go(finished.run.plan) == 0
    assert finished.traced() == ["a", "b", "a", "b"]
    assert damaged(finished) == ([], {})
    assert (of_a / OUTPUT).read_text() == (of_b / OUTPUT).read_text() == "w" * 100
    assert not (of_a / "left").exists()
    said = (of_b / LOG).read_text()
    assert f"{OUTPUT} has other contents than its record says; the stage is done again" in (
        said + (of_a / LOG).read_text()
    )


def test_a_parent_is_checked_by_its_contents_before_a_child_reads_it(finished: Bench) -> None:
    a, b = finished.run.plan.stages.values()
    (finished.store.directory(a) / OUTPUT).write_text("v" * 100)
    assert damaged(finished) == ([], {})
    (finished.store.directory(b) / RECORD).unlink()
    assert damaged(finished) == (
        ["a", "b"], {"a": f"{OUTPUT} has other contents than its record says"},
    )  # fmt: skip


@pytest.mark.usefixtures("own_signals")
def test_a_process_that_finds_a_parent_damaged_says_so(
    finished: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = finished.run.plan.stages.values()
    (finished.store.directory(a) / RECORD).write_text("[]")
    (finished.store.directory(b) / RECORD).unlink()
    assert main([str(finished.store.directory(b))]) == 1
    said = capsys.readouterr().err
    assert said.endswith(": record.json is not a record: expected an object, got list\n")


def test_a_damaged_captioner_is_not_exported(finished: Bench) -> None:
    a, _ = finished.run.plan.stages.values()
    (finished.store.directory(a) / OUTPUT).write_text("v" * 100)
    trial = Trial(label="merged", axes={}, published={}, seed=3)
    with pytest.raises(AvbenchError) as caught:
        export._finished(a, finished.store, trial)
    assert str(caught.value) == (
        f"row 'merged', seed 3: stage finetune-a is damaged: {OUTPUT} has other contents than its "
        "record says. Make it again by 'avbench run' with the same options"
    )
