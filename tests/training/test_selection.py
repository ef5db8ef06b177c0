"""Checkpoints are selected apart from what is reported, and a kill changes nothing of it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from avbench.api import Clip, Dataset, Metric, References, Score
from avbench.cli.reports import write_reports
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError, DataError, SuiteError
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.core.registry import Component, NoOptions, Registry, load
from avbench.core.types import InputSpec
from avbench.data.prepared import stage as prepare
from avbench.data.prepared.split import PreparedSplit
from avbench.evaluation.splits import ReportSplit, SelectSplit
from avbench.models.weights import WEIGHTS
from avbench.reports.notes import STAMP, leaking
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.planning.planner import make_plan
from avbench.training import checkpoint, loss_log
from avbench.training import stage as train
from avbench.training.schedule import hold_out
from avbench.training.selection import Selection
from avbench.training.settings import SelectionSettings
from avbench.workflow.reporting import suite_report
from tests.records import write_record
from tests.training.test_engine import close, share, spec, start
from tests.training.test_engine import job as folder_job


class Scripted(Metric):
    """Gives the scores that it is told, in turn; the first call is the check before training."""

    def __init__(self, values: list[float], *, higher_is_better: bool = True) -> None:
        self.values, self.higher = values, higher_is_better
        self.said: list[dict[str, str]] = []

    def score(self, hypotheses, references):
        (system,) = hypotheses
        assert set(system) == set(references.captions)
        value = self.values[max(0, len(self.said) - 1)]
        self.said.append(dict(system))
        made = {"unit": "x", "signature": "mine|", "higher_is_better": self.higher}
        return [[Score(name="words", value=0.0, **made), Score(name="mine", value=value, **made)]]


def selecting(narrated, directory: Path, metric: Metric | None = None, **selection) -> Job:
    """A fine-tuning of six steps that is evaluated after every second one."""
    given = {"by": "mine", "every_steps": 2, "share": 0.3, **selection}
    made = spec(
        loss="plain", steps=6, batch=6, select="best", selection=SelectionSettings(**given)
    )
    made["scoring"] = {
        "decode": {"beam": 1, "length_penalty": 1.0, "early_stopping": False, "batch": 4},
        "metrics": [{"name": "mine", "options": {}}],
    }
    work = folder_job(narrated, directory, made, checkpoint_seconds=0)
    if metric is not None:
        registry = Registry()
        for component in load():
            registry.add(component)
        registry.add(
            Component(
                family="metrics", name="mine", build=lambda _: metric, config=NoOptions,
                source="here", module=__name__, distribution="tests",
            )
        )  # fmt: skip
        work.__dict__["_registry"] = registry
    return work


# ------------------------------------------------------------------ which step


def test_the_best_step_is_the_result_and_not_the_last(narrated, tmp_path) -> None:
    metric = Scripted([1.0, 3.0, 2.0])
    work = selecting(narrated, tmp_path / "a", metric)
    result = train.run(work)
    chosen = result["selection"]
    assert chosen["curve"] == [[2, 1.0], [4, 3.0], [6, 2.0]]
    assert chosen["step"] == 4
    assert len(metric.said) == 4  # and once before training
    best = load_file(work.directory / WEIGHTS)
    (kept,) = (p for p in [checkpoint.best_at(work.directory, 6)] if p)
    assert checkpoint.step_of(kept) == 4
    last = selecting(narrated, tmp_path / "c", Scripted([1.0, 2.0, 3.0]))
    assert train.run(last)["selection"]["step"] == 6
    others = load_file(last.directory / WEIGHTS)
    assert any(not torch.equal(best[name], others[name]) for name in others)
    found = {(s, n): v for s, n, v in loss_log.read(work.directory) if n == "select_mine"}
    assert found == {(1, "select_mine"): 1.0, (3, "select_mine"): 3.0, (5, "select_mine"): 2.0}


def test_the_weights_kept_are_those_of_that_step(narrated, tmp_path) -> None:
    work = selecting(narrated, tmp_path / "a", Scripted([1.0, 3.0, 2.0]))
    work = with_registry(work, local={**work.local, "checkpoint_keep": 9})
    train.run(work)
    (there,) = (p for p in checkpoint.newest_first(work.directory) if checkpoint.step_of(p) == 4)
    model = torch.load(there, weights_only=True)["model"]
    best = load_file(work.directory / WEIGHTS)
    assert {f"captioner.{name}" for name in best} == set(model)
    assert all(torch.equal(best[name], model[f"captioner.{name}"]) for name in best)


def test_of_a_score_that_should_be_low_the_lowest_and_of_equal_ones_the_first(
    narrated, tmp_path
) -> None:
    low = Scripted([2.0, 1.0, 1.0], higher_is_better=False)
    assert train.run(selecting(narrated, tmp_path / "a", low))["selection"]["step"] == 4
    even = Scripted([2.0, 2.0, 2.0])
    assert train.run(selecting(narrated, tmp_path / "b", even))["selection"]["step"] == 2


def test_without_other_word_it_is_evaluated_every_pass_and_at_the_end(narrated, tmp_path) -> None:
    work = selecting(narrated, tmp_path / "a", Scripted([1.0] * 9), every_steps=None)
    chosen = train.run(work)["selection"]  # four of six videos of four clips, six a step
    assert chosen["every"] == 2
    assert [step for step, _ in chosen["curve"]] == [2, 4, 6]
    work = selecting(narrated, tmp_path / "b", Scripted([1.0] * 9), every_steps=4)
    assert [s for s, _ in train.run(work)["selection"]["curve"]] == [4, 6]


def test_selecting_changes_nothing_of_the_training(narrated, tmp_path) -> None:
    """On clips that are not carved from train: losses and the last weights are the same."""
    with_it = selecting(narrated, tmp_path / "a", Scripted([1.0, 2.0, 3.0]), on_report=True)
    with_it = with_registry(with_it, parents={**with_it.parents, "report": narrated["data"]})
    plain_spec = spec(loss="plain", steps=6, batch=6)
    without = folder_job(narrated, tmp_path / "b", plain_spec, checkpoint_seconds=0)
    assert train.run(with_it)["selection"]["split"] == "reported"
    assert "selection" not in train.run(without)
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (with_it, without))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    logged = [row for row in loss_log.read(with_it.directory) if not row[1].startswith("select_")]
    assert logged == loss_log.read(without.directory)


def test_a_score_that_no_metric_gives_is_told_before_training(narrated, tmp_path) -> None:
    work = selecting(narrated, tmp_path / "a", Scripted([1.0]), by="mien")
    with pytest.raises(DataError, match=r"selection\.by: .*'mien'.*did you mean 'mine'"):
        train.run(work)
    assert loss_log.read(work.directory) == []


# ------------------------------------------------------------------ kills


class Arbitrary(Metric):
    """An arbitrary function of the captions alone."""

    def score(self, hypotheses, references):
        words = " ".join(hypotheses[0].values())
        value = float(int.from_bytes(words.encode()[-6:].rjust(6, b"a"), "little") % 997)
        return [[Score(name="mine", value=value, unit="x", signature="mine|")]]


class Noticed(Arbitrary):
    """Its scorer ends on a notice that reaches all processes of the stage, or by itself."""

    def __init__(self, *, notice: bool) -> None:
        self.calls, self.notice = 0, notice

    def score(self, hypotheses, references):
        self.calls += 1
        if self.calls == 3:  # the second evaluation, after the check before training
            if self.notice:
                os.kill(os.getpid(), signal.SIGTERM)
            raise AvbenchError("the tokenizer ended")
        return super().score(hypotheses, references)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("noted", ["selecting", "L "])
def test_a_killed_selection_ends_as_an_undisturbed_one(
    narrated, tmp_path, monkeypatch, noted: str
) -> None:
    """Killed before each evaluation, or after each step, and once with nothing saved yet."""
    whole, broken = (selecting(narrated, tmp_path / n, Arbitrary()) for n in ("whole", "broken"))
    expected = train.run(whole)
    assert len({value for _, value in expected["selection"]["curve"]}) > 1
    for step in (1, 2, 4, 5, 6):

        def progress(self: Job, done: int, total: int, note: str = "", step: int = step) -> None:
            if done == step and note.startswith(noted):
                raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(Job, "progress", progress)
            if noted == "L " or step % 2 == 0:
                with pytest.raises(KilledError):
                    train.run(broken)
    assert train.run(broken) == expected
    same(broken, whole)


def test_a_kill_after_the_weights_were_kept_and_before_a_checkpoint(
    narrated, tmp_path, monkeypatch
) -> None:
    whole, broken = (selecting(narrated, tmp_path / n, Arbitrary()) for n in ("whole", "broken"))
    expected = train.run(whole)
    save_best = checkpoint.save_best

    def killed(*arguments: object) -> Path:
        save_best(*arguments)  # type: ignore[arg-type]
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_best", killed)
        with pytest.raises(KilledError):
            train.run(broken)
    (left,) = (broken.directory / checkpoint.FOLDER).glob("best-*")
    left.write_bytes(b"of another life")
    assert train.run(broken) == expected
    same(broken, whole)


def test_a_notice_during_an_evaluation_saves_and_the_resumed_stage_evaluates(
    narrated, tmp_path, monkeypatch
) -> None:
    whole, broken = (selecting(narrated, tmp_path / n, Arbitrary()) for n in ("whole", "broken"))
    expected = train.run(whole)

    def progress(self: Job, done: int, total: int, note: str = "") -> None:
        if done == 4 and note == "selecting":
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "progress", progress)
        with pytest.raises(SystemExit) as left:
            train.run(broken)
    assert left.value.code == 143
    assert checkpoint.step_of(checkpoint.newest_first(broken.directory)[0]) == 4
    assert train.run(broken) == expected
    same(broken, whole)


def test_a_notice_that_ends_the_scorer_is_a_notice(narrated, tmp_path) -> None:
    whole = selecting(narrated, tmp_path / "whole", Arbitrary())
    broken = selecting(narrated, tmp_path / "broken", Noticed(notice=True))
    expected = train.run(whole)
    with (
        pytest.warns(UserWarning, match="left on a notice: the tokenizer ended"),
        pytest.raises(SystemExit) as left,
    ):
        train.run(broken)
    assert left.value.code == 143
    assert train.run(broken) == expected
    same(broken, whole)


def test_a_scorer_that_ends_by_itself_fails_the_stage(narrated, tmp_path) -> None:
    with pytest.raises(AvbenchError, match="the tokenizer ended"):
        train.run(selecting(narrated, tmp_path / "a", Noticed(notice=False)))


def test_best_weights_that_are_damaged_fall_back_to_the_checkpoint_before(
    narrated, tmp_path, monkeypatch
) -> None:
    values = [1.0, 2.0, 3.0]
    whole, broken = (selecting(narrated, tmp_path / n, Scripted(values)) for n in ("a", "b"))
    expected = train.run(whole)

    def progress(self: Job, done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Job, "progress", progress)
        with pytest.raises(KilledError):
            train.run(broken)
    best = checkpoint.best_at(broken.directory, 5)
    assert best is not None
    assert checkpoint.step_of(best) == 4
    best.write_bytes(best.read_bytes()[:-3])
    again = selecting(narrated, tmp_path / "c", Scripted(values[1:]))
    again = with_registry(again, directory=broken.directory)
    with pytest.warns(UserWarning, match=r"best-000000004-.*is damaged"):
        assert train.run(again) == expected
    same(broken, whole)


def test_old_best_weights_go_when_no_checkpoint_goes_with_them(tmp_path) -> None:
    (tmp_path / checkpoint.FOLDER).mkdir()

    def commit(step: int, *, best: bool) -> list[int]:
        if best:
            checkpoint.save_best({"step": torch.tensor(step)}, tmp_path, step)
        checkpoint.save({"step": step}, tmp_path, step, keep=2)
        return sorted(map(checkpoint.step_of, (tmp_path / checkpoint.FOLDER).glob("best-*")))

    assert commit(1, best=True) == [1]
    assert commit(2, best=False) == [1]
    assert commit(3, best=True) == [1, 3]  # the checkpoint of step 2 goes with step 1's
    assert commit(4, best=False) == [3]
    assert commit(5, best=True) == [3, 5]


def same(ours: Job, theirs: Job) -> None:
    mine, others = (load_file(j.directory / WEIGHTS) for j in (ours, theirs))
    assert all(torch.equal(mine[name], others[name]) for name in others)
    assert loss_log.read(ours.directory) == loss_log.read(theirs.directory)


def with_registry(work: Job, **changed) -> Job:
    """The same job with other fields; what is registered stays."""
    made = replace(work, **changed)
    made.__dict__["_registry"] = work.registry
    return made


@pytest.mark.slow
def test_a_selection_killed_at_random_moments_and_one_on_two_processes(narrated, tmp_path) -> None:
    """In processes of their own, by the accuracy of the embedded world's facts."""

    def work(name: str, **changed) -> Job:
        made = selecting(narrated, tmp_path / name, by="slot_audible", every_steps=3)
        train_ = {**made.spec["train"], "steps": 24, "lr": 1e-2, "batch": 12}
        given = {**made.spec, "train": train_} | spec(dropout=0.0, steps=24, batch=12) | {
            "train": {**train_, "accumulate": 1}
        }  # fmt: skip
        given["scoring"] = {
            **given["scoring"], "metrics": [{"name": "slot_accuracy", "options": {}}]
        }  # fmt: skip
        folder = tmp_path / f"{name}-run"
        return folder_job(narrated, folder, given, checkpoint_seconds=0.0, **changed)

    whole, broken = work("whole"), work("broken")
    shared = [work("two"), work("parts", strategy="fsdp")]
    assert start(whole).wait(timeout=300) == 0, (whole.directory / "log.txt").read_text()
    for kills in range(4):
        process = start(broken)
        at = checkpoint.newest_first(broken.directory)
        while process.poll() is None and checkpoint.newest_first(broken.directory)[:1] == at[:1]:
            time.sleep(0.002)
        if process.poll() is None and kills % 2:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
        assert process.poll() is None, "the stage ended before all kills"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start(broken).wait(timeout=300) == 0
    same(broken, whole)
    ours, theirs = (
        json.loads((j.directory / "record.json").read_text())["results"] for j in (broken, whole)
    )
    assert ours == theirs
    for two in shared:
        process = share(two)
        assert process.wait(timeout=300) == 0, (two.directory / "log.txt").read_text()
        found = json.loads((two.directory / "record.json").read_text())["results"]
        assert found["selection"] == theirs["selection"]
        close(two, whole, within=2e-3)


