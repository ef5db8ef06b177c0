"""The command line. Heavy modules are imported by the commands that need them."""

import sys
from typing import Annotated

import typer

from avbench import __version__
from avbench.cli.commands import analyse, captions, components, environment, suites
from avbench.core.errors import AvbenchError
from avbench.core.versions import check_versions
from avbench.core.visible import tolerate_output, visible

app = typer.Typer(
    help="Benchmarks and ablations of audio-visual video captioning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for topic in (suites, captions, analyse, components, environment):
    app.add_typer(topic.app)


CHECKS_NOTHING: tuple[list[str], ...] = ([], ["--help"], ["--version"], ["doctor"])
"""First arguments of commands that use no library, or that report all problems themselves."""


def main() -> None:
    """Run a command; errors that users can fix end with a message and status 2."""
    tolerate_output()
    try:
        if sys.argv[1:2] not in CHECKS_NOTHING:
            check_versions()
        app()
    except AvbenchError as error:
        sys.stdout.flush()
        print(f"error: {visible(str(error), keep=chr(10))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


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
