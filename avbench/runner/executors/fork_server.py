"""Stages' processes forked from a server that has imported what stages import.

A fresh Python spends seconds of processor time on importing PyTorch; a fork does not. The server
is the standard library's (``multiprocessing.forkserver``). It is started with the environment of
stages, runs nothing itself, and ends with its runner and the last stage. It sees no plugin:
stages import these themselves. Only Linux can fork safely after PyTorch's import.
"""

import gc
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType

from avbench.runner.stage_kinds import KINDS

LIBRARIES = ("torch._dynamo", "torchvision", "timm", "transformers")
STAGES = tuple(
    dict.fromkeys(["avbench.runner.stage_process", *(kind.module for kind in KINDS.values())])
)
PRELOAD = ("avbench.runner.executors.own_session", *LIBRARIES, *STAGES)
"""Modules that the server imports, in order."""

AT_START = (
    *("PYTHON", "LD_", "MALLOC_"),
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "RAYON_"),
)
"""Beginnings of the variables that Python, the loader and libraries of threads read at their start
alone. A stage for which one of them differs from the server's must have a fresh process."""

SOURCES = Path(__file__).resolve().parents[2]
"""The code of avbench, which the server must not hold in an earlier version."""


class ForkServer:
    """The fork server of this process.

    Args:
        environment: the variables of the environment that are read at its start.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._context = multiprocessing.get_context("forkserver")
        self._start = time.time()
        self._context.set_forkserver_preload(list(PRELOAD))
        with _variables(environment), _main_hidden():
            forkserver.ensure_running()

    @property
    def outdated(self) -> bool:
        """True if code of avbench has changed since the server was started."""
        return any(file.stat().st_mtime > self._start for file in SOURCES.rglob("*.py"))

    def start(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> "ForkedProcess":
        """Start ``stage_process`` with these arguments; its output is appended to the log.

        Raises:
            OSError, EOFError: the server has ended, or there is no current folder.
        """
        process = self._context.Process(
            target=_run, args=(list(arguments), log.resolve(), dict(environment), os.getcwd())
        )
        with _variables(self.environment), _main_hidden():  # the server may be started anew
            process.start()
        return ForkedProcess(process)


_servers: list[ForkServer] = []
"""The server of this process, if there is one."""


def fork_server(environment: Mapping[str, str]) -> ForkServer | None:
    """Return this process's fork server for stages with an environment; the first call starts it.

    None: the system cannot fork safely, the server was started with another environment, or it
    holds earlier code.
    """
    if sys.platform != "linux":
        return None
    read = {name: value for name, value in environment.items() if name.startswith(AT_START)}
    if not _servers:
        _servers.append(ForkServer(read))
    (server,) = _servers
    return None if server.environment != read or server.outdated else server


class ForkedProcess:
    """A forked process, used like ``subprocess.Popen``."""

    def __init__(self, process: multiprocessing.process.BaseProcess) -> None:
        self._process = process
        assert process.pid is not None  # it has been started
        self.pid: int = process.pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        if self._status is None:
            self._status = self._process.exitcode
        return self._status

    def wait(self, timeout: int | float | None = None) -> int:
        """Return the exit status once there is one.

        Raises:
            subprocess.TimeoutExpired: the process still runs after ``timeout`` seconds.
        """
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def close(self) -> None:
        """Release the pipes of a process that has ended; ``poll`` remains."""
        self.poll()
        self._process.close()


@contextmanager
def _variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, and restore them."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Hide the main module, which multiprocessing would import anew in each process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _run(arguments: list[str], log: Path, environment: Mapping[str, str], cwd: str) -> None:
    """Become a stage's process."""
    from avbench.runner.stage_process import log_to, main

    become("avbench.runner.stage_process", arguments, environment, cwd)
    runner = multiprocessing.parent_process()
    assert runner is not None
    os.dup2(runner.sentinel, 0)  # reaches its end with the runner, like a pipe from it
    log_to(log)
    sys.exit(main(arguments))


def become(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], cwd: str
) -> None:
    """Give a forked process what a fresh ``python -m module arguments`` would have.

    Args:
        module: its name.
        arguments: of the command.
        environment: all of its variables.
        cwd: its current folder.
    """
    gc.freeze()  # memory that is shared with the server stays shared
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)
    sys.argv = [module, *arguments]
    sys.path[:] = [cwd, *(place for place in sys.path if place not in ("", cwd))]
