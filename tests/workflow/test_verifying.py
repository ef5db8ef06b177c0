"""Figures that are walked back to their stages and made again, over a suite that really ran."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.config import shipped
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError
from avbench.core.job import RECORD, read_json, write_json
from avbench.core.registry import load
from avbench.reports.long_table import LONG_FILE
from avbench.runner.plan import Store
from avbench.runner.planning.planner import make_plan
from avbench.workflow.planning import SuitePlan
from avbench.workflow.verifying import Verification, verify
from tests.records import TINY_WORLD, Recorded

SUITE = (
    """
name: small
title: One step
rows:
  - {label: one, fusion: merged}
  - {label: never, fusion: merged, modalities: V}
defaults: {loss: plain, modalities: V+A}
"""
    + TINY_WORLD
    + """
pretrain: null
finetune: {datasets: [vatex], steps: 1, batch: 2}
decode: {beam: 1}
evaluate: {metrics: [slot_accuracy]}
table: {metrics: [slot_visual], costs: [flops_g, params_m], most_frequent: true}
"""
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuitePlan]:
    """A suite of which the first row and the baseline have run, and whose tables are written."""
    folder = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = Recorded(folder, SUITE)
        planned = SuitePlan(plan=made.plan, store=made.store)
        first = made.plan.trials[0]
        for id_ in (first.cells[0].score, str(first.profile), made.plan.baselines["vatex"]):
            made.run(id_)
        planned.report().write(["long"])
        yield planned


@pytest.fixture
def planned(ran: SuitePlan, tmp_path: Path) -> SuitePlan:
    """The same with a results folder of the test's own."""
    shutil.copytree(ran.store.results, tmp_path / "results")
    store = Store(results=tmp_path / "results", cache=ran.store.cache)
    return SuitePlan(plan=ran.plan, store=store)


def folder_of(planned: SuitePlan, kind: str, row: str = "one") -> Path:
    """The folder of the first stage of a kind that serves a row."""
    plan = planned.plan
    trial = next(trial for trial in plan.trials if trial.label == row)
    id_ = {"score": trial.cells[0].score, "profile": trial.profile}.get(kind)
    id_ = id_ or getattr(trial.cells[0], kind)
    return planned.store.directory(plan.stages[str(id_)])


def alter(record: Path, change: dict[str, object]) -> None:
    """Change results in a record, without a trace."""
    data = read_json(record)
    data["results"] |= change
    write_json(record, data)


def texts(found: Verification) -> list[str]:
    return [difference.text() for difference in found.differences]


# ------------------------------------------------------------------------ verify


def test_what_was_made_is_made_again_and_equal(planned: SuitePlan) -> None:
    found = planned.verify()
    assert texts(found) == []
    assert found.ok
    assert found.scores > 10  # the scores of a row and of the baseline, and their counts
    assert found.costs > 10  # the whole, and its parts
    assert found.lines > 10
    assert found.left > 0  # the second row has not run
    assert found.text().endswith("nothing differs")


def test_a_score_that_its_captions_do_not_give_is_found(planned: SuitePlan) -> None:
    record = folder_of(planned, "score") / RECORD
    scores = read_json(record)["results"]["scores"]
    right = next(s["value"] for s in scores if s["name"] == "slot_visual")
    alter(
        record,
        {"scores": [s | {"value": 99.5} if s["name"] == "slot_visual" else s for s in scores]},
    )
    found = planned.verify()
    assert not found.ok
    about = [d for d in found.differences if d.what == "slot_visual"]
    assert [(d.stored, d.again) for d in about] == [(99.5, right)]
    assert about[0].where.startswith("score vatex: one [")
    # The table was written before the record was changed.
    assert any(LONG_FILE in d.where and d.stored == right and d.again == 99.5
               for d in found.differences)  # fmt: skip


def test_captions_that_were_changed_are_found_twice(planned: SuitePlan) -> None:
    path = folder_of(planned, "generate") / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["caption"] = "a red ball rolls in the kitchen"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = texts(planned.verify())
    assert any("its files: predictions.jsonl" in text for text in said) or any(
        "slot" in text for text in said
    )
    assert any("slot_visual: stored" in text for text in said)


def test_a_cost_that_the_settings_do_not_give_is_found(planned: SuitePlan) -> None:
    record = folder_of(planned, "profile") / RECORD
    right = read_json(record)["results"]["params_m"]
    alter(record, {"params_m": right * 1.001})
    assert any(d.what == "params_m" and d.again == right for d in planned.verify().differences)


