"""Faults of the machine at the command line: one line and status 2, before the first stage."""

import errno
import fcntl
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from avbench.cli import doctor
from avbench.cli.main import main
from avbench.core.errors import AvbenchError
from avbench.core.job import RECORD
from avbench.core.paths import cache
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Store
from avbench.runner.scheduler import Run
from avbench.workflow import preflight
from tests.fake_stages import plan_of, stage
from tests.records import TINY_WORLD, Recorded

SUITE = f"""
name: s
grid: {{fusion: [merged]}}
defaults: {{loss: plain, tasks: [pcc], modalities: V+A}}
finetune: {{datasets: [vatex]}}
{TINY_WORLD}
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in a folder with a suite; returns its status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "s.yaml").write_text(SUITE)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["avbench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def no_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test whose run starts its stages."""

    def go(self: Run, watcher: object) -> int:
        raise AssertionError("the run began")

    monkeypatch.setattr(Run, "go", go)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small file system in memory; remounted, it is read-only."""
    place = tmp_path / "disk"

    def mount(options: str) -> Path:
        place.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            pytest.skip("this user cannot mount a file system: no disk that is full or read-only")
        return place

    yield mount
    if os.path.ismount(place):
        subprocess.run(["umount", str(place)], check=True, timeout=20)


# ------------------------------------------------------------------ folders


@pytest.mark.parametrize("words", ["run s.yaml", "plan s.yaml", "report s.yaml", "claims s.yaml"])
def test_results_that_are_a_file_are_refused(command: Command, tmp_path: Path, words: str) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = command(*words.split(), "--results", "file")
    assert (status, err) == (2, "error: --results file: file is no folder; give another one\n")
    assert "cider" not in out.lower()


def test_stages_that_are_a_file_or_a_dangling_link_are_refused(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "stages").symlink_to(tmp_path / "nowhere")
    status, _, err = command("report", "s.yaml")
    assert status == 2
    assert err == "error: --results results: results/stages is no folder; give another one\n"


def test_a_folder_that_takes_stages_is_left_as_it_was(tmp_path: Path) -> None:
    found = preflight.probe(tmp_path / "a" / "b")
    assert (found.place, found.problem, found.durable) == (tmp_path, "", True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_on_a_full_disk_is_refused(disk: Callable[[str], Path]) -> None:
    place = disk("size=64k")
    (place / "ballast").write_bytes(bytes(32 << 10))
    assert preflight.probe(place / "results").problem == (
        f"{place / 'results'}: cannot be written: No space left on device"
    )
    assert [path.name for path in place.iterdir()] == ["ballast"]


def test_a_read_only_folder_is_refused_before_the_first_stage(
    disk: Callable[[str], Path], command: Command, no_stage: None
) -> None:
    place = disk("size=1m,ro")
    status, _, err = command("run", "s.yaml", "--results", str(place / "results"))
    assert status == 2
    assert err == (
        f"error: {place}/results/stages: cannot be written: Read-only file system; give another "
        "folder with --results\n"
    )


def fails(number: int) -> Callable[..., None]:
    def call(*given: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_a_cache_without_locks_is_refused_before_the_first_stage(
    command: Command, no_stage: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", fails(errno.ENOLCK))
    status, _, err = command("run", "s.yaml")
    assert status == 2
    shared, own = sorted(err.removeprefix("error: ").splitlines())
    assert shared.startswith(f"{tmp_path}/cache/stages: its file system has no file locks (flock:")
    assert shared.endswith("mount it with locks; set AVBENCH_CACHE to a folder of yours")
    assert own.startswith("results/stages: its file system has no file locks (flock: No locks")
    assert own.endswith("mount it with locks; give another folder with --results")


def test_doctor_tests_locks_renaming_and_syncing_of_the_results_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advice() -> doctor.Advice:
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=500 << 30))
        (found,) = doctor._folder("results", tmp_path, "give another one")
        return found

    assert "GiB free; flock, rename and fsync work" in advice().found
    monkeypatch.setattr(os, "fsync", fails(errno.EINVAL))
    assert advice().status == "warning"
    assert "; flock and rename work" in advice().found
    monkeypatch.setattr(os, "fsync", fails(errno.EIO))
    assert advice().found == f"{tmp_path}: cannot be written: Input/output error"
    monkeypatch.undo()
    monkeypatch.setattr(fcntl, "flock", lambda opened, how: None)
    assert advice().status == "problem"
    assert "(flock: two processes got the same lock)" in advice().found
    monkeypatch.undo()
    monkeypatch.setattr(Path, "replace", fails(errno.EXDEV))
    assert advice().found == f"{tmp_path}: cannot be written: Invalid cross-device link"
    assert advice().remedy == "give another one"


def test_without_a_home_the_variable_to_set_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "AVBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    status, out, err = command("plan", "s.yaml")
    assert (status, out) == (2, "")
    assert err.startswith("error: no home folder for the cache: set AVBENCH_CACHE to the absolute")
    assert err.count("\n") == 1
    monkeypatch.setenv("AVBENCH_CACHE", "~/cache")
    with pytest.raises(AvbenchError, match="no home folder for the cache"):
        cache()


def test_a_current_folder_that_was_deleted_is_told(command: Command, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    status, _, err = command("plan", "table3")
    assert status == 2
    assert err == (
        "error: the current folder cannot be read (No such file or directory): it may have been "
        "deleted; change to another one\n"
    )


def test_a_system_error_is_one_line_with_its_file(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan_for(*given: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "s.yaml")

    monkeypatch.setattr("avbench.runner.planning.plan_cache.plan_for", plan_for)
    assert command("plan", "s.yaml") == (2, "", "error: s.yaml: Input/output error\n")


# ------------------------------------------------------------------ output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_output_to_a_full_disk_is_an_error(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status, _, err = command("suites")
    assert status == 2
    assert err == "error: standard output cannot be written: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_errors_to_a_full_disk_keep_the_status(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert command("plan", "no-such-suite")[0] == 2


def test_closed_output_is_no_fault(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert command("suites")[0] == 0
    sys.stdout.close()


@pytest.mark.parametrize("words", ["suites", "plan s.yaml", "plan s.yaml --json", "settings"])
def test_a_reader_that_closes_the_output_ends_a_command_without_a_word(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        status, _, err = command(*words.split())
    assert (status, err) == (128 + signal.SIGPIPE, "")


# ------------------------------------------------------------------ reports


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A suite whose every stage is done."""
    folder = tmp_path_factory.mktemp("finished")
    recorded = Recorded(folder, SUITE)
    score = {"value": 12.5, "unit": "x100", "signature": "s", "higher_is_better": True}
    for each in recorded.plan.stages.values():
        results = {"scores": [{"name": "cider", **score}]} if each.kind == "score" else {}
        recorded.write(each, results=results | {"split": "test", "flops_g": 1.0})
    return recorded


