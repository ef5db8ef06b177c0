"""One loop on one process or several, in one piece or in micro-batches; and what a kill leaves."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avbench.core.components import ComponentRef
from avbench.core.errors import AvbenchError, DataError
from avbench.core.job import JOB, LOG, PROGRESS, RECORD, Job, read_json, write_json
from avbench.core.options import plain
from avbench.data.dataset import Key, Share
from avbench.models.settings import ComputeSettings
from avbench.models.weights import WEIGHTS
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.lock import locked
from avbench.training import checkpoint, fsdp, loss_log
from avbench.training import stage as train
from avbench.training.engine import Engine
from avbench.training.schedule import Saving, batch_size
from avbench.training.settings import TrainSettings
from tests.processes import Process, Ranks

INPUT = {
    "frames": 4, "size": 32, "store_frames": 6, "mel_frames": 64, "time_mask": 8,
    "frequency_mask": 8, "caption_tokens": 20,
}  # fmt: skip


FEW_PROBES = {"gblend": {"first": 0.25, "then": 0.5}}
"""Three probes a run; as many as steps, the default of so short a run, only take longer."""


def spec(
    *, dropout: float = 0.1, loss: str = "mbp", options: dict[str, object] | None = None, **train_
) -> dict:
    from avbench.core.types import InputSpec
    from avbench.models.settings import ModelSettings

    video = {
        "patch_size": [2, 8, 8], "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2],
        "window_size": [2, 2, 2], "stochastic_depth_prob": dropout,
    }  # fmt: skip
    audio = {"layers": 1, "heads": 2, "patch_frames": 4, "pool": 1, "dropout": dropout}
    model = ModelSettings(
        D=32, heads=2, cross_layers=1, decoder_layers=1, dropout=dropout,
        encoders={
            "video": ComponentRef(name="video_swin", options=video),
            "audio": ComponentRef(name="audio_transformer", options=audio),
        },
    )  # fmt: skip
    given = {"steps": 6, "batch": 12, "lr": 3e-3, "clips_per_video": 3, "measure_every": 3}
    return {
        "model": plain(model),
        "input": plain(InputSpec(**INPUT)),
        "train": plain(
            TrainSettings(
                loss=ComponentRef(name=loss, options=options or FEW_PROBES.get(loss, {})),
                tasks=("pcc", "pnc"),
                **{**given, **train_},
            )
        ),
        "compute": plain(ComputeSettings()),
        "fusion": {"name": "local_global_merged", "options": {}},
        "modalities": {"name": "V+A", "options": {}},
        "seed": 0,
    }


def job(narrated, directory: Path, spec: dict, **local) -> Job:
    """A training stage as a folder, as the runner leaves it for the stage's process."""
    directory.mkdir()
    parents = {}
    for role, folder in narrated.items():
        parents[role] = folder
        record = {"kind": role, "id": "test", "status": "done", "results": {}, "error": None}
        write_json(folder / RECORD, {**record, "provenance": {}})
    made = Job(
        kind="pretrain", id="test", directory=directory, spec=spec, parents=parents,
        local={"device": "cpu", "threads": 1, **local},
    )  # fmt: skip
    write_json(
        directory / JOB,
        {
            "kind": made.kind, "id": made.id, "spec": spec, "local": made.local,
            "parents": {role: str(folder) for role, folder in parents.items()},
        },
    )  # fmt: skip
    return made


def start(
    work: Job, processes: int = 1, *, warm: bool = True
) -> subprocess.Popen[bytes] | Process:
    """Start a stage, several processes as the executor does.

    Args:
        work: the stage.
        processes: how many share it.
        warm: where it is one, fork it from one that has torch.
    """
    log, environment = work.directory / LOG, {**os.environ, "OMP_NUM_THREADS": "1"}
    if processes == 1 and warm:
        stage = "avbench.runner.stage_process"
        return Process(stage, [str(work.directory)], output=log, env=environment)
    command = LocalExecutor(1)._command_of(processes)
    with log.open("ab") as file:
        return subprocess.Popen(
            [*command, str(work.directory)],
            stdout=file, stderr=file, stdin=subprocess.DEVNULL, start_new_session=True,
            env=environment,
        )  # fmt: skip


