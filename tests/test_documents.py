"""The README and the pages under docs show commands, suites and code that work."""

import ast
import csv
import json
import re
import shlex
import tomllib
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

import avbench
from avbench.cli.main import app
from avbench.config.builder import SECTIONS
from avbench.config.collection import read_collection
from avbench.config.suite import read_suite
from avbench.core.registry import Registry, load
from avbench.runner.planning.planner import make_plan
from avbench.testing import check

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *PAGES]
OTHERS = ("CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")
LINKED = [*DOCUMENTS, *(ROOT / name for name in OTHERS)]
LANGUAGES = {"sh", "yaml", "python", "toml"}


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text("utf-8"), re.S | re.M)


def spans(document: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", prose)


def blocks_of(language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{document.name}-{i}")
        for document in DOCUMENTS
        for i, block in enumerate(blocks(document, language))
    ]


def anchors(document: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def lines() -> list[str]:
    """Every line of the shell blocks, without its comment, once."""
    shown = [line for d in DOCUMENTS for block in blocks(d, "sh") for line in block.splitlines()]
    return list(dict.fromkeys(line.split("#")[0].strip() for line in shown))


COMMANDS = [line for line in lines() if line.startswith("avbench ")]


@cache
def commands() -> dict[tuple[str, ...], Any]:
    """Every command of the command line, by its words."""
    found: dict[tuple[str, ...], Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        children = getattr(command, "commands", None)
        if children is not None:
            for name, child in children.items():
                walk(child, (*words, name))
        else:
            found[words] = command

    walk(typer.main.get_command(app), ())
    return found


def options(command: Any) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}


def command_of(words: list[str]) -> tuple[str, ...]:
    """The command that a line calls."""
    known = commands()
    (name,) = [name for name in known if tuple(words[: len(name)]) == name]
    return name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_every_block_has_a_language_that_is_tested(document: Path) -> None:
    fences = re.findall(r"^```(.*)$", document.read_text("utf-8"), re.M)
    assert len(fences) % 2 == 0
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}
    assert not re.search(r"^    avbench ", document.read_text("utf-8"), re.M)


@pytest.mark.parametrize("line", lines())
def test_every_command_of_the_documents_exists(line: str) -> None:
    program, *words = shlex.split(line.split(">")[0])
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert set(words) <= set(targets)
        return
    assert program == "avbench"
    command = commands()[command_of(words)]
    given = {word for word in words if word.startswith("--")}
    assert given <= options(command), f"{line}: options of another command"


@pytest.mark.parametrize("document", LINKED, ids=lambda d: str(d.relative_to(ROOT)))
def test_commands_and_options_named_in_prose_exist(document: Path) -> None:
    known = commands()
    groups = {name[:n] for name in known for n in range(1, len(name) + 1)}
    anywhere = {option for command in known.values() for option in options(command)}
    for span in spans(document):
        words = span.split()
        given = {word for word in words if re.match(r"--[a-z]", word)}
        if words[0] == "avbench" and len(words) > 1:
            named = [name for name in groups if tuple(words[1 : 1 + len(name)]) == name]
            assert named, f"{document.name}: no such command: {span}"
            if max(named, key=len) in known:
                assert given <= options(known[max(named, key=len)]), span
        elif words[0].startswith("--"):
            assert given <= anywhere, f"{document.name}: no such option: {span}"


ENDS = {
    "suites": "table3",
    "plugins": "local_global_merged",
    "plan": "finetune",
    "report": "results/",
    "claims": "not run",
    "export": "it has not been trained",
    "caption": "model: no such folder; give one that 'avbench export' wrote",
    "plugin": "next: avbench check my_fusion",
    "schema": "https://json-schema.org/draft/2020-12/schema",
    "score": "refs.jsonl",
}
"""Text that each command prints before anything has been trained; the others take long."""

UNSCORED = "nothing has been scored yet; use 'avbench run' first"
"""The message of ``--strata`` there."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's suite and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    (suite,) = (b for b in blocks(ROOT / "README.md", "yaml") if b.startswith("name: my_suite"))
    (folder / "my_suite.yaml").write_text(suite, encoding="utf-8")
    return folder


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.split()[1] in ENDS])
def test_commands_of_the_documents_run(
    empty: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(empty)
    monkeypatch.setenv("AVBENCH_CACHE", str(empty / "cache"))
    words = shlex.split(line.split(">")[0])[1:]
    result = CliRunner().invoke(app, words)
    said = f"{result.output}{result.exception or ''}"
    assert (UNSCORED if "--strata" in words else ENDS[words[0]]) in said


def test_the_readme_lists_every_command() -> None:
    listed = re.findall(r"^\| `avbench ([\w ]+)` \|", DOCUMENTS[0].read_text("utf-8"), re.M)
    assert sorted(tuple(words.split()) for words in listed) == sorted(commands())


def test_the_documents_list_every_predefined_suite() -> None:
    result = CliRunner().invoke(app, ["suites", "--json"])
    page = (ROOT / "docs/suites.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.M)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(suite["name"] for suite in json.loads(result.output))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load(None)


@pytest.fixture(scope="module")
def data_schema() -> dict[str, object]:
    return json.loads(CliRunner().invoke(app, ["schema", "data"]).output)


@pytest.mark.parametrize("block", blocks_of("yaml"))
def test_the_yaml_of_the_documents_is_valid(
    block: str, registry: Registry, data_schema: dict[str, object], tmp_path: Path
) -> None:
    written = yaml.safe_load(block)
    if written.keys() & {"datasets", "weights"}:
        jsonschema = pytest.importorskip("jsonschema", reason="schemas are judged by jsonschema")
        jsonschema.Draft202012Validator(data_schema).validate(written)
        return
    file = tmp_path / "suite.yaml"
    if "suites" in written:
        for name in (name for name in written["suites"] if name.endswith(".yaml")):
            (tmp_path / name).write_text("name: mine\nrows: [{fusion: merged}]\n")
        file.write_text(block, encoding="utf-8")
        assert read_collection(str(file)) is not None
        return
    for name in (name for name in written.get("published", ()) if name.endswith(".csv")):
        (tmp_path / name).write_text("label,dataset,metric,value,source\n")
    if "name" in written:
        file.write_text(block, encoding="utf-8")
        plan = make_plan(read_suite(str(file), registry), registry)
        assert plan.trials
        assert [trial for trial in plan.trials if trial.skipped] == []
    else:  # some sections of a suite
        assert set(written) <= set(SECTIONS)
        file.write_text(f"name: part\nrows: [{{fusion: merged}}]\n{block}", encoding="utf-8")
        assert read_suite(str(file), registry).rows


@pytest.mark.parametrize("block", blocks_of("python"))
def test_the_python_of_the_documents_works(block: str, tmp_path: Path) -> None:
    if "@hookimpl" in block:
        (tmp_path / "apart.py").write_text(block, encoding="utf-8")
        findings = check(load(tmp_path).get("fusions", "apart"))
        assert len(findings) > 5
        assert [f for f in findings if not f.ok] == []
        return
    tree = ast.parse(block)
    named = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    used = [n.attr for n in named if isinstance(n.value, ast.Name) and n.value.id == "avbench"]
    assert used
    assert [name for name in used if not hasattr(avbench, name)] == []


@pytest.mark.parametrize("document", LINKED, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in anchors(found), f"{document.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda d: d.name)
def test_every_page_is_linked_from_the_readme_and_the_overview(page: Path) -> None:
    assert f"(docs/{page.name})" in DOCUMENTS[0].read_text("utf-8")
    assert page.name == "index.md" or f"({page.name})" in (page.parent / "index.md").read_text(
        "utf-8"
    )


def test_the_figures_of_the_readme_are_those_that_are_kept() -> None:
    _, *table = (ROOT / "results/reference/quickstart/table.csv").read_text("utf-8").splitlines()
    kept = {row["row"]: row for row in csv.DictReader(takewhile(lambda x: x[0] != "#", table))}
    columns = ("youcook2 CIDEr", "vatex CIDEr", "Cost FLOPs (G)", "Cost Training MACs (G)")
    rows = re.findall(r"^\| ([\w, ]+?) +\|([ \d.|–]+)\|$", DOCUMENTS[0].read_text("utf-8"), re.M)
    shown = {label: tuple(figure.strip() for figure in line.split("|")) for label, line in rows}
    assert shown.keys() == kept.keys()
    for label, figures in shown.items():
        for figure, column in zip(figures, columns, strict=True):
            value = kept[label][column]
            assert figure == "–" if value == "missing" else float(figure) == float(value)


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["version"] == avbench.__version__
    assert citation["license"] == project["license"]
    (paper,) = citation["references"]
    readme = DOCUMENTS[0].read_text("utf-8")
    assert paper["url"] in readme
    for author in paper["authors"]:
        assert f"{author['given-names']} {author['family-names']}" in readme
