"""The time of a step, by kinds of operators."""

from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

from torch.profiler import ProfilerActivity, profile

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
    """Return the kind under which an operator's own time is counted."""
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


def breakdown(
    step: Callable[[], object], steps: int
) -> tuple[dict[str, float], dict[str, int], float]:
    """Seconds and calls of every kind in a step, and the seconds of the whole step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        start = perf_counter()
        for _ in range(steps):
            step()
        whole = (perf_counter() - start) / steps
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for event in profiled.events():
        if event.name.startswith("[") or event.name.startswith("autograd::"):
            continue
        found = kind(event)
        seconds[found] += event.self_cpu_time_total / 1e6 / steps
        calls[found] += 1
    seconds[PYTHON] = whole - sum(seconds.values())
    return seconds, {name: round(n / steps) for name, n in calls.items()}, whole


def by_kind(
    seconds: dict[str, float], calls: dict[str, int], whole: float
) -> list[dict[str, object]]:
    """A table of a breakdown, the longest first."""
    return [
        {
            "kind": name,
            "operators": calls.get(name, ""),
            "ms": round(1e3 * s, 1),
            "% of the step": round(100 * s / whole, 1),
        }
        for name, s in sorted(seconds.items(), key=lambda item: -item[1])
    ]
