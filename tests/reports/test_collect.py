"""From records to tables, and what a run says of itself."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from avbench.cli.progress import Lines, span
from avbench.reports.collect import MOST_FREQUENT, Report, collect
from avbench.reports.layouts import layouts
from avbench.reports.notes import clip_notes
from avbench.reports.pivot import pivot
from avbench.reports.records import Records
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.scheduler import Run
from tests.records import Recorded

SUITE = """
name: s
title: Two fusions
rows:
  - {label: one, fusion: merged, published: {fusion: merged}}
  - {label: two, fusion: global, published: {fusion: global}}
  - {label: three, fusion: cross, modalities: V+A+T}
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
evaluate: {zeroed: [video]}
seeds: 2
table:
  most_frequent: true
  costs: [flops_g]
  use_metrics: [slot_visual]
  references: {Guessing: chance}
  published: table3_fusion
  delta_to: one
"""


class Made(Recorded):
    """A planned suite, and records written by hand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SUITE)

    def score(self, id_: str, cider: float, visual: float) -> None:
        values = {"cider": cider, "slot_visual": visual, "slot_visual_chance": 25.0}
        scores = [
            {"name": n, "value": v, "unit": "x100", "signature": f"{n}|version:1"}
            for n, v in values.items()
        ]
        self.write(self.plan.stages[id_], results={"scores": scores})

    def collect(self) -> Report:
        return collect(self.plan, self.store)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    return Made(tmp_path)


def frame(report: Report) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = report.figures.frame.to_dict("records")
    return rows


def test_nothing_has_run(made: Made) -> None:
    report = made.collect()
    states = {(r["label"], r["altered"], r["status"]) for r in frame(report)}
    assert states == {
        ("one", "", "pending"),
        ("one – video zeroed", "video zeroed", "pending"),
        ("two", "", "pending"),
        ("two – video zeroed", "video zeroed", "pending"),
        ("three", "", "skipped"),
        (MOST_FREQUENT, "", "pending"),
    }
    assert report.failures == {}
    assert report.unfinished == 2 * (2 + 2 + 1) + 1


def test_scores_costs_and_failures(made: Made) -> None:
    one, again, two, _, *_ = made.plan.trials
    for trial, cider in ((one, 10.0), (again, 20.0)):
        made.score(trial.cells[0].score, cider, 60.0)
        made.score(trial.cells[0].altered["video zeroed"], 1.0, 24.0)
    assert one.profile == again.profile
    assert one.profile is not None
    made.write(made.plan.stages[one.profile], results={"flops_g": 5.0, "params_m": 2.0})
    assert two.pretrain is not None
    made.write(made.plan.stages[two.pretrain], "failed", error="first\nthe loss is nan")
    report = made.collect()
    long = frame(report)
    ciders = [r for r in long if (r["label"], r["metric"]) == ("one", "cider")]
    assert [(r["seed"], r["value"]) for r in ciders] == [(0, 10.0), (1, 20.0)]
    assert ciders[0]["fusion"] == "merged"
    assert ciders[0]["record"] == one.cells[0].score
    assert [r["value"] for r in long if r["metric"] == "flops_g"] == [5.0]  # once, not a seed
    failed = [r for r in long if r["status"] == "failed"]
    # Of row two the pre-training of seed 0 failed: its score and the one with video zeroed.
    assert [(r["label"], r["seed"]) for r in failed] == [("two", 0), ("two – video zeroed", 0)]
    assert failed[0]["reason"] == "pretrain: the loss is nan"
    assert failed[0]["log"].endswith(f"pretrain-{two.pretrain}/log.txt")
    assert list(report.failures) == [f"pretrain-{two.pretrain}"]
    titles = [layout.title for layout, _, _ in layouts(report)]
    assert titles == [
        "Two fusions",
        "Two fusions: use of the modalities",
        "Two fusions: as published",
    ]
    sheets = [pivot(table, layout, notes) for layout, table, notes in layouts(report)]
    cells = {
        title: dict(zip(sheets[0].headers, row, strict=True)) for title, row in sheets[0].rows
    }
    assert cells["one"]["vatex CIDEr"].text == "15.0"
    assert cells["one"]["vatex CIDEr"].spread == "± 7.1"
    assert cells["two"]["vatex CIDEr"].text in ("failed", "…")
    assert cells["three"]["vatex CIDEr"].text == "skipped"
    use = dict(sheets[1].rows)
    assert use["one"][0].text == "60.0"
    assert use["one – video zeroed"][0].text == "24.0"
    assert use["Guessing"][0].text == "25.0"
    paper = dict(sheets[2].rows)
    assert set(paper) == {"one", "two"}
    assert "YouCook2 CIDEr" in sheets[2].headers


