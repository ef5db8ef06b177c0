"""``avbench plugin new``: what it writes works, and it writes over nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from avbench.cli.scaffold import FAMILIES, write
from avbench.core.errors import AvbenchError
from avbench.core.registry import load
from avbench.testing import check
from tests import processes


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_plugin_fulfils_its_contract(family: str, tmp_path: Path) -> None:
    assert write("my_plugin", family, tmp_path / "plugins") == [
        tmp_path / "plugins" / "my_plugin.py",
        tmp_path / "plugins" / "test_my_plugin.py",
    ]
    component = load(tmp_path / "plugins").get(FAMILIES[family][0], "my_plugin")
    findings = check(component)
    assert len(findings) > 5
    assert [f for f in findings if not f.ok] == []
    sys.modules.pop("avbench_local.my_plugin", None)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_its_test_passes_and_it_is_clean(
    family: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write("my_plugin", family, tmp_path)
    settings = str(Path(__file__).resolve().parents[2] / "pyproject.toml")
    own = ["-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = processes.run("pytest", own, tmp_path_factory.mktemp("said"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "ruff", *command, "--no-cache", "--config", settings),
                str(tmp_path / "my_plugin.py"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["5x", "my-fusion", "class", "_hidden", "test_x", "../x", ""])
def test_names_that_are_no_modules(name: str, tmp_path: Path) -> None:
    with pytest.raises(AvbenchError, match=r"^plugin name '.*': must be a Python identifier"):
        write(name, "fusion", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("mine")
    with pytest.raises(AvbenchError, match=r"test_x\.py: exists already; nothing was written$"):
        write("x", "fusion", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["test_x.py"]
    with pytest.raises(AvbenchError, match="unknown family 'metric'"):
        write("y", "metric", tmp_path)
