"""Discovery: plugins by entry point and by folder, and each way in which one can be broken."""

import os
import re
import sys
from pathlib import Path

import pytest

from avbench.core import registry
from avbench.core.errors import PluginError, UnknownNameError
from avbench.core.registry import FAMILIES, load, options_of

GOOD = """
from dataclasses import dataclass
from avbench.api import hookimpl

@dataclass(frozen=True)
class Options:
    width: int = 3

@hookimpl
def register_fusions(register):
    register("NAME", lambda options, context: None, config=Options, source="a paper")
"""


FORKS = """
import os, warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of threads
    child = os.fork()
if not child:
    os._exit(7)
STATUS = os.waitpid(child, 0)[1]
"""


class Installed:
    """Pretends that a distribution is installed: a module and a dist-info with an entry point."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def add(self, module: str, text: str, *, distribution: str = "their-plugins") -> None:
        (self.folder / f"{module}.py").write_text(text)
        info = self.folder / f"{distribution.replace('-', '_')}-2.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n"
        )
        (info / "entry_points.txt").write_text(f"[avbench]\n{module} = {module}\n")
        sys.modules.pop(module, None)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    monkeypatch.chdir(tmp_path)
    return Installed(tmp_path, monkeypatch)


def refused(folder: Path | None = None) -> str:
    with pytest.raises(PluginError) as caught:
        load(folder)
    return str(caught.value)


def test_first_party_plugins_use_the_same_door() -> None:
    found = load()
    for family in FAMILIES:
        assert found.names(family), family
    for component in found:
        assert re.fullmatch(r"avbench \d+\.\d+\.\d+", component.distribution)
        assert component.source
        component.config()  # every option has a default


def test_an_installed_plugin(installed: Installed) -> None:
    installed.add("avbench_theirs", GOOD.replace("NAME", "theirs"))
    component = load().get("fusions", "theirs")
    assert component.distribution == "their-plugins 2.5"
    assert component.module == "avbench_theirs"
    assert options_of(component) == [("width", "int", "3")]


def test_a_folder_of_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "mine" not in load().names("fusions")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(GOOD.replace("NAME", "mine"))
    (tmp_path / "plugins" / "test_mine.py").write_text("raise SystemExit")
    (tmp_path / "plugins" / "_helper.py").write_text("raise SystemExit")
    assert load().get("fusions", "mine").distribution == "plugins/mine.py"
    (tmp_path / "plugins").rename(tmp_path / "other")
    assert "mine" in load(tmp_path / "other").names("fusions")
    assert refused(tmp_path / "none") == f"--plugins-dir {tmp_path / 'none'}: no such folder"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "register_fusions(",
            "register_fusion(",
            "unknown hook 'register_fusion'; did you mean 'register_fusions'? Allowed: "
            "register_datasets, register_encoders, register_fusions, register_losses, "
            "register_metrics, register_modalities",
        ),
        (
            "fusions(register):",
            "fusions(registry):",
            "hookimpl definition: register_fusions(registry)\n"
            "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the "
            "hookspec",
        ),
        ("@hookimpl", "", "registers nothing; no function bears @hookimpl"),
        (
            "frozen=True",
            "frozen=False",
            "fusion 'theirs': config Options is not frozen",
        ),
        (
            "config=Options",
            "config=dict",
            "fusion 'theirs': config must be a dataclass, got <class 'dict'>",
        ),
        ('"a paper"', '" "', "fusion 'theirs': source is empty; name a paper or a URL"),
        (
            '"theirs"',
            '"merged"',
            "fusion 'merged' is already registered by",
        ),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution(
    installed: Installed, old: str, new: str, message: str
) -> None:
    text = GOOD.replace("NAME", "theirs")
    assert old in text
    # A module that comes after ours in the alphabet, so that a double name is its fault.
    installed.add("avbench_theirs", text.replace(old, new))
    said = refused()
    assert message in said
    assert "avbench_theirs" in said
    assert "their-plugins 2.5" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit(0)", "it calls sys.exit(0)"),
        ("import sys; sys.exit('bye')", "it calls sys.exit('bye')"),
        ("raise SystemExit", "it calls sys.exit(None)"),
        ("import os; os._exit(0)", "it calls os._exit(0)"),
        ("import os; os._exit(3)", "it calls os._exit(3)"),
    ],
)
def test_a_plugin_that_does_not_import(
    installed: Installed, tmp_path: Path, text: str, message: str
) -> None:
    installed.add("avbench_theirs", text)
    said = refused()
    assert said.startswith("plugin 'avbench_theirs' (their-plugins 2.5) does not import: ")
    assert message in said
    installed.add("avbench_theirs", GOOD.replace("NAME", "theirs"))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(text)
    said = refused()
    assert said.startswith("plugin 'plugins/mine.py' does not import: ")
    assert message in said


def test_a_hook_that_fails_or_ends_the_process_is_named(installed: Installed) -> None:
    who = "plugin 'avbench_theirs' (their-plugins 2.5) fails in register_fusions: "
    for line, message in (
        ("import sys; sys.exit(0)", "it calls sys.exit(0)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ):
        text = GOOD.replace("NAME", "theirs").replace(
            "    register(", f"    {line}\n    register("
        )
        installed.add("avbench_theirs", text)
        assert refused() == who + message


def test_a_process_that_a_plugin_forks_may_end(tmp_path: Path) -> None:
    (tmp_path / "forks.py").write_text(FORKS + GOOD.replace("NAME", "forks"))
    leave = os._exit
    load(tmp_path)
    assert os.waitstatus_to_exitcode(sys.modules["avbench_local.forks"].STATUS) == 7
    assert os._exit is leave


def test_a_plugin_that_takes_long_is_named_while_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "PATIENCE", 0.2)
    (tmp_path / "slow.py").write_text(
        "import time; time.sleep(0.6)\n" + GOOD.replace("NAME", "slow")
    )
    load(tmp_path)
    path = tmp_path / "slow.py"
    said = f"waiting for plugin '{path}', which has not ended its import after 0.2 s"
    assert [m for m in caplog.messages if "slow" in m] == [said]


def test_an_entry_point_that_names_no_module(installed: Installed) -> None:
    installed.add("avbench_theirs", GOOD)
    points = installed.folder / "their_plugins-2.5.dist-info" / "entry_points.txt"
    points.write_text("[avbench]\nx = avbench_theirs:Options\n")
    assert "(their-plugins 2.5) must name a module, got <class 'avbench_theirs.Options'>" in (
        refused()
    )


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load().get("losses", "mpb")
    assert str(caught.value) == (
        "unknown loss 'mpb'; did you mean 'mbp'? Allowed: gblend, mbp, plain"
    )
