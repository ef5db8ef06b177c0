"""``avbench plan --why``: in what a stage to be run differs from one that is done."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench.cli.main import app
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError
from avbench.core.job import JOB, RECORD, read_json, write_json
from avbench.core.registry import Registry, load
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan, Store
from avbench.runner.planning.planner import make_plan
from avbench.runner.planning.why import Reason, reasons
from avbench.runner.scheduler import Run
from tests.records import write_record

SUITE = """
name: s
rows: [{label: one, fusion: toy}, {label: two, fusion: merged}]
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
evaluate: {metrics: [coco_caption]}
"""

PLUGIN = """
from dataclasses import dataclass
from pathlib import Path

from avbench.api import Dataset, Fusion, hookimpl, join


class Toy(Fusion):
    def forward(self, tokens):
        return join(list(tokens.values()))


@dataclass(frozen=True)
class Options:
    root: str = ""


class Reader(Dataset):
    report = "test"

    def __init__(self, options):
        self.root = Path(options.root)

    def splits(self):
        return ("train", "test")

    def clips(self, split):
        return ()

    def fingerprint(self):
        return (self.root / "list.txt").read_text()


@hookimpl
def register_fusions(register):
    register("toy", Toy, source="test")


@hookimpl
def register_datasets(register):
    register("toyset", Reader, config=Options, source="test")
