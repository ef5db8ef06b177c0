"""The runner: order, failures, kills, resumption, locks; with stages that do next to nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from avbench.core.job import LOG, NOTICES, RECORD, read_json
from avbench.runner.executors.local import MEMORY, LocalExecutor
from avbench.runner.lock import StageLock, locked
from avbench.runner.scheduler import Run
from tests.fake_stages import FAKE, Bench, plan_of, stage

TRIM = "MALLOC_TRIM_THRESHOLD_"


def test_parents_before_children_and_nothing_twice(bench: Bench) -> None:
    a, b = stage("a", "pretrain", x=1), stage("b", "profile", x=5)
    c = stage("c", "finetune", {"start": "a"}, x=2)
    d = stage("d", "score", {"predictions": "c", "data": "b"}, x=4)
    plan = plan_of(a, b, c, d)
    assert bench.go(plan) == 0
    assert bench.record(d)["results"] == {
        "sum": 12,
        "threads": "1",
        "workers": None,
        "together": 1,
    }
    assert bench.record(d)["parents"] == {"predictions": "finetune-c", "data": "profile-b"}
    assert bench.record(d)["status"] == "done"
    assert sorted(bench.traced()) == ["a", "b", "c", "d"]
    assert "working on a" in (bench.store.directory(a) / LOG).read_text()
    # The longest chain starts first.
    assert bench.watcher.seen[0] == "+a"
    assert bench.go(plan) == 0
    assert len(bench.traced()) == 4
    assert bench.run.cached == len(bench.run.status) == 1  # the score is there: no more is asked


@pytest.mark.parametrize(("own", "expected"), [(None, MEMORY[TRIM]), ("4096", "4096")])
def test_stages_keep_freed_memory_unless_told_otherwise(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, own: str | None, expected: str
) -> None:
    monkeypatch.delenv(TRIM, raising=False)
    if own is not None:
        monkeypatch.setenv(TRIM, own)
    a = stage("a", do="environment")
    bench.go(plan_of(a))
    assert f"trim: {expected}\n" in (bench.store.directory(a) / LOG).read_text()


def test_provenance_is_apart_from_results(bench: Bench) -> None:
    a = stage("a", x=1, seed=7)
    bench.go(plan_of(a))
    provenance = bench.record(a)["provenance"]
    assert isinstance(provenance, dict)
    assert provenance["seed"] == 7
    assert provenance["threads"] == 1
    assert [provenance[n] for n in ("processes", "strategy", "workers")] == [1, None, 0]
    assert provenance["peak_memory_mb"] > 1
    assert provenance["wall_s"] >= 0
    assert set(bench.record(a)) == {
        *("kind", "id", "status", "spec", "parents", "results", "error", "provenance"),
        "outputs",
    }


def test_a_preparation_that_died_is_started_once_more(bench: Bench) -> None:
    a = stage("a", "prepare", do="die once", x=3)
    b = stage("b", "prepare", do="die")
    c = stage("c", "pretrain", do="die once")
    assert bench.go(plan_of(a, b, c)) == 1
    assert len(bench.run.notes) == 1  # b, by SIGKILL
    assert bench.run.status == {"a": "done", "b": "failed", "c": "failed"}
    assert sorted(bench.traced()) == ["a", "a", "b", "b", "c"]
    assert bench.record(a)["results"]["sum"] == 3
    assert "ended with signal SIGKILL" in bench.record(b)["error"]


@pytest.mark.parametrize(
    ("do", "error", "in_log"),
    [
        ("mistake", "the file is empty", "error: the file is empty"),
        ("bug", "RuntimeError: a bug", 'raise RuntimeError("a bug")'),
        (
            "die",
            "out of memory: as if the kernel killed it for lack of memory, also when it ran "
            "alone: the process ended with signal SIGKILL and left no record; see its log",
            "working on a",
        ),
    ],
)
def test_a_failure_blocks_what_is_below_and_nothing_else(
    bench: Bench, do: str, error: str, in_log: str
) -> None:
    a, b = stage("a", "pretrain", do=do), stage("b", "pretrain", x=1)
    a2 = stage("a2", "finetune", {"start": "a"})
    a3 = stage("a3", "generate", {"model": "a2"})
    b2 = stage("b2", "finetune", {"start": "b"}, x=2)
    assert bench.go(plan_of(a, b, a2, a3, b2)) == 1
    assert bench.run.status == {
        **{"a": "failed", "a2": "blocked", "a3": "blocked", "b": "done", "b2": "done"}
    }
    assert bench.record(a)["error"] == error
    log = (bench.store.directory(a) / LOG).read_text()
    assert in_log in log
    assert ("Traceback" in log) == (do == "bug")
    assert not bench.store.directory(a2).exists()


@pytest.mark.parametrize("do", ["told once", "launcher told once"])
def test_a_stage_that_left_on_a_notice_interrupts_its_run_and_goes_on_with_the_next(
    bench: Bench, do: str
) -> None:
    a, b = stage("a", do=do, x=2), stage("b", "generate", {"model": "a"}, x=3)
    assert bench.go(plan_of(a, b)) == 130
    assert bench.run.status == {"a": "waiting", "b": "waiting"}
    assert not (bench.store.directory(a) / RECORD).exists()
    assert bench.go(plan_of(a, b)) == 0
    assert bench.traced() == ["a", "a", "b"]
    assert bench.record(b)["results"]["sum"] == 5  # type: ignore[index]


def test_a_failed_stage_is_tried_again_at_the_next_run(bench: Bench) -> None:
    a, b = stage("a", do="once"), stage("b", "generate", {"model": "a"}, x=3)
    assert bench.go(plan_of(a, b)) == 1
    assert bench.go(plan_of(a, b)) == 0
    assert bench.traced() == ["a", "a", "b"]
    assert bench.record(a)["error"] is None


def test_scores_that_are_ready_share_a_process(bench: Bench) -> None:
    data, other = stage("data", "prepare"), stage("other", "prepare")
    metrics = [{"name": "m", "options": {}}]
    scores = [stage(f"s{i}", "score", {"data": "data"}, metrics=metrics, do="") for i in range(3)]
    apart = stage("t", "score", {"data": "other"}, metrics=metrics, do="")
    bad = stage("bad", "score", {"data": "data"}, metrics=metrics, do="bug")
    assert bench.go(plan_of(data, other, *scores, apart), slots=1) == 0
    assert bench.record(scores[0])["results"]["together"] == 4  # type: ignore[index]
    assert bench.record(apart)["results"]["together"] == 4  # type: ignore[index]
    assert bench.go(plan_of(data, bad)) == 1
    assert bench.record(bad)["error"] == "RuntimeError: a bug"
    assert "RuntimeError: a bug" in (bench.store.directory(bad) / LOG).read_text()


def test_a_process_goes_on_with_what_its_stage_was_needed_for(bench: Bench) -> None:
    tuned = [stage(f"t{i}", "finetune", x=i) for i in range(3)]
    said = [
        stage(f"g{i}{z}", "generate", {"model": f"t{i}"}, x=10) for i in range(3) for z in "ab"
    ]
    assert bench.go(plan_of(*tuned, *said), slots=1) == 0
    started = [e for e in bench.watcher.seen if e.startswith("+")]
    # The last one has no other work beside it: it starts alone, and its children together.
    assert started == ["+t0,g0a,g0b", "+t1,g1a,g1b", "+t2", "+g2a,g2b"]
    assert bench.watcher.seen.index("done t0") < bench.watcher.seen.index("done g0a")
    assert bench.record(said[5])["results"]["sum"] == 12  # type: ignore[index]


def test_what_a_process_brings_along_is_blocked_by_a_failure(bench: Bench) -> None:
    bad, other = stage("a", "finetune", do="bug"), stage("z", "finetune")
    said = stage("g", "generate", {"model": "a"})
    assert bench.go(plan_of(bad, other, said), slots=1) == 1
    assert bench.watcher.seen[0] == "+a,g"
    assert bench.run.status == {"a": "failed", "g": "blocked", "z": "done"}
    assert not (bench.store.directory(said) / RECORD).exists()
    assert sorted(bench.traced()) == ["a", "z"]


def test_one_of_several_together_fails_alone(bench: Bench) -> None:
    from avbench.core.job import Job
    from avbench.runner.stage_process import run_stages

    jobs = []
    for name in ("x", "y"):
        folder = bench.folder / name
        folder.mkdir()
        jobs.append(Job(kind="score", id=name, spec={}, directory=folder))
    module = type(sys)("fake_module")
    module.run_many = lambda jobs: [{"fine": 1}, ValueError("no")]  # type: ignore[attr-defined]
    sys.modules["avbench_fake_module"] = module
    from avbench.runner.stage_kinds import KINDS, Kind

    before = KINDS["score"]
    try:
        KINDS["score"] = Kind(module="avbench_fake_module", has_run_many=True)  # type: ignore[index]
        assert not run_stages(jobs)
    finally:
        KINDS["score"] = before  # type: ignore[index]
        del sys.modules["avbench_fake_module"]
    assert read_json(bench.folder / "x" / RECORD)["results"] == {"fine": 1}
    assert read_json(bench.folder / "y" / RECORD)["error"] == "ValueError: no"
    assert "ValueError: no" in (bench.folder / "y" / LOG).read_text()


def test_wide_stages_share_the_free_slots(bench: Bench) -> None:
    a, b, c = stage("a", "world"), stage("b", "prepare"), stage("c", "profile")
    assert bench.go(plan_of(a, c), slots=4) == 0
    assert bench.record(a)["results"]["workers"] == 4  # type: ignore[index]
    assert bench.record(c)["results"]["workers"] is None  # type: ignore[index]
    a = stage("a4", "world")
    assert bench.go(plan_of(a, b), slots=4) == 0
    assert bench.record(a)["results"]["workers"] == 2  # type: ignore[index]
    assert bench.record(b)["results"]["workers"] == 2  # type: ignore[index]


def test_a_missing_parent_of_finished_work_is_not_done_again(bench: Bench) -> None:
    a, b = stage("a", "prepare"), stage("b", "generate", {"data": "a"})
    assert bench.go(plan_of(a, b)) == 0
    (bench.store.directory(a) / RECORD).unlink()
    assert bench.go(plan_of(a, b)) == 0
    assert bench.traced() == ["a", "b"]
    (bench.store.directory(b) / RECORD).unlink()
    assert bench.go(plan_of(a, b)) == 0
    assert bench.traced() == ["a", "b", "a", "b"]


def test_a_record_that_is_no_record_is_done_again(bench: Bench) -> None:
    a = stage("a")
    assert bench.go(plan_of(a)) == 0
    (bench.store.directory(a) / RECORD).write_text('{"kind": "fin')
    assert bench.go(plan_of(a)) == 0
    assert bench.traced() == ["a", "a"]


def test_another_runs_stage_is_waited_for_not_done_twice(bench: Bench) -> None:
    a, b = stage("a", x=1), stage("b", "generate", {"model": "a"}, x=1)
    folder = bench.store.directory(a)
    folder.mkdir(parents=True)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, json, pathlib\n"
            "from avbench.runner.lock import StageLock\n"
            "d = pathlib.Path(sys.argv[1])\n"
            "assert StageLock(d).acquire()\n"
            "(d / 'held').touch()\n"
            "time.sleep(1)\n"
            "(d / 'record.json').write_text(json.dumps({'kind': 'finetune', 'id': 'a', "
            "'status': 'done', 'results': {'sum': 40}, 'error': None, 'provenance': {}}))\n",
            str(folder),
        ]
    )
    while not (folder / "held").exists():
        time.sleep(0.02)
    assert locked(folder)
    assert bench.go(plan_of(a, b)) == 0
    assert holder.wait() == 0
    assert bench.traced() == ["b"]
    assert bench.record(b)["results"]["sum"] == 41  # type: ignore[index]


def test_locks(tmp_path: Path) -> None:
    assert not locked(tmp_path)
    first, second = StageLock(tmp_path), StageLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    assert locked(tmp_path)
    first.release()
    assert not locked(tmp_path)
    assert second.acquire()


def test_a_lock_is_waited_for_as_long_as_told(tmp_path: Path) -> None:
    first, second = StageLock(tmp_path), StageLock(tmp_path)
    assert first.acquire()
    assert not second.acquire(patience=0.1)
    threading.Timer(0.2, first.release).start()
    assert second.acquire(patience=60.0)


def test_a_forked_child_has_no_part_in_its_parents_lock(tmp_path: Path) -> None:
    """A data worker lives on for seconds after its parent was killed; a stage is free at once."""
    script = (
        "import os, sys, time, pathlib\n"
        "from avbench.runner.lock import StageLock\n"
        "lock = StageLock(pathlib.Path(sys.argv[1]))\n"
        "assert lock.acquire()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    time.sleep(60)\n"
        "    os._exit(0)\n"
        "print(child, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    said = tmp_path / "child"
    with said.open("w") as file:
        parent = subprocess.run([sys.executable, "-c", script, str(tmp_path)], stdout=file)
    assert parent.returncode == -9
    child = int(said.read_text())
    try:
        assert StageLock(tmp_path).acquire(patience=2.0)
        os.kill(child, 0)  # the child is still there
    finally:
        os.kill(child, 9)


# ------------------------------------------------------------------ interruptions

RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.scheduler import Run
folder = Path(sys.argv[1])
stages = {
    "a": Stage(id="a", kind="prepare", spec={"x": 1}, parents={}),
    "b": Stage(id="b", kind="pretrain", spec={"x": 2, "do": "steps"}, parents={"data": "a"}),
    "c": Stage(id="c", kind="score", spec={"x": 4}, parents={"data": "a", "predictions": "b"}),
}
plan = Plan(suite="f", title="", preset="", data="", axes=(), datasets=(), seeds=(), table={},
            notes=(), trials=(), baselines={}, prepared={}, stages=stages)
class Quiet:
    def started(self, stages, run): pass
    def ended(self, stage, run, seconds): pass
    def tick(self, run): pass
command = (sys.executable, str(folder / "fake_stages.py"))
store = Store(results=folder / "out", cache=folder / "cache")
sys.exit(Run(plan, store, LocalExecutor(2, command=command), {}).go(Quiet(), poll=0.02))
"""