# ------------------------------------------------------------------ which clips


def test_whole_videos_are_carved_and_kept_out_of_training_and_probes(narrated_data) -> None:
    split = narrated_data.split
    carved = SelectSplit.carved(split, 0.34, seed=0)
    videos = [clip.video for clip in split.clips]
    assert len(carved.carved_videos) == 2
    assert set(carved.rows) == {i for i, v in enumerate(videos) if v in carved.carved_videos}
    rows, held = hold_out(narrated_data, 0.3, 0, carved.carved_videos)
    assert sorted([*rows, *held, *carved.rows]) == list(range(len(videos)))
    for one, other in ((rows, held), (rows, carved.rows), (held, carved.rows)):
        assert {videos[i] for i in one}.isdisjoint(videos[i] for i in other)
    assert carved == SelectSplit.carved(split, 0.34, seed=0)
    hashes = {SelectSplit.carved(split, 0.34, seed=s).list_hash for s in range(6)}
    assert len(hashes) > 1
    assert len(SelectSplit.carved(split, 0.999, seed=0).carved_videos) == 5  # one is left


def test_the_record_says_which_clips_and_training_has_the_others(narrated, tmp_path) -> None:
    work = selecting(narrated, tmp_path / "a", Scripted([1.0, 2.0, 3.0]))
    result = train.run(work)
    chosen = result["selection"]
    assert (chosen["split"], chosen["clips"], chosen["videos"]) == ("carved", 8, 2)
    assert result["clips"] == 24 - 8
    assert len(chosen["list_hash"]) == 12
    other = selecting(narrated, tmp_path / "b", Scripted([1.0, 2.0, 3.0]), share=0.5)
    assert train.run(other)["selection"]["list_hash"] != chosen["list_hash"]


