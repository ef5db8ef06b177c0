"""Clearing up a results folder."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench.cli.main import app
from avbench.core.errors import AvbenchError
from avbench.runner.lock import StageLock
from avbench.runner.plan import Store
from avbench.workflow.clearing import garbage, remember_run, remove
from tests.fake_stages import plan_of, stage
from tests.records import write_record

NAMES = tuple(letter * 16 for letter in "abc")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three stages, of which a run names the first; and a folder that is no stage."""
    made = Store(results=tmp_path / "results", cache=tmp_path / "cache")
    for name in NAMES:
        folder = write_record(made, stage(name))
        (folder / "weights.safetensors").write_bytes(bytes(4096))
    (made.results / "stages" / "mine").mkdir()
    remember_run(plan_of(stage(NAMES[0])), made)
    return made


def left(store: Store) -> list[str]:
    return sorted(path.name for path in (store.results / "stages").iterdir())


def test_stages_that_no_run_names_are_found_and_removed(store: Store) -> None:
    found = garbage(store)
    assert [one.folder.name for one in found.unnamed] == [f"finetune-{n}" for n in NAMES[1:]]
    assert all(one.size > 4096 for one in found.unnamed)
    assert (found.kept, found.suites) == (1, ("fake",))
    assert left(store) == [*(f"finetune-{n}" for n in NAMES), "mine"]
    assert remove(found) == 2
    assert left(store) == [f"finetune-{NAMES[0]}", "mine"]


def test_a_later_run_of_the_same_replaces_the_list_and_another_adds_one(store: Store) -> None:
    remember_run(plan_of(stage(NAMES[1])), store)
    assert [one.folder.name for one in garbage(store).unnamed] == [
        f"finetune-{n}" for n in (NAMES[0], NAMES[2])
    ]
    other = plan_of(stage(NAMES[0]))
    remember_run(type(other)(**{**_fields(other), "seeds": (0, 1)}), store)
    assert [one.folder.name for one in garbage(store).unnamed] == [f"finetune-{NAMES[2]}"]


def _fields(plan: object) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}  # type: ignore[attr-defined]


def test_plans_that_are_named_keep_their_stages(store: Store) -> None:
    found = garbage(store, [plan_of(stage(NAMES[2]))])
    assert [one.folder.name for one in found.unnamed] == [f"finetune-{NAMES[1]}"]


def test_a_stage_that_runs_stays(store: Store) -> None:
    lock = StageLock(store.directory(stage(NAMES[1])))
    assert lock.acquire()
    found = garbage(store)
    assert [one.running for one in found.unnamed] == [True, False]
    assert "a process works on it: it stays" in found.text()
    assert remove(found) == 1
    lock.release()
    late = garbage(store)
    assert lock.acquire()  # since the look
    assert remove(late) == 0
    lock.release()
    assert f"finetune-{NAMES[1]}" in left(store)


def test_a_link_is_no_stage_and_its_target_stays(store: Store, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (store.results / "stages" / f"score-{NAMES[0]}").symlink_to(tmp_path / "precious")
    remove(garbage(store))
    assert (tmp_path / "precious").is_dir()
    assert f"score-{NAMES[0]}" in left(store)


def test_without_any_list_nothing_is_garbage(store: Store) -> None:
    shutil.rmtree(store.results / "fake")
    with pytest.raises(AvbenchError, match="no suite has left a list of its stages here"):
        garbage(store)


@pytest.mark.parametrize("text", ["{", "[]", '{"suite": "s"}', '{"suite": "s", "stages": 5}'])
def test_a_damaged_list_removes_nothing(store: Store, text: str) -> None:
    (path,) = (store.results / "fake/runs").glob("*.json")
    path.write_text(text)
    with pytest.raises(AvbenchError, match=path.name):
        garbage(store)


def test_the_command_says_what_it_would_remove_and_asks(store: Store) -> None:
    def gc(*more: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["results", "gc", "--results", str(store.results), *more])
        return done.exit_code, done.output

    code, said = gc()
    assert code == 0
    assert f"finetune-{NAMES[1]}" in said
    assert "to remove: 2; kept: 1 named by fake" in said
    assert "nothing is removed without --yes" in said
    assert len(left(store)) == 4
    code, said = gc("--yes")
    assert (code, "removed 2 of 2 stages" in said) == (0, True)
    assert left(store) == [f"finetune-{NAMES[0]}", "mine"]
    assert "to remove: 0" in gc("--yes")[1]
