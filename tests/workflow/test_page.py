"""The contents of a suite's page: claims, provenance, captions, clips with media, plots."""

import csv
import io
import json
import wave
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import avbench
from avbench.core.errors import AvbenchError
from avbench.core.job import LOG, write_json
from avbench.core.options import plain
from avbench.core.types import Clip, InputSpec, SoundState
from avbench.data.media.sampling import Timeline
from avbench.data.prepared.clips import CLIPS, PARAGRAPHS, SPLIT, clip_to_json
from avbench.data.prepared.split import FRAMES, Entry, PreparedSplit, entry_to_json
from avbench.evaluation.predictions import PREDICTIONS
from avbench.evaluation.score import PER_CLIP
from avbench.reports.collect import collect
from avbench.reports.page.contents import Page
from avbench.training.loss_log import CURVE
from avbench.workflow.page import gallery, previews
from avbench.workflow.page.gather import suite_page
from avbench.workflow.page.plots import pareto
from avbench.workflow.planning import SuitePlan
from avbench.workflow.reporting import SuiteReport
from tests.records import TINY_WORLD, Recorded

SUITE = f"""
name: s
title: A small suite
rows:
  - {{label: one, fusion: merged}}
  - {{label: two, fusion: cross}}
defaults: {{loss: plain, modalities: V+A, tasks: [pcc]}}
pretrain: {{dataset: howto100m, steps: 4, batch: 3, measure_every: 2}}
finetune: {{datasets: [vatex]}}
evaluate: {{zeroed: [video]}}
table: {{metrics: [cider], use_metrics: [cider], costs: [flops_g], most_frequent: false}}
claims:
  - {{says: Two is dearer., source: Table 9, row: two, over: [one], metrics: [flops_g]}}
  - {{says: Two is better., row: two, over: [one]}}
{TINY_WORLD}
"""

PROVENANCE = {
    "started": "2026-12-01T10:00:00+00:00",
    "wall_s": 2.5,
    "threads": 2,
    "processes": 1,
    "device": "cpu",
    "machine": {"host": "box", "system": "Linux", "processor": "x86_64", "cores": 2},
    "python": "3.11",
    "versions": {"torch": "2.11"},
    "commit": "c0ffee",
}

IDS = [f"clip{i}" for i in range(5)]


