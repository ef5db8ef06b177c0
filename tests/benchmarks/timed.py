"""Times computations in a process of their own, which an environment can be given to.

``python -m tests.benchmarks.timed step PRESET FUSION CLIPS THREADS ROUNDS`` or ``… swin fp32|bf16
forward|training CLIPS THREADS ROUNDS``: prints ``{name: [seconds, …]}`` as JSON.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import torch

ROUNDS = 3

Times = dict[str, list[float]]


def apart(
    *arguments: str, environment: Mapping[str, str], threads: int, rounds: int = ROUNDS
) -> Times:
    """The times that a new process takes; it may need all memory that this one has freed."""
    gc.collect()
    with suppress(AttributeError, OSError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.benchmarks.timed"),
            *(*arguments, str(threads), str(rounds)),
        ],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: Times = json.loads(done.stdout)
    return found


def step(preset: str, fusion: str, clips: str) -> dict[str, Callable[[], object]]:
    """A plain step, and one with MBP."""
    from tests.steps import Step, make_case

    given = make_case(preset, fusion, int(clips))
    given.captioner.train()
    return {loss: Step(given, loss) for loss in ("plain", "mbp")}


def swin(dtype: str, what: str, clips: str) -> dict[str, Callable[[], object]]:
    """Video Swin-B and torchvision's."""
    from tests.benchmarks.test_video_swin import calls, make_networks

    frames = torch.randn(int(clips), 16, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    # Theirs first, as in every comparison.
    return dict(reversed(calls(make_networks(), frames, dtype, what == "training").items()))


def main(name: str, *arguments: str) -> None:
    """Time in turn, after one round that does not count."""
    *given, threads, rounds = arguments
    torch.set_num_threads(int(threads))
    runs = {"step": step, "swin": swin}[name](*given)
    times: Times = {n: [] for n in runs}
    for _ in range(1 + int(rounds)):
        for n, run in runs.items():
            begin = time.perf_counter()
            run()
            times[n].append(time.perf_counter() - begin)
    print(json.dumps({n: seconds[1:] for n, seconds in times.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