def test_a_paper_row_is_found_by_its_columns(made: Made) -> None:
    _, paper, _ = [*layouts(made.collect())][-1]
    cider = paper.where(label="one", dataset="YouCook2", metric="cider").frame
    assert cider["value"].tolist() == [210.7]


def test_lines_say_what_starts_ends_and_fails(made: Made) -> None:
    text = io.StringIO()
    lines = Lines(Console(file=text, width=200), every=0.0)
    run = Run(made.plan, made.store, LocalExecutor(1), {})
    stage = made.plan.stages[str(made.plan.trials[0].pretrain)]
    lines.begin(run)
    lines.started([stage], run)
    made.write(stage, "failed", error="a\nno clips")
    run._settle(stage, made.store.record(stage) or {}, lines, 3.0)
    lines.tick(run)
    said = text.getvalue().splitlines()
    assert f"s: 6 trials, {len(run.status)} stages to do, 0 done before; 1 processes" in said[0]
    assert f"started: pretrain one (seed 0) [{stage.id[:8]}]" in said[1]
    log = made.store.directory(stage) / "log.txt"
    assert said[2].endswith(f"[{stage.id[:8]}]: no clips (log: {log})")
    assert "FAILED: pretrain one (seed 0)" in said[2]
    assert "left" in said[3]


def test_spans() -> None:
    assert (span(0.4), span(75.0), span(90_061.0)) == ("0:00:00", "0:01:15", "1 day, 1:01:01")


def test_tables_say_which_clips_they_are_of_and_how_many_are_lost(made: Made) -> None:
    report = made.plan.prepared["vatex"]
    for stage in made.plan.stages.values():
        if stage.kind == "prepare":
            lost = {"missing": 2, "sound_absent": 1} if stage.id == report else {}
            results = {"split": stage.spec["role"], "expected": 9, "kept": 9 - sum(lost.values())}
            made.write(
                stage, results={**results, "lost": lost, "list_hash": f"hash {stage.spec['role']}"}
            )
    (_, _, main), (_, _, use), _ = layouts(made.collect())
    for notes in (main, use):
        (said,) = (note for note in notes if note.startswith("Clips used"))
        assert "vatex report 6 (list hash report)" in said
        assert "howto100m train 9 (list hash train)" in said
        assert said.endswith("; lost: vatex report 3 (2 missing, 1 sound_absent).")


def test_two_worlds_with_the_same_clips_are_named_once(made: Made) -> None:
    """As where a suite changes what a picture shows, and neither ids nor captions."""
    stage = made.plan.stages[made.plan.prepared["vatex"]]
    twin = replace(stage, id="another")
    lost = {"missing": 1}
    results = {"split": "test", "expected": 3, "kept": 2, "lost": lost, "list_hash": "x"}
    for one in (stage, twin):
        made.write(one, results=results)
    plan = replace(made.plan, stages={s.id: s for s in (stage, twin)})
    assert clip_notes(Records.read(plan, made.store)) == [
        "Clips used: vatex test 2 (list x); lost: vatex test 1 (1 missing)."
    ]


def test_scores_made_otherwise_are_refused_and_long_rows_say_how(made: Made) -> None:
    one, again, two, *_ = made.plan.trials
    for trial in (one, again):
        made.score(trial.cells[0].score, 10.0, 60.0)
    other = {"name": "cider", "value": 99.0, "unit": "x100", "signature": "cider|version:2"}
    results = {"scores": [other], "without_clip": 3}
    made.write(made.plan.stages[two.cells[0].score], results=results)
    report = made.collect()
    (kept,) = [r for r in frame(report) if r["value"] == 99.0]
    assert (kept["signature"], kept["status"]) == ("cider|version:2", "ok")
    layout, table, notes = next(layouts(report))
    sheet = pivot(table, layout, notes)
    column = sheet.headers.index("vatex CIDEr")
    shown = {label: cells[column] for label, cells in sheet.rows}
    assert (shown["one"].text, shown["two"].text) == ("10.0", "refused")
    (number,) = {n for n in shown["two"].footnotes if "refused" in sheet.footnotes[n - 1]}
    assert sheet.footnotes[number - 1].endswith(
        "refused: made with version:2, the others of this column with version:1"
    )
    assert any(note.startswith("vatex: ") and "version:1" in note for note in notes)
    assert not any("version:2" in note for note in notes)
    assert "vatex: 3 videos without a usable clip count as empty captions." in notes