def write_split(folder: Path, media: Path) -> None:
    """A prepared split of five clips with frames; the first has a sound of a second."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = InputSpec(frames=4, size=32, store_frames=4, mel_frames=64)
    entry = Entry(
        row=0, timeline=Timeline((0.0, 1.0, 2.0, 3.0), 0.0, 4.0), mel_frames=64,
        sound=SoundState.PRESENT, notes=(),
    )  # fmt: skip
    clips = [
        Clip(id=id_, video=id_, media=media if not i else media.with_name("none.wav"),
             captions=("a red dog", "a dog"))
        for i, id_ in enumerate(IDS)
    ]  # fmt: skip
    lines = [
        {**entry_to_json(replace(entry, row=i)), "clip": clip_to_json(clip, folder)}
        for i, clip in enumerate(clips)
    ]
    (folder / CLIPS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(folder / PARAGRAPHS, {})
    split = {
        "root": str(folder), "role": "report", "protocol": "coco", "list_hash": "abc",
        "read": "stored", "rows": len(IDS), "input": plain(spec),
    }  # fmt: skip
    write_json(folder / SPLIT, split)
    shape = (len(IDS), 4, 3, 32, 32)
    np.full(shape, 200, dtype=np.uint8).tofile(folder / FRAMES)


def write_sound(path: Path) -> None:
    """A second of 440 Hz."""
    times = np.arange(16_000) / 16_000
    samples = (8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SuitePlan:
    """A suite of two rows with every stage's record, but two's altered captions."""
    monkeypatch.chdir(tmp_path)
    made = Recorded(tmp_path, SUITE)
    plan, store = made.plan, made.store
    sound = tmp_path / "sound.wav"
    write_sound(sound)
    prepared = plan.stages[plan.prepared["vatex"]]
    results = {"split": "test", "kept": 5, "expected": 5, "lost": {}, "list_hash": "abc"}
    made.write(prepared, results=results, provenance=PROVENANCE)
    write_split(store.directory(prepared), sound)
    for number, trial in enumerate(plan.trials):
        assert trial.pretrain is not None
        assert trial.profile is not None
        made.write(plan.stages[trial.pretrain], provenance=PROVENANCE)
        curve = [
            f"{step},{name},{value}\n"
            for step in range(4)
            for name, value in (("L", 4.0 - step), ("L_audio", 5.0), ("gap_audio", 1.0 + step))
        ]
        folder = store.directory(plan.stages[trial.pretrain])
        (folder / CURVE).write_text("".join(["step,name,value\n", *curve, "3,w_audio,nan\n"]))
        costs = {"flops_g": 2.0 + number, "macs_g": 1.0, "params_m": 1.0}
        made.write(plan.stages[trial.profile], results=costs, provenance=PROVENANCE)
        (cell,) = trial.cells
        altered = cell.altered["video zeroed"] if number == 0 else None
        for id_ in (cell.score, altered):
            if id_ is not None:
                write_scores(made, id_, 10.0 + number - (5.0 if id_ == altered else 0.0))
    return SuitePlan(plan=plan, store=store)


def write_scores(made: Recorded, id_: str, value: float) -> None:
    """Captions, their score, and the score of each clip."""
    score = made.plan.stages[id_]
    generate = made.plan.stages[score.parents["predictions"]]
    made.write(generate, results={"clips": 5}, provenance=PROVENANCE)
    lines = "".join(f'{{"id": "{id_}", "caption": "a blue dog"}}\n' for id_ in IDS)
    (made.store.directory(generate) / PREDICTIONS).write_text(lines)
    scored: dict[str, Any] = {
        "name": "cider", "value": value, "unit": "x100", "signature": "cider|clips:5",
        "metric": {"name": "coco_caption", "options": {}},
    }  # fmt: skip
    made.write(score, results={"scores": [scored]}, provenance=PROVENANCE)
    folder = made.store.directory(score)
    text = io.StringIO()
    csv.writer(text).writerows([["id", "video", "cider"], *([i, i, value] for i in IDS[:4])])
    (folder / PER_CLIP).write_text(f"{text.getvalue()}{IDS[4]},{IDS[4]},\n")
    (folder / LOG).write_text("x\n" * 5000 + "the end")


def page_of(suite: SuitePlan, **options: Any) -> Page:
    report = collect(suite.plan, suite.store)
    made: SuiteReport = avbench.report(suite)
    return suite_page(report, made.sheets, **options)


def test_the_head_says_what_ran_where_on_which_data_at_what_cost(suite: SuitePlan) -> None:
    page = page_of(suite)
    facts = {fact.name: fact.values for fact in page.facts}
    assert facts["Commit"] == ("c0ffee",)
    assert facts["Date"] == ("2026-12-01 10:00:00 UTC to 2026-12-01 10:00:00 UTC",)
    assert facts["Machine"] == ("box, Linux, 2 cores",)
    assert facts["Rows and seeds"] == ("2 rows, seeds 0",)
    assert "vatex test: 5 clips, list abc" in facts["Data"]
    records = collect(suite.plan, suite.store).records.by_stage
    assert facts["Cost"][-1] == f"stages: {5 * len(records)} s × threads × processes, of " + (
        f"{len(records)} stages"
    )
    assert "two – video zeroed, vatex: pending: has not run" in page.missing


def test_claims_come_with_verdict_evidence_and_what_would_decide_them(suite: SuitePlan) -> None:
    dearer, better = page_of(suite).verdicts
    assert (dearer.verdict, dearer.evidence[0].difference) == ("supported", "+1.0")
    assert dearer.background.startswith("Table 9; about the methods")
    assert better.verdict == "inconclusive"
    assert better.evidence[0].of == "vatex CIDEr: two − one"
    assert better.conclusion.startswith("corrected p 1.000")


def test_a_figure_leads_to_its_stages_their_options_and_logs(suite: SuitePlan) -> None:
    page = page_of(suite)
    (figure,) = page.figures["two", "vatex", "cider"]
    assert (figure.value, figure.seed, figure.status) == (11.0, 0, "ok")
    score = page.stages[figure.record]
    assert score.facts["commit"] == "c0ffee"
    assert score.log.endswith("the end")
    assert len(score.log) <= 2000
    generate = page.stages[score.parents["predictions"]]
    assert '"beam": 5' in generate.options
    assert page.stages[generate.parents["model"]].status == "to do"
    command = page.commands["two"]
    assert command.startswith("avbench run s.yaml --preset ")
    assert command.endswith("--only two")
    assert page.commands["one – video zeroed"].endswith("--only one")


def test_clips_have_captions_scores_frames_and_sound(suite: SuitePlan) -> None:
    found = page_of(suite).gallery
    assert found is not None
    names = [row.name for row in found.rows]
    assert names == ["one", "one – video zeroed", "two", "two – video zeroed"]
    assert [(row.altered, row.base) for row in found.rows[:2]] == [("", None), ("video zeroed", 0)]
    clips = {clip.id: clip for clip in found.clips}
    assert set(clips) == set(IDS)
    assert clips["clip0"].captions == dict.fromkeys((0, 1, 2), "a blue dog")
    assert clips["clip0"].scores == {0: 10.0, 1: 5.0, 2: 11.0}
    assert clips["clip4"].scores == {}
    assert all(clip.strip.startswith("data:image/webp;base64,") for clip in clips.values())
    assert [id_ for id_, clip in clips.items() if clip.sound] == ["clip0"]
    assert "vatex: 5 of 5 clips." in found.notes
    assert "Of these 5 clips, 5 have frames and 1 have sound here" in found.notes[-1]


def test_frames_are_made_small_and_put_side_by_side(
    suite: SuitePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = torch.full((4, 3, 224, 224), 200, dtype=torch.uint8)
    monkeypatch.setattr(PreparedSplit, "frames", lambda self, index, spec: large)
    found = page_of(suite, clips=1).gallery
    assert found is not None
    data = b64decode(found.clips[0].strip.removeprefix("data:image/webp;base64,"))
    with av.open(io.BytesIO(data)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (96, 4 * 96 + 3 * 2, 3)
    assert abs(int(picture[48, 48, 0]) - 200) <= 6
    assert picture[48, 96, 0] > 230  # the gap


def test_an_embedded_sound_is_the_clip_s_own(suite: SuitePlan) -> None:
    found = page_of(suite).gallery
    assert found is not None
    (sound,) = (clip.sound for clip in found.clips if clip.sound)
    data = b64decode(sound.removeprefix("data:audio/webm;base64,"))
    assert len(data) < 1.5 * previews.BIT_RATE / 8 + 1000
    with av.open(io.BytesIO(data)) as container:
        samples = np.concatenate(
            [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        ).astype(float)
        rate = container.streams.audio[0].rate
    peak = np.abs(np.fft.rfft(samples[: rate // 2])).argmax() * 2
    assert abs(peak - 440) <= 4


def test_a_larger_number_of_clips_only_adds_clips(suite: SuitePlan) -> None:
    chosen = [page_of(suite, clips=n).gallery for n in (2, 4)]
    few, more = ([clip.id for clip in found.clips] for found in chosen if found is not None)
    assert (len(few), few) == (2, more[:2])
    assert page_of(suite, clips=0).gallery is None


def test_media_beyond_the_budget_are_left_out(
    suite: SuitePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = page_of(suite).gallery
    assert whole is not None
    monkeypatch.setattr(gallery, "BUDGET", len(whole.clips[0].strip) + 10)
    found = page_of(suite).gallery
    assert found is not None
    assert [bool(clip.strip) for clip in found.clips] == [True, False, False, False, False]


def test_captions_stay_where_prepared_arrays_were_removed(suite: SuitePlan) -> None:
    folder = suite.store.directory(suite.plan.stages[suite.plan.prepared["vatex"]])
    (folder / FRAMES).unlink()
    found = page_of(suite).gallery
    assert found is not None
    assert {clip.strip for clip in found.clips} == {""}
    assert len(found.clips) == 5
    assert "0 have frames" in found.notes[-1]


def test_plots_show_losses_costs_and_altered_streams(suite: SuitePlan) -> None:
    plots = {plot.title: plot for plot in page_of(suite).plots}
    losses = plots["Losses in pre-training: merged"]
    assert [series.name for series in losses.series] == ["plain L", "plain L_audio"]
    assert losses.series[0].x == (0.0, 2.0, 3.0)
    assert losses.series[0].y == (4.0, 2.0, 1.0)
    assert plots["Gaps in pre-training: cross"].series[0].y == (1.0, 3.0, 4.0)
    assert not any(title.startswith("Weights") for title in plots)  # nan was all there is
    rows, front = plots["CIDEr against cost, vatex"].series
    assert (rows.names, rows.x, rows.y) == (("one", "two"), (2.0, 3.0), (10.0, 11.0))
    assert front.names == ("one", "two")
    (use,) = plots["Use of the modalities, vatex"].series
    assert (use.x, use.y) == (("all present", "video zeroed"), (10.0, 5.0))


def test_the_front_holds_the_points_that_no_other_beats() -> None:
    points = [(1.0, 5.0), (2.0, 5.0), (2.0, 4.0), (3.0, 9.0), (1.0, 3.0), (4.0, 8.0)]
    assert pareto(points) == [(1.0, 5.0), (3.0, 9.0)]


def test_clips_belong_to_the_suite_s_own_page(suite: SuitePlan) -> None:
    with pytest.raises(AvbenchError, match="clips: only of kind 'table' or 'captions' or"):
        avbench.report(suite, kind="strata", clips=3)


def test_a_damaged_file_costs_one_part_of_the_page_and_is_named(suite: SuitePlan) -> None:
    (cell,) = suite.plan.trials[0].cells
    folder = suite.store.directory(suite.plan.stages[cell.generate])
    (folder / PREDICTIONS).write_text("{\n")
    page = page_of(suite)
    assert page.gallery is None
    (said,) = [text for text in page.missing if text.startswith("captions: ")]
    assert f"{PREDICTIONS}:1: expected" in said
    assert page.verdicts


def test_a_report_writes_the_page_and_a_notebook_shows_the_tables_alone(suite: SuitePlan) -> None:
    report = avbench.report(suite, clips=1)
    files = report.write(["html"])
    text = Path(files["html"]).read_text("utf-8")
    assert text == report.text("html")
    assert text.count('"id":"clip') == 1
    assert '<h2 id="captions">' in text
    shown = report._repr_html_()
    assert "&lt;table" in shown
    assert "script&gt;" not in shown
    assert len(shown) < 40_000
