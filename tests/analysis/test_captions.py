"""Captions of rows beside the ground truth."""

import json
from pathlib import Path

import pytest

from avbench.analysis.captions import TRUTH, Choice, caption_sheets
from avbench.core.errors import AvbenchError
from avbench.core.types import Clip
from avbench.data.prepared.clips import CLIPS, PARAGRAPHS, SPLIT, clip_to_json
from avbench.evaluation.predictions import PREDICTIONS
from avbench.reports.records import Records
from avbench.workflow.further_reports import captions_report
from tests.records import Recorded

SUITE = """
name: s
title: A small suite
rows:
  - {label: one, fusion: merged}
  - {label: two, fusion: cross}
  - {label: later, fusion: global}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
pretrain: null
finetune: {datasets: [vatex]}
show: [captions]
captions: {clips: 2, seed: 3}
"""

IDS = [f"clip{n}" for n in range(8)]
SAID = {
    "one": {id_: f"a dog and {id_}" for id_ in IDS},
    "two": {id_: f"a dog and {id_}" if n < 4 else "a cat | *" for n, id_ in enumerate(IDS)},
}


@pytest.fixture
def made(tmp_path: Path) -> Recorded:
    """Two of three rows have captions; they differ on the last four clips."""
    made = Recorded(tmp_path, SUITE)
    plan, store = made.plan, made.store
    data = store.directory(plan.stages[plan.prepared["vatex"]])
    data.mkdir(parents=True)
    clips = [
        Clip(id=id_, media=tmp_path / f"{id_}.mp4", start=0.0, end=1.0, video=id_,
             captions=(f"the truth of {id_}", "another"))
        for id_ in IDS
    ]  # fmt: skip
    split = {"root": str(tmp_path), "role": "report", "protocol": "coco", "list_hash": "x"}
    (data / SPLIT).write_text(json.dumps(split))
    lines = [json.dumps({"clip": clip_to_json(clip, tmp_path)}) for clip in clips]
    (data / CLIPS).write_text("\n".join(lines))
    (data / PARAGRAPHS).write_text("{}")
    for trial in plan.trials:
        stage = plan.stages[trial.cells[0].generate]
        if trial.label in SAID:
            made.write(stage)
            said = SAID[trial.label]
            (store.directory(stage) / PREDICTIONS).write_text(
                "".join(json.dumps({"id": i, "caption": c}) + "\n" for i, c in said.items())
            )
    return made


def shown(made: Recorded, choice: Choice) -> list[tuple[str, str]]:
    (sheet,) = caption_sheets(Records.read(made.plan, made.store), choice)
    return [(title, cells[0].text) for title, cells in sheet.rows]


def test_each_clip_shows_the_truth_then_every_row(made: Recorded) -> None:
    assert shown(made, Choice(ids=("clip5", "clip1"))) == [
        ("Ground truth: the truth of clip5", "clip5"),
        ("one: a dog and clip5", ""),
        ("two: a cat | *", ""),
        ("Ground truth: the truth of clip1", "clip1"),
        ("one: a dog and clip1", ""),
        ("two: a dog and clip1", ""),
    ]


def test_clips_on_which_rows_differ_are_drawn_first_by_the_seed(made: Recorded) -> None:
    def drawn(count: int, seed: int) -> list[str]:
        lines = shown(made, Choice(count, seed))
        return [clip for title, clip in lines if title.startswith(TRUTH)]

    assert all(clip in IDS[4:] for seed in range(5) for clip in drawn(3, seed))
    assert drawn(3, 0) == drawn(3, 0)
    assert len({tuple(drawn(2, seed)) for seed in range(10)}) > 1
    assert set(drawn(6, 1)) > set(IDS[4:])  # the others follow where too few differ
    assert drawn(100, 0) == IDS


def test_the_suite_says_how_many_and_the_report_says_by_which_rule(made: Recorded) -> None:
    report = captions_report(made.plan, made.store, Path("results/s"))
    (sheet,) = report.sheets
    assert len(sheet.rows) == 2 * 3
    assert sheet.notes == (
        "2 clips of each dataset, drawn with seed 3 from those on which the rows' captions "
        "differ; chosen by nothing else.",
        "Ground truth: the first of several captions.",
        "No captions yet: later.",
    )
    assert "two: a cat \\| \\*" in report.text("md")
    asked = captions_report(made.plan, made.store, Path("results/s"), clips=["clip0"])
    assert asked.sheets[0].notes[0] == "Clips as asked for: clip0."


def test_what_cannot_be_shown_is_said(made: Recorded, tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match="--clips: unknown clip 'clip9'; did you mean 'clip"):
        captions_report(made.plan, made.store, Path(), clips=["clip9"])
    (tmp_path / "none").mkdir()
    nothing = Recorded(tmp_path / "none", SUITE)
    with pytest.raises(AvbenchError, match="s: there are no captions yet; use 'avbench run'"):
        captions_report(nothing.plan, nothing.store, Path())


def test_captions_that_are_damaged_are_left_out(made: Recorded) -> None:
    stage = made.plan.stages[made.plan.trials[0].cells[0].generate]
    (made.store.directory(stage) / PREDICTIONS).write_text("{")
    assert [title for title, _ in shown(made, Choice(ids=("clip1",)))] == [
        "Ground truth: the truth of clip1",
        "two: a dog and clip1",
    ]
