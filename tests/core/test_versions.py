"""Libraries outside the tested ranges are told before anything runs, with the command."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from avbench.core import versions
from avbench.core.errors import AvbenchError
from avbench.core.versions import UNTESTED, check_versions, installed


@pytest.fixture(autouse=True)
def _refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that the canary sets is not set here."""
    monkeypatch.delenv(UNTESTED, raising=False)


def folder(place: Path, name: str, release: str, *needed: str) -> None:
    """An installed distribution, as pip leaves it."""
    info = place / f"{name.replace('-', '_')}-{release}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {release}"]
    lines += [f"Requires-Dist: {each}" for each in needed]
    (info / "METADATA").write_text("\n".join(lines) + "\n\n")


def run_with(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(place), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_all_that_this_machine_has_is_within_the_ranges() -> None:
    found = {each.requirement.name: each for each in installed()}
    assert {name for name, each in found.items() if not each.suits} == set()
    assert {"av", "torch", "torchaudio", "torchvision", "transformers", "pandas"} <= set(found)
    assert all(each.version == version(name) for name, each in found.items())


@pytest.mark.parametrize(
    ("release", "suits"),
    [("18.1.0", True), ("19.0.2", True), ("20.0.0", False), ("20.0.0rc1", False), ("13.1", False)],
)
def test_the_next_major_release_and_one_before_the_least_are_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, suits: bool
) -> None:
    folder(tmp_path, "av", release)
    monkeypatch.syspath_prepend(tmp_path)
    (av,) = (each for each in installed() if each.requirement.name == "av")
    assert (av.version, av.suits) == (release, suits)


@pytest.mark.parametrize(
    "arguments", [("avbench.cli.main", "suites"), ("avbench.runner.stage_process", "nowhere")]
)
def test_commands_and_stages_refuse_with_what_mends_it(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    folder(tmp_path, "av", "20.0.1")
    done = run_with(tmp_path, *arguments)
    assert done.returncode == 2
    first, found, mend, way = done.stderr.splitlines()
    assert first == "error: versions that avbench was not tested with:"
    assert found.startswith("av 20.0.1; needed: av")
    assert "<20" in found
    assert mend.startswith(f"mend them with: {sys.executable} -m pip install 'av")
    assert way == f"or set {UNTESTED}=1 to go on with them"


def test_whoever_sets_the_variable_goes_on_with_a_warning(tmp_path: Path) -> None:
    folder(tmp_path, "av", "20.0.1")
    done = run_with(tmp_path, "avbench.cli.main", "suites", **{UNTESTED: "1"})
    assert done.returncode == 0
    assert "quickstart" in done.stdout
    assert "RuntimeWarning: versions that avbench was not tested with" in done.stderr


def test_plugin_authors_are_told_at_their_first_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "requires", lambda _: ["numpy>=999", "torch>=2"])
    check_versions.cache_clear()
    with pytest.raises(AvbenchError, match=rf"numpy {version('numpy')}; needed: numpy>=999"):
        check_versions()
    folder(tmp_path, "av", "20.0.1")
    done = run_with(tmp_path, "timeit", "-n1", "-r1", "import avbench.api")
    assert done.returncode == 1
    assert "av 20.0.1; needed: av" in done.stderr
