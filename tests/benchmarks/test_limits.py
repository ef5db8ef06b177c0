"""Where the time of a tiny training step goes, beside the time that its matrix products need."""

from collections import defaultdict
from time import perf_counter
from typing import Any

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.report import Comparison, Goal
from tests.steps import Step, make_case

STEPS = 5
"""Steps that are profiled."""
OPTIMISER = "optimiser"
PRODUCTS = "matrix products and convolutions"
KINDS = {
    PRODUCTS: ("mm", "addmm", "bmm", "baddbmm", "linear", "convolution", "conv"),
    "attention": ("scaled_dot_product", "flash_attention", "softmax"),
    "norms": ("layer_norm",),
    "GELU": ("gelu",),
    "dropout and random numbers": ("dropout", "bernoulli", "rand"),
    "loss": ("log_softmax", "nll_loss"),
    "embeddings": ("embedding", "index_put", "index_select", "gather", "scatter"),
    "copies": ("copy", "cat", "clone", "contiguous", "roll", "pad", "stack", "to", "index"),
    "sums (biases)": ("sum", "mean"),
    "element-wise": ("add", "mul", "div", "sub", "exp", "fill", "zero", "neg", "where", "foreach"),
}
"""Kind → the beginnings of the operators' names; the first that fits."""
REST = "views and other operators"
PYTHON = "between operators (Python, Fabric)"


def kind(event: Any) -> str:
    """What an operator's own time is counted as."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer."):
            return OPTIMISER
        above = above.cpu_parent
    name = event.name.split("::")[-1].lstrip("_").removeprefix("native_").removeprefix("mkldnn_")
    if "softmax" in name and "log" not in name:
        return "attention"
    for title, beginnings in KINDS.items():
        if name.startswith(beginnings):
            return title
    return REST


def breakdown(step: Step) -> tuple[dict[str, float], dict[str, int], float]:
    """Seconds and calls of every kind in a step, and the seconds of the whole step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start = perf_counter()
        for _ in range(STEPS):
            step()
        whole = (perf_counter() - start) / STEPS
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in profiled.events():
        if event.name.startswith("[") or event.name.startswith("autograd::"):
            continue
        found = kind(event)
        seconds[found] += event.self_cpu_time_total / 1e6 / STEPS
        calls[found] += 1
    seconds[PYTHON] = whole - sum(seconds.values())
    return seconds, {name: round(n / STEPS) for name, n in calls.items()}, whole


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
    seconds, calls, whole = breakdown(step)
    rate = flops / seconds[PRODUCTS] / 1e9
    tabulated(
        f"Where a plain step goes: {given.name}",
        [
            {
                "kind": name,
                "operators": calls.get(name, ""),
                "ms": round(1e3 * s, 1),
                "% of the step": round(100 * s / whole, 1),
            }
            for name, s in sorted(seconds.items(), key=lambda item: -item[1])
        ],
        f"By torch.profiler, mean of {STEPS} steps of {1e3 * whole:.0f} ms "
        f"({1e3 * row['ours']:.0f} ms without the profiler). Its matrix products "
        f"run at about {rate:.0f} GFLOP/s (the step has {flops / 1e9:.0f} GFLOP, those of "
        "attention included).",
    )
