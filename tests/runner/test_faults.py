"""Faults of machine and components in a run: memory, disk, locks, logs, exits."""

import errno
import fcntl
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from avbench.core.job import JOB, LOG, RECORD, Job
from avbench.runner import scheduler
from avbench.runner.executors import local
from avbench.runner.executors.local import LocalExecutor, cap
from avbench.runner.lock import NoLocksError, StageLock, locked
from avbench.runner.scheduler import Run, StageTimes
from avbench.runner.stage_process import ERROR_LENGTH, main
from tests.fake_stages import Bench, plan_of, stage

# ------------------------------------------------------------------ memory


@pytest.mark.parametrize("how", ["lack memory once", "lack memory error once"])
def test_a_stage_that_lacked_memory_is_tried_once_more_alone(bench: Bench, how: str) -> None:
    hungry = stage("h", "prepare", do=how)
    child = stage("c", "profile", {"data": "h"})
    others = [stage(f"o{i}", "vocabulary") for i in range(3)]
    assert bench.go(plan_of(hungry, child, *others), slots=2) == 0
    assert bench.run.notes == ["out of memory: prepare [h]; it is tried once more, alone"]
    seen = bench.watcher.seen
    assert [e for e in seen if "h" in e] == ["+h", "+h", "done h"]
    second = len(seen) - 1 - seen[::-1].index("+h")
    assert {f"done o{i}" for i in range(3)} <= set(seen[:second])
    assert seen[second + 1] == "done h"
    assert bench.record(hungry)["results"]["workers"] == 1  # type: ignore[index]
    assert bench.record(child)["status"] == "done"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        (
            "lack memory",
            "out of memory: as if the kernel killed it for lack of memory, also when it ran "
            "alone: the process ended with signal SIGKILL and left no record; see its log",
        ),
        ("lack memory error", "out of memory: MemoryError: no room for 7 bytes"),
    ],
)
def test_a_stage_that_lacks_memory_alone_too_has_failed(
    bench: Bench, how: str, error: str
) -> None:
    a = stage("a", do=how)
    assert bench.go(plan_of(a)) == 1
    assert bench.traced() == ["a", "a"]
    assert bench.record(a)["error"] == bench.run.error(a) == error


def test_what_a_killed_process_had_not_begun_just_waits(bench: Bench) -> None:
    hungry = stage("t", "finetune", do="lack memory once")
    others = [stage(f"o{i}", "vocabulary") for i in range(2)]
    said = [stage(f"g{i}", "generate", {"model": "t"}) for i in range(2)]
    assert bench.go(plan_of(hungry, *others, *said), slots=1) == 0
    assert bench.watcher.seen[0] == "+t,g0,g1"
    assert bench.run.notes == ["out of memory: finetune [t]; it is tried once more, alone"]
    assert sorted(bench.traced()) == ["g0", "g1", "o0", "o1", "t", "t"]


