"""Run stages as processes on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.core.job import LOG, NOTICES
from avbench.runner.executors.fork_server import ForkedProcess, fork_server
from avbench.runner.stage_process import ATTENDED, THREADS

FRESH = (sys.executable, "-m", "avbench.runner.stage_process")
"""The command of a stage's process, before the folders."""

KEPT = str(2**36)
MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), KEPT)
"""Make glibc keep freed memory. The next step allocates the same sizes again; memory returned to
the system would be cleared and mapped page by page each time (tests/benchmarks/test_memory.py)."""


LAUNCHER = (
    "torch.distributed.run",
    "--standalone",
    # By default torchrun dies of SIGUSR1 with its processes, instead of forwarding it.
    "--signals-to-handle=" + ",".join(["SIGINT", "SIGHUP", "SIGQUIT", *(n.name for n in NOTICES)]),
)
"""The module, and its options, that starts several processes and ends them together."""


LOG_BYTES = 16 << 20
"""Bytes that a stage's log may grow to; of a longer one the beginning and the end are kept."""


def cap(log: Path, limit: int) -> None:
    """Cut the middle out of a log that has grown beyond ``limit`` bytes.

    Its writers append, so they go on behind what is kept.
    """
    with contextlib.suppress(FileNotFoundError):
        size, part = log.stat().st_size, limit // 4
        if size <= limit:
            return
        with log.open("r+b") as file:
            file.seek(size - part)
            end = file.read()
            file.seek(part)
            file.write(b"\n[... %d bytes of this log were cut ...]\n" % (size - 2 * part))
            file.write(end)
            file.truncate()


def memory_kills() -> int:
    """Return the number of processes that the kernel has killed for lack of memory, if it tells.

    It counts those of the whole machine, containers included.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, eq=False, slots=True)
class LocalProcess:
    """A process that runs one stage, or several one after the other."""

    folders: tuple[Path, ...]
    slots: int
    """Number of the executor's slots that it takes."""
    process: "FreshProcess | ForkedProcess"
    start: float
    """Time of its start, in seconds on the monotonic clock."""
    kills: int
    """``memory_kills`` at its start."""

    def exit_status(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        return self.process.poll()

    @property
    def lacked_memory(self) -> bool:
        """True if the kernel has killed a process for lack of memory since this one's start."""
        return memory_kills() > self.kills


class LocalExecutor:
    """Runs up to ``slots`` processes at once, each with ``threads`` threads.

    Each training is shared by ``processes`` of them, one per device.

    Every process is a session of its own, so that an interrupt at the terminal reaches only the
    runner. It holds a pipe from the runner, so that it notices the runner's death.

    Processes are forked from a server that has imported PyTorch, where that is safe. Those that
    share a training, those that may take CUDA, and those of another ``command`` start afresh.
    """

    def __init__(
        self,
        slots: int,
        threads: int = 1,
        command: Sequence[str] = FRESH,
        processes: int = 1,
    ) -> None:
        self.slots = max(slots, processes)
        self.processes = processes
        self.threads = threads
        self._command = tuple(command)
        self.running: list[LocalProcess] = []

    @property
    def free(self) -> int:
        """Number of free slots."""
        return self.slots - sum(p.slots for p in self.running)

    def start(
        self, folders: Sequence[Path], slots: int = 1, processes: int = 1, device: str = "cpu"
    ) -> LocalProcess:
        """Start a process for the stages in these folders, or several that share their work."""
        environment = {**MEMORY, **os.environ, **dict.fromkeys(THREADS, str(self.threads))}
        arguments, log = [ATTENDED, *map(str, folders)], folders[0] / LOG
        kills = memory_kills()
        process: FreshProcess | ForkedProcess | None = None
        if self._command == FRESH and processes == 1 and not may_take_cuda(device):
            process = _forked(arguments, log, environment)
        if process is None:
            command = [*self._command_of(processes), *arguments]
            process = FreshProcess(command, log, environment)
        local = LocalProcess(tuple(folders), slots, process, time.monotonic(), kills)
        self.running.append(local)
        return local

    def _command_of(self, processes: int) -> tuple[str, ...]:
        """Return the command; torchrun starts several processes and ends them together."""
        if processes == 1:
            return self._command
        python, *rest = self._command
        return (python, "-m", *LAUNCHER, f"--nproc-per-node={processes}", *rest)

    def cap_logs(self) -> None:
        """Keep the logs of the running stages from filling the disk."""
        for folder in (folder for process in self.running for folder in process.folders):
            cap(folder / LOG, LOG_BYTES)

    def reap(self) -> list[LocalProcess]:
        """Return the processes that have ended since the last call."""
        ended = [p for p in self.running if p.exit_status() is not None]
        for process in ended:
            self.running.remove(process)
            process.process.close()
            # End workers that have outlived their stage.
            _signal_group(process, signal.SIGKILL)
        return ended

    def stop(self, grace: float = 60.0) -> None:
        """End all processes: send SIGTERM, so that trainings save; kill what is left after.

        Args:
            grace: seconds between the two.
        """
        for process in self.running:
            process.process.terminate()
        deadline = time.monotonic() + grace
        for process in self.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.process.wait()
            process.process.close()
        self.running.clear()


class FreshProcess(subprocess.Popen[bytes]):
    """A process that imports all for itself; its output is appended to a log."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        with log.open("ab") as file:
            super().__init__(
                command,
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def close(self) -> None:
        """Close the pipe to a process that has ended."""
        assert self.stdin is not None
        self.stdin.close()


def may_take_cuda(device: str) -> bool:
    """Return True if a stage on this device may use CUDA, which no forked process should."""
    return device != "cpu" and (device != "auto" or any(Path("/dev").glob("nvidia[0-9]*")))


def _forked(
    arguments: Sequence[str], log: Path, environment: Mapping[str, str]
) -> ForkedProcess | None:
    """Start a forked process; None: it must be a fresh one."""
    with contextlib.suppress(OSError, EOFError):
        server = fork_server(environment)
        return None if server is None else server.start(arguments, log, environment)
    return None


def _signal_group(process: LocalProcess, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group has ended
        os.killpg(process.process.pid, number)
