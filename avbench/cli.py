"""The command line. Heavy modules are imported by the commands that need them."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avbench import __version__
from avbench.errors import AvbenchError
from avbench.overrides import Overrides

if TYPE_CHECKING:
    from avbench.graph import Plan, Store

app = typer.Typer(
    help="Benchmarks and ablations of audio-visual video captioning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
plugin_app = typer.Typer(help="Write plugins.", no_args_is_help=True)
app.add_typer(plugin_app, name="plugin")

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A predefined suite or a file.")]
Preset = Annotated[str | None, typer.Option(help="Another preset: a name or a file.")]
Data = Annotated[
    str | None, typer.Option(metavar="FILE", help="A data file of yours, or 'embedded'.")
]
Seeds = Annotated[str | None, typer.Option(help="How many seeds, or a list: 3 or 0,1,5.")]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="NAME", help="Add a row like the first with this component."),
]
Only = Annotated[
    list[str] | None, typer.Option(metavar="LABEL", help="Only this row; may be repeated.")
]
PluginsDir = Annotated[
    Path | None, typer.Option(help="A folder of plugins; ./plugins if there is one.")
]
Results = Annotated[Path, typer.Option(help="Where stages and tables lie.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Format = Annotated[
    str, typer.Option("--format", help="Formats to write, e.g. md,latex,csv,html,long.")
]

RESULTS = Path("results")
FORMATS = "md,csv,latex,html,long"


def main() -> None:
    """Entry point: what users can mend ends with a message and status 2, without a traceback."""
    try:
        app()
    except AvbenchError as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def run(
    suite: SuiteName,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at once; all cores.")] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of each; results may depend on them.")
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    format_: Format = FORMATS,
    as_json: Json = False,
) -> None:
    """Run a suite and print its tables; what is done already is not done again."""
    from avbench.executors.local import LocalExecutor
    from avbench.progress import console, watch
    from avbench.run import INTERRUPT, Run

    formats = _formats(format_)
    plan = _plan(suite, preset, data, seeds, additional, only, plugins_dir)
    store = _store(results)
    executor = LocalExecutor(jobs or _cores(), threads)
    local = {"device": device, "plugins_dir": _plugins(plugins_dir)}
    current = Run(plan, store, executor, local)
    terminal = console(stderr=as_json)
    with watch(terminal) as watcher:
        watcher.begin(current)
        code = current.go(watcher)
    if code == INTERRUPT:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(code)
    unfinished = _report(plan, store, results, formats, as_json)
    raise typer.Exit(1 if code or unfinished else 0)


@app.command()
def plan(
    suite: SuiteName,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Show a suite's grid, its stages, and what is done already; nothing runs."""
    from avbench.listing import plan_data, print_plan

    made = _plan(suite, preset, data, seeds, additional, only, plugins_dir)
    shown = plan_data(made, _store(results), _cores())
    _json(shown) if as_json else print_plan(shown)


@app.command()
def report(
    suite: SuiteName,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    format_: Format = FORMATS,
    as_json: Json = False,
) -> None:
    """Write and print a suite's tables from what has been run."""
    formats = _formats(format_)
    made = _plan(suite, preset, data, seeds, additional, only, plugins_dir)
    _report(made, _store(results), results, formats, as_json)


@app.command()
def suites(as_json: Json = False) -> None:
    """List the predefined suites."""
    from avbench.documents import load
    from avbench.files import suite_names

    found = [
        {"name": name, "title": str(load(path).data.get("title", "")), "file": str(path)}
        for name, path in suite_names().items()
    ]
    if as_json:
        _json(found)
        return
    for entry in found:
        print(f"{entry['name']:<14} {entry['title']}")


@app.command()
def plugins(plugins_dir: PluginsDir = None, as_json: Json = False) -> None:
    """List every component: family, name, options, source, and who registered it."""
    from avbench.listing import plugins_data, print_plugins
    from avbench.registry import load

    found = plugins_data(load(plugins_dir))
    _json(found) if as_json else print_plugins(found)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A component's name.")],
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Run the contract checks of its family on a component."""
    from avbench.listing import check_data, print_checks
    from avbench.registry import load

    found = check_data(load(plugins_dir), name)
    _json(found) if as_json else print_checks(found)
    if not all(outcome["ok"] for outcome in found):
        raise typer.Exit(1)


@plugin_app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The component's name, e.g. my_fusion.")],
    family: Annotated[str, typer.Option(help="fusion or loss.")],
    plugins_dir: Annotated[Path, typer.Option(help="Where to write it.")] = Path("plugins"),
) -> None:
    """Write a plugin that works, and its test, to start from."""
    from avbench.scaffold import write

    for path in write(name, family, plugins_dir):
        print(f"wrote {path}")
    folder = "" if plugins_dir == Path("plugins") else f" --plugins-dir {plugins_dir}"
    print(f"next: avbench check {name}{folder}")


def _plan(
    suite: str,
    preset: str | None,
    data: str | None,
    seeds: str | None,
    additional: list[str] | None,
    only: list[str] | None,
    plugins_dir: Path | None,
) -> "Plan":
    from avbench.planning import plan_for

    overrides = Overrides(
        preset=preset,
        data=data,
        seeds=seeds,
        additional=tuple(additional or ()),
        only=tuple(only or ()),
    )
    return plan_for(suite, overrides, plugins_dir)


def _store(results: Path) -> "Store":
    from avbench.files import cache
    from avbench.graph import Store

    return Store(results=results, cache=cache())


def _report(made: "Plan", store: "Store", results: Path, formats: list[str], as_json: bool) -> int:
    """Write and print the tables; the number of cells that have no figure yet."""
    from avbench.listing import write_report

    return write_report(made, store, results / made.suite, formats, as_json)


def _formats(text: str) -> list[str]:
    from avbench.errors import unknown
    from avbench.reports import FORMATS as KNOWN

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KNOWN:
            raise AvbenchError(f"--format: {unknown('format', name, KNOWN)}")
    return names


def _plugins(plugins_dir: Path | None) -> str | None:
    """The plugins' folder for the stages' processes."""
    folder = plugins_dir or Path("plugins")
    return str(folder.resolve()) if folder.is_dir() else None


def _cores() -> int:
    """Cores that this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
