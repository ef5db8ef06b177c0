"""Training, encoding, decoding and resuming on CUDA; a tiny version of each test runs on the CPU.

`make bench-gpu` prints peak memory and steps per second. What is marked ``gpu`` has not been run
by us on a GPU.
"""

import time
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file

from avbench.core.types import Batch
from avbench.data.loader import to
from avbench.models.captioner import Captioner
from avbench.models.compute import backends
from avbench.models.generation import beam_search
from avbench.models.kernels.attention import Backend
from avbench.models.settings import ComputeSettings
from avbench.models.weights import WEIGHTS
from avbench.training import stage as train
from tests.steps import Step, make_case
from tests.training.test_training import job, killed_at

STEPS = 20
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
DEVICES = ["cpu", CUDA]
SCALE = {"cpu": ("tiny", 1), "cuda": ("paper", 3)}
"""Preset and clips a step: three of one long video, as each of the paper's GPUs had."""
TOLERANCE = {"fp32": 1e-3, "bf16": 2e-2}
"""Relative, of every loss of every step, against fp32 with PyTorch's attention."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Some steps of MBP training on one batch."""

    losses: torch.Tensor
    """(steps, views), nats per token."""
    seconds: float
    """Of all steps but the first."""
    peak: int | None
    """Bytes of all tensors, the weights' and the optimiser's too; None: not known (CPU)."""
    ran: list[str]
    """Attention backends."""


@cache
def trained(
    device: str, fusion: str, precision: Literal["fp32", "bf16"], attention: Backend
) -> Run:
    preset, clips = SCALE[device]
    given = make_case(preset, fusion, clips, chance=False)
    compute = ComputeSettings(precision=precision, attention=attention)
    step = Step(given, "mbp", device=torch.device(device), compute=compute)
    on_cuda = device == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    losses = [step()]
    if on_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    losses += [step() for _ in range(STEPS - 1)]
    if on_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return Run(
        losses=torch.tensor([list(found.values()) for found in losses]),
        seconds=seconds,
        peak=torch.cuda.max_memory_allocated() if on_cuda else None,
        ran=backends(step.captioner),
    )


def alternatives(device: str, others: tuple[Backend, ...]) -> list[object]:
    """Every precision with every attention backend but the baseline's own pair."""
    marks = CUDA.marks if device == "cuda" else ()
    return [
        pytest.param(device, precision, attention, marks=marks)
        for precision in ("fp32", "bf16")
        for attention in ("sdpa", *others)
        if (precision, attention) != ("fp32", "sdpa")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["merged", "local_global_merged"])
@pytest.mark.parametrize(
    ("device", "precision", "attention"),
    alternatives("cpu", ("reference",)) + alternatives("cuda", ("xformers", "auto")),
)
def test_twenty_mbp_steps_are_alike(
    device: str, fusion: str, precision: Literal["fp32", "bf16"], attention: Backend
) -> None:
    if attention == "xformers" and find_spec("xformers") is None:
        pytest.skip("xformers is not installed")
    expected = trained(device, fusion, "fp32", "sdpa")
    found = trained(device, fusion, precision, attention)
    assert expected.ran == ["sdpa", "windows (video)"]
    installed = find_spec("xformers") is not None
    taken = ("xformers" if installed else "sdpa") if attention == "auto" else attention
    assert found.ran == [taken, "windows (video)"]
    assert expected.losses[-1, 0] < 0.9 * expected.losses[0, 0]
    torch.testing.assert_close(found.losses, expected.losses, rtol=TOLERANCE[precision], atol=0)
    if precision == "bf16":
        assert not torch.equal(found.losses, expected.losses)
    for name, run in ((f"{precision} {attention}", found), ("fp32 sdpa", expected)):
        print(
            f"\n{device}, {' with '.join(map(str, SCALE[device]))} clips, {fusion}, {name}: "
            f"{(STEPS - 1) / run.seconds:.2f} steps/s, "
            + (f"peak {run.peak / 2**30:.2f} GiB, " if run.peak else "")
            + f"attention by {', '.join(run.ran)}"
        )


def test_make_bench_gpu_installs_what_it_compares() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nbench-gpu:")[2].partition("\n\n")[0]
    assert "'.[dev,xformers]'" in recipe


def double(batch: Batch) -> Batch:
    """The batch with its real numbers in float64."""
    return replace(batch, audio=batch.audio.double())


@pytest.fixture(params=DEVICES)
def both(request: pytest.FixtureRequest) -> tuple[Captioner, Batch, Captioner, Batch]:
    """A captioner and a batch on the CPU in float64, and the same on the device in fp32."""
    exact, ours = (make_case("tiny", "local_global_merged", 4, chance=False) for _ in range(2))
    device = torch.device(request.param)
    return (
        exact.captioner.double().eval(),
        double(exact.batch),
        ours.captioner.to(device).eval(),
        to(ours.batch, device),
    )


@torch.no_grad()
def test_encoders_agree_with_float64(both) -> None:
    exact, exactly_given, ours, given = both
    # Convolutions in TF32 are PyTorch's default on CUDA.
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = ours.encode(given)
    for modality, tokens in exact.encode(exactly_given).items():
        theirs = found[modality].values
        assert theirs.device == given.video.device
        torch.testing.assert_close(theirs.double().cpu(), tokens.values, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_beam_search_scores_agree_with_float64(both) -> None:
    searched = []
    for captioner, batch in (both[:2], both[2:]):
        fused = captioner.fuse(captioner.encode(batch), [captioner.joint])
        found = beam_search(
            captioner.decoder, fused, bos=2, eos=4, length=12, beam=5, length_penalty=1.0
        )
        searched.append(found.scores.double().cpu())
    torch.testing.assert_close(searched[1], searched[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_killed_run_resumes_on_its_device(device, narrated, tmp_path, monkeypatch) -> None:
    whole, broken = (
        replace(made, local={**made.local, "device": device})
        for made in (job(narrated, tmp_path / name, loss="mbp") for name in ("whole", "broken"))
    )
    expected = train.run(whole)
    killed_at(broken, 5, monkeypatch)
    found = train.run(broken)
    # Atomic additions in backward passes on CUDA come in any order.
    near = {"rtol": 1e-3, "atol": 1e-4} if device == "cuda" else {"rtol": 0, "atol": 0}
    assert found["loss"] == pytest.approx(expected["loss"], rel=near["rtol"])
    ours, theirs = (load_file(Path(made.directory) / WEIGHTS) for made in (broken, whole))
    torch.testing.assert_close(ours, theirs, **near)
