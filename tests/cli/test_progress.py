"""The output of a run: progress, the time left, damage and second attempts."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from avbench.cli import progress
from avbench.cli.progress import Bars, Lines, time_left, working
from avbench.core.job import Job
from avbench.runner.executors import local
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Store
from avbench.runner.scheduler import Run
from tests.fake_stages import plan_of, stage


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of a fine-tuning, in progress, and eight scores to go."""
    scores = [stage(f"s{i}", "score", {"predictions": "[x]"}) for i in range(8)]
    plan = plan_of(stage("[x]", "finetune"), *scores)
    store = Store(results=tmp_path, cache=tmp_path)
    made = Run(plan, store, LocalExecutor(2), {})
    folder = store.directory(plan.stages["[x]"])
    folder.mkdir(parents=True)
    process = local.subprocess.Popen(["true"])
    process.wait()
    made.status["[x]"] = "running"
    start = local.time.monotonic()
    made.executor.running.append(local.LocalProcess((folder,), 1, process, start, 0))
    return made


def report(run: Run, done: int, total: int) -> None:
    one = run.plan.stages["[x]"]
    Job(kind=one.kind, id=one.id, spec={}, directory=run.store.directory(one)).progress(
        done, total
    )


class Shown:
    """The lines that a watcher prints of a run, in a terminal or in a log."""

    def __init__(self, run: Run, *, terminal: bool) -> None:
        self.run = run
        self.file = io.StringIO()
        console = Console(file=self.file, force_terminal=terminal, width=150, color_system=None)
        self.watcher = Bars(console) if terminal else Lines(console, every=0.0)

    def tick(self) -> str:
        """Return what one tick adds."""
        before = len(self.file.getvalue())
        self.watcher._estimated = 0.0  # type: ignore[union-attr]
        self.watcher.tick(self.run)
        if isinstance(self.watcher, Bars):
            self.watcher._bars.refresh()
        return self.file.getvalue()[before:]


@pytest.mark.parametrize("terminal", [True, False])
def test_an_unknown_time_is_said_as_unknown_and_a_start_as_a_start(
    run: Run, terminal: bool
) -> None:
    shown = Shown(run, terminal=terminal)
    with shown.watcher:
        said = shown.tick()
        why = "" if terminal else ": no finetune or score stage has ended yet"
        assert f"time left unknown{why}" in said
        assert "finetune [[x]]" in said
        assert "starting" in said
        assert "?" not in said
        report(run, 3, 12)
        assert "3/12" in shown.tick()
        run.times.add("finetune", 60.0)
        why = "" if terminal else ": no score stage has ended yet"
        assert f"time left unknown{why}" in shown.tick()
        run.times.add("score", 3600.0)
        said = shown.tick()
        assert "about 4:00:" in said
        assert "about 0:00:00" not in said


@pytest.mark.parametrize("terminal", [True, False])
def test_notes_and_damage_are_shown_as_they_are(run: Run, terminal: bool) -> None:
    run.damaged["[x]"] = "weights has 1 of [2] bytes"
    run.notes.append("out of memory: [/x]")
    shown = Shown(run, terminal=terminal)
    with shown.watcher:
        shown.watcher.begin(run)
        shown.tick()
    said = shown.file.getvalue()
    assert "damaged, and to do again: finetune [[x]]: weights has 1 of [2] bytes" in said
    assert said.count("out of memory: [/x]") == 1
    assert run.notes == []


def test_less_than_a_second_is_not_nothing(run: Run) -> None:
    run.times.add("finetune", 0.001)
    run.times.add("score", 0.001)
    assert time_left(run) == "about 0:00:01 left"


def test_a_terminal_shows_at_once_what_a_command_does() -> None:
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=100, color_system=None)
    with working(terminal, "planning [s]", logged=True):
        assert "planning [s]" in file.getvalue()


def test_a_log_says_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    with working(Console(file=file), "planning s", logged=True):
        pass
    assert file.getvalue() == ""
    monkeypatch.setattr(progress, "SOON", 0.05)
    for logged in (False, True):
        with working(Console(file=file, width=100), f"planning [{logged}]", logged=logged):
            time.sleep(0.3)
    assert file.getvalue().endswith(" planning [True]\n")
    assert "False" not in file.getvalue()
