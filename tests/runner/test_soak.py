"""Soak: runners and stages are killed at random, and the tables stay what they are.

``AVBENCH_SOAK_SECONDS`` sets how long the killing goes on, ``AVBENCH_SOAK_SEED`` its choices.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.core.job import RECORD, read_json
from avbench.runner.lock import locked
from tests.fake_stages import Bench

SECONDS = float(os.environ.get("AVBENCH_SOAK_SECONDS", "6"))
SEED = int(os.environ.get("AVBENCH_SOAK_SEED", "0"))

RUNNER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.scheduler import Run
folder, version = Path(sys.argv[1]), sys.argv[2]
made = []
def add(id_, kind, parents=(), **spec):
    # Another version of the code gives its stages other ids, as a plan does.
    code, parents = f"{version}-", dict(parents)
    text = {role: code + parent for role, parent in parents.items()}
    made.append(Stage(id=code + id_, kind=kind, spec={"output": code + id_, **spec}, parents=text))
add("data", "prepare", x=1)
for i in range(2):
    add(f"pre{i}", "pretrain", {"data": "data"}, x=10 * i, do="steps", steps=8)
    for j in range(2):
        add(f"tune{i}{j}", "finetune", {"start": f"pre{i}"}, x=j, do="steps", steps=4)
        add(f"say{i}{j}", "generate", {"model": f"tune{i}{j}", "data": "data"}, x=100)
        add(f"score{i}{j}", "score", {"predictions": f"say{i}{j}"}, x=1000)
plan = Plan(suite="f", title="", preset="", data="", axes=(), datasets=(), seeds=(), table={},
            notes=(), trials=(), baselines={}, prepared={}, stages={s.id: s for s in made})
class Quiet:
    def started(self, stages, run): pass
    def ended(self, stage, run, seconds): pass
    def tick(self, run): run.seconds_left()
command = (sys.executable, str(folder / "fake_stages.py"))
store = Store(results=folder / "out", cache=folder / "cache")
sys.exit(Run(plan, store, LocalExecutor(2, command=command), {}).go(Quiet(), poll=0.02))
"""

Table = dict[str, object]


class Soak:
    """A results folder, runners on it, and the table of what is in it."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.folder = bench.folder / name
        self.folder.mkdir()
        self.stages = self.folder / "out" / "stages"
        (self.folder / "runner.py").write_text(RUNNER)
        (self.folder / "fake_stages.py").write_text((bench.folder / "fake_stages.py").read_text())

    def start(self, version: str = "v1") -> subprocess.Popen[bytes]:
        """Start a runner, whose stages are children of its session."""
        words = [sys.executable, str(self.folder / "runner.py"), str(self.folder), version]
        return subprocess.Popen(words, start_new_session=True)

    def table(self, version: str = "v1") -> Table:
        """The results of every stage of a version, and what their records seal."""
        found: Table = {}
        for folder in sorted(self.stages.glob(f"*-{version}-*")):
            record = read_json(folder / RECORD)
            assert record["status"] == "done", folder
            sealed = record["outputs"]["weights.safetensors"]
            found[folder.name] = (record["results"]["sum"], sealed)
        return found

    def processes(self) -> list[int]:
        """The processes that hold a lock or work for one: those of stages of this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                except OSError:
                    continue
                if str(self.folder / "fake_stages.py") in words:
                    found.append(int(entry.name))
        return found

    def wait_until_free(self) -> None:
        until = time.monotonic() + 30
        while any(map(locked, self.stages.glob("*"))):
            assert time.monotonic() < until, "an orphan goes on"
            time.sleep(0.05)

    def strays(self) -> list[Path]:
        return [*self.stages.glob("*/.*")]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    """The table of an undisturbed run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        soak = Soak(Bench(tmp_path_factory.mktemp("calm"), monkeypatch), "calm")
        assert soak.start().wait(120) == 0
        yield soak.table()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="stages are found by Linux's /proc"),
]


def test_runners_and_stages_killed_at_random_change_no_table(bench: Bench, calm: Table) -> None:
    soak, choose = Soak(bench, "soak"), random.Random(SEED)
    until = time.monotonic() + SECONDS
    kills: list[str] = []
    runner = soak.start()
    while time.monotonic() < until:
        time.sleep(choose.uniform(0.05, 0.8))
        numbers = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV)
        working = soak.processes()
        if working and choose.random() < 0.6:
            number = choose.choice(numbers)
            try:
                os.kill(choose.choice(working), number)
            except ProcessLookupError:
                continue
            kills.append(f"a stage by {number.name}")
        elif runner.poll() is None:
            runner.kill()
            kills.append("the runner")
        if runner.poll() is not None:
            runner.wait()
            runner = soak.start()
    for _ in range(3):  # what a signal failed is tried again by the next run
        if runner.wait(120) == 0:
            break
        runner = soak.start()
    assert runner.wait(120) == 0, kills
    soak.wait_until_free()
    assert len(kills) >= 2
    assert soak.table() == calm, kills
    assert soak.strays() == []


def test_of_two_runners_one_is_killed_and_the_other_ends_alone(bench: Bench, calm: Table) -> None:
    soak = Soak(bench, "two")
    first, second = soak.start(), soak.start()
    until = time.monotonic() + 60
    while not [*soak.stages.glob("pretrain-*/state.json")]:
        assert time.monotonic() < until
        time.sleep(0.05)
    first.kill()
    first.wait()
    assert second.wait(120) == 0
    assert soak.table() == calm
    done = bench.traced()
    assert set(done) == {name.partition("-")[2] for name in calm}
    # No stage is computed twice but those that were running under the killed one.
    twice = {id_ for id_ in done if done.count(id_) > 1}
    assert len(twice) <= 2


def test_two_versions_of_the_code_share_a_results_folder(bench: Bench, calm: Table) -> None:
    soak = Soak(bench, "versions")
    old, new = soak.start("v1"), soak.start("v2")
    assert (old.wait(120), new.wait(120)) == (0, 0)
    assert soak.table("v1") == calm
    assert [figures[0] for figures in soak.table("v2").values()] == [  # type: ignore[index]
        figures[0]
        for figures in calm.values()  # type: ignore[index]
    ]
    # Records as an earlier version wrote them, without hashes, stay valid.
    for path in soak.stages.glob(f"*/{RECORD}"):
        record = read_json(path)
        del record["outputs"]
        path.write_text(json.dumps(record))
    before = len(bench.traced())
    assert soak.start("v1").wait(60) == 0
    assert len(bench.traced()) == before