def test_one_video_cannot_be_carved(narrated_data) -> None:
    split = narrated_data.split
    one = PreparedSplit.open(split.directory)
    one.clips = split.clips[:4]
    with pytest.raises(DataError, match=r"selection\.share: 10% .*two videos are needed, got 1"):
        SelectSplit.carved(one, 0.1, seed=0)


def test_clips_that_were_prepared_for_another_role_are_refused(narrated) -> None:
    said = "prepared for the role 'train'; checkpoints are selected on clips of the role 'select'"
    with pytest.raises(DataError, match=said):
        SelectSplit.own(narrated["data"])


WRONG = """
from typing import Any
from avbench.training.selection import Scoring, Selection
from avbench.evaluation.splits import ReportSplit, SelectSplit

def right(split: SelectSplit, rest: tuple[Any, ...]) -> None:
    Selection(split, *rest)

def wrong(split: ReportSplit, rest: tuple[Any, ...]) -> None:
    Selection(split, *rest)

def unstamped(split: ReportSplit) -> SelectSplit:
    return SelectSplit.reported(split, stamped=False)
"""


@pytest.mark.slow
def test_a_type_checker_refuses_to_select_on_a_reported_split(tmp_path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        # With the options of `make lint`, whose cache it shares.
        [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "wrong.py")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split(":")[1] for line in lines if " error: " in line] == ["10", "13"], done
    assert 'has incompatible type "ReportSplit"; expected "SelectSplit"' in lines[0]