def test_a_report_on_a_read_only_folder_prints(
    disk: Callable[[str], Path], command: Command, finished: Recorded
) -> None:
    place = disk("size=4m")
    subprocess.run(["cp", "-r", str(finished.store.results), str(place)], check=True)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    status, out, err = command("report", "s.yaml", "--results", str(place / "results"))
    assert "12.5" in out, out
    assert err == (
        f"note: {place}/results/s: the tables are only printed, not written: Read-only file "
        "system\n"
    )
    assert status == 0


def test_a_report_on_a_full_disk_prints_and_is_an_error(
    disk: Callable[[str], Path], command: Command, finished: Recorded
) -> None:
    place = disk("size=4m")
    subprocess.run(["cp", "-r", str(finished.store.results), str(place)], check=True)
    (place / "results" / "s").mkdir()
    (place / "results" / "s" / "table.md").write_text("old")
    with (place / "ballast").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
    status, out, err = command("report", "s.yaml", "--results", str(place / "results"))
    assert "12.5" in out, out
    assert status == 2
    assert err == (
        f"error: {place}/results/s: the tables are only printed, not written: No space left on "
        "device\n"
    )
    assert [p.name for p in (place / "results" / "s").iterdir()] == ["table.md"]
    assert (place / "results" / "s" / "table.md").read_text() == "old"


