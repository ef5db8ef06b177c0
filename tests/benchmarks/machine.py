"""This machine's limits: rates of matrix products, and memory bandwidth."""

import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from avbench.models.kernels.onednn import FAST

SIZES = (1024, 2048)
"""Sides of the square matrices that are multiplied; the faster one counts."""
STREAM = 2**25
"""Numbers in each vector of the memory test: 128 MiB, far more than a cache holds."""
ROUNDS = 8
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Two lower bounds of a computation's time; the larger one binds."""

    flops: float | None
    """Operations in matrix products, two for each multiply-accumulate."""
    bytes: float | None
    """What must be moved at least: weights and inputs read once, results written once."""
    dtype: str
    flops_s: float | None
    """Operations over the measured rate of matrix products."""
    bytes_s: float | None
    """Bytes over the measured memory bandwidth."""

    @property
    def seconds(self) -> float | None:
        """The bound that binds."""
        return max((s for s in (self.flops_s, self.bytes_s) if s is not None), default=None)


@dataclass(frozen=True)
class Machine:
    """The machine at the number of threads that torch has when it is asked."""

    described: dict[str, Any] = field(default_factory=dict)
    """What pytest-benchmark says of the machine."""

    def rates(self, dtype: str) -> dict[str, float]:
        """Measured FLOP/s of matrix products, by the library that computes them."""
        return dict(_rates(dtype, torch.get_num_threads()))

    def bandwidth(self) -> float:
        """Measured bytes a second of a ← a + b over vectors that no cache holds."""
        return _bandwidth(torch.get_num_threads())

    def limit(
        self, *, flops: float | None = None, moved: float | None = None, dtype: str = "fp32"
    ) -> Limit:
        """The lower bounds of a computation at the present number of threads.

        Args:
            flops: operations in matrix products, two for each multiply-accumulate.
            moved: bytes that must be moved at least: weights and inputs read once, results
                written once.
            dtype: of the matrix products, ``fp32`` or ``bf16``.
        """
        best = max(self.rates(dtype).values())
        return Limit(
            flops=flops,
            bytes=moved,
            dtype=dtype,
            flops_s=None if flops is None else flops / best,
            bytes_s=None if moved is None else moved / self.bandwidth(),
        )

    def describe(self) -> dict[str, Any]:
        """Everything about the machine that a figure depends on."""
        cpu = self.described.get("cpu", {})
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        config = torch.__config__.show()
        libraries = re.findall(r"- (.*(?:Kernel Library|MKL-DNN).*?) (?:for|\()", config)
        blas = re.search(r"BLAS_INFO=(\w+)", config)
        return {
            "cpu": cpu.get("brand_raw", platform.processor()),
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "cores_used": cores,
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "blas": blas[1] if blas else "unknown",
            "libraries": libraries,
            "capability": torch.backends.cpu.get_cpu_capability(),
            "rates": [
                {
                    "threads": threads,
                    "bandwidth_gb_s": _bandwidth(threads) / 1e9,
                    **{f"{d}_gflop_s": _giga(_rates(d, threads)) for d in DTYPES},
                }
                for threads in sorted({1, torch.get_num_threads()})
            ],
        }


def _giga(rates: dict[str, float]) -> dict[str, float]:
    return {name: rate / 1e9 for name, rate in rates.items()}


def _least(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


class _Threads:
    """torch at a number of threads; what it had is put back."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> None:
        self.before = torch.get_num_threads()
        torch.set_num_threads(self.threads)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.before)


@cache
def _rates(dtype: str, threads: int) -> dict[str, float]:
    """FLOP/s of square products: ``torch.mm``, and oneDNN's where torch gives a way to it.

    torch.mm in fp32 is the BLAS that torch was built with, which need not be the fastest on this
    processor. None of bf16 where the processor has no instructions for it.
    """
    found: dict[str, float] = {}
    if dtype == "bf16" and torch.bfloat16 not in FAST:
        return found
    with _Threads(threads), torch.no_grad():
        for n in SIZES:
            a, b = (torch.randn(n, n).to(DTYPES[dtype]) for _ in range(2))
            ways: dict[str, Callable[[], Tensor]] = {"torch.mm": partial(torch.mm, a, b)}
            if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
                linear = torch.ops.mkldnn._linear_pointwise
                ways["oneDNN"] = partial(linear, a, b, None, "none", [], "")
            for name, way in ways.items():
                found[name] = max(found.get(name, 0.0), 2 * n**3 / _least(way))
    return found


@cache
def _bandwidth(threads: int) -> float:
    """Bytes a second of a ← a + b: in place, so that nothing is read that is not counted."""
    a, b = (torch.ones(STREAM) for _ in range(2))
    with _Threads(threads):
        return 3 * 4 * STREAM / _least(lambda: a.add_(b))