def test_at_run_time_too(narrated) -> None:
    report = ReportSplit.open(narrated["data"])
    assert not isinstance(report, SelectSplit)
    with pytest.raises(Exception, match="SelectSplit"):
        Selection(report, *([None] * 5))


# ------------------------------------------------------------------ suites


SUITE = """
name: s
title: A title
rows: [{label: one, fusion: merged}]
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
finetune: {datasets: [vatex, youcook2], SELECT}
decode: {beam: 4, length_penalty: 0.5}
evaluate: {metrics: [coco_caption]}
"""


def planned(folder: Path, select: str, *replaced: tuple[str, str]) -> Plan:
    text = SUITE.replace("SELECT", select)
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    (folder / "s.yaml").write_text(text)
    registry = load()
    return make_plan(read_suite(str(folder / "s.yaml"), registry, Overrides()), registry)


def trainings(plan: Plan) -> dict[str, Stage]:
    return {cell.dataset: plan.stages[cell.finetune] for cell in plan.trials[0].cells}


def test_a_split_of_the_datasets_own_is_prepared_and_else_none(tmp_path) -> None:
    plan = planned(tmp_path, "select: best, selection: {every_epochs: 0.5}")
    found = trainings(plan)
    assert set(found["vatex"].parents) == {"vocabulary", "data", "start", "select"}
    prepared = plan.stages[found["vatex"].parents["select"]]
    assert (prepared.spec["role"], prepared.spec["dataset"]) == ("select", "vatex")
    assert set(found["youcook2"].parents) == {"vocabulary", "data", "start"}  # carved from train
    scoring = found["vatex"].spec["scoring"]
    assert scoring["metrics"] == [{"name": "coco_caption", "options": {}}]
    assert scoring["decode"]["beam"] == 1
    assert scoring["decode"]["length_penalty"] == 0.5
    assert found["vatex"].spec["train"]["selection"]["by"] == "cider"


