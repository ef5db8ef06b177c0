"""The training loop on real media: it learns, resumes exactly, and measuring changes nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.core.components import ComponentRef
from avbench.core.errors import DataError
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.core.types import InputSpec
from avbench.data.dataset import ClipData, Key, StepSampler
from avbench.data.settings import SamplingSettings
from avbench.models.settings import ComputeSettings, ModelSettings
from avbench.models.weights import WEIGHTS
from avbench.training import checkpoint, loss_log, trainer
from avbench.training import stage as train
from avbench.training.schedule import hold_out, rate
from avbench.training.settings import TrainSettings
from tests.training.test_engine import FEW_PROBES

INPUT = InputSpec(
    frames=4, size=32, store_frames=6, mel_frames=64, time_mask=8, frequency_mask=8,
    caption_tokens=20,
)  # fmt: skip
MODEL = ModelSettings(
    D=32,
    heads=2,
    cross_layers=1,
    decoder_layers=1,
    dropout=0.1,
    encoders={
        "video": ComponentRef(
            name="video_swin",
            options={
                "patch_size": [2, 8, 8],
                "embed_dim": 8,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "window_size": [2, 2, 2],
            },
        ),
        "audio": ComponentRef(
            name="audio_transformer",
            options={"layers": 1, "heads": 2, "patch_frames": 4, "pool": 1},
        ),
        "text": ComponentRef(name="bert", options={"layers": 1, "heads": 2}),
    },
)


def job(
    narrated, directory: Path, *, loss: str = "plain", start: Path | None = None, **train_
) -> Job:
    directory.mkdir(exist_ok=True)
    settings = {"steps": 8, "batch": 6, "lr": 3e-3, "clips_per_video": 3, "measure_every": 4}
    return Job(
        kind="pretrain",
        id="test",
        directory=directory,
        spec={
            "model": plain(MODEL),
            "input": plain(INPUT),
            "train": plain(
                TrainSettings(
                    loss=ComponentRef(name=loss, options=FEW_PROBES.get(loss, {})),
                    tasks=("pcc", "pnc"),
                    **{**settings, **train_},
                )
            ),
            "fusion": {"name": "merged", "options": {}},
            "modalities": {"name": "V+A", "options": {}},
            "compute": plain(ComputeSettings()),
            "seed": 0,
        },
        parents={**narrated, **({"start": start} if start else {})},
        local={"checkpoint_seconds": 0},
    )


class KilledError(Exception):
    pass


def killed_at(work: Job, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job until it reports a step, then die between two steps."""

    def progress(self: Job, done: int, total: int, note: str = "") -> None:
        if done == step and note != "probing":
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Job, "progress", progress)
        with pytest.raises(KilledError):
            train.run(work)


def test_training_lowers_the_loss(narrated, tmp_path) -> None:
    result = train.run(job(narrated, tmp_path / "a", steps=40, loss="mbp"))
    first = next(v for s, n, v in loss_log.read(tmp_path / "a") if n == "L")
    assert result["loss"]["L"] < 0.6 * first
    assert set(result["loss"]) == {"L", "L_audio", "L_video"}


@pytest.mark.parametrize("loss", ["plain", "mbp", "gblend"])
def test_a_killed_run_ends_as_an_undisturbed_one(loss, narrated, tmp_path, monkeypatch) -> None:
    whole, broken = (job(narrated, tmp_path / n, loss=loss) for n in ("whole", "broken"))
    expected = train.run(whole)
    for step in (2, 5, 6):
        killed_at(broken, step, monkeypatch)
    assert len(checkpoint.newest_first(broken.directory)) == 2
    assert train.run(broken) == expected
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert loss_log.read(broken.directory) == loss_log.read(whole.directory)


@pytest.mark.parametrize(
    ("modalities", "fusion"),
    [("V+T", "local_global_merged"), ("V+A+T", "global_va_merged_vt"), ("A", "cross")],
)
def test_every_configuration_trains_with_balanced_losses(
    modalities, fusion, narrated, tmp_path
) -> None:
    work = job(narrated, tmp_path / "a", steps=2, loss="mbp", mask_speech=0.15)
    named = {"fusion": {"name": fusion}, "modalities": {"name": modalities}}
    result = train.run(replace(work, spec={**work.spec, **named}))
    streams = {"V": "video", "A": "audio", "T": "text"}
    alone = {f"L_{streams[letter]}" for letter in modalities.split("+")}
    assert set(result["loss"]) == {"L"} | (alone if len(alone) > 1 else set())


def test_measuring_mono_modal_losses_changes_nothing(narrated, tmp_path) -> None:
    often, rarely = (
        job(narrated, tmp_path / str(every), measure_every=every) for every in (1, 100)
    )
    train.run(often)
    train.run(rarely)
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (often, rarely))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    measured = {n for s, n, _ in loss_log.read(often.directory) if s == 1}
    assert {"L", "L_audio", "L_video"} <= measured


