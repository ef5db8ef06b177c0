"""What suites need around them: the machine, your data, schemas for editors."""

from pathlib import Path
from typing import Annotated

import typer

from avbench.commands.common import (
    RESULTS,
    Json,
    PluginsDir,
    Results,
    print_json,
)

app = typer.Typer()
data_app = typer.Typer(help="Look after your datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command("doctor")
def doctor_(
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A data file of yours.")
    ] = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Look at the machine, the packages and your data, and say what to do."""
    from dataclasses import asdict

    from avbench.doctor import examine
    from avbench.listing import print_advice

    found = examine(data=data, results=results, plugins_dir=plugins_dir)
    print_json([asdict(advice) for advice in found]) if as_json else print_advice(found)
    raise typer.Exit(1 if any(advice.status == "problem" for advice in found) else 0)


@app.command("schema")
def schema_(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="suite, preset or data.")],
    plugins_dir: PluginsDir = None,
) -> None:
    """Print a JSON Schema for editors, your plugins' options included."""
    from avbench.registry import load
    from avbench.schema import schema

    print_json(schema(what, load(plugins_dir)))


@data_app.command("check")
def data_check_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A data file of yours.")],
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Time for opening media; the rest is only looked for.")
    ] = 60.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that open media.")] = 1,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Tell what each split holds, what is lost and why, and what splits share."""
    from avbench.datacheck import data_check
    from avbench.datalisting import print_data_check
    from avbench.registry import load

    found = data_check(file, load(plugins_dir), seconds=seconds, workers=workers)
    print_json(found) if as_json else print_data_check(found)
    raise typer.Exit(0 if found["ok"] else 1)
