"""Suites from Python: plan, run, results and report, over fake stages and written records."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import avbench
from avbench.core.errors import AvbenchError
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan
from avbench.workflow import running
from avbench.workflow.planning import SuitePlan
from avbench.workflow.progress import Event
from tests.fake_stages import Bench, plan_of, stage
from tests.records import Recorded

SUITE = """
name: s
title: A small suite
rows:
  - {label: one, fusion: merged}
  - {label: two, fusion: cross}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
seeds: 3
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
table: {metrics: [cider], most_frequent: false}
"""

VALUES = {"one": (10.0, 12.0, 11.0), "two": (20.0, 21.0)}
"""Label → the score of each seed; of the last seed of two there is none."""


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuitePlan:
    """A suite whose scores, but one, are written by hand."""
    monkeypatch.chdir(tmp_path)
    made = Recorded(tmp_path, SUITE)
    for trial in made.plan.trials:
        (cell,) = trial.cells
        values = VALUES[trial.label]
        if trial.seed < len(values):
            score = {
                "name": "cider",
                "value": values[trial.seed],
                "unit": "x100",
                "signature": "cider|clips:1",
                "metric": {"name": "coco_caption", "options": {}},
            }
            made.write(made.plan.stages[cell.score], results={"scores": [score]})
        else:
            made.write(
                made.plan.stages[cell.finetune], "failed", error="Traceback\nValueError: too hot"
            )
    return SuitePlan(plan=made.plan, store=made.store)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], SuitePlan]:
    """Makes plans whose stages are those of ``tests.fake_stages``."""
    bench = Bench(tmp_path, monkeypatch)
    command = (sys.executable, str(tmp_path / "fake_stages.py"))
    monkeypatch.setattr(running, "LocalExecutor", partial(LocalExecutor, command=command))
    return lambda plan: SuitePlan(plan=plan, store=bench.store)


# ------------------------------------------------------------------------ the front door


def test_importing_avbench_and_its_functions_imports_nothing_that_is_slow() -> None:
    slow = {"torch", "pandas", "matplotlib", "transformers", "avbench.workflow.functions"}
    code = (
        "import sys, avbench\n"
        f"assert not {slow} & set(sys.modules), sorted({slow} & set(sys.modules))\n"
        "avbench.plan, avbench.run, avbench.results, avbench.report, avbench.diff\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)\n"
        "print(*(name for name in avbench.__all__ if name not in dir(avbench)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'avbench' has no attribute 'plann'"):
        avbench.plann  # noqa: B018


def test_the_package_states_that_it_is_typed() -> None:
    assert (Path(avbench.__file__).parent / "py.typed").is_file()


# ------------------------------------------------------------------------ plan


@pytest.mark.parametrize(
    ("seeds", "expected"), [(2, (0, 1)), ([5], (5,)), ((3, 1), (3, 1)), ("0,4", (0, 4))]
)
def test_seeds_are_a_number_or_a_list(
    recorded: SuitePlan, seeds: object, expected: tuple[int, ...]
) -> None:
    assert avbench.plan("s.yaml", seeds=seeds).plan.seeds == expected  # type: ignore[arg-type]


def test_no_seed_is_refused(recorded: SuitePlan) -> None:
    with pytest.raises(AvbenchError, match="seeds: must be a number of seeds or a list of seeds"):
        avbench.plan("s.yaml", seeds=[])


def test_a_plan_takes_the_changes_of_the_command_line(recorded: SuitePlan) -> None:
    made = avbench.plan(Path("s.yaml"), rows="two", seeds=1, results="elsewhere")
    assert made.rows == ("two",)
    assert made.folder == Path("elsewhere/s")
    assert avbench.plan("s.yaml", additional=["fusion=global"]).rows[2:] != ()
    with pytest.raises(AvbenchError, match="three"):
        avbench.plan("s.yaml", rows=["three"])


def test_a_plan_is_returned_as_it_is_and_takes_no_changes(recorded: SuitePlan) -> None:
    assert avbench.plan(recorded) is recorded
    with pytest.raises(AvbenchError, match="seeds: a plan takes no changes; give it to avbench"):
        avbench.results(recorded, seeds=2)
    with pytest.raises(AvbenchError, match="results: a plan takes no changes"):
        avbench.report(recorded, results="elsewhere")


def test_a_plan_shows_its_stages_and_their_state(recorded: SuitePlan) -> None:
    stages = recorded.stages
    assert list(stages["stage"]) == list(recorded.plan.stages)
    states = stages.groupby("kind")["state"].value_counts()
    assert states["score", "done"] == 5
    assert states["score", "to do"] == 1
    (failed,) = stages[stages["state"] == "failed"].to_dict("records")
    assert (failed["kind"], failed["reason"]) == ("finetune", "ValueError: too hot")
    assert failed["works_on"] == "vatex: two (seed 2)"
    assert repr(recorded).startswith("<plan of s: 2 rows × 3 seeds, 5 of ")


def test_the_cost_of_a_plan_is_that_of_its_trainings(recorded: SuitePlan) -> None:
    cost = recorded.cost
    assert len(cost.trainings) == len(recorded.plan.trainings) == 12
    assert cost.flops == pytest.approx(cost.trainings["flops"].sum())
    assert cost.flops_left == cost.flops  # no training has been recorded as done
    assert cost.seconds_left is None
    assert "pretrain" in cost.unmeasured


# ------------------------------------------------------------------------ run


def test_a_run_is_quiet_and_ends_with_its_counts(
    planned: Callable[[Plan], SuitePlan], capfd: pytest.CaptureFixture[str]
) -> None:
    ended = avbench.run(planned(plan_of(stage("a", x=1), stage("b", "score", {"p": "a"}, x=2))))
    assert (ended.ok, ended.status, ended.done, ended.total) == (True, 0, 2, 2)
    assert ended.failures == {}
    assert repr(ended) == "<run of fake: 2 of 2 stages done>"
    assert capfd.readouterr() == ("", "")


def test_progress_takes_every_event_in_order(planned: Callable[[Plan], SuitePlan]) -> None:
    events: list[Event] = []
    avbench.run(planned(plan_of(stage("a", x=1))), progress=events.append)
    assert [event.kind for event in events] == ["begin", "started", "done"]
    assert [event.stage for event in events] == ["", "a", "a"]
    assert str(events[1]) == "[0/1] started: finetune [a]"
    assert str(events[2]).startswith("[1/1] done in 0:00:")


def test_a_failure_is_told_and_raises_nothing(planned: Callable[[Plan], SuitePlan]) -> None:
    made = planned(plan_of(stage("a", do="mistake"), stage("b", "profile", x=1)))
    with pytest.warns(UserWarning, match="fake: 1 of 2 stages done"):
        ended = avbench.run(made)
    assert (ended.ok, ended.status, ended.interrupted) == (False, 1, False)
    ((name, error),) = ended.failures.items()
    assert name == "finetune [a]"
    assert "the file is empty" in error
    assert "(log: " in error


def test_a_strict_run_raises_once_the_others_have_ended(
    planned: Callable[[Plan], SuitePlan],
) -> None:
    made = planned(plan_of(stage("a", do="mistake"), stage("b", "profile", x=1)))
    with pytest.raises(AvbenchError, match="fake: 1 of 2 stages done\nerror: the only finetune"):
        avbench.run(made, strict=True)


def test_an_interrupt_stops_the_stages_and_the_next_run_goes_on(
    planned: Callable[[Plan], SuitePlan],
) -> None:
    made = planned(plan_of(stage("a", x=1), stage("b", "score", {"p": "a"}, do="steps", steps=40)))

    def interrupt(event: Event) -> None:
        if (event.kind, event.stage) == ("started", "b"):
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="fake: interrupted, 1 of 2 stages done"):
        avbench.run(made, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert avbench.run(made).done == 2


def test_an_error_of_progress_stops_the_stages(planned: Callable[[Plan], SuitePlan]) -> None:
    made = planned(plan_of(stage("a", do="slow")))

    def fail(event: Event) -> None:
        if event.kind == "started":
            raise ZeroDivisionError

    start = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        avbench.run(made, progress=fail)
    assert time.monotonic() - start < 40  # the stage would take 60 s


def test_a_run_works_in_a_thread_which_can_handle_no_signal(
    planned: Callable[[Plan], SuitePlan],
) -> None:
    made, ended = planned(plan_of(stage("a", x=1))), []
    thread = threading.Thread(target=lambda: ended.append(avbench.run(made).status))
    thread.start()
    thread.join(60)
    assert ended == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0}, "jobs: must be from 1 to 10,000 processes, got 0"),
        ({"checkpoint_minutes": -1.0}, "checkpoint_minutes: must be from 0 to 1,000,000 minutes"),
    ],
)
def test_settings_of_the_machine_are_checked(
    recorded: SuitePlan, options: dict[str, object], message: str
) -> None:
    with pytest.raises(AvbenchError, match=f"^{message}"):
        avbench.run(recorded, **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------ results and report


def test_results_are_tidy_one_figure_a_line(recorded: SuitePlan) -> None:
    frame = avbench.results(recorded)
    assert list(frame.columns[:9]) == [
        "row", "fusion", "loss", "modalities", "tasks", "seed", "dataset", "metric", "value",
    ]  # fmt: skip
    good = frame[frame["status"] == "ok"]
    found = {
        label: tuple(of.sort_values("seed")["value"])
        for label, of in good[good["metric"] == "cider"].groupby("row")
    }
    assert found == VALUES
    (bad,) = frame[frame["status"] == "failed"].to_dict("records")
    assert (bad["row"], bad["seed"], bad["dataset"]) == ("two", 2, "vatex")
    assert bad["reason"] == "finetune: ValueError: too hot"
    assert np.isnan(bad["value"])


def test_results_have_the_intervals_of_the_tables(recorded: SuitePlan) -> None:
    frame = avbench.results(recorded, intervals="seeds")
    for label, values in VALUES.items():
        known = over_seeds(np.array(values))
        own = frame[(frame["row"] == label) & (frame["status"] == "ok")]
        assert set(own["interval"].array.left) == {known.low}
        assert set(own["interval"].array.right) == {known.high}
    assert avbench.results(recorded, intervals="none")["interval"].isna().all()
    with pytest.raises(AvbenchError, match="intervals: unknown kind 'seed'; did you mean 'seeds'"):
        avbench.results(recorded, intervals="seed")


def test_a_report_shows_its_tables_in_a_frame_of_its_own(recorded: SuitePlan) -> None:
    report = avbench.report(recorded)
    shown = report._repr_html_()
    assert shown.startswith('<iframe title="A small suite" sandbox="" ')
    assert "&lt;table" in shown
    assert "<style" not in shown  # a page's style would restyle the notebook
    assert str(report) == report.text("md")
    assert repr(report) == f"<report of s: 1 table, {report.unfinished} figures missing>"
    assert report.unfinished == 1 + 2  # a score, and the costs of two rows


def test_a_report_writes_the_files_of_the_command_line(recorded: SuitePlan) -> None:
    report = avbench.report(recorded, delta_to="one")
    files = report.write(["md", "long"])
    assert {Path(file).name for file in files.values()} == {"table.md", "table.long.csv"}
    assert Path(files["md"]).read_text("utf-8") == report.text("md")
    assert "(+" in report.text("md")
    with pytest.raises(AvbenchError, match="formats: unknown format 'mdx'; did you mean 'md'"):
        report.write(["mdx"])
    with pytest.raises(AvbenchError, match="format: unknown format 'mdx'"):
        report.text("mdx")


def test_a_folder_that_cannot_be_written_is_an_error(recorded: SuitePlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AvbenchError, match=r"file: cannot be written: "):
        avbench.report(recorded).write(["md"], folder=tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "strata", "intervals": "seeds"}, "intervals: only of kind 'table', got kind "),
        ({"words": "w.csv"}, "words: only of kind 'strata', got kind 'table'"),
        ({"delta_to": "on"}, "delta_to: unknown row 'on'; did you mean 'one'"),
        ({"kind": "strata"}, "s: nothing has been scored yet; use 'avbench run' first"),
    ],
)
def test_options_of_a_report_that_do_not_fit_are_refused(
    recorded: SuitePlan, options: dict[str, object], message: str
) -> None:
    with pytest.raises(AvbenchError, match=f"^{message}"):
        avbench.report(recorded, **options)  # type: ignore[arg-type]


def test_plain_data_of_a_report_are_json(recorded: SuitePlan) -> None:
    data = json.loads(json.dumps(avbench.report(recorded, intervals="seeds").to_json()))
    assert data["suite"] == "s"
    assert {line["label"] for line in data["intervals"]} == {"one", "two"}
    assert [*data["failures"].values()] != []