def share(work: Job, processes: int = 2) -> Ranks:
    """Start a stage on several warm processes, where the launcher itself does not matter."""
    stage, log = "avbench.runner.stage_process", work.directory / LOG
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return Ranks(processes, stage, [str(work.directory)], output=log, env=environment)


def until(
    happens: Callable[[], bool],
    work: Job,
    process: subprocess.Popen[bytes] | Process | Ranks,
    seconds: float = 300,
) -> None:
    """Wait for something that a running stage does."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert process.poll() is None, (work.directory / LOG).read_text()[-3000:]
        assert time.monotonic() < deadline, (work.directory / LOG).read_text()[-3000:]
        time.sleep(0.01)


def losses(work: Job) -> dict[tuple[int, str], float]:
    return {(step, name): value for step, name, value in loss_log.read(work.directory)}


def close(ours: Job, theirs: Job, within: float) -> None:
    """Equal logs and weights, within rounding."""
    mine, other = losses(ours), losses(theirs)
    assert mine.keys() == other.keys()
    for key, value in other.items():
        assert mine[key] == pytest.approx(value, rel=within, abs=within), key
    mine, other = (load_file(j.directory / WEIGHTS) for j in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=0, atol=10 * within)


def equal(ours: Job, theirs: Job) -> None:
    """Equal weights, logs and results, bit for bit."""
    mine, other = (load_file(j.directory / WEIGHTS) for j in (ours, theirs))
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in other)
    assert loss_log.read(ours.directory) == loss_log.read(theirs.directory)
    results = [read_json(j.directory / RECORD)["results"] for j in (ours, theirs)]
    assert results[0] == results[1]


# ------------------------------------------------------------------ processes, micro-batches


@pytest.mark.slow
def test_two_processes_train_as_one(narrated, tmp_path) -> None:
    """DDP over gloo: the losses, MBP's weights and the trained weights at equal global batch."""
    given = spec(dropout=0.0)
    one, two = (job(narrated, tmp_path / name, given) for name in ("one", "two"))
    train.run(one)
    process = share(two)
    assert process.wait(timeout=300) == 0, (two.directory / "log.txt").read_text()[-3000:]
    assert read_json(two.directory / RECORD)["status"] == "done"
    assert not (two.directory / checkpoint.FOLDER).exists()
    close(two, one, within=2e-4)
    assert {name for _, name in losses(two)} >= {"w_audio", "w_video", "gradient_audio"}


@pytest.mark.slow
def test_processes_die_with_their_launcher_and_leave_the_stage_free(narrated, tmp_path) -> None:
    """And meanwhile whoever starts the stage too is sent away, and does not wait."""
    work = job(narrated, tmp_path / "a", spec(steps=100_000))
    process = start(work, processes=2)
    deadline = time.monotonic() + 120
    while not (work.directory / loss_log.CURVE).exists() and time.monotonic() < deadline:
        assert process.poll() is None, (work.directory / "log.txt").read_text()[-3000:]
    assert start(work).wait(timeout=120) == 1
    assert (
        f"{work.directory}: another process is working on this stage"
        in (work.directory / "log.txt").read_text()
    )
    assert locked(work.directory)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while locked(work.directory) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not locked(work.directory)


@pytest.mark.parametrize("loss", ["plain", "gblend"])
def test_micro_batches_add_up_to_the_batch(narrated, tmp_path, loss: str) -> None:
    whole, parts = (
        job(narrated, tmp_path / f"{n}", spec(dropout=0.0, loss=loss, accumulate=n))
        for n in (1, 4)
    )
    train.run(whole)
    train.run(parts)
    close(parts, whole, within=2e-4)


def test_over_micro_batches_mbps_weights_follow_the_step_before(narrated, tmp_path) -> None:
    whole, parts = (
        job(narrated, tmp_path / f"{n}", spec(dropout=0.0, accumulate=n)) for n in (1, 2)
    )
    train.run(whole)
    train.run(parts)
    at_once, later = losses(whole), losses(parts)
    assert later[0, "w_audio"] == 0.5
    assert later[1, "w_audio"] == pytest.approx(at_once[0, "w_audio"], abs=1e-5)
    assert later[0, "gap_video"] == pytest.approx(at_once[0, "gap_video"], abs=1e-4)


