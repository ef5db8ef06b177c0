"""The training step: MBP against plain and against three whole passes, in time and in memory.

The views of a batch share the encoders' work, so an MBP step should cost no more than its
multiply-accumulates say.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import pytest
import torch
from torch import Tensor

from avbench.runner.executors.local import MEMORY
from tests.benchmarks.peak import peak_bytes
from tests.benchmarks.report import Comparison, Goal
from tests.benchmarks.timed import Times, apart
from tests.steps import Case, Step, make_case

ALLOWED = 1.05
"""What MBP's step may cost beyond the ratio of the MACs."""
GIB = 2**30
FUSIONS = ["merged", "local_global_merged"]
NAIVE = "MBP as three whole passes"


def gradients(step: Step) -> tuple[list[float], list[Tensor]]:
    """Losses of the views and all gradients, without dropout."""
    step.captioner.eval()
    losses = [loss.nats.item() for loss in step.losses().values()]
    return losses, [p.grad for p in step.captioner.parameters() if p.grad is not None]


def check_equal(naive: Step, ours: Step) -> None:
    """Three whole passes give the same losses and gradients as ours."""
    expected_losses, expected = gradients(naive)
    losses, found = gradients(ours)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    apart = torch.nn.utils.get_total_norm([a - b for a, b in zip(found, expected, strict=True)])
    assert apart < 1e-4 * torch.nn.utils.get_total_norm(expected)


@torch.no_grad()
def check_equal_losses(given: Case) -> None:
    """The views of one batch have the losses of as many whole passes."""
    given.captioner.eval()
    views = given.strategy("mbp").views()
    found = given.captioner(given.batch, views)
    alone = [given.captioner(given.batch, [view])[view].nats.item() for view in views]
    assert [found[view].nats.item() for view in views] == pytest.approx(alone, rel=1e-5)


@pytest.fixture
def compare_steps(in_turn, report, machine) -> Callable[..., None]:
    """Plain and MBP steps in turn, unless their ``times`` are given; naive ones, which take long,
    ``naively`` times afterwards."""

    def compared(
        given: Case, *, naively: int, rounds: int = 7, times: Times | None = None
    ) -> None:
        steps = {"plain": Step(given, "plain"), "mbp": Step(given, "mbp")}
        if naively:
            steps["naive"] = Step(given, "mbp", naive=True)
        given.captioner.train()
        # Of losses and gradients: the first call of an optimiser makes its state.
        peaks = {}
        for name, step in steps.items():
            given.captioner.zero_grad()  # an earlier step's gradients would not be counted
            peaks[name] = peak_bytes(step.losses) / GIB
        times = times or in_turn({n: steps[n] for n in ("plain", "mbp")}, rounds=rounds)
        if not times:
            return
        macs = {loss: given.macs(loss) for loss in ("plain", "mbp")}
        ratio = macs["mbp"] / macs["plain"]
        row = Comparison(
            name=f"MBP step: {given.name}",
            against="plain step",
            ours=times["mbp"],
            theirs=times["plain"],
            goal=Goal(at_most=ALLOWED * ratio),
            limit=machine.limit(flops=2 * macs["mbp"], moved=given.moved()),
            threads=torch.get_num_threads(),
            note=f"goal: {ALLOWED} × the ratio of MACs, which is {ratio:.2f} "
            f"({macs['mbp'] / 1e9:.0f} G to {macs['plain'] / 1e9:.0f} G)",
        )
        memory = replace(
            row,
            name=f"Peak memory of an {row.name}",
            ours=[peaks["mbp"]],
            theirs=[peaks["plain"]],
            unit="GiB",
            goal=Goal(cost=True),
            limit=None,
            note="losses and gradients, beyond the weights and Adam's moments",
        )
        rows = [row, memory]
        if naively:
            taken = [seconds(steps["naive"]) for _ in range(naively)]
            slow = replace(row, against=NAIVE, goal=Goal(), note="")
            rows.insert(1, replace(slow, ours=[median(times["mbp"])], theirs=[median(taken)]))
            less = replace(memory, against=NAIVE, goal=Goal(), note="")
            rows.append(replace(less, theirs=[peaks["naive"]]))
        report.comparisons += rows

    return compared


def seconds(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


@pytest.mark.parametrize("fusion", FUSIONS)
def test_mbp_step_of_the_tiny_preset(compare_steps, one_thread, fusion: str) -> None:
    given = make_case("tiny", fusion, 30)
    check_equal(Step(given, "mbp", naive=True), Step(given, "mbp"))
    compare_steps(given, naively=3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_mbp_step_at_the_papers_geometry(compare_steps, benchmark, fusion: str) -> None:
    """In a process that keeps freed memory, as a stage of a suite does."""
    given = make_case("paper", fusion, 1)
    check_equal_losses(given)
    benchmark.pedantic(lambda: None)
    if benchmark.stats is not None:
        threads = torch.get_num_threads()
        times = apart("step", "paper", fusion, "1", environment=MEMORY, threads=threads, rounds=5)
        compare_steps(given, naively=0, times=times)
