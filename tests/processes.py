"""Commands and stages in processes of their own that need not load torch first.

Each is forked from one that has loaded what most of them import, and nothing of the tests: no
type checks, no warnings as errors. A process from ``python -m`` spends seconds on the same.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from avbench.runner.executors import fork_server
from avbench.runner.executors.fork_server import ForkedProcess
from avbench.runner.executors.local import MEMORY
from avbench.runner.stage_process import THREADS

ROOT = Path(__file__).resolve().parents[1]

fork_server.PRELOAD = (
    *fork_server.PRELOAD,
    "avbench.cli.commands",
    "avbench.runner.planning.planner",
)


@cache
def server() -> ForkServerContext:
    """Start the server of stages, from which these processes are forked as well."""
    fork_server.fork_server({**MEMORY, **os.environ, **dict.fromkeys(THREADS, "1")})
    return multiprocessing.get_context("forkserver")


class Process(ForkedProcess):
    """``python -m module arguments``, begun in a warm process, a session of its own.

    Args:
        module: the module that is run as ``__main__``.
        arguments: its arguments.
        output: the file that its standard output is appended to.
        errors: the same of its standard error; None: that of its output.
        cwd: its folder; None: ours.
        env: its environment; None: ours.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        output: Path,
        errors: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        given = (
            module,
            list(arguments),
            output,
            errors,
            cwd or Path.cwd(),
            {**(env or os.environ)},
        )
        process = server().Process(target=_run, args=given)
        process.start()
        super().__init__(process)


class Ranks:
    """Several warm processes that share a stage, in the environment that torchrun gives them.

    Unlike torchrun, nothing ends the others once one has failed.
    """

    def __init__(
        self,
        number: int,
        module: str,
        arguments: Sequence[str],
        *,
        output: Path,
        env: Mapping[str, str],
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(number),
            "LOCAL_WORLD_SIZE": str(number),
            "GROUP_RANK": "0",
            "TORCHELASTIC_RUN_ID": "tests",
        }
        self._processes = [
            Process(
                module,
                arguments,
                output=output,
                env={**env, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(number)
        ]

    def poll(self) -> int | None:
        """The first exit status that is not 0, or 0 once all have ended; None until then."""
        statuses = [process.poll() for process in self._processes]
        return None if None in statuses else next((s for s in statuses if s), 0)

    def wait(self, timeout: float = 300) -> int:
        """Wait for all processes, and return the status."""
        for process in self._processes:
            process.wait(timeout)
        status = self.poll()
        assert status is not None
        return status

    def kill(self) -> None:
        """Kill all processes at once, and wait for their ends."""
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
        self.wait()


def run(
    module: str, arguments: Sequence[str], folder: Path, timeout: float = 300, **given: object
) -> subprocess.CompletedProcess[str]:
    """Run a module to its end; what it says goes through files of a folder."""
    places = folder / "stdout", folder / "stderr"
    for place in places:
        place.unlink(missing_ok=True)
    process = Process(module, arguments, output=places[0], errors=places[1], **given)  # type: ignore[arg-type]
    status = process.wait(timeout)
    return subprocess.CompletedProcess(
        [module, *arguments], status, *(place.read_text("utf-8") for place in places)
    )


def _run(
    module: str,
    arguments: list[str],
    output: Path,
    errors: Path | None,
    cwd: Path,
    env: dict[str, str],
) -> None:
    """In the forked process: become what was asked for."""
    fork_server.become(module, arguments, env, str(cwd))
    sys.path[:] = [place for place in sys.path if place != str(ROOT) or place == str(cwd)]
    for place, numbers in ((output, (1, 2)), (errors, (2,))):
        if place is not None:
            opened = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for number in numbers:
                os.dup2(opened, number)
            os.close(opened)
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