class Killed:
    """A runner in a process of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        (bench.folder / "runner.py").write_text(RUNNER)
        self.b = bench.folder / "out" / "stages" / "pretrain-b"

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, str(self.bench.folder / "runner.py"), str(self.bench.folder)]
        )

    def wait_for_step(self, more_than: int) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            state = self.b / "state.json"
            try:
                if json.loads(state.read_text())["done"] > more_than:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.02)
        raise AssertionError("the stage did not come so far")

    def wait_until_free(self) -> None:
        until = time.monotonic() + 30
        while locked(self.b):
            assert time.monotonic() < until, "the orphan goes on"
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, *NOTICES])
def test_an_interrupted_run_ends_its_children_and_goes_on_later(
    bench: Bench, number: signal.Signals
) -> None:
    killed = Killed(bench)
    process = killed.start()
    killed.wait_for_step(3)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert not locked(killed.b)
    assert not (killed.b / RECORD).exists()
    assert killed.start().wait(60) == 0
    starts = [int(line) for line in (killed.b / "starts").read_text().split()]
    assert starts[0] == 0
    assert starts[1] > 3
    assert sorted(bench.traced()) == ["a", "b", "b", "c"]


@pytest.mark.slow
def test_a_runner_that_is_killed_outright_leaves_no_orphans(bench: Bench) -> None:
    killed = Killed(bench)
    for step in (2, 8):
        process = killed.start()
        killed.wait_for_step(step)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    killed.wait_until_free()
    assert killed.start().wait(60) == 0
    disturbed = read_json(killed.b / RECORD)
    starts = [int(line) for line in (killed.b / "starts").read_text().split()]
    assert starts == sorted(starts)
    assert starts[-1] > 8
    assert bench.traced().count("a") == 1
    # The same plan, undisturbed, elsewhere: equal records but for their provenance.
    other = bench.folder / "other"
    other.mkdir()
    (other / "fake_stages.py").write_text(FAKE)
    subprocess.run(
        [sys.executable, str(bench.folder / "runner.py"), str(other)], check=True, timeout=60
    )
    calm = read_json(other / "out" / "stages" / "pretrain-b" / RECORD)
    apart = ("provenance", "outputs")  # an output here lists the starts
    assert {k: v for k, v in calm.items() if k not in apart} == {
        k: v for k, v in disturbed.items() if k not in apart
    }


def test_a_second_interrupt_does_not_wait(bench: Bench) -> None:
    """Stages that will not leave are killed when the grace is over."""
    a = stage("a", do="slow")
    folder = bench.store.directory(a)
    executor = LocalExecutor(1, command=(sys.executable, str(bench.folder / "fake_stages.py")))
    run = Run(plan_of(a), bench.store, executor, {})
    list(run._start())
    until = time.monotonic() + 30
    while not bench.traced() and time.monotonic() < until:
        time.sleep(0.05)
    pid = executor.running[0].process.pid
    os.kill(pid, signal.SIGSTOP)  # deaf to SIGTERM
    began = time.monotonic()
    executor.stop(grace=0.5)
    assert time.monotonic() - began < 10
    assert not locked(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_job_can_be_run_by_hand(bench: Bench) -> None:
    a = stage("a", x=3)
    bench.go(plan_of(a))
    folder = bench.store.directory(a)
    (folder / RECORD).unlink()
    environment = {**os.environ, "PYTHONPATH": str(bench.folder)}
    done = subprocess.run(
        [sys.executable, str(bench.folder / "fake_stages.py"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "working on a" in done.stdout
    assert bench.record(a)["results"]["sum"] == 3  # type: ignore[index]
    usage = subprocess.run(
        [sys.executable, "-m", "avbench.runner.stage_process"], capture_output=True, timeout=60
    )
    assert usage.returncode == 2


def test_a_run_stops_when_every_stage_of_a_kind_fails_with_the_same_error(bench: Bench) -> None:
    """Paths and numbers of their own do not make two errors different."""
    data = [stage(f"d{i}", "prepare", do="mistake at", x=i) for i in range(5)]
    below = [stage(f"p{i}", "pretrain", {"data": f"d{i}"}) for i in range(5)]
    assert bench.go(plan_of(*data, *below), slots=2) == 1
    assert set(bench.traced()) <= {"d0", "d1", "d2"}  # one more where the first was quick
    assert bench.run.stopped is not None
    ended = next(event for event in bench.watcher.seen if event.startswith("failed"))
    first = bench.store.directory(next(s for s in data if ended == f"failed {s.id}"))
    log, error = first / LOG, f"{first}: the file is empty"
    assert str(bench.run.stopped) == (
        f"all {len(bench.traced())} prepare stages that ran failed with the same error: "
        f"{error} (log: {log})"
    )
    assert bench.run.common_failures() == [bench.run.stopped]


def test_a_setting_that_all_failures_share_may_be_to_blame_so_that_others_are_tried(
    bench: Bench,
) -> None:
    bad = [stage(f"a{i}", "pretrain", do="bug", loss={"name": "mine"}, x=i) for i in range(2)]
    good = [stage(f"b{i}", "pretrain", loss={"name": "plain"}, x=i) for i in range(2)]
    assert bench.go(plan_of(*bad, *good), slots=1) == 1
    assert bench.run.stopped is None
    assert bench.run.count("done") == 2
    assert bench.run.common_failures() == []


def test_a_parents_setting_may_be_to_blame_too(bench: Bench) -> None:
    mine, plain = stage("m", "pretrain", loss="mine"), stage("p", "pretrain", loss="plain")
    bad = [stage(f"a{i}", "finetune", {"start": "m"}, do="bug", seed=i) for i in range(2)]
    good = [stage(f"b{i}", "finetune", {"start": "p"}, seed=i) for i in range(2)]
    assert bench.go(plan_of(mine, plain, *bad, *good), slots=1) == 1
    assert bench.run.stopped is None
    assert {bench.run.status[s.id] for s in good} == {"done"}


def test_two_errors_are_two_failures(bench: Bench) -> None:
    bad = [stage("a0", do="bug"), stage("a1", do="mistake"), stage("a2", do="bug", x=2)]
    assert bench.go(plan_of(*bad), slots=1) == 1
    assert bench.run.count("failed") == 3
    assert bench.run.stopped is None
    assert bench.run.common_failures() == []


def test_a_stage_that_still_runs_may_succeed_and_is_waited_for(bench: Bench) -> None:
    slow = stage("a", "pretrain", do="steps")
    bad = [stage(f"b{i}", "pretrain", do="bug", x=i) for i in range(3)]
    assert bench.go(plan_of(slow, *bad), slots=2) == 1
    assert bench.run.stopped is None
    assert bench.run.status == {"a": "done", "b0": "failed", "b1": "failed", "b2": "failed"}


def test_the_only_stage_of_a_kind_that_fails_is_told_and_the_rest_goes_on(bench: Bench) -> None:
    bad, other = stage("a", "profile", do="bug"), stage("b", "pretrain")
    assert bench.go(plan_of(bad, other)) == 1
    assert bench.run.stopped is None
    log = bench.store.directory(bad) / LOG
    assert [str(f) for f in bench.run.common_failures()] == [
        f"the only profile stage that ran failed: RuntimeError: a bug (log: {log})"
    ]
