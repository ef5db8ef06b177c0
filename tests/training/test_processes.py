"""Several processes see the same, train as one, and stop together."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from avbench.core.job import LOG, RECORD, read_json
from avbench.data.dataset import Share, StepSampler, derive_seed
from avbench.data.prepared.split import MELS, PreparedSplit
from avbench.training import stage as train
from tests.training.test_engine import INPUT, close, job, losses, share, spec, start

PLUGINS = Path(__file__).parents[1] / "example_plugins"


@pytest.mark.slow
def test_gradient_blending_on_two_processes_is_that_on_one(narrated, tmp_path) -> None:
    """Probes of three steps each: what is measured, G and O, the weights and the losses."""
    options = {"first": 0.5, "then": 0.5}
    given = spec(dropout=0.0, loss="gblend", options=options, steps=6)
    one, two = (job(narrated, tmp_path / name, given) for name in ("one", "two"))
    train.run(one)
    process = share(two)
    assert process.wait(timeout=300) == 0, (two.directory / LOG).read_text()[-3000:]
    probed = {(step, name) for step, name in losses(two) if name in ("G_audio", "O_audio+video")}
    assert probed == {(step, name) for step in (0, 3) for name in ("G_audio", "O_audio+video")}
    close(two, one, within=1e-3)
    provenance = read_json(two.directory / RECORD)["provenance"]
    assert (provenance["processes"], provenance["strategy"]) == (2, "ddp")


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [{"epoch": "videos"}, {"captions": "all"}], ids=str)
def test_epochs_on_two_processes_are_those_on_one(epoch, narrated, tmp_path) -> None:
    given = spec(dropout=0.0, steps=4, **epoch)
    one, two = (job(narrated, tmp_path / name, given) for name in ("one", "two"))
    train.run(one)
    process = share(two)
    assert process.wait(timeout=300) == 0, (two.directory / LOG).read_text()[-3000:]
    close(two, one, within=1e-3)


@pytest.mark.slow
def test_mbps_weights_and_the_trained_ones_are_equal_in_all_processes(narrated, tmp_path) -> None:
    """To the bit, though each has its own clips, dropout, and noise that a strategy draws."""
    diaries = tmp_path / "diaries"
    diaries.mkdir()
    given = spec(loss="witness", options={"folder": str(diaries)}, lr=3e-2)
    work = job(narrated, tmp_path / "a", given, plugins_dir=str(PLUGINS))
    process = share(work)
    assert process.wait(timeout=300) == 0, (work.directory / LOG).read_text()[-3000:]
    first, second = ((diaries / rank).read_text().splitlines() for rank in "01")
    assert len(first) == 6
    assert first == second
    assert len(set(first)) == 6, "nothing moved"


@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_them_all(narrated, tmp_path) -> None:
    """And is told of with its clips, by the process that writes records, whose own are sound."""
    data = tmp_path / "data"
    shutil.copytree(narrated["data"], data)
    split = PreparedSplit.open(data)
    (share,) = StepSampler(
        [clip.video for clip in split.clips], batch=12, group=3, start=0, steps=1,
        seed=derive_seed(0, "pretrain"), share=Share(rank=1, world=2),
    )  # fmt: skip
    shape = (-1, INPUT["mel_frames"], split.input.mel_bins)
    mels = np.memmap(data / MELS, dtype=np.float32, mode="r+").reshape(shape)
    mels[split.entries[share[0].clip].row] = np.nan
    mels.flush()
    work = job({**narrated, "data": data}, tmp_path / "a", spec(dropout=0.0))
    process = start(work, processes=2)
    assert process.wait(timeout=300) != 0
    error = read_json(work.directory / RECORD)["error"]
    assert error.startswith("step 0: the loss is nan, with learning rate ")
    ids = [split.clips[key.clip].id for key in share]
    assert f"on clips {', '.join(ids[:3])} …" in error
