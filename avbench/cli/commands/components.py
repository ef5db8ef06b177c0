"""Commands on components: list them, check their contracts, write new ones."""

from pathlib import Path
from typing import Annotated

import typer

from avbench.cli.commands.common import Json, PluginsDir, print_json, say

app = typer.Typer()
plugin_app = typer.Typer(help="Write plugins.", no_args_is_help=True)
app.add_typer(plugin_app, name="plugin")


@app.command()
def plugins(plugins_dir: PluginsDir = None, as_json: Json = False) -> None:
    """List every component: family, name, options, source, and who registered it."""
    from avbench.cli.listing import plugins_data, print_plugins
    from avbench.core.registry import load

    found = plugins_data(load(plugins_dir))
    print_json(found) if as_json else print_plugins(found)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A component's name.")],
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of it, as in YAML; may be repeated."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="List the checks that passed, too.")
    ] = False,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Run the contract checks of a component's family on it."""
    from avbench.cli.listing import check_data, print_checks
    from avbench.core.registry import load

    found = check_data(load(plugins_dir), name, option or ())
    print_json(found) if as_json else print_checks(found, verbose=verbose)
    if not all(finding["ok"] for finding in found):
        raise typer.Exit(1)


@plugin_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The component's name, e.g. my_fusion.")],
    family: Annotated[str, typer.Option(help="fusion or loss.")],
    plugins_dir: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("plugins"),
) -> None:
    """Write a working plugin to start from, and its test."""
    from avbench.cli.scaffold import write

    for path in write(name, family, plugins_dir):
        say(f"wrote {path}")
    folder = "" if plugins_dir == Path("plugins") else f" --plugins-dir {plugins_dir}"
    say(f"next: avbench check {name}{folder}")