def test_by_default_the_last_step_is_reported_and_selection_has_no_say(tmp_path) -> None:
    default = trainings(planned(tmp_path, "lr: 1e-5"))["vatex"]
    assert default.spec["train"]["select"] == "last"
    assert "scoring" not in default.spec
    for also in ("select: last", "selection: {by: meteor, every_steps: 3}"):
        assert trainings(planned(tmp_path, f"lr: 1e-5, {also}"))["vatex"].id == default.id
    best = trainings(planned(tmp_path, "lr: 1e-5, select: best"))["vatex"]
    assert best.id != default.id
    other = ("length_penalty: 0.5", "length_penalty: 1.0")
    assert trainings(planned(tmp_path, "lr: 1e-5", other))["vatex"].id == default.id
    assert trainings(planned(tmp_path, "lr: 1e-5, select: best", other))["vatex"].id != best.id


def test_what_cannot_be_selected_by_is_told(tmp_path) -> None:
    none = ("{metrics: [coco_caption]}", "{metrics: []}")
    with pytest.raises(
        DataError, match=r"finetune\.select: best needs a metric in evaluate\.metr"
    ):
        planned(tmp_path, "select: best", none)
    with pytest.raises(SuiteError, match=r"give every_epochs or every_steps, got"):
        planned(tmp_path, "selection: {every_epochs: 1, every_steps: 2}")
    with pytest.raises(
        SuiteError, match=r"share: must be above 0 and below 1 \(share\), got 1\.0"
    ):
        planned(tmp_path, "selection: {share: 1.0}")
    with pytest.raises(SuiteError, match=r"beam: must be from 1 to 1,000 hypotheses, got 0"):
        planned(tmp_path, "selection: {beam: 0}")


RECORD = {
    "by": "cider", "split": "own", "clips": 60, "videos": 60, "list_hash": "1f", "beam": 1,
    "every": 10, "curve": [[10, 4.0], [20, 9.25], [25, 7.0]], "step": 20,
}  # fmt: skip


