"""The command line: what it prints, its exit codes, and the rules of the code base."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avbench.core import paths
from avbench.core.registry import FAMILIES, load
from tests import processes

ROOT = Path(__file__).resolve().parents[2]

Command = Callable[..., subprocess.CompletedProcess[str]]

SUITE = """
name: s
title: A small suite
grid: {fusion: [merged, cross], modalities: [V+A, V+A+T]}
defaults: {loss: plain, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
table: {most_frequent: true, costs: [flops_g]}
"""


@pytest.fixture
def avbench(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("said")
    (tmp_path / "s.yaml").write_text(SUITE)

    def command(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AVBENCH_CACHE": str(tmp_path / "cache"), "COLUMNS": "120"}
        done = processes.run("avbench.cli.main", arguments, folder, cwd=tmp_path, env=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return command


def test_help_imports_nothing_that_is_slow(avbench: Command) -> None:
    said = avbench("--help").stdout
    for name in ("run", "plan", "report", "plugins", "suites", "plugin", "check"):
        assert f" {name} " in said
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "avbench.cli.main", "--help"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stderr  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "pandas", "transformers", "timm", "matplotlib", "av"}


def test_version_and_suites(avbench: Command) -> None:
    assert avbench("--version").stdout == "avbench 0.1.0\n"
    assert "table3" in avbench("suites").stdout
    found = json.loads(avbench("suites", "--json").stdout)
    names = [entry["name"] for entry in found]
    assert names == [
        "balance",
        "balance_finetune",
        "fig1",
        "fig4",
        "fig5",
        "figA",
        "figB",
        "flops",
        "paper",
        "quickstart",
        "sensitivity",
        "smoke",
        "table1",
        "table2",
        "table3",
        "table4",
        "table5",
    ]


def test_plugins(avbench: Command) -> None:
    found = json.loads(avbench("plugins", "--json").stdout)
    assert {entry["family"] for entry in found} == set(FAMILIES)
    mbp = next(entry for entry in found if entry["name"] == "mbp")
    assert mbp["family"] == "losses"
    assert {"name": "alpha", "type": "float", "default": "10.0"} in mbp["options"]
    assert mbp["distribution"] == "avbench 0.1.0"
    assert "alpha = 10.0" in avbench("plugins").stdout


def test_plan(avbench: Command) -> None:
    said = avbench("plan", "s.yaml").stdout
    assert "A small suite" in said
    assert "skipped: cross, V+A+T: " in said
    data = json.loads(avbench("plan", "s.yaml", "--json").stdout)
    assert len(data["trials"]) == 4
    assert [bool(trial["skipped"]) for trial in data["trials"]] == [False, False, False, True]
    assert data["stages"]["pretrain"] == {"done": 0, "all": 3}
    done = data["trials"][0]["done"]
    assert done == {"pretrain": False, "vatex": False, "profile": False}


def test_plan_says_the_steps_clips_and_flops_of_each_training(avbench: Command) -> None:
    data = json.loads(avbench("plan", "s.yaml", "--json").stdout)
    trainings = data["trainings"]
    assert [t["stage"] for t in trainings if t["kind"] == "pretrain"] == [
        trial["stages"]["pretrain"] for trial in data["trials"] if not trial["skipped"]
    ]
    assert len(trainings) == data["stages"]["pretrain"]["all"] + data["stages"]["finetune"]["all"]
    for training in trainings:
        assert training["clips"] > training["steps"] > 0
        assert training["flops"] > 1e9
        assert not training["done"]
    said = avbench("plan", "s.yaml").stdout
    assert "FLOPs: 2 per multiply-accumulate, a backward pass as two forward passes" in said
    for training in trainings:
        (line,) = [
            line
            for line in said.splitlines()
            if training["rows"][0] in line and f"{training['flops']:.2e}" in line
        ]
        assert f" {training['kind']} {training['dataset']} " in line
        assert f" {training['steps']:,} " in line
        assert f" {training['clips']:,} " in line


def test_report_before_any_run(avbench: Command, tmp_path: Path) -> None:
    avbench("report", "s.yaml", "--format", "md,long")
    assert "…" in (tmp_path / "results" / "s" / "table.md").read_text()
    long = (tmp_path / "results" / "s" / "table.long.csv").read_text().splitlines()
    assert long[0].startswith("suite,trial,label,seed,fusion,loss,modalities,tasks,")
    assert any(",skipped," in line for line in long)
    assert sum(",pending," in line for line in long) == 3 + 3 + 1  # scores, costs, baseline


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "tabel2"), "error: unknown suite 'tabel2'; did you mean 'table2'? Allowed: "),
        (("run", "no.yaml"), "error: suite file no.yaml: no such file\n"),
        (("plan", "s.yaml", "--preset", "papr"), "unknown preset 'papr'; did you mean 'paper'?"),
        (
            ("report", "s.yaml", "--format", "mdx"),
            "error: --format: unknown format 'mdx'; did you mean 'md'? Allowed: ",
        ),
        (
            ("report", "s.yaml", "--strata", "--modality-use"),
            "error: --strata and --modality-use: give only one of them\n",
        ),
        (
            ("report", "s.yaml", "--attention", "--delta-to", "a"),
            "error: --attention: its tables compare no rows; leave out --delta-to\n",
        ),
        (
            ("report", "s.yaml", "--clips", "-1"),
            "error: --clips: must be from 0 to 100,000 clips, got -1\n",
        ),
        (
            ("report", "s.yaml", "--clip-seed", "1"),
            "error: --clip-seed: only --captions and --attention draw clips\n",
        ),
        (
            ("report", "s.yaml", "--captions", "--published"),
            "error: --captions: it has no published figures; leave out --published\n",
        ),
        (
            ("report", "s.yaml", "--clips", "a,b"),
            "error: --clips: ids are for --captions and --attention; give a number\n",
        ),
        (
            ("report", "s.yaml", "--modality-use", "--intervals", "seeds"),
            "error: --modality-use: its tables have no intervals; leave out --intervals\n",
        ),
        (
            ("report", "s.yaml", "--delta-to", "merged, V+B"),
            "error: --delta-to: unknown row 'merged, V+B'; did you mean 'merged, V+A'? Allowed: ",
        ),
        (
            ("report", "s.yaml", "--strata", "--delta-to", "merged, V+A"),
            "error: --strata: its tables compare no rows; leave out --delta-to\n",
        ),
        (("check", "merge"), "error: unknown component 'merge'; did you mean 'merged'?"),
        (
            ("check", "merged", "--option", "nrm=post", "--option", "x"),
            "error: --option: must be KEY=VALUE, got 'x'\n"
            "--option: merged: unknown field 'nrm'; did you mean 'norm'? Allowed: norm\n",
        ),
        (("plugins", "--plugins-dir", "no"), "error: --plugins-dir no: no such folder\n"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    avbench: Command, arguments: tuple[str, ...], message: str
) -> None:
    done = avbench(*arguments, status=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_new_and_check(avbench: Command, tmp_path: Path) -> None:
    said = avbench("plugin", "new", "my_fusion", "--family", "fusion").stdout
    assert said.splitlines()[-1] == "next: avbench check my_fusion"
    assert "checks passed" in avbench("check", "my_fusion").stdout
    plugin = tmp_path / "plugins" / "my_fusion.py"
    text = plugin.read_text()
    plugin.write_text(text.replace("keep=fused.keep)", "keep=None)"))
    done = avbench("check", "my_fusion", status=1)
    assert "FAILED" in done.stdout
    assert "expected: " in done.stdout
    assert "got:      " in done.stdout
    found = json.loads(avbench("check", "my_fusion", "--json", status=1).stdout)
    assert {"family", "name", "check", "ok", "expected", "got", "advice"} == set(found[0])
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAILED fusions my_fusion: shape [audio], and on ")
    assert lines[-1].endswith(" checks failed; those that presuppose them were left out")
    assert not any(line.startswith("ok") for line in lines)
    plugin.write_text(text)
    data = json.loads(avbench("plan", "s.yaml", "--with", "my_fusion", "--json").stdout)
    assert data["trials"][-1]["label"] == "my_fusion"
    assert data["trials"][-1]["axes"]["fusion"] == "my_fusion"


def test_a_planned_suite_is_shown_again_without_torch(avbench: Command, tmp_path: Path) -> None:
    first = avbench("plan", "s.yaml", "--json").stdout
    code = (
        "import sys, avbench.cli.main as cli\n"
        "sys.argv = ['avbench', 'plan', 's.yaml', '--json']\n"
        "try:\n    cli.main()\n"
        "finally:\n    assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    environment = {**os.environ, "AVBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == first


def test_the_registry_is_loaded_without_what_single_components_take_long_to_import() -> None:
    """Every stage and most commands load it; ``torch._dynamo`` alone takes a second."""
    slow = ("torch._dynamo", "torchvision", "timm", "transformers", "pandas", "lightning_fabric")
    code = (
        "import sys, avbench.runner.stage_process, avbench.evaluation.generate\n"
        "from avbench.core.registry import load\n"
        f"load()\nprint(*(name for name in {slow} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


# ------------------------------------------------------------------ rules of the code base


def core_modules() -> list[Path]:
    package = paths.folder("avbench")
    return [p for p in package.rglob("*.py") if "builtin" not in p.relative_to(package).parts]


def strings(tree: ast.AST) -> set[str]:
    """Every string constant that is no docstring and no exported name."""
    found: set[str] = set()
    exported = {
        id(constant)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        for constant in ast.walk(node)
    }
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings | exported
        ):
            found.add(node.value)
    return found


def test_no_plugins_name_occurs_in_the_core() -> None:
    names = {
        component.name
        for component in load()
        if component.family in ("fusions", "losses", "modalities", "encoders", "metrics")
    }
    assert {"merged", "mbp", "V+A", "video_swin"} <= names
    for path in core_modules():
        said = strings(ast.parse(path.read_text(encoding="utf-8"))) & names
        assert not said, f"{path} names {sorted(said)}"


def test_yaml_is_read_in_one_place() -> None:
    readers = {
        path.name
        for path in core_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name == "yaml" for alias in node.names)
    }
    assert readers == {"strict_yaml.py"}


def test_dependencies_run_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_what_a_run_is_told_of_its_trainings_reaches_them(tmp_path, monkeypatch) -> None:
    """Into the ``job.json`` of a training, and to what starts it."""
    from typer.testing import CliRunner

    from avbench.cli.main import app
    from avbench.core.job import read_job
    from avbench.runner.scheduler import INTERRUPT, Run

    (tmp_path / "s.yaml").write_text(SUITE)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    found = []

    def go(self: Run, watcher: object) -> int:
        training = next(s for s in self.plan.stages.values() if s.kind == "pretrain")
        found.append((read_job(self._write_job(training, 1)).local, self.executor.processes))
        return INTERRUPT

    monkeypatch.setattr(Run, "go", go)
    told = [
        *("--checkpoint-minutes", "2.5", "--checkpoint-steps", "100", "--checkpoint-keep", "5"),
        *("--processes", "2", "--strategy", "fsdp", "--workers", "3", "--tensorboard"),
        *("--device", "cpu", "--results", str(tmp_path / "out")),
    ]
    for arguments in (told, told[-4:]):
        done = CliRunner().invoke(app, ["run", str(tmp_path / "s.yaml"), *arguments])
        assert done.exit_code == INTERRUPT, done.output
    names = (
        *("checkpoint_seconds", "checkpoint_steps", "checkpoint_keep", "strategy", "workers"),
        "tensorboard",
    )
    (local, processes), (default, one) = found
    assert [local[name] for name in names] == [150.0, 100, 5, "fsdp", 3, True]
    assert [default[name] for name in names] == [30.0, None, 2, "ddp", 0, False]
    assert (processes, one) == (2, 1)


def test_an_environment_that_breaks_every_stage_stops_the_run_and_is_told_once_first(
    avbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a PyAV whose ``open`` takes other arguments did: no table of dashes, one error."""
    broken = "import av\ndef open(*a, **k):\n    raise TypeError('open() got an argument')\n"
    (tmp_path / "sitecustomize.py").write_text(broken + "av.open = open\n")
    processes.server()  # began without it; stages must not be forked from it
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = avbench("run", "quickstart", "--jobs", "2", status=1)
    first, second = result.stderr.splitlines()
    said = r"error: all [23] world stages that ran failed with the same error: "
    assert re.match(said + r"TypeError: open\(\) got an argument \(log: .*\)$", first)
    assert re.match(r"stopped early, with \d+ stages to go", second)
    assert result.stdout.count("TypeError") == 1  # as the first failed
    assert re.search(r"FAILED: world .*: the same error$", result.stdout, re.M)
    assert "CIDEr" not in result.stdout
    assert not list((tmp_path / "results" / "quickstart").glob("table*"))
