"""Stages as processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.core.job import LOG, NOTICES
from avbench.runner.stage_process import ATTENDED, THREADS

KEPT = str(2**36)
MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), KEPT)
"""glibc keeps freed memory for the next step, which asks for the same sizes again: given back to
the system, each page of it would be cleared and mapped anew (tests/benchmarks/test_memory.py)."""


LAUNCHER = (
    "torch.distributed.run",
    "--standalone",
    # By itself it would die of SIGUSR1, and its processes with it, instead of handing it on.
    "--signals-to-handle=" + ",".join(["SIGINT", "SIGHUP", "SIGQUIT", *(n.name for n in NOTICES)]),
)
"""The module, and its options, that starts several processes and ends them with each other."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, eq=False, slots=True)
class LocalProcess:
    """A process that runs one stage, or several one after the other."""

    folders: tuple[Path, ...]
    slots: int
    """How many of the executor's slots it takes."""
    process: subprocess.Popen[bytes]
    started: float
    """On the monotonic clock, seconds."""

    def ended(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self.process.poll()


class LocalExecutor:
    """Runs up to ``slots`` processes at once, each with ``threads`` threads.

    ``processes`` of them share each training, one a device.

    Each is a session of its own, so that an interrupt at the terminal reaches the runner alone,
    and holds a pipe from the runner, so that it notices the runner's death.
    """

    def __init__(
        self,
        slots: int,
        threads: int = 1,
        command: Sequence[str] = (sys.executable, "-m", "avbench.runner.stage_process"),
        processes: int = 1,
    ) -> None:
        self.slots = max(slots, processes)
        self.processes = processes
        self.threads = threads
        self._command = tuple(command)
        self.running: list[LocalProcess] = []

    @property
    def free(self) -> int:
        """Slots that nothing takes."""
        return self.slots - sum(p.slots for p in self.running)

    def start(self, folders: Sequence[Path], slots: int = 1, processes: int = 1) -> LocalProcess:
        """Start a process on the stages in these folders, or several that share their work."""
        environment = {**MEMORY, **os.environ, **dict.fromkeys(THREADS, str(self.threads))}
        with (folders[0] / LOG).open("ab") as log:
            process = subprocess.Popen(
                [*self._command_of(processes), ATTENDED, *map(str, folders)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        started = LocalProcess(tuple(folders), slots, process, time.monotonic())
        self.running.append(started)
        return started

    def _command_of(self, processes: int) -> tuple[str, ...]:
        """The command; several processes are started, and ended with each other, by torchrun."""
        if processes == 1:
            return self._command
        python, *rest = self._command
        return (python, "-m", *LAUNCHER, f"--nproc-per-node={processes}", *rest)

    def reap(self) -> list[LocalProcess]:
        """The processes that have ended since the last call."""
        ended = [p for p in self.running if p.ended() is not None]
        for process in ended:
            self.running.remove(process)
            _close(process)
            # Workers that outlived their stage go with it.
            _signal_group(process, signal.SIGKILL)
        return ended

    def stop(self, grace: float = 60.0) -> None:
        """End everything: ask with SIGTERM, so that training saves; then kill."""
        for process in self.running:
            process.process.terminate()
        deadline = time.monotonic() + grace
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.process.wait()
            _close(process)
        self.running.clear()


def _signal_group(process: LocalProcess, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of it is left
        os.killpg(process.process.pid, number)


def _close(process: LocalProcess) -> None:
    if process.process.stdin is not None:
        process.process.stdin.close()
