"""Commands and stages in processes of their own that need not load torch first.

Each is forked from one that has loaded what most of them import, and nothing of the tests: no
type checks, no warnings as errors. A process from ``python -m`` spends seconds on the same.
"""

import multiprocessing
import os
import runpy
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
