"""Stages forked from a server: the same results, the same isolation, and when they are fresh."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.core.job import LOG, PROGRESS, RECORD, read_json
from avbench.models.weights import WEIGHTS
from avbench.runner.executors import fork_server, local
from avbench.runner.executors.fork_server import ForkedProcess
from avbench.runner.executors.local import FreshProcess, LocalExecutor, LocalProcess
from tests import processes
from tests.training.test_engine import job, spec


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    for name in local.THREADS:  # as in the processes of tests, which share the server
        monkeypatch.delenv(name, raising=False)
    processes.server()
    made = LocalExecutor(3)
    yield made
    made.stop(grace=0.0)


def ended(executor: LocalExecutor, process: LocalProcess, seconds: float = 120) -> int:
    deadline = time.monotonic() + seconds
    while (status := process.exit_status()) is None:
        assert time.monotonic() < deadline, (process.folders[0] / LOG).read_text()[-3000:]
        time.sleep(0.02)
    executor.reap()
    return status


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").split(") ")[1][0] != "Z"
    return False


def test_a_forked_stage_writes_what_a_fresh_one_writes(
    narrated: dict[str, Path], tmp_path: Path, executor: LocalExecutor
) -> None:
    works = {"cpu": tmp_path / "forked", "cuda": tmp_path / "fresh"}  # both compute on the CPU
    found = {}
    for device, folder in works.items():
        job(narrated, folder, spec(loss="mbp", steps=3))
        found[device] = executor.start([folder], device=device)
        assert ended(executor, found[device]) == 0, (folder / LOG).read_text()[-3000:]
    assert isinstance(found["cpu"].process, ForkedProcess)
    assert isinstance(found["cuda"].process, FreshProcess)
    forked, fresh = (read_json(folder / RECORD) for folder in works.values())
    assert {k: v for k, v in forked.items() if k != "provenance"} == {
        k: v for k, v in fresh.items() if k != "provenance"
    }
    weights = [(folder / WEIGHTS).read_bytes() for folder in works.values()]
    assert weights[0] == weights[1]


def test_a_crash_takes_one_stage_and_neither_the_others_nor_the_server(
    narrated: dict[str, Path], tmp_path: Path, executor: LocalExecutor
) -> None:
    folders = [tmp_path / name for name in ("crashed", "beside", "after")]
    for folder in folders:
        job(narrated, folder, spec(loss="plain", steps=4))
    crashed, beside = (executor.start([folder]) for folder in folders[:2])
    os.kill(crashed.process.pid, signal.SIGSEGV)
    assert ended(executor, crashed) == -signal.SIGSEGV
    assert ended(executor, beside) == 0
    assert ended(executor, executor.start(folders[2:])) == 0
    assert isinstance(crashed.process, ForkedProcess)
    assert crashed.exit_status() == -signal.SIGSEGV  # also once its pipes are closed


def test_a_forked_stage_and_its_server_are_sessions_of_their_own(
    narrated: dict[str, Path], tmp_path: Path, executor: LocalExecutor
) -> None:
    """A signal to the group of the runner, as from Ctrl-C, reaches neither."""
    job(narrated, tmp_path / "a", spec(loss="plain", steps=100_000))
    process = executor.start([tmp_path / "a"])
    pid = process.process.pid
    while not (tmp_path / "a" / PROGRESS).exists():
        assert process.exit_status() is None, (tmp_path / "a" / LOG).read_text()[-3000:]
        time.sleep(0.02)
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    )
    server = int(status["PPid"])
    assert (os.getsid(pid), os.getsid(server)) == (pid, server)
    assert Path(f"/proc/{pid}/cwd").resolve() == Path.cwd()
    threads = Path(f"/proc/{server}/task")
    assert len(list(threads.iterdir())) == 1  # what forks must have no other thread
    executor.stop()
    assert not alive(pid)
    assert alive(server)


RUNNER = """
import sys, time
from pathlib import Path
from avbench.runner.executors.local import LocalExecutor
executor = LocalExecutor(1)
process = executor.start([Path(sys.argv[1])])
print(process.process.pid, type(process.process).__name__, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_stages_and_server_end_with_a_runner_that_is_killed(
    narrated: dict[str, Path], tmp_path: Path
) -> None:
    job(narrated, tmp_path / "a", spec(loss="plain", steps=100_000))
    script = tmp_path / "main.py"  # without a guard of its main part
    script.write_text(RUNNER)
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        pid, kind = runner.stdout.readline().split()
        assert kind == "ForkedProcess"
        server = int(Path(f"/proc/{pid}/stat").read_text("ascii").split(") ")[1].split()[1])
        deadline = time.monotonic() + 120
        while not (tmp_path / "a" / PROGRESS).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        runner.kill()
        while alive(int(pid)) or alive(server):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("device", "variable", "newer", "command"),
    [
        ("cuda:0", None, False, local.FRESH),
        ("cpu", "PYTHONPATH", False, local.FRESH),
        ("cpu", "OMP_WAIT_POLICY", False, local.FRESH),
        ("cpu", None, True, local.FRESH),
        ("cpu", None, False, (sys.executable, "-m", "stages")),
    ],
)
def test_a_stage_is_fresh_where_a_fork_might_differ(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    executor: LocalExecutor,
    device: str,
    variable: str | None,
    newer: bool,
    command: tuple[str, ...],
) -> None:
    class StartedError(Exception):
        pass

    def fresh(*_: object) -> FreshProcess:
        raise StartedError

    monkeypatch.setattr(local, "FreshProcess", fresh)
    if variable is not None:
        monkeypatch.setenv(variable, "active")
    if newer:
        monkeypatch.setattr(fork_server, "SOURCES", tmp_path)
        (tmp_path / "edited.py").touch()
        later = time.time() + 10
        os.utime(tmp_path / "edited.py", (later, later))
    executor._command = command
    with pytest.raises(StartedError):
        executor.start([tmp_path], device=device)


def test_a_stage_is_fresh_where_the_server_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: LocalExecutor
) -> None:
    def refused(*_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(fork_server.ForkServer, "start", refused)
    process = executor.start([tmp_path])
    assert isinstance(process.process, FreshProcess)


def test_auto_may_be_cuda_where_there_is_such_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _, pattern: iter(()))
    assert [local.may_take_cuda(d) for d in ("cpu", "auto", "cuda")] == [False, False, True]
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([folder / "nvidia0"]))
    assert local.may_take_cuda("auto")