def test_shares_are_disjoint_and_together_the_step() -> None:
    keys = [Key(i, 0) for i in range(24)]
    shares = [Share(rank=r, world=2, parts=3).of(keys) for r in (0, 1)]
    assert [len(part) for share in shares for part in share] == [4] * 6
    assert [key for share in shares for part in share for key in part] == keys


@pytest.mark.parametrize(
    ("batch", "clips", "world", "said"),
    [
        (6, 100, 4, r"must divide among 4 processes of 1 micro-batches, got 6"),
        (8, 3, 4, r"3 clips do not fill 4 micro-batches"),
    ],
)
def test_a_batch_that_does_not_divide(batch: int, clips: int, world: int, said: str) -> None:
    settings = TrainSettings(loss=ComponentRef(name="plain"), steps=1, batch=batch)
    with pytest.raises(DataError, match=said):
        batch_size(settings, clips, world)


def test_accumulate_must_divide_the_batch() -> None:
    with pytest.raises(ValueError, match=r"accumulate must divide batch, got 5 and 32"):
        TrainSettings(loss=ComponentRef(name="plain"), steps=1, accumulate=5)


# ------------------------------------------------------------------ checkpoints


def test_the_last_checkpoints_are_kept_and_a_damaged_one_falls_back(tmp_path) -> None:
    for step in range(1, 5):
        checkpoint.save({"step": step}, tmp_path, step, keep=2)
    newest, before = checkpoint.newest_first(tmp_path)
    assert checkpoint.load(tmp_path) == {"step": 4}
    newest.write_bytes(newest.read_bytes()[:-7])
    with pytest.warns(UserWarning, match=r"000000004-.*is damaged: .*before step 4"):
        assert checkpoint.load(tmp_path) == {"step": 3}
    before.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoint.load(tmp_path) is None


def test_what_a_kill_left_of_a_write_is_no_checkpoint(tmp_path) -> None:
    checkpoint.save({"step": 1}, tmp_path, 1, keep=2)
    checkpoint.place(tmp_path).write_bytes(b"half")
    assert checkpoint.load(tmp_path) == {"step": 1}


