"""The command line. Heavy modules are imported by the commands that need them."""

import faulthandler
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from avbench import __version__
from avbench.cli.commands import analyse, captions, components, environment, results, suites
from avbench.core.errors import AvbenchError, PluginError
from avbench.core.versions import check_versions
from avbench.core.visible import tolerate_output, visible


class ClosedOutputError(Exception):
    """The reader of the output has seen enough."""


class Commands(TyperGroup):
    """The commands, none of which ends by ``sys.exit``: only foreign code does."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            PluginError: a plugin or a library calls ``sys.exit``.
            ClosedOutputError: the reader of the output has closed it, as ``head`` does.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ClosedOutputError from error  # typer would end with 1, the status of failures
        except SystemExit as end:
            last = traceback.extract_tb(end.__traceback__)[-1]
            raise PluginError(
                f"{last.filename}:{last.lineno}: this code ended the command by "
                f"sys.exit({end.code!r})"
            ) from end


app = typer.Typer(
    cls=Commands,
    help="Benchmarks and ablations of audio-visual video captioning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for topic in (suites, results, captions, analyse, components, environment):
    app.add_typer(topic.app)


CHECKS_NOTHING: tuple[list[str], ...] = ([], ["--help"], ["--version"], ["doctor"])
"""First arguments of commands that use no library, or that report all problems themselves."""

CLOSED = 128 + signal.SIGPIPE
"""Exit status of a command whose reader closed its output: a shell's for SIGPIPE."""


def main() -> None:
    """Run a command; errors that users can fix end with a message and status 2."""
    with suppress(ValueError, OSError):  # standard error is no file
        faulthandler.enable()  # a plugin that crashes the process is named by its line
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    tolerate_output()
    try:
        try:
            if sys.argv[1:2] not in CHECKS_NOTHING:
                _check_folder()
                check_versions()
            app()
        finally:
            _flush()
    except AvbenchError as error:
        _end(str(error))
    except ClosedOutputError:
        _drop(sys.stdout)
        sys.exit(CLOSED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _end(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _check_folder() -> None:
    """Check that the current folder still exists.

    Raises:
        AvbenchError: it was deleted.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise AvbenchError(
            f"the current folder cannot be read ({error.strerror}): it may have been deleted; "
            "change to another one"
        ) from None


def _flush() -> None:
    """Write standard output out, so that a table that a full disk lost is an error.

    Raises:
        ClosedOutputError: its reader has closed it.
        AvbenchError: it cannot be written.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ClosedOutputError from error
    except OSError as error:
        _drop(sys.stdout)
        raise AvbenchError(f"standard output cannot be written: {error.strerror}") from None


def _end(message: str) -> NoReturn:
    """Print an error and exit with status 2."""
    try:
        print(f"error: {visible(message, keep=chr(10))}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)
    sys.exit(2)


def _drop(stream: TextIO) -> None:
    """Send what a stream still buffers nowhere; the interpreter would fail on it at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _version(asked: bool) -> bool:
    if asked:
        print(f"avbench {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options before the command."""


if __name__ == "__main__":
    main()