def test_the_kernels_count_of_kills_is_told_and_covers_the_children_of_a_stage(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher ends with a status of its own if the kernel kills one of its processes."""
    kills = iter(range(100))
    monkeypatch.setattr(local, "memory_kills", lambda: next(kills))
    a, b = stage("a", do="launcher told once"), stage("b", do="mistake")
    (bench.store.directory(a)).mkdir(parents=True)
    (bench.store.directory(a) / "tried").touch()  # so that it only does its work
    assert bench.go(plan_of(a, b)) == 1
    assert bench.traced().count("b") == 2
    process = local.LocalProcess((bench.store.directory(b),), 1, ended(1), 0.0, 0)
    assert bench.run._ending(process, b) == (
        "out of memory: the kernel killed it for lack of memory, also when it ran alone: the "
        "process ended with status 1 and left no record; see its log"
    )


def ended(code: int) -> "local.subprocess.Popen[bytes]":
    process = local.subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({code})"])
    process.wait()
    return process


def test_the_kernels_count_is_read_where_there_is_one() -> None:
    known = Path("/proc/vmstat").exists() and "oom_kill " in Path("/proc/vmstat").read_text()
    assert local.memory_kills() >= 0 if known else local.memory_kills() == 0


# ------------------------------------------------------------------ components


def test_a_component_that_ends_its_stage_is_a_failure_with_its_place(bench: Bench) -> None:
    a = stage("a", do="exit")
    assert bench.go(plan_of(a)) == 1
    assert bench.record(a)["error"] == "a component or a library ended the stage by sys.exit(0)"


def test_a_log_is_capped_and_keeps_its_beginning_and_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LOG_BYTES", 40_000)
    a = stage("a", do="chatter")
    assert bench.go(plan_of(a)) == 0
    cap(bench.store.directory(a) / LOG, 40_000)
    log = (bench.store.directory(a) / LOG).read_text()
    assert len(log) < 41_000
    assert log.startswith("working on a\nline         0 of")
    assert log.endswith("line     29999 of a component that says too much\n")
    assert " bytes of this log were cut ...]\n" in log


def test_a_log_that_is_short_or_absent_stays(tmp_path: Path) -> None:
    cap(tmp_path / LOG, 100)
    (tmp_path / LOG).write_text("x" * 100)
    cap(tmp_path / LOG, 100)
    assert (tmp_path / LOG).read_text() == "x" * 100
    (tmp_path / LOG).write_text("a" * 50 + "b" * 1000 + "c" * 25)
    cap(tmp_path / LOG, 100)
    assert (tmp_path / LOG).read_text() == (
        "a" * 25 + "\n[... 1025 bytes of this log were cut ...]\n" + "c" * 25
    )


def test_an_error_in_a_record_is_capped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from avbench.runner.stage_process import _log_failure

    error = _log_failure(ValueError("x" * 10**6), tmp_path / LOG)
    assert len(error) < ERROR_LENGTH + 10
    assert error.startswith("ValueError: xxx")
    assert " [...] xxx" in error
    capsys.readouterr()


# ------------------------------------------------------------------ disk


def test_a_full_disk_in_a_stage_is_a_failed_cell(bench: Bench) -> None:
    a = stage("a", do="full")
    assert bench.go(plan_of(a)) == 1
    path = bench.store.directory(a) / "weights.safetensors"
    assert bench.run.error(a) == f"OSError: [Errno 28] No space left on device: '{path}'"


def test_a_stage_whose_record_cannot_be_written_has_failed_and_is_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = stage("a", do="no record"), stage("b", "generate", {"model": "a"})
    other = stage("o", "profile")
    assert bench.go(plan_of(a, b, other)) == 1
    assert bench.run.status == {"a": "failed", "b": "blocked", "o": "done"}
    assert bench.run.error(a) == "the process ended with status 1 and left no record; see its log"
    assert "Is a directory" in (bench.store.directory(a) / LOG).read_text()
    again = Run(bench.run.plan, bench.store, bench.run.executor, {})
    assert again.damaged == {"a": f"{RECORD} cannot be read: Is a directory"}
    usage = SimpleNamespace(free=4096)
    monkeypatch.setattr(scheduler.shutil, "disk_usage", lambda _: usage)
    process = local.LocalProcess((bench.store.directory(a),), 1, ended(1), 0.0, 10**9)
    assert bench.run._ending(process, a).startswith("the disk is full (4096 bytes free): the pro")


def test_a_stage_that_cannot_be_started_has_failed(bench: Bench) -> None:
    a, b = stage("a"), stage("b", "generate", {"model": "a"})
    stages = bench.store.results / "stages"
    stages.parent.mkdir()
    stages.write_text("in the way")
    assert bench.go(plan_of(a, b)) == 1
    assert bench.run.status == {"a": "failed", "b": "blocked"}
    assert bench.run.error(a).startswith(f"the stage could not be started: {stages}")
    assert bench.watcher.seen == ["failed a"]


# ------------------------------------------------------------------ locks


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.usefixtures("own_signals")
def test_a_file_system_without_locks_is_told_with_the_folder_and_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def flock(opened: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / JOB).write_text("{}")
    monkeypatch.setattr(fcntl, "flock", flock)
    said = (
        f"{tmp_path}: its file system has no file locks (flock: {os.strerror(number)}), so two "
        "runs could write the same stage. Give a folder on a local disk with --results, or with "
        "AVBENCH_CACHE if it is in the cache; on NFS or Lustre, mount it with locks"
    )
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(NoLocksError) as caught:
        StageLock(tmp_path).acquire()
    assert str(caught.value) == said
    with pytest.raises(NoLocksError):
        locked(tmp_path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"


# ------------------------------------------------------------------ estimates


def waiting_run(bench: Bench, *kinds: str) -> Run:
    plan = plan_of(*(stage(f"s{i}", kind) for i, kind in enumerate(kinds)))
    return Run(plan, bench.store, LocalExecutor(2), {})


def test_an_estimate_needs_a_measured_stage_of_each_kind_that_is_left(bench: Bench) -> None:
    run = waiting_run(bench, "score", "score", "finetune")
    assert run.unmeasured() == ["finetune", "score"]
    assert run.seconds_left() is None
    run.times.add("finetune", 30.0)
    assert run.unmeasured() == ["score"]
    assert run.seconds_left() is None
    run.times.add("score", 4.0)
    run.times.add("score", 6.0)
    assert run.seconds_left() == (30 + 5 + 5) / 2


def running(run: Run, monkeypatch: pytest.MonkeyPatch, ids: str, elapsed: float) -> None:
    """Let a process run some stages of a run since some seconds."""
    folders = tuple(run.store.directory(run.plan.stages[id_]) for id_ in ids.split())
    for id_ in ids.split():
        run.status[id_] = "running"
        run.store.directory(run.plan.stages[id_]).mkdir(parents=True, exist_ok=True)
    run.executor.running.append(local.LocalProcess(folders, 1, ended(0), 0.0, 0))
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: elapsed)


def test_scores_that_share_a_process_are_all_still_to_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight scores are not about 0:00:00 because one of them would be over."""
    run = waiting_run(bench, *["score"] * 8)
    run.times.add("score", 2.0)
    ids = " ".join(run.plan.stages)
    running(run, monkeypatch, ids, 3.0)
    assert run.seconds_left() == 8 * 2.0 - 3.0
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: 20.0)
    assert run.seconds_left() == pytest.approx(2.0)  # longer than usual: never none at all
    first = run.plan.stages["s0"]
    Job(kind="score", id="s0", spec={}, directory=run.store.directory(first)).progress(1, 4)
    assert run.seconds_left() == pytest.approx(60.0)  # a quarter took 20 s


def test_a_stage_without_a_measured_kind_is_estimated_by_its_progress(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting_run(bench, "finetune", "generate")
    running(run, monkeypatch, "s0 s1", 10.0)
    assert run.seconds_left() is None
    first = run.plan.stages["s0"]
    job = Job(kind="finetune", id="s0", spec={}, directory=run.store.directory(first))
    job.progress(50, 100)
    assert run.seconds_left() is None  # the captions come after
    run.times.add("generate", 7.0)
    assert run.seconds_left() == pytest.approx(17.0)


def test_the_order_of_stages_does_not_need_measurements() -> None:
    times = StageTimes()
    assert times.of("pretrain") is None
    assert times.ranked("pretrain") > times.ranked("finetune") > times.ranked("score")
    times.add("score", 800.0)
    assert times.ranked("score") == 800.0
    assert times.ranked("pretrain") == 10_000.0
    assert times.sum(["score", "pretrain"]) is None
