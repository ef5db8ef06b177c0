"""Fixtures for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

from tests import typechecks

jaxtyping.jaxtyped = typechecks.jaxtyped


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need a GPU where there is none; the run's summary counts them."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real videos, annotations and predictions."""
    folder = os.environ.get("AVBENCH_TEST_DATA")
    if not folder:
        pytest.skip("AVBENCH_TEST_DATA is not set: real media and annotations are not at hand")
    path = Path(folder)
    assert path.is_dir(), f"AVBENCH_TEST_DATA={folder} is set but is no folder"
    return path


@pytest.fixture(scope="session")
def loaded_meteor() -> Iterator[Any]:
    """A METEOR process that has loaded its tables, which takes five seconds."""
    from avbench.builtin.metrics._meteor import Meteor

    process = Meteor()
    yield process
    process.close()


@pytest.fixture
def warm_meteor(loaded_meteor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics share one METEOR process; for tests that do not ask how it starts and ends."""
    from avbench.builtin.metrics import coco_caption
    from avbench.builtin.metrics._meteor import Meteor

    class Lent(Meteor):
        def __init__(self) -> None:
            self.statistics = loaded_meteor.statistics
            self.close = lambda: None

    monkeypatch.setattr(coco_caption, "Meteor", Lent)


@pytest.fixture(scope="session")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small narrated corpus of real media, prepared, with its vocabulary: stage folders."""
    from avbench.core.job import Job
    from avbench.core.options import plain
    from avbench.core.types import InputSpec
    from avbench.data import tokenizer
    from avbench.data.prepared import stage as prepare
    from avbench.data.settings import VocabularySettings, WorldSettings
    from avbench.data.world import stage as world

    folders = {name: tmp_path_factory.mktemp(name) for name in ("world", "data", "vocabulary")}
    settings = WorldSettings(
        narrated_videos=6, steps_per_video=4, size=32, fps=4, datasets=("howto100m",)
    )
    one = {"workers": 1}
    world.run(
        Job(kind="world", id="w", spec=plain(settings), directory=folders["world"], local=one)
    )
    spec = InputSpec(frames=4, size=32, store_frames=6, mel_frames=64)
    prepare.run(
        Job(
            kind="prepare",
            id="p",
            spec={
                "dataset": "howto100m",
                "reader": {"name": "howto100m", "options": {"min_seconds": 2.0}},
                "role": "train",
                "input": plain(spec),
                "policy": "fail",
                "read": "stored",
                "fingerprint": "",
            },
            directory=folders["data"],
            parents={"world": folders["world"]},
            local=one,
        )
    )
    tokenizer.run(
        Job(
            kind="vocabulary",
            id="v",
            spec=plain(VocabularySettings(size=300)),
            directory=folders["vocabulary"],
            parents={"data/howto100m": folders["data"]},
        )
    )
    return {"data": folders["data"], "vocabulary": folders["vocabulary"]}


@pytest.fixture
def captured_without_code(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Compiled modules run their captured graphs, for which no code is generated; returns them.

    Generating code takes minutes, and is Inductor's; capturing a captioner's parts is ours.
    """
    from torch import nn

    compiled, compile_ = [], nn.Module.compile

    def capture(self: nn.Module) -> None:
        compiled.append(self)
        compile_(self, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", capture)
    return compiled


@pytest.fixture
def narrated_data(narrated: dict[str, Path]):
    """The clips of ``narrated`` as the trainer reads them."""
    from avbench.core.types import InputSpec
    from avbench.data.dataset import ClipData
    from avbench.data.prepared.split import PreparedSplit
    from avbench.data.settings import SamplingSettings
    from avbench.data.tokenizer import Vocabulary

    return ClipData(
        PreparedSplit.open(narrated["data"]),
        Vocabulary.open(narrated["vocabulary"]),
        InputSpec(frames=4, size=32, store_frames=6, mel_frames=64),
        sampling=SamplingSettings(),
    )
