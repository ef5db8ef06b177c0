"""Sources of chance that a component must not use: all but PyTorch's generators."""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

CLOCKS = ("time", "monotonic", "perf_counter")
TICK = 1e-3
"""Seconds between two looks at a clock."""
APART = 98_765.4321
"""Seconds between the clocks of two seeds."""


class Sources:
    """Python's and NumPy's generators, the system's random bytes and the clocks, by a seed."""

    def __init__(self) -> None:
        self._bytes = random.Random()
        self._now = 0.0

    def reset(self, seed: int) -> None:
        """Start all sources anew."""
        random.seed(seed)
        np.random.seed(seed)
        self._bytes.seed(seed)
        self._now = 1.7e9 + APART * seed

    def _look(self) -> float:
        self._now += TICK
        return self._now

    def patches(self) -> Iterator[Any]:
        """Yield the patches that put these sources in the place of the system's."""
        for name in CLOCKS:
            yield patch.object(time, name, self._look)
            yield patch.object(time, f"{name}_ns", lambda: int(self._look() * 1e9))
        draw: Callable[[int], bytes] = self._bytes.randbytes
        yield patch.object(os, "urandom", draw)
        yield patch.object(random, "_urandom", draw)  # its own name for os.urandom


@contextmanager
def sources(seed: int = 0) -> Iterator[Sources]:
    """Within it, all sources of chance but PyTorch's follow a seed; restored afterwards."""
    found, python, numpy = Sources(), random.getstate(), np.random.get_state()
    with ExitStack() as stack:
        for one in found.patches():
            stack.enter_context(one)
        found.reset(seed)
        try:
            yield found
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