@pytest.mark.parametrize("on_report", [False, True])
def test_tables_tell_the_selection_and_are_stamped_where_it_leaks(
    tmp_path, capsys, on_report: bool
) -> None:
    plan = planned(tmp_path, f"select: best, selection: {{on_report: {str(on_report).lower()}}}")
    store = Store(results=tmp_path / "results", cache=tmp_path / "cache")
    for dataset, stage in trainings(plan).items():
        leaks = {"split": "reported"} if on_report else {}
        carved = {} if on_report or dataset == "vatex" else {"split": "carved", "videos": 7}
        done(store, stage, {"selection": {**RECORD, **leaks, **carved}})
    for cell in plan.trials[0].cells:
        data = plan.stages[plan.prepared[cell.dataset]]
        done(store, data, {"split": "test", "kept": 5, "list_hash": "0f", "lost": {}})
        score = {"name": "cider", "value": 50.0, "unit": "x100", "signature": "cider|v:1"}
        done(store, plan.stages[cell.score], {"scores": [score]})
    assert leaking(plan) == (("vatex", "youcook2") if on_report else ())
    formats = ("md", "csv", "latex", "html", "long")
    write_reports([suite_report(plan, store, tmp_path / "out")], formats, False, {})
    shown = capsys.readouterr().out
    texts = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    note = (
        "vatex: the step with the best cider (greedy, every 10 steps) on the dataset's split for "
        "selection, 60 clips (list 1f): one step 20 (10: 4.0, 20: 9.2*, 25: 7.0)."
    )
    said = " ".join(texts["table.md"].split())
    if not on_report:
        assert note in said.replace("\\*", "*")
        assert (
            "youcook2: the step with the best cider (greedy, every 10 steps) on 7 videos" in said
        )
        assert STAMP not in shown + "".join(texts.values())
        return
    assert f"### {STAMP}: A title" in texts["table.md"]
    assert "WARNING: checkpoints of vatex, youcook2 were selected on the reported" in said
    for name, text in texts.items():
        if name == "table.long.csv":
            assert text.count("test (checkpoints selected on it)") == 2
        else:
            assert text.count(STAMP) >= 1, name
    assert STAMP in " ".join(shown.split())


def done(store: Store, stage: Stage, results: dict) -> None:
    write_record(store, stage, results=results)


# ------------------------------------------------------------------ datasets


@dataclass(frozen=True)
class Rooted:
    root: str = ""


class Clashing(Dataset):
    """A reader whose split for selection holds a clip of the reported one, or of train."""

    train, report, select = "train", "test", "val"

    def __init__(self, options: Rooted, shared: str) -> None:
        self.shared = shared

    def splits(self) -> tuple[str, ...]:
        return ("train", "val", "test")

    def clips(self, split: str) -> list[Clip]:
        names = {"train": "t", "val": self.shared, "test": "r"}
        video = names[split]
        return [Clip(id=f"{video}#0", video=video, media=Path("none"), captions=("a dog",))]

    def fingerprint(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("shared", "said"), [("r", "videos are in the split 'test'"), ("t", "ids are")]
)
def test_a_split_for_selection_that_is_reported_or_trained_on_is_refused(
    tmp_path, shared: str, said: str
) -> None:
    registry = Registry()
    registry.add(
        Component(
            family="datasets", name="c", build=lambda options: Clashing(options, shared),
            config=Rooted, source="here", module=__name__, distribution="tests",
        )
    )  # fmt: skip
    work = Job(
        kind="prepare", id="x", directory=tmp_path, local={"root": str(tmp_path)},
        spec={
            "dataset": "c", "reader": {"name": "c", "options": {}}, "role": "select",
            "input": plain(InputSpec()), "policy": "skip", "read": "stored", "fingerprint": "",
        },
    )  # fmt: skip
    work.__dict__["_registry"] = registry
    with pytest.raises(DataError, match=rf"c, split 'val': its clips are for selection.*{said}"):
        prepare.run(work)


@pytest.mark.java
def test_cider_alone_is_the_cider_of_all_and_starts_no_meteor() -> None:
    component = load().get("metrics", "coco_caption")
    references = References(
        captions={"a": ("a dog barks", "the dog is barking"), "b": ("a cat sleeps on a mat",)}
    )
    said = [{"a": "a dog is barking", "b": "the cat sleeps"}]
    whole: Any = component.build(component.config())
    alone: Any = component.build(component.config())
    alone.only = frozenset({"cider"})
    try:
        every = {s.name: s.value for s in whole.score(said, references)[0]}
        some = {s.name: s.value for s in alone.score(said, references)[0]}
        assert "meteor" not in some
        assert some == {name: every[name] for name in some}
        assert alone._meteor is None
        # The same references serve both.
        alone.only = None
        assert {s.name: s.value for s in alone.score(said, references)[0]} == every
        assert list(every) == ["bleu4", "meteor", "rougeL", "cider"]
    finally:
        whole.close()
        alone.close()
