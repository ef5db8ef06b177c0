"""Time saved by keeping freed memory in the process, as the executor does."""

from statistics import median
from typing import Any

import pytest
import torch

from avbench.models.kernels.onednn import FAST
from avbench.runner.executors.local import MEMORY
from tests.benchmarks.report import Comparison, Goal
from tests.benchmarks.test_video_swin import bounds
from tests.benchmarks.timed import apart

DTYPES = ("fp32", "bf16") if torch.bfloat16 in FAST else ("fp32",)
SWIN = [(dtype, what) for what in ("forward", "training") for dtype in DTYPES]


@pytest.fixture
def measuring(benchmark: Any) -> bool:
    """Return True where times are taken, in processes apart."""
    benchmark.pedantic(lambda: None)
    return benchmark.stats is not None


def test_plain_step(measuring: bool, report: Any, one_thread: None) -> None:
    if not measuring:
        return
    given_back, kept = (
        apart("step", "tiny", "local_global_merged", "30", environment=e, threads=1)["plain"]
        for e in ({}, MEMORY)
    )
    report.add(
        Comparison(
            name="Plain step: tiny, local_global_merged, 30 clips, freed memory kept",
            against="the same in a process that gives freed memory back",
            ours=kept,
            theirs=given_back,
            goal=Goal(),
            note="one process after the other; " + " ".join(f"{k}={v}" for k, v in MEMORY.items()),
        )
    )


def test_video_swin(measuring: bool, tabulated: Any, machine: Any) -> None:
    if not measuring:
        return
    rows = []
    for dtype, what in SWIN:
        times = apart(
            "swin", dtype, what, "1", environment=MEMORY, threads=torch.get_num_threads()
        )
        limit = machine.limit(**bounds(1, dtype, what == "training"))
        ours, theirs = (median(times[name]) for name in ("ours", "theirs"))
        rows.append(
            {
                "what": f"{what}, {dtype}, batch 1",
                "ours, s": f"{ours:.2f}",
                "torchvision, s": f"{theirs:.2f}",
                "ratio": f"{theirs / ours:.2f} × faster",
                "limit, s": f"{limit.flops_s:.2f}",
                "ratio at the limit": f"{theirs / limit.flops_s:.2f}",
            }
        )
    tabulated(
        "Video Swin-B where both keep freed memory",
        rows,
        note="Above, both give it back to the system, as a process does unless told otherwise: "
        "much of torchvision's time is then spent on getting memory again, which ours hardly "
        "needs. Stages of a suite keep it (`avbench/runner/executors/local.py`). The limit is "
        "that of operations in matrix products.",
    )
