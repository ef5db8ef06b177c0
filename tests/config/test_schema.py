"""JSON Schemas: as published, they accept what avbench accepts and refuse usual mistakes."""

import json
import os
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from avbench.config.schema import KINDS, schema
from avbench.config.shipped import preset_names, suite_names
from avbench.config.strict_yaml import load
from avbench.core import registry as registries
from avbench.core.errors import UnknownNameError
from avbench.core.paths import folder
from avbench.core.registry import Registry

jsonschema = pytest.importorskip("jsonschema", reason="schemas are judged by jsonschema")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own() -> Registry:
    """The components that come with the project, whatever else is installed."""
    found = Registry()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for module in project["project"]["entry-points"]["avbench"].values():
        registries._register(found, import_module(module), "avbench")
    return found


def published(kind: str) -> dict[str, Any]:
    return json.loads(
        (folder("avbench.config.schemas") / f"{kind}.json").read_text(encoding="utf-8")
    )


def faults(kind: str, document: Any) -> list[str]:
    judge = jsonschema.Draft202012Validator(published(kind))
    return [jsonschema.exceptions.best_match([e]).message for e in judge.iter_errors(document)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_is_what_the_dataclasses_say(kind: str, own: Registry) -> None:
    """After a change: AVBENCH_UPDATE_SCHEMAS=1 pytest tests/config/test_schema.py."""
    made = json.loads(json.dumps(schema(kind, own)))
    jsonschema.Draft202012Validator.check_schema(made)
    if os.environ.get("AVBENCH_UPDATE_SCHEMAS"):
        text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        (ROOT / f"avbench/config/schemas/{kind}.json").write_text(text, encoding="utf-8")
    assert published(kind) == made


@pytest.mark.parametrize("name", suite_names())
def test_every_predefined_suite_is_accepted(name: str) -> None:
    document = load(suite_names()[name]).data
    kind = "collection" if "suites" in document else "suite"
    assert faults(kind, document) == []


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_accepted(name: str) -> None:
    assert faults("preset", load(preset_names()[name]).data) == []


def suite(**changes: Any) -> dict[str, Any]:
    return {"name": "mine", "rows": [{"label": "a", "fusion": "merged"}], **changes}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"finetun": {}}, "'finetun' was unexpected"),
        ({"rows": None}, "None is not of type 'array'"),
        ({"rows": [{"fusoin": "merged"}]}, "'fusoin'"),
        ({"rows": [{"fusion": "mergd"}]}, "'mergd'"),
        ({"rows": [{"model.D": 128, "modle.D": 128}]}, "'modle.D'"),
        ({"rows": [{"loss": {"name": "mbp", "alphaa": 1}}]}, "'alphaa' was unexpected"),
        ({"rows": [{"loss": {"name": "mbp", "alpha": "x"}}]}, "'x' is not of type 'number'"),
        ({"grid": {"fusion": ["merged"]}}, "valid under each of"),
        ({"model": {"heads": "four"}}, "'four' is not of type 'integer'"),
        ({"model": {"encoders": {"video": "video_swn"}}}, "'video_swn'"),
        ({"evaluate": {"metrics": ["cococaption"]}}, "'cococaption'"),
        ({"finetune": {"batch": 8, "btach": 8}}, "'btach' was unexpected"),
        ({"finetune": {"per_dataset": {"vatex": {"step": 3}}}}, "'step' was unexpected"),
        ({"pretrain": {"loss": "mbp"}}, "'loss' was unexpected"),
        ({"table": {"costs": ["flops"]}}, "'flops'"),
        ({"world": {"clips": "many"}}, "'many' is not of type 'integer'"),
        ({"name": None}, "None is not of type 'string'"),
    ],
)
def test_usual_mistakes_in_a_suite_are_refused(changes: dict, told: str) -> None:
    assert faults("suite", suite()) == []
    found = faults("suite", suite(**changes))
    assert found, "accepted"
    assert any(told in text for text in found), found


def test_a_suite_without_a_name_or_rows_is_refused() -> None:
    assert faults("suite", {"rows": [{"label": "a"}]}) == ["'name' is a required property"]
    assert faults("suite", {"name": "mine"})


def test_a_suites_own_axes_may_be_used_in_its_rows() -> None:
    axes = {"size": {"small": {"model.D": 64}}}
    assert faults("suite", suite(axes=axes, rows=[{"size": "small"}])) == []
    assert faults("suite", suite(rows=[{"size": "small"}])) != []


DATASET = {"reader": "youcook2", "root": "/data/youcook2"}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"root": "x"}, "'reader' is a required property"),
        ({"reader": "youcook2"}, "'root' is a required property"),
        ({**DATASET, "reader": "youcook"}, "'youcook'"),
        ({**DATASET, "policyy": "skip"}, "'policyy' was unexpected"),
        ({**DATASET, "policy": "ignore"}, "'ignore' is not one of ['skip', 'fail']"),
        (
            {**DATASET, "sound": {"absent": "zeros"}},
            "'zeros' is not one of ['use', 'drop', 'fail']",
        ),
        ({**DATASET, "sound": {"muted": "drop"}}, "'muted' was unexpected"),
        ({**DATASET, "starts": "every"}, "'starts' was unexpected"),
        ({**DATASET, "reader": "howto100m", "starts": "all"}, "'all' is not one of"),
    ],
)
def test_usual_mistakes_in_a_data_file_are_refused(entry: dict, told: str) -> None:
    good = {"cooking": DATASET, "talk": {"reader": "howto100m", "root": "x", "starts": "every"}}
    assert faults("data", {"datasets": good}) == []
    found = faults("data", {"datasets": {"cooking": entry}})
    assert found, "accepted"
    assert any(told in text for text in found), found
    assert faults("data", {"dataset": good}) != []


def test_hints_are_the_texts_below_the_fields() -> None:
    held = published("suite")["properties"]["input"]["properties"]["mel_bins"]
    assert held["description"] == "Mel filters (paper: 64)."
    assert held["default"] == 64


def test_the_command_prints_a_schema_and_names_those_there_are(own: Registry) -> None:
    from typer.testing import CliRunner

    from avbench.cli.main import app

    shown = CliRunner().invoke(app, ["schema", "preset"])
    assert json.loads(shown.output)["title"] == "A preset of avbench"
    with pytest.raises(UnknownNameError, match="unknown schema 'suit'; did you mean 'suite'"):
        schema("suit", own)
