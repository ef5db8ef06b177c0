"""What the README shows is what works."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from avbench.cli.main import app
from avbench.core.registry import load
from avbench.testing import check

README = Path(__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def commands() -> list[str]:
    lines = re.findall(r"^    (avbench .*)$", README.read_text(encoding="utf-8"), re.M)
    return [line.split("#")[0].strip() for line in lines]


def test_the_fusion_of_the_readme_passes_its_contract(tmp_path: Path) -> None:
    (code,) = (block for block in blocks("python") if "register_fusions" in block)
    (tmp_path / "apart.py").write_text(code, encoding="utf-8")
    findings = check(load(tmp_path).get("fusions", "apart"))
    assert len(findings) > 5
    assert [f for f in findings if not f.ok] == []


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_of_the_readme_exists(command: str) -> None:
    words = command.split()[1:]
    name = words[:2] if words[0] in ("plugin", "data") else words[:1]
    result = CliRunner().invoke(app, [*name, "--help"])
    assert result.exit_code == 0, result.output
    for option in (w for w in words if w.startswith("--")):
        assert option in result.output


ENDS = {
    "suites": "table3",
    "plugins": "local_global_merged",
    "plan": "finetune",
    "report": "results/",
    "claims": "Verdicts are at 5 %",
    "export": "it has not been trained",
    "caption": "model: no such folder; give one that 'avbench export' wrote",
    "plugin": "next: avbench check my_fusion",
}
"""What commands come to where nothing has been trained; the others take long, or need files."""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[1] in ENDS])
def test_commands_of_the_readme_run(
    empty: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(empty)
    monkeypatch.setenv("AVBENCH_CACHE", str(empty / "cache"))
    words = command.split()[1:]
    result = CliRunner().invoke(app, words)
    said = f"{result.output}{result.exception or ''}"
    assert ENDS[words[0]] in said


def test_the_predefined_suites_are_the_readmes() -> None:
    result = CliRunner().invoke(app, ["suites"])
    named = re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.M)
    assert named
    for suite in named:
        assert suite in result.output