def test_a_written_figure_that_no_record_has_is_found(planned: SuitePlan) -> None:
    path = planned.folder / LONG_FILE
    path.write_text(path.read_text().replace(",one,", ",two,", 1))
    (line,) = texts(planned.verify())
    assert line.startswith(f"{path}: two, ")
    assert line.endswith(": no record has it")
    path.write_bytes(b"\xff\xfe nonsense")
    (line,) = texts(planned.verify())
    assert line.startswith(f"{path}: cannot be read")
    path.write_text("a,b\n1,2\n")
    (line,) = texts(planned.verify())
    assert line.startswith(f"{path}: is no long table: long rows: no column 'suite'")
    path.unlink()
    assert planned.verify().lines == 0


def test_a_score_whose_captions_are_gone_is_no_score_that_was_verified(planned: SuitePlan) -> None:
    (folder_of(planned, "generate") / "predictions.jsonl").unlink()
    assert any("cannot be made again" in text for text in texts(planned.verify()))


def test_published_figures_are_those_that_were_checked(
    planned: SuitePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry = load()
    plan = make_plan(read_suite("table3", registry, Overrides()), registry)
    found = verify(plan, planned.store)
    assert (found.ok, found.published) == (True, 40)  # 5 fusions, 2 datasets, 4 scores
    files = {name: tmp_path / f"{name}.csv" for name in shipped.published_names()}
    for name, path in shipped.published_names().items():
        shutil.copy(path, files[name])
    shutil.copy(path.parent / "sources.json", tmp_path)
    files["table3_fusion"].write_text(files["table3_fusion"].read_text().replace("19.5", "29.5"))
    monkeypatch.setattr(shipped, "published_names", lambda: files)
    (line,) = texts(verify(plan, planned.store))
    assert line == (
        "published/table3_fusion: changed since it was checked against Shen et al., Exploring "
        "the Role of Audio in Video Captioning, Table 3"
    )


def test_every_published_file_has_its_source_and_is_as_it_was_checked() -> None:
    for name in shipped.published_names():
        source = shipped.source_of(name)
        assert source.intact, name
        assert source.text.startswith("Shen et al.")


# ------------------------------------------------------------------------ origin


def test_a_score_leads_to_its_captions_its_training_and_its_data(planned: SuitePlan) -> None:
    found = planned.origin("one", dataset="vatex", metric="slot_visual")
    (figure,) = found.figures
    scores = read_json(folder_of(planned, "score") / RECORD)["results"]["scores"]
    assert figure.value == next(s["value"] for s in scores if s["name"] == "slot_visual")
    kinds = [(step.depth, step.role, step.kind) for step in found.steps if not step.repeated]
    assert kinds == [
        (0, "", "score"),
        (1, "predictions", "generate"),
        (2, "model", "finetune"),
        (3, "vocabulary", "vocabulary"),
        (4, "data/vatex", "prepare"),
        (5, "world", "world"),
        (2, "data", "prepare"),
    ]
    assert all(step.state == "done" and Path(step.folder).is_dir() for step in found.steps)
    training = next(step for step in found.steps if step.kind == "finetune")
    assert training.settings["train.steps"] == 1
    assert training.settings["fusion"] == "merged"
    text = str(found)
    assert "train.steps 1, train.epoch clips, train.batch 2" in text
    assert "metrics slot_accuracy" in text
    assert "model.D" not in text


def test_a_row_without_choice_shows_all_figures_and_each_stage_once(planned: SuitePlan) -> None:
    found = planned.origin("one")
    assert {figure.dataset for figure in found.figures} == {"", "vatex"}
    tops = [step.kind for step in found.steps if step.depth == 0]
    assert sorted(tops) == ["profile", "score"]


def test_a_figure_that_is_missing_says_why(planned: SuitePlan) -> None:
    found = planned.origin("never", dataset="vatex", metric="slot_visual")
    assert [(f.status, f.reason) for f in found.figures] == [("pending", "has not run")]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"row": "on"}, "unknown row 'on'; did you mean 'one'"),
        ({"row": "one", "dataset": "vatx"}, "unknown dataset 'vatx'; did you mean 'vatex'"),
        ({"row": "one", "metric": "slot_visua"}, "did you mean 'slot_visual'"),
        ({"row": "one", "seed": 7}, "unknown seed '7'"),
        (
            {"row": "one", "dataset": "vatex", "metric": "params_m"},
            "small: no figure has row 'one', dataset 'vatex', metric 'params_m' together",
        ),
    ],
)
def test_figures_that_no_table_has(
    planned: SuitePlan, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(AvbenchError) as error:
        planned.origin(**asked)  # type: ignore[arg-type]
    assert message in str(error.value)
