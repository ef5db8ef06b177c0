"""Commands on a collection of suites."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench.cli.main import app
from avbench.core.errors import AvbenchError

SUITE = """
name: {name}
title: "Suite {name}"
rows:
  - {{label: one, fusion: merged}}
  - {{label: {second}, fusion: {second}}}
defaults: {{loss: plain, modalities: V+A, tasks: [pcc]}}
pretrain: null
finetune: {{datasets: [vatex]}}
claims:
  - {{says: "{second} is better.", row: {second}, over: [one]}}
show: {show}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    for name, second, show in (("a", "cross", "[table]"), ("b", "global", "[table, captions]")):
        (tmp_path / f"{name}.yaml").write_text(SUITE.format(name=name, second=second, show=show))
    (tmp_path / "both.yaml").write_text("name: both\ntitle: Two\nsuites: [a.yaml, b.yaml]\n")
    return tmp_path


def called(*words: str) -> str:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_plan_counts_named_and_distinct_stages(folder: Path) -> None:
    found = json.loads(called("plan", "both.yaml", "--json"))
    assert [(s["suite"], s["rows"], s["show"]) for s in found["suites"]] == [
        ("a", 2, ["table"]),
        ("b", 2, ["table", "captions"]),
    ]
    assert found["named"] == sum(suite["stages"] for suite in found["suites"])
    shared = found["named"] - found["distinct"]
    assert 0 < shared < found["suites"][0]["stages"]
    assert f"the suites name {found['named']} stages" in called("plan", "both.yaml")


def test_a_report_writes_each_suite_and_an_index(folder: Path) -> None:
    said = called("report", "both.yaml", "--format", "md,csv")
    assert "Suite a" in said
    assert "Suite b" in said
    assert "no report 'captions' of b: b: there are no captions yet" in said
    index = (folder / "results/both/index.md").read_text()
    assert index.startswith("# Two\n\n## Suite a\n\n- [table.md](../a/table.md)\n- [table.csv](")
    for target in ("a/table.md", "a/table.csv", "b/table.md"):
        assert f"(../{target})" in index
        assert (folder / "results" / target).is_file()


def test_json_of_a_collection_is_a_list(folder: Path) -> None:
    reports = json.loads(
        called("report", "both.yaml", "--format", "", "--json").partition("\nno ")[0]
    )
    assert [report["suite"] for report in reports] == ["a", "b"]
    claims = json.loads(called("claims", "both.yaml", "--json"))
    assert [claim["claims"][0]["verdict"] for claim in claims] == ["not run", "not run"]
    verified = json.loads(called("verify", "both.yaml", "--json"))
    assert [(found["suite"], found["ok"]) for found in verified] == [("a", True), ("b", True)]


def test_its_state_is_that_of_all_its_stages(folder: Path) -> None:
    distinct = json.loads(called("plan", "both.yaml", "--json"))["distinct"]
    assert json.loads(called("status", "both.yaml", "--json"))["waiting"] == distinct


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "both.yaml", "one"), "'both' is a collection of suites; name one of them: a.y"),
        (("report", "both.yaml", "--delta-to", "one"), "--delta-to: 'both' is a collection; name"),
        (("run", "both.yaml", "--only", "one"), "--only: 'both' is a collection of suites; give"),
        (("export", "both.yaml", "--out", "o"), "'both' is a collection of suites; name one of"),
    ],
)
def test_what_belongs_to_one_suite_is_refused(
    folder: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AvbenchError) as error:
        CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert message in str(error.value)