def test_a_damaged_stage_is_named_by_report_and_plan(
    command: Command, finished: Recorded, tmp_path: Path
) -> None:
    subprocess.run(["cp", "-r", str(finished.store.results), str(tmp_path)], check=True)
    score = next(s for s in finished.plan.stages.values() if s.kind == "score")
    store = Store(results=tmp_path / "results", cache=tmp_path / "cache")
    (store.directory(score) / RECORD).write_text('{"status": "done"}')
    why = "record.json is not a record: kind is missing"
    out = command("plan", "s.yaml")[1]
    assert f"damaged, and to do again: {score.folder}: {why}" in out
    out = command("plan", "s.yaml", "score", "--why")[1]
    assert f"it was done, but {why}" in " ".join(out.split())
    command("report", "s.yaml", "--format", "long")
    assert f"to do again: {why}" in (tmp_path / "results" / "s" / "table.long.csv").read_text()


# ------------------------------------------------------------------ devices and weights


@pytest.mark.parametrize("device", ["cuda:7", "gpu", "meta", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_before_the_first_stage(
    command: Command, no_stage: None, device: str
) -> None:
    status, _, err = command("run", "s.yaml", "--device", device)
    assert status == 2
    assert err.startswith(f"error: --device: device '{device}' cannot be used: ")
    assert "Allowed: cpu, cuda, " in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("swin.pth", b"PK\x03\x04 half of a file", "swin.pth does not load as plain tensors: "),
        ("swin.safetensors", b"\x08", "swin.safetensors is no safetensors file: "),
    ],
)
def test_weights_that_cannot_be_loaded_are_refused_before_the_first_stage(
    command: Command, no_stage: None, tmp_path: Path, name: str, contents: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(contents)
    (tmp_path / "s.yaml").write_text(
        SUITE.replace("video_swin, embed_dim", f"video_swin, weights: {name}, embed_dim")
    )
    status, _, err = command("run", "s.yaml")
    assert status == 2
    assert err.startswith(f"error: model.encoders.video: weights: {tmp_path / name}"[:40])
    assert message in err
    assert err.count("\n") == 1


def test_a_batch_that_does_not_divide_among_processes_is_refused_before_the_first_stage(
    command: Command, no_stage: None
) -> None:
    status, _, err = command("run", "s.yaml", "--processes", "5", "--device", "cpu")
    assert status == 2
    assert err.startswith("error: --processes: the batch of ")
    assert "must divide among 5 processes of 1 micro-batches, got " in err


def test_nothing_is_examined_for_a_run_that_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a finished suite may be read-only, and its device gone."""
    store = Store(results=tmp_path, cache=tmp_path)
    local = {"device": "cuda:7"}
    preflight.check(Run(plan_of(), store, LocalExecutor(1), local))
    with pytest.raises(AvbenchError, match=r"device 'cuda:7' cannot be used"):
        preflight.check(Run(plan_of(stage("a")), store, LocalExecutor(1), local))


def test_a_vocabulary_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    one = stage("v", "vocabulary", size=100, file="content:1")
    object.__setattr__(one, "local", {"file": str(tmp_path / "tokenizer.json")})
    store = Store(results=tmp_path, cache=tmp_path)
    with pytest.raises(AvbenchError, match=r"^vocabulary.file: vocabulary .* cannot be read"):
        preflight.check(Run(plan_of(one), store, LocalExecutor(1), {"device": "cpu"}))


# ------------------------------------------------------------------ plugins


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit(0)", "does not import: it calls sys.exit(0)"),
        ("import os; os._exit(0)", "does not import: it calls os._exit(0)"),
    ],
)
def test_a_plugin_that_ends_the_process_on_import_is_told(
    command: Command, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "quits.py").write_text(text)
    for words in ("run s.yaml", "plan s.yaml", "plugins"):
        status, out, err = command(*words.split(), "--plugins-dir", "mine")
        assert (status, err) == (2, f"error: plugin 'mine/quits.py' {said}\n")
        assert "cider" not in out.lower()


QUITS = """
import sys
from avbench.api import Fusion, hookimpl

class Quits(Fusion):
    @classmethod
    def refuses(cls, streams):
        sys.exit(0)

@hookimpl
def register_fusions(register):
    register("quits", Quits, source="a test")
"""


def test_a_plugin_that_ends_the_process_later_is_told_with_its_line(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "quits.py").write_text(QUITS)
    status, _, err = command("plan", "s.yaml", "--with", "quits")
    assert status == 2
    assert err == (
        f"error: {tmp_path}/plugins/quits.py:8: this code ended the command by sys.exit(0)\n"
    )
