"""Video Swin-B on 16×224×224 frames against torchvision's, the same weights and frames.

Random weights, whose features are compared before anything is timed. All cores. Each comparison
is timed in a process of its own: how long torchvision takes depends on whether the process can
use memory again that earlier work has freed (``test_memory.py``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor

from avbench.api import EncoderContext, InputSpec
from avbench.builtin.encoders.video_swin import VideoSwin, VideoSwinOptions, video_swin_macs
from avbench.models.kernels.onednn import FAST
from tests.benchmarks.breakdown import PRODUCTS, breakdown, by_kind
from tests.benchmarks.peak import peak_bytes
from tests.benchmarks.report import Comparison, Goal
from tests.benchmarks.timed import apart

GOALS = {
    ("fp32", False): 1.8,
    ("bf16", False): 3.0,
    ("fp32", True): 1.6,
    ("bf16", True): 2.5,
}
CONTEXT = EncoderContext(D=768, input=InputSpec(), vocabulary=1, pad=0)
PEAK = "peak beside weights and their gradients, MB"
PARAMETERS = 87_638_984
MACS = video_swin_macs(
    (16, 224, 224),
    patch_size=(2, 4, 4),
    embed_dim=128,
    depths=(2, 2, 18, 2),
    window_size=(8, 7, 7),
)


def make_networks() -> tuple[VideoSwin, Any]:
    """Ours and torchvision's with its weights; no stochastic depth."""
    from torchvision.models.video import swin3d_b
    from torchvision.ops import StochasticDepth

    torch.manual_seed(0)
    theirs = swin3d_b()
    for module in theirs.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "swin.pth"
        torch.save(theirs.state_dict(), path)
        options = VideoSwinOptions(stochastic_depth_prob=0.0, weights=str(path))
        return VideoSwin(options, CONTEXT), theirs


@pytest.fixture(scope="module")
def networks() -> tuple[VideoSwin, Any]:
    return make_networks()


@contextmanager
def precision(dtype: str, training: bool) -> Iterator[None]:
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"),
        torch.set_grad_enabled(training),
    ):
        yield


def calls(
    networks: tuple[VideoSwin, Any], frames: Tensor, dtype: str, training: bool
) -> dict[str, Callable[[], Tensor]]:
    """A forward pass of each, or one forward and back; both give features (B, t, h, w, C)."""
    ours, theirs = networks
    for network in networks:
        network.train(training)

    def features(video: Tensor) -> Tensor:
        tokens: Tensor = theirs.norm(theirs.features(theirs.patch_embed(video)))
        return tokens

    forward = {
        "ours": lambda: ours.features(frames),
        "theirs": lambda: features(frames.transpose(1, 2)),
    }

    def run(name: str) -> Tensor:
        with precision(dtype, training):
            found = forward[name]()
        if training:
            for network in networks:
                network.zero_grad()
            found.backward(torch.ones_like(found))
        return found.detach().float()

    return {name: lambda name=name: run(name) for name in forward}  # type: ignore[misc]


def bounds(clips: int, dtype: str, training: bool) -> dict[str, Any]:
    """Going back costs two products for each one going forth; weights and gradients move once."""
    size = 2 if dtype == "bf16" else 4
    frames, features = clips * 16 * 3 * 224**2, clips * 8 * 7 * 7 * 1024
    moved = PARAMETERS * (3 if training else 1) + frames + features
    return {
        "flops": 2.0 * MACS * clips * (3 if training else 1),
        "moved": float(moved * size),
        "dtype": dtype,
    }