def test_checkpoints_are_due_by_steps_or_by_seconds(monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    saving = Saving({"checkpoint_steps": 10, "checkpoint_seconds": 60})
    assert [step for step in range(1, 25) if saving.due(step)] == [10, 20]
    clock[0] = 61.0
    assert saving.due(3)
    saving.done()
    assert not saving.due(3)


def test_a_run_whose_checkpoint_is_damaged_ends_as_an_undisturbed_one(
    narrated, tmp_path, monkeypatch
) -> None:
    given = spec()
    whole, broken = (
        job(narrated, tmp_path / name, given, checkpoint_seconds=0) for name in ("a", "b")
    )
    expected = train.run(whole)

    def progress(self: Job, done: int, total: int, note: str = "") -> None:
        if done == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Job, "progress", progress)
        with pytest.raises(KeyboardInterrupt):
            train.run(broken)
    newest = checkpoint.newest_first(broken.directory)[0]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    with pytest.warns(UserWarning, match="is damaged"):
        assert train.run(broken) == expected
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (broken, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert loss_log.read(broken.directory) == loss_log.read(whole.directory)


# ------------------------------------------------------------------ kills


KILLS = {"mbp": 20, "gblend": 8}
"""Kills of a training by its loss; probes take most of G-Blend's time."""


def stopped_amid_a_write(work: Job, process: subprocess.Popen[bytes]) -> Path:
    """Stop a stage where a part of a checkpoint has been written; the file it writes."""
    writing = work.directory / checkpoint.FOLDER / "writing"
    whole = checkpoint.newest_first(work.directory)[0].stat().st_size
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if not writing.exists():
            continue
        os.killpg(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if writing.exists() and 0 < writing.stat().st_size <= whole:
            return writing
        os.killpg(process.pid, signal.SIGCONT)
    raise AssertionError("no write was met")


def steps_behind(work: Job) -> int:
    """The steps of the newest checkpoint."""
    found = checkpoint.newest_first(work.directory)
    return checkpoint.step_of(found[0]) if found else 0


def said(work: Job) -> str:
    """The line in which a stage says its progress."""
    place = work.directory / PROGRESS
    return str(read_json(place)["note"]) if place.exists() else ""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mbp", "gblend"])
def test_a_stage_killed_at_random_moments_ends_as_an_undisturbed_one(
    narrated, tmp_path, loss: str
) -> None:
    """SIGKILL, many times, with a data worker, SpecAugment, probes and averages in play.

    Before each kill the stage has gone on, to a whole checkpoint that was not there before. One
    kill meets a checkpoint that is being written, and one of G-Blend's a probe.
    """
    rare = {"first": 0.1, "then": 0.2} if loss == "gblend" else {}
    given = spec(loss=loss, options=rare, steps=140)
    whole = job(narrated, tmp_path / "a", given, checkpoint_seconds=1e9, workers=1)
    broken = job(narrated, tmp_path / "b", given, checkpoint_seconds=0.0, workers=1)
    undisturbed = start(whole)
    draw, reached = random.Random(0), [0]
    for kill in range(KILLS[loss]):
        process = start(broken, warm=kill != 3)  # ours, where it is waited for to stop
        wanted = reached[-1] + draw.randint(1, 4)
        until(lambda at_least=wanted: steps_behind(broken) >= at_least, broken, process)
        if kill == 3:
            leftover = stopped_amid_a_write(broken, process)
            size = leftover.stat().st_size
        elif kill == 7 and loss == "gblend":
            until(lambda: said(broken) == "probing", broken, process)
        time.sleep(draw.uniform(0, 0.05))
        assert process.poll() is None, "the stage ended before all kills"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if kill == 3:
            assert leftover.stat().st_size == size
        reached.append(steps_behind(broken))
    assert reached == sorted(set(reached))
    assert start(broken).wait(timeout=600) == 0
    assert undisturbed.wait(timeout=600) == 0
    equal(broken, whole)


def test_a_notice_during_a_probe_saves_what_was_before_it_and_leaves(
    narrated, tmp_path, monkeypatch
) -> None:
    given = spec(loss="gblend", options={"first": 0.5, "then": 0.5}, steps=4)
    whole, broken = (job(narrated, tmp_path / name, given) for name in ("a", "b"))
    expected = train.run(whole)

    def progress(self: Job, done: int, total: int, note: str = "") -> None:
        if done == 2 and note == "probing":
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "progress", progress)
        with pytest.raises(SystemExit) as left:
            train.run(broken)
    assert left.value.code == 143
    assert [p.name[:9] for p in checkpoint.newest_first(broken.directory)] == ["000000002"]
    assert train.run(replace(broken)) == expected
    assert loss_log.read(broken.directory) == loss_log.read(whole.directory)


def test_a_finished_stage_keeps_its_checkpoints_until_its_record_is_written(
    narrated, tmp_path
) -> None:
    work = job(narrated, tmp_path / "a", spec(steps=3), checkpoint_seconds=0)
    train.run(work)
    assert checkpoint.newest_first(work.directory)
    done = start(work, warm=False)
    assert done.wait(timeout=120) == 0
    assert not (work.directory / checkpoint.FOLDER).exists()
    assert json.loads((work.directory / RECORD).read_text())["results"]["steps"] == 3


# ------------------------------------------------------------------ tracking


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_what_the_curve_says(narrated, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    work = job(narrated, tmp_path / "a", spec(steps=3), tensorboard=True)
    train.run(work)
    events = EventAccumulator(str(work.directory / "tensorboard")).Reload()
    shown = {(e.step, "L_video"): e.value for e in events.Scalars("L_video")}
    assert shown == pytest.approx({k: v for k, v in losses(work).items() if k[1] == "L_video"})
    assert len(shown) == 3


def test_tracking_without_the_package_is_told(narrated, tmp_path, monkeypatch) -> None:
    from lightning_fabric import loggers

    def missing(**_: object) -> None:
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr(loggers, "TensorBoardLogger", missing)
    with pytest.raises(AvbenchError, match=r"pip install 'avbench\[tensorboard\]'"):
        train.run(job(narrated, tmp_path / "a", spec(steps=3), tensorboard=True))


def test_the_clips_held_out_for_probes_are_named_by_a_hash(narrated, tmp_path) -> None:
    held = [
        train.run(job(narrated, tmp_path / f"{i}", spec(steps=1, loss=loss)))["held_out_hash"]
        for i, loss in enumerate(("gblend", "gblend", "mbp"))
    ]
    assert held[0] == held[1]
    assert len(held[0]) == 16
    assert held[2] == ""


# ------------------------------------------------------------------ sharding


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """The weights, and the optimiser's moments, of a checkpoint."""
    state = torch.load(path, weights_only=True)
    moments = {
        f"{name} of {i}": value
        for i, of_parameter in state["optimiser"]["state"].items()
        for name, value in of_parameter.items()
    }
    return {**state["model"], **moments}


@pytest.mark.slow
def test_two_processes_that_hold_a_part_each_train_as_one(narrated, tmp_path) -> None:
    """FSDP2 over gloo: losses, gradient norms, checkpoints and weights are those of one.

    With MBP, micro-batches, clipping and a kill; and what one strategy left another takes up.
    """
    given = spec(dropout=0.0, accumulate=2, clip_norm=0.05)
    often = {"checkpoint_steps": 2, "checkpoint_seconds": 1e9, "checkpoint_keep": 9}
    one = job(narrated, tmp_path / "one", given, **often)
    two, whole = (
        job(narrated, tmp_path / name, given, strategy="fsdp", **often)
        for name in ("two", "whole")
    )
    train.run(one)
    process = share(two)
    until(lambda: bool(checkpoint.newest_first(two.directory)), two, process)
    process.kill()
    shutil.copytree(two.directory, tmp_path / "alone")
    (left,) = (p for p in checkpoint.newest_first(two.directory) if checkpoint.step_of(p) == 2)
    (its,) = (p for p in checkpoint.newest_first(one.directory) if checkpoint.step_of(p) == 2)
    torch.testing.assert_close(tensors_of(left), tensors_of(its), rtol=0, atol=2e-3)
    for work in (two, whole):
        process = share(work)
        assert process.wait(timeout=300) == 0, (work.directory / "log.txt").read_text()[-3000:]
    alone = replace(one, directory=tmp_path / "alone")
    train.run(alone)
    for work in (two, alone):
        close(work, one, within=2e-4)
    assert losses(two) == losses(whole)
    ours, theirs = (load_file(j.directory / WEIGHTS) for j in (two, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    norms = [v for (_, name), v in losses(one).items() if name == "gradient_norm"]
    assert min(norms) > 0.05, "nothing was clipped"
    assert {name for _, name in losses(two)} >= {"gradient_norm", "gradient_audio", "w_audio"}


@pytest.mark.slow
def test_probes_of_a_model_in_parts_are_refused(narrated, tmp_path) -> None:
    work = job(narrated, tmp_path / "a", spec(loss="gblend"), strategy="fsdp")
    process = start(work, processes=2)
    assert process.wait(timeout=300) != 0
    assert (
        "loss 'gblend': it probes copies of the model"
        in (read_json(work.directory / RECORD)["error"])
    )


def test_parts_need_a_torch_that_sees_into_dataclasses(monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.1+cpu")
    with pytest.raises(AvbenchError, match=r"--strategy fsdp: needs torch 2.14 or later, got 2.1"):
        fsdp.fabric_strategy(2)


@pytest.mark.parametrize(("device", "devices"), [("cuda:3", [3]), ("cuda", 1), ("cpu", 1)])
def test_a_training_runs_on_the_device_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, devices: object
) -> None:
    given: list[object] = []

    class Fabric:
        def __init__(self, **options: object) -> None:
            given.append(options["devices"])

        def launch(self) -> None:
            """Start nothing."""

    monkeypatch.setattr("lightning_fabric.Fabric", Fabric)
    Engine(torch.device(device))
    assert given == [devices]