"""

DATA = "datasets: {howto100m: {reader: toyset, root: a}, vatex: {reader: toyset, root: b}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A suite over data of a plugin, every stage of it done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    (tmp_path / "s.yaml").write_text(SUITE)
    (tmp_path / "d.yaml").write_text(DATA)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "list.txt").write_text("one")
    finish(planned())
    yield tmp_path
    sys.modules.pop("avbench_local.mine", None)


def planned(**overrides: object) -> Plan:
    """Plan s.yaml as a new process would."""
    sys.modules.pop("avbench_local.mine", None)
    registry: Registry = load()
    asked = Overrides(**{"data": "d.yaml", **overrides})  # type: ignore[arg-type]
    return make_plan(read_suite("s.yaml", registry, asked), registry)


def store() -> Store:
    return Store(results=Path("results"), cache=Path("cache"))


def finish(plan: Plan) -> None:
    """Leave every stage as a run leaves those that are done."""
    run = Run(plan, store(), LocalExecutor(1), {})
    for stage in plan.stages.values():
        run._write_job(stage, 1)
        write_record(store(), stage)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def texts(found: list[Reason]) -> dict[str, str]:
    """Return the text of each reason, by kind and what the stage works on."""
    return {f"{r.stage.kind}: {r.works_on}": r.text() for r in found}


def test_nothing_is_said_where_all_is_done(folder: Path) -> None:
    assert reasons(planned(), store()) == []


def test_a_line_in_a_fusions_file_is_told_by_the_name_of_its_module(folder: Path) -> None:
    with (folder / "plugins" / "mine.py").open("a") as file:
        file.write("HARMLESS = 1\n")
    changed = "module avbench_local.mine changed"
    # The readers are in the same file, so that data are prepared anew for both rows.
    found = texts(reasons(planned(), store()))
    assert found["prepare: howto100m, train"] == changed
    assert found["pretrain: one"] == found["finetune: vatex: one"] == changed
    assert found["generate: vatex: one"] == found["profile: one"] == changed
    assert found["score: vatex: one"] == f"its prepare stage changed: {changed}"
    assert found["pretrain: two"] == f"its prepare stage changed: {changed}"
    assert "profile: two" not in found


def test_a_setting_of_evaluation_leaves_all_but_scores_alone(folder: Path) -> None:
    replace(folder / "s.yaml", "[coco_caption]", "[coco_caption, slot_accuracy]")
    found = reasons(planned(), store())
    assert {r.stage.kind for r in found} == {"score"}
    assert {r.text() for r in found} == {
        "setting metrics.1.name: None → slot_accuracy (and 2 more)"
    }
    assert {(r.first.what, r.first.name) for r in found if r.first} == {
        ("setting", "metrics.1.name")
    }


def test_a_setting_is_told_with_its_old_and_new_value_and_followed_from_its_parent(
    folder: Path,
) -> None:
    replace(folder / "s.yaml", "datasets: [vatex]", "datasets: [vatex], lr: 3e-5, batch: 8")
    found = texts(reasons(planned(), store(), "two"))
    old = read_json(next(Path("results/stages").glob("finetune-*")) / JOB)["spec"]["train"]
    setting = f"setting train.batch: {old['batch']} → 8 (and 1 more)"
    assert found["finetune: vatex: two"] == setting
    assert found["generate: vatex: two"] == f"its finetune stage changed: {setting}"
    assert found["score: vatex: two"] == (
        f"its generate stage changed: its finetune stage changed: {setting}"
    )
    assert set(found) == {f"{kind}: vatex: two" for kind in ("finetune", "generate", "score")}


def test_new_data_are_told(folder: Path) -> None:
    (folder / "b" / "list.txt").write_text("two")
    found = texts(reasons(planned(), store()))
    data = "the contents of vatex changed: one → two"
    assert found["prepare: vatex, report"] == data
    assert found["vocabulary: tokenizer"] == f"its prepare stage changed: {data}"
    assert found["score: vatex: one"] == f"its prepare stage changed: {data}"
    assert "prepare: howto100m, train" not in found


def test_another_version_is_told(folder: Path) -> None:
    for path in Path("results/stages").glob("generate-*"):
        job = read_json(path / JOB)
        write_json(path / JOB, {**job, "id": "0", "versions": {**job["versions"], "torch": "1.0"}})
        path.rename(path.with_name("generate-0" + path.name[-2:]))
    for path in Path("results/stages").glob("score-*"):
        (path / RECORD).unlink()
    now = read_json(next(Path("results/stages").glob("finetune-*")) / JOB)["versions"]["torch"]
    found = reasons(planned(), store(), "generate")
    assert {r.text() for r in found} == {f"version of torch: 1.0 → {now}"}


def test_a_stage_without_a_relative_says_so(folder: Path) -> None:
    found = reasons(planned(seeds="2"), store())
    assert {r.stage.spec["seed"] for r in found if r.stage.kind == "pretrain"} == {1}
    assert {r.relative for r in found} == {None}
    missing = "no finished stage of this kind for this row, dataset and seed"
    assert {r.text() for r in found} == {missing}
    # A folder that is not whole is no relative either.
    for path in Path("results/stages").glob("score-*"):
        (path / RECORD).write_text("{damaged")
    assert {r.relative for r in reasons(planned(), store())} == {None}


def test_the_nearest_of_several_relatives_is_compared(folder: Path) -> None:
    replace(folder / "s.yaml", "datasets: [vatex]", "datasets: [vatex], lr: 3e-5, batch: 8")
    finish(planned())
    replace(folder / "s.yaml", "batch: 8", "batch: 4")
    found = texts(reasons(planned(), store(), "finetune"))
    assert found["finetune: vatex: one"] == "setting train.batch: 8 → 4"


def test_stages_are_chosen_by_kind_row_or_id(folder: Path) -> None:
    replace(folder / "s.yaml", "[coco_caption]", "[slot_accuracy]")
    plan = planned()
    every = reasons(plan, store())
    assert reasons(plan, store(), "score") == every
    assert [r.works_on for r in reasons(plan, store(), "one")] == ["vatex: one"]
    assert reasons(plan, store(), every[0].stage.id[:6]) == every[:1]
    assert reasons(plan, store(), "world" if "world" in plan.names() else "prepare") == []
    with pytest.raises(AvbenchError, match="unknown kind, row or id 'scores'; did you mean"):
        reasons(plan, store(), "scores")


def test_the_command_prints_reasons_and_gives_them_as_data(folder: Path) -> None:
    replace(folder / "s.yaml", "[coco_caption]", "[coco_caption, slot_accuracy]")
    ask = ["plan", "s.yaml", "--data", "d.yaml"]
    sys.modules.pop("avbench_local.mine", None)
    shown = CliRunner().invoke(app, [*ask, "--why", "score"], env={"COLUMNS": "140"})
    assert shown.exit_code == 0, shown.output
    assert "vatex: one, and 1 more" in shown.output
    assert "setting metrics.1.name: None → slot_accuracy (and 2 more)" in shown.output
    sys.modules.pop("avbench_local.mine", None)
    data = json.loads(CliRunner().invoke(app, [*ask, "--why", "--json"]).stdout)
    assert [entry["kind"] for entry in data] == ["score", "score"]
    assert data[0]["difference"] == {
        **{"what": "setting", "name": "metrics.1.name", "old": None, "new": "slot_accuracy"},
        "through": [],
    }
    assert data[0]["relative"].startswith("score-")
    without = CliRunner().invoke(app, [*ask, "score"])
    assert isinstance(without.exception, AvbenchError)
    assert str(without.exception) == "'score': a stage can only be given with --why"