@pytest.mark.parametrize(
    ("training", "clips"),
    [(False, 1), (False, 4), (True, 1), (True, 4)],
    ids=["forward-1", "forward-4", "forward and backward-1", "forward and backward-4"],
)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_against_torchvision(
    benchmark, report, machine, networks, dtype: str, training: bool, clips: int
) -> None:
    if dtype == "bf16" and torch.bfloat16 not in FAST:
        pytest.skip("this processor has no instructions for bf16")
    frames = torch.randn(clips, 16, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    exact = calls(networks, frames[:1], "fp32", False)["theirs"]()
    run = calls(networks, frames, dtype, training)
    got, expected = (run[name]() for name in ("ours", "theirs"))
    scale = expected.abs().max()
    if dtype == "fp32":
        difference = float((got - expected).abs().max() / scale)
        assert difference <= 1e-5
    else:  # bf16's own rounding is larger: no farther from fp32 than torchvision's
        difference, theirs = (
            float((t[:1] - exact).norm() / exact.norm()) for t in (got, expected)
        )
        assert difference <= 1.1 * theirs
    benchmark.pedantic(lambda: None)
    if benchmark.stats is None:
        return
    threads = torch.get_num_threads()
    what = "training" if training else "forward"
    times = apart("swin", dtype, what, str(clips), environment={}, threads=threads)
    report.add(
        Comparison(
            name=f"Video Swin-B {'forward + backward' if training else 'forward'}, {dtype}, "
            f"16×224×224, batch {clips}",
            against="torchvision swin3d_b" + (", bf16 autocast" if dtype == "bf16" else ""),
            ours=times["ours"],
            theirs=times["theirs"],
            goal=Goal(at_least=GOALS[dtype, training]),
            limit=machine.limit(**bounds(clips, dtype, training)),
            threads=threads,
            note="a process of its own; "
            + (
                f"equal to {difference:.0e} of the scale"
                if dtype == "fp32"
                else f"{difference:.1%} from fp32, torchvision {theirs:.1%}"
            ),
        )
    )


def test_where_a_step_in_bf16_goes(in_turn, tabulated, networks) -> None:
    """The share of a step at batch 1 that is not matrix products: all that it could save."""
    if torch.bfloat16 not in FAST:
        pytest.skip("this processor has no instructions for bf16")
    frames = torch.randn(1, 16, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    run = calls(networks, frames, "bf16", True)
    times = in_turn({"theirs": run["theirs"], "ours": run["ours"]}, rounds=3, warmup=1)
    if not times:
        return
    found = breakdown(run["ours"], 2)
    ours, theirs, products = median(times["ours"]), median(times["theirs"]), found[0][PRODUCTS]
    rate = 3 * 2 * MACS / products / 1e9
    tabulated(
        "Where a Video Swin-B step goes: forward + backward, bf16, 16×224×224, batch 1",
        by_kind(*found),
        f"By torch.profiler, mean of 2 steps; without it {1e3 * ours:.0f} ms, torchvision "
        f"{1e3 * theirs:.0f} ms in the same process. Products, those of attention included, run "
        f"at {rate:.0f} GFLOP/s here. Were all else free, ours would be "
        f"{theirs / products:.2f} × as fast as torchvision's; it is {theirs / ours:.2f} ×.",
    )


def test_memory_of_checkpointing(tabulated, benchmark) -> None:
    """Peak memory of a step, with and without recomputing blocks."""
    frames = torch.randn(1, 16, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    rows, losses = [], []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        options = VideoSwinOptions(checkpoint=checkpoint, stochastic_depth_prob=0.0)
        network = VideoSwin(options, CONTEXT).train()

        def step(network=network) -> None:
            network.zero_grad()
            loss = network.features(frames).square().mean()
            loss.backward()
            losses.append(loss.item())

        step()
        peak = peak_bytes(step)
        rows.append({"checkpoint": checkpoint, PEAK: round(peak / 1e6)})
    benchmark.pedantic(step, rounds=1)
    assert len(set(losses)) == 1
    assert rows[1][PEAK] < rows[0][PEAK]
    tabulated(
        "Memory of a Video Swin-B step, fp32, batch 1",
        rows,
        note="`checkpoint: true` keeps what enters each block and runs the block again",
    )
