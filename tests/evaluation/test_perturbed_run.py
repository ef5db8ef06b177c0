"""From a suite to modality use, end to end: trained, generated under alterations, scored, told."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from avbench.analysis.modality_use import use_sheets
from avbench.cli.reports import write_reports
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.job import RECORD, Job, read_json
from avbench.core.registry import load
from avbench.core.types import Batch, View
from avbench.data.prepared.split import PreparedSplit
from avbench.evaluation import generate
from avbench.evaluation.generate import PREDICTIONS
from avbench.evaluation.perturbation import Alteration
from avbench.reports.collect import collect
from avbench.reports.layouts import alterations
from avbench.runner.plan import Cell, Plan, Stage, Store, Trial
from avbench.runner.planning.planner import make_plan
from avbench.runner.stage_process import run_stages
from avbench.workflow.further_reports import modality_use_report
from tests.records import TINY_WORLD

pytestmark = pytest.mark.slow

SUITE = (
    """
name: small
rows:
  - {label: plain, loss: plain}
  - {label: balanced, loss: mbp}
  - {label: text, loss: plain, modalities: V+A+T}
defaults: {fusion: merged, modalities: V+A, tasks: [pcc]}
"""
    + TINY_WORLD
    + """
vocabulary: {size: 300, datasets: [howto100m]}
pretrain: {dataset: howto100m, steps: 20, batch: 6, lr: 5e-3, measure_every: 4}
finetune: {datasets: [youcook2], steps: 10, batch: 6, lr: 5e-3}
decode: {beam: 2, batch: 5}
evaluate:
  {metrics: [slot_accuracy], zeroed: [video], swapped: [audio, text], noised: [audio, video, text],
   shapley: true}