@pytest.mark.parametrize("loss", ["plain", "mbp"])
def test_signed_gaps_are_logged_where_single_modalities_are_measured(
    loss, narrated, tmp_path
) -> None:
    train.run(job(narrated, tmp_path / "a", loss=loss))
    found: dict[int, dict[str, float]] = {}
    for step, name, value in loss_log.read(tmp_path / "a"):
        found.setdefault(step, {})[name] = value
    logged = [step for step, of in found.items() if "gap_audio" in of]
    assert logged == ([0, 4, 7] if loss == "plain" else list(range(8)))
    for step in logged:
        for m in ("audio", "video"):
            gap = found[step][f"L_{m}"] - found[step]["L"]
            assert found[step][f"gap_{m}"] == pytest.approx(gap, abs=1e-6)


def test_gradient_blending_offline_probes_once_and_keeps_its_weights(narrated, tmp_path) -> None:
    work = job(narrated, tmp_path / "a", loss="gblend")
    options = {"mode": "offline", "offline_length": 0.5}
    ref = plain(ComponentRef(name="gblend", options=options))
    train.run(replace(work, spec={**work.spec, "train": {**work.spec["train"], "loss": ref}}))
    found = loss_log.read(work.directory)
    assert {step for step, name, _ in found if name[:2] in ("G_", "O_")} == {0}
    weights = {
        name: {v for _, n, v in found if n == name}
        for name in ("w_audio", "w_video", "w_audio+video")
    }
    assert all(len(values) == 1 for values in weights.values())
    assert sum(value for (value,) in weights.values()) == pytest.approx(1)
    assert weights["w_audio"] != {1 / 3}, "nothing was estimated"


def test_worker_processes_change_nothing(narrated, tmp_path) -> None:
    alone = job(narrated, tmp_path / "alone", steps=3)
    helped = replace(job(narrated, tmp_path / "helped", steps=3), local={"workers": 1})
    assert train.run(alone) == train.run(helped)


def test_fine_tuning_starts_from_the_weights_it_is_given(narrated, tmp_path) -> None:
    first = job(narrated, tmp_path / "first", steps=30)
    train.run(first)
    again = job(narrated, tmp_path / "again", steps=1, start=first.directory, lr=1e-9)
    train.run(again)
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (again, first))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_rate(
    narrated, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(trainer, "rate", lambda *_: 1e30)
    with pytest.raises(DataError, match=r"step \d+: the loss is (nan|inf), with learning rate"):
        train.run(job(narrated, tmp_path / "a", steps=40, lr=1.0, clip_norm=None))


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    rates = [rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(1 / 90)


def test_whole_videos_are_held_out(narrated_data) -> None:
    kept, held = hold_out(narrated_data, 0.3, seed=0)
    videos = [clip.video for clip in narrated_data.split.clips]
    assert {videos[i] for i in held}.isdisjoint(videos[i] for i in kept)
    assert sorted(kept + held) == list(range(len(videos)))
    assert held == hold_out(narrated_data, 0.3, seed=0)[1]
    assert hold_out(narrated_data, 0.0, seed=0)[1] == []


def test_predicting_the_next_caption_alone_leaves_out_the_last_clips(narrated, tmp_path) -> None:
    work = job(narrated, tmp_path / "a", steps=2)
    only = {**work.spec, "train": {**work.spec["train"], "tasks": ["pnc"]}}
    assert train.run(replace(work, spec=only))["clips"] == 18  # of 6 videos with 4 clips each


def test_steps_draw_whole_groups_of_one_video_and_depend_on_the_seed_alone() -> None:
    videos = [f"v{i // 6}" for i in range(24)]

    def steps(start: int, seed: int = 0) -> list[list[Key]]:
        return list(StepSampler(videos, batch=6, group=3, seed=seed, start=start, steps=8))

    every = steps(0)
    assert steps(3) == every[3:]
    assert steps(0, seed=1) != every
    for keys in every:
        for triple in (keys[:3], keys[3:]):
            assert len({videos[key.clip] for key in triple}) == 1
    assert sorted(key.clip for keys in every[:4] for key in keys) == list(range(24))
    assert [key.epoch for keys in every for key in keys] == [0] * 24 + [1] * 24


def test_the_share_of_next_captions_is_an_option(narrated_data) -> None:
    def targets(share: float) -> list[int]:
        data = ClipData(
            narrated_data.split,
            narrated_data.vocabulary,
            narrated_data.spec,
            sampling=SamplingSettings(tasks=("pcc", "pnc"), pnc_share=share),
        )
        return [len(data[i, epoch].captions) for epoch in range(20) for i in range(len(data))]

    every, some = targets(1.0), targets(0.3)
    assert every.count(2) == 20 * 18  # the last clip of each of 6 videos has no next caption
    assert every.count(1) == 20 * 6
    assert some.count(2) == pytest.approx(0.3 * 20 * 18, rel=0.2)
    assert set(some) == {1, 2}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pnc_share": 0.5}, r"pnc_share 0.5 needs the tasks pcc and pnc, got \['pcc'\]"),
    ],
)
def test_shares_that_cannot_be(given, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TrainSettings(loss=ComponentRef(name="plain"), steps=1, **given)
