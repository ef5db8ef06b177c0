"""The state of suites and folders, as another terminal sees it."""

import json
import os
import time
from pathlib import Path

import pytest

from avbench.cli.commands import results
from avbench.core.job import JOB, PROGRESS, Job, read_json, write_json
from avbench.runner.lock import LOCK, StageLock
from avbench.runner.plan import Plan, Stage, Store
from avbench.workflow.status import Status, folder_status, suite_status
from tests.fake_stages import plan_of, stage
from tests.records import write_record

FIRST, SECOND = "a" * 16, "b" * 16


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(results=tmp_path / "results", cache=tmp_path / "cache")


def begin(store: Store, of: Stage, **told: object) -> StageLock:
    """Begin a stage as its process does; return its lock."""
    folder = store.directory(of)
    folder.mkdir(parents=True, exist_ok=True)
    uses = [{"row": "MBP", "seed": 1, "dataset": "vatex", "part": ""}]
    write_json(folder / JOB, {"kind": of.kind, "id": of.id, "uses": uses})
    if told:
        write_json(folder / PROGRESS, told)
    lock = StageLock(folder)
    assert lock.acquire()
    return lock


def test_a_suite_counts_its_stages_by_state(store: Store) -> None:
    plan = plan_of(
        stage("done", kind="pretrain"),
        stage("failed", parents={"weights": "done"}),
        stage("behind", kind="generate", parents={"weights": "failed"}),
        stage("waiting", parents={"weights": "done"}),
    )
    write_record(store, plan.stages["done"], provenance={"wall_s": 5.0})
    write_record(store, plan.stages["failed"], status="failed", error="Traceback\nValueError: no")
    found = suite_status(plan, store)
    assert found.summary == ("fake: 1 done, 0 running, 1 failed, 1 waiting, 1 blocked by failures")
    log = store.directory(plan.stages["failed"]) / "log.txt"
    assert found.failed == {"finetune [failed]": f"ValueError: no (log: {log})"}
    assert found.time_left == "time left unknown: no finetune stage has ended yet"
    assert not found.ended


def test_a_running_stage_tells_its_pace_and_the_time_left(store: Store) -> None:
    plan = plan_of(stage("x"))
    now = time.time()
    lock = begin(
        store, plan.stages["x"], done=60, total=100, note="L 2.1", since=now - 20, first=40
    )
    os.utime(store.directory(plan.stages["x"]) / JOB, (now - 25, now - 25))
    (running,) = suite_status(plan, store).running
    lock.release()
    assert (running.done, running.total, running.note) == (60, 100, "L 2.1")
    assert running.seconds == pytest.approx(25, abs=2)
    assert running.per_second == pytest.approx(1.0, abs=0.1)  # 20 steps in 20 s; 40 were resumed
    assert running.seconds_left == pytest.approx(40, abs=4)
    assert "60 of 100" in running.text()
    assert suite_status(plan, store).running == ()


def test_a_stage_that_tells_nothing_is_expected_to_take_as_long_as_others(store: Store) -> None:
    plan = plan_of(stage("other"), stage("x"))
    write_record(store, plan.stages["other"], provenance={"wall_s": 100.0})
    lock = begin(store, plan.stages["x"])
    found = suite_status(plan, store)
    lock.release()
    (running,) = found.running
    assert (running.note, running.per_second) == ("starting", None)
    assert running.seconds_left == pytest.approx(100, abs=3)
    assert found.time_left.startswith("about 0:01:")


def test_the_work_of_a_suite_that_nobody_runs_is_estimated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.workflow.status.cores", lambda: 2)
    plan = plan_of(*(stage(name) for name in "abc"))
    write_record(store, plan.stages["a"], provenance={"wall_s": 60.0})
    assert suite_status(plan, store).time_left == "nothing runs; about 0:01:00 of work is left"
    for name in "bc":
        write_record(store, plan.stages[name])
    assert (suite_status(plan, store).ended, suite_status(plan, store).time_left) == (True, "")


def test_a_folder_needs_no_suite(store: Store) -> None:
    done, other = stage(FIRST, kind="generate"), stage(SECOND, kind="pretrain")
    write_record(store, done)
    (store.results / "stages" / "notes").mkdir()
    lock = begin(store, other)
    found = folder_status(store)
    lock.release()
    assert (found.done, found.waiting, found.time_left) == (1, None, "")
    (running,) = found.running
    assert running.stage == "pretrain vatex: MBP (seed 1) [bbbbbbbb]"
    write_record(store, other, status="failed", error="ValueError: no")
    assert list(folder_status(store).failed) == [running.stage]


def test_a_look_needs_no_right_to_write_and_takes_no_lock(store: Store) -> None:
    folder = store.directory(stage("x"))
    folder.mkdir(parents=True)
    assert suite_status(plan_of(stage("x")), store).summary.startswith("fake: 0 done, 0 running")
    assert not (folder / LOCK).exists()
    (folder / LOCK).touch(mode=0o444)
    lock = StageLock(folder)
    suite_status(plan_of(stage("x")), store)
    assert lock.acquire()
    lock.release()


def test_the_first_report_of_a_process_stays_in_its_progress(tmp_path: Path) -> None:
    job = Job(kind="pretrain", id=FIRST, spec={}, directory=tmp_path)
    job.progress(40, 100)
    first = read_json(tmp_path / PROGRESS)
    job.progress(41, 100, "L 2.0")
    then = read_json(tmp_path / PROGRESS)
    assert (then["done"], then["first"], then["since"]) == (41, 40, first["since"])


def test_json_has_everything(store: Store) -> None:
    plan = plan_of(stage("x"))
    lock = begin(store, plan.stages["x"], done=1, total=2, note="")
    told = json.loads(json.dumps(suite_status(plan, store).to_json()))
    lock.release()
    assert told["running"][0]["stage"] == "finetune [x]"
    assert (told["ended"], told["waiting"], told["failed"]) == (False, 0, {})


def test_watching_without_a_terminal_prints_changes_and_ends_with_the_suite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def at(done: int) -> Status:
        return Status(name="s", done=done, running=(), failed={}, waiting=2 - done, blocked=0)

    looks = iter([at(0), at(0), at(1), at(2)])
    results._watch(lambda: next(looks), 0.0)
    said = [line[9:] for line in capsys.readouterr().out.splitlines()]
    assert [line for line in said if line.startswith("s:")] == [
        "s: 0 done, 0 running, 0 failed, 2 waiting",
        "s: 1 done, 0 running, 0 failed, 1 waiting",
        "s: 2 done, 0 running, 0 failed, 0 waiting",
    ]


def test_plans_of_a_suite_are_read_only(store: Store) -> None:
    plan: Plan = plan_of(stage("x"))
    suite_status(plan, store)
    assert not store.results.exists()