table: {metrics: [slot_visual], use_metrics: [slot_visual], shapley_score: slot_visual}
"""
)


@dataclass(frozen=True)
class Done:
    """A suite that has been run in this process."""

    plan: Plan
    store: Store

    def job(self, stage: Stage, directory: Path) -> Job:
        directory.mkdir(parents=True, exist_ok=True)
        parents = {r: self.store.directory(self.plan.stages[p]) for r, p in stage.parents.items()}
        return Job(
            kind=stage.kind,
            id=stage.id,
            spec=stage.spec,
            directory=directory,
            parents=parents,
            local={**stage.local, "workers": 1, "device": "cpu"},
        )

    def cell(self, label: str) -> tuple[Trial, Cell]:
        trial = next(t for t in self.plan.trials if t.label == label)
        return trial, trial.cells[0]

    def generated(self, score: str) -> Stage:
        return self.plan.stages[self.plan.stages[score].parents["predictions"]]

    def said(self, score: str) -> list[dict[str, Any]]:
        folder = self.store.directory(self.generated(score))
        return [json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("altered")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        Path("s.yaml").write_text(SUITE)
        registry = load()
        plan = make_plan(read_suite("s.yaml", registry, Overrides()), registry)
        store = Store(results=folder / "results", cache=folder / "cache")
        made = Done(plan, store)
        for stage in plan.stages.values():
            if stage.kind != "profile":
                job = made.job(stage, store.directory(stage))
                assert run_stages([job]), store.record(stage)
        yield made


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_captioner_says_the_same(
    done: Done, tmp_path: Path, captured_without_code: list[torch.nn.Module]
) -> None:
    _, cell = done.cell("balanced")
    stage = done.plan.stages[cell.generate]
    compute = {**stage.spec["compute"], "compile": True}
    job = done.job(replace(stage, spec={**stage.spec, "compute": compute}), tmp_path / "compiled")
    made = generate.run(job)
    whole = done.store.directory(stage)
    assert made["attention"] == read_json(whole / RECORD)["results"]["attention"]
    assert (job.directory / PREDICTIONS).read_text() == (whole / PREDICTIONS).read_text()
    assert captured_without_code


def test_every_alteration_is_generated_and_scored(done: Done) -> None:
    report = collect(done.plan, done.store)
    scores = report.figures.where(metric="slot_visual", dataset="youcook2").frame
    assert set(scores["status"]) == {"ok"}
    common = {"", "video zeroed", "audio zeroed", "audio+video zeroed"}
    common |= {"audio swapped", "audio noised", "video noised"}
    found = {
        label: set(rows["altered"])
        for label, rows in scores.groupby(scores["label"].str.partition(" – ")[0])
    }
    more = {"text swapped", "text noised", "text zeroed", "audio+text zeroed"}
    more |= {"video+text zeroed", "audio+video+text zeroed"}
    assert found["plain"] == found["balanced"] == common
    assert {name.replace("video+audio", "audio+video") for name in found["text"]} == common | more


def test_what_the_model_is_given_is_what_the_alteration_says(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Batch, View]] = []
    say = generate.captions

    def spy(captioner: Any, vocabulary: Any, batch: Batch, *rest: Any, view: View, length: int):
        seen.append((batch, view))
        return say(captioner, vocabulary, batch, *rest, view=view, length=length)

    monkeypatch.setattr(generate, "captions", spy)

    def given(stage: Stage) -> tuple[dict[str, torch.Tensor], tuple[str, ...], View]:
        seen.clear()
        generate.run(done.job(stage, tmp_path / stage.id))
        assert len({view for _, view in seen}) == 1
        # The same file again, from another process of the same stage.
        written = done.store.directory(stage) / PREDICTIONS
        assert (tmp_path / stage.id / PREDICTIONS).read_bytes() == written.read_bytes()
        inputs = {
            m: torch.cat([getattr(batch, m) for batch, _ in seen])
            for m in ("audio", "video", "text")
        }
        return inputs, tuple(i for batch, _ in seen for i in batch.ids), seen[0][1]

    _, cell = done.cell("text")
    own, ids, whole = given(done.plan.stages[cell.generate])
    assert whole == {"audio", "video", "text"}
    split = PreparedSplit.open(
        done.store.directory(done.plan.stages[done.plan.prepared["youcook2"]])
    )
    videos = {clip.id: clip.video for clip in split.clips}
    known = alterations(done.plan)
    for name, score in cell.altered.items():
        made: Alteration = known[score]
        inputs, order, view = given(done.generated(score))
        assert order == ids
        zeroed = set(made.streams) if made.how == "zeroed" else set()
        assert view == whole - zeroed, name
        for m, values in inputs.items():
            if m not in made.streams or made.how == "zeroed":
                assert torch.equal(values, own[m]), name
            elif made.how == "noised":
                assert not torch.equal(values, own[m]), name
            else:
                lines = done.said(score)
                taken = [line["taken"][m] for line in lines]
                assert sorted(taken) == sorted(ids)
                assert all(videos[a] != videos[b] for a, b in zip(taken, ids, strict=True))
                assert torch.equal(values, own[m][[ids.index(i) for i in taken]]), name


def test_without_any_stream_every_clip_is_told_the_same(done: Done) -> None:
    for label, name in (("plain", "audio+video zeroed"), ("balanced", "audio+video zeroed")):
        lines = done.said(done.cell(label)[1].altered[name])
        assert len({line["caption"] for line in lines}) == 1


def test_a_record_says_how_many_partners_are_of_the_same_video(done: Done) -> None:
    _, cell = done.cell("plain")
    record = done.store.record(done.generated(cell.altered["audio swapped"]))
    assert record is not None
    assert record["results"]["same_video"] == 0
    record = done.store.record(done.plan.stages[cell.generate])
    assert record is not None
    assert "same_video" not in record["results"]


def test_the_report_tells_all_of_it(done: Done, tmp_path: Path) -> None:
    losses, altered, values = use_sheets(collect(done.plan, done.store))
    told = {title: dict(zip(losses.headers, row, strict=True)) for title, row in losses.rows}
    for label in ("plain", "text"):
        trial, _ = done.cell(label)
        record = done.store.record(done.plan.stages[str(trial.pretrain)])
        assert record is not None
        for m in ("audio", "video"):
            # Of the last tenth, steps 18 and 19, the last alone is measured without balancing.
            loss = record["results"]["loss"][f"L_{m}"]
            assert told[label][f"howto100m L {m}"].mean == pytest.approx(loss)
            assert told[label][f"howto100m Gradient {m}"].mean > 0
    assert told["text"]["howto100m L text"].n == 1
    assert told["plain"]["howto100m Weight audio"].status == "missing"
    assert told["balanced"]["howto100m Weight audio"].mean == pytest.approx(0.5, abs=0.1)
    assert len(losses.pictures) == 1
    assert dict(altered.rows)["plain"][0].mean is not None
    for title, row in values.rows:
        found = dict(zip((c for c in values.columns), row, strict=True))
        parts = [found[m].mean for m in ("Audio", "Video", "Text") if found[m].mean is not None]
        assert len(parts) == (3 if title == "text" else 2)
        assert sum(parts) == pytest.approx(found["Everything"].mean - found["Nothing"].mean)
    write_reports(
        [modality_use_report(done.plan, done.store, tmp_path)],
        ["md", "latex", "csv", "html"],
        False,
        {},
    )
    assert (tmp_path / "losses.png").stat().st_size > 1000
