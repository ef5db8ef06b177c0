"""The time of a tiny training step, beside the time that its matrix products need."""

from tests.benchmarks.breakdown import PRODUCTS, breakdown, by_kind
from tests.benchmarks.report import Comparison, Goal
from tests.steps import Step, make_case

STEPS = 5
"""Steps that are profiled."""


def test_plain_step_of_the_tiny_preset(in_turn, report, machine, tabulated, one_thread) -> None:
    given = make_case("tiny", "local_global_merged", 32)
    step = Step(given, "plain")
    times = in_turn({"step": step}, rounds=9, warmup=2)
    if not times:
        return
    flops = 2 * given.macs("plain")
    limit = machine.limit(flops=flops, moved=given.moved())
    row = report.add(
        Comparison(
            name=f"Plain step: {given.name}",
            against="its matrix products at the measured rate",
            ours=times["step"],
            theirs=[limit.flops_s] * len(times["step"]),
            goal=Goal(cost=True),
            limit=limit,
            threads=1,
        )
    ).row()
    found = breakdown(step, STEPS)
    seconds, _, whole = found
    rate = flops / seconds[PRODUCTS] / 1e9
    tabulated(
        f"Where a plain step goes: {given.name}",
        by_kind(*found),
        f"By torch.profiler, mean of {STEPS} steps of {1e3 * whole:.0f} ms "
        f"({1e3 * row['ours']:.0f} ms without the profiler). Its matrix products "
        f"run at about {rate:.0f} GFLOP/s (the step has {flops / 1e9:.0f} GFLOP, those of "
        "attention included).",
    )
