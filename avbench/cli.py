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
data_app = typer.Typer(help="Look after your datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

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
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share each training, one a device.")
    ] = 1,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0.0, help="Minutes between a training's checkpoints.")
    ] = 0.5,
    checkpoint_steps: Annotated[
        int | None, typer.Option(min=1, help="And one every so many steps.")
    ] = None,
    checkpoint_keep: Annotated[int, typer.Option(min=1, help="Checkpoints kept.")] = 2,
    tensorboard: Annotated[
        bool, typer.Option(help="Trainings write TensorBoard's files too, beside curve.csv.")
    ] = False,
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
    executor = LocalExecutor(jobs or _cores(), threads, processes=processes)
    local = {
        "device": device,
        "plugins_dir": _plugins(plugins_dir),
        "checkpoint_seconds": 60 * checkpoint_minutes,
        "checkpoint_steps": checkpoint_steps,
        "checkpoint_keep": checkpoint_keep,
        "tensorboard": tensorboard,
    }
    current = Run(plan, store, executor, local)
    terminal = console(stderr=as_json)
    with watch(terminal) as watcher:
        watcher.begin(current)
        code = current.go(watcher)
    if code == INTERRUPT:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(code)
    unfinished = _report(plan, store, results, formats, as_json, None, plugins_dir)
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
    intervals: Annotated[
        str | None,
        typer.Option(help="95 % intervals: none, seeds or videos; as the suite says."),
    ] = None,
    strata: Annotated[
        bool, typer.Option("--strata", help="Scores by stratum, and how varied captions are.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write and print a suite's tables from what has been run."""
    formats = _formats(format_)
    _known("--intervals", "kind", intervals, ("none", "seeds", "videos"))
    made = _plan(suite, preset, data, seeds, additional, only, plugins_dir)
    if strata:
        from avbench.listing import write_strata

        if intervals is not None:
            raise AvbenchError("--strata: its tables have no intervals; leave out --intervals")

        folder = results / made.suite
        write_strata(made, _store(results), folder, formats, as_json, plugins_dir)
        return
    _report(made, _store(results), results, formats, as_json, intervals, plugins_dir)


@app.command()
def claims(
    suite: SuiteName,
    about: Annotated[
        str | None,
        typer.Option(help="methods (other seeds) or models (other videos), for all claims."),
    ] = None,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Tell which of a suite's claims what has been run supports or refutes."""
    from avbench.claims_listing import asked, claims_data, print_claims

    question = asked(about)
    made = _plan(suite, preset, data, seeds, additional, only, plugins_dir)
    found = claims_data(made, _store(results), about=question, plugins_dir=plugins_dir)
    _json(found) if as_json else print_claims(found)


@app.command("export")
def export_(
    suite: SuiteName,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder to write.")],
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Annotated[str | None, typer.Option(metavar="LABEL", help="Which row.")] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which fine-tuning, by its dataset.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which of the suite's seeds.")] = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
) -> None:
    """Write a trained captioner as a folder of its own: safetensors, JSON and a tokenizer."""
    from avbench.export import export
    from avbench.registry import load

    made = _plan(suite, preset, data, seeds, additional, [only] if only else None, plugins_dir)
    export(made, _store(results), load(plugins_dir), out, dataset=dataset, seed=seed)
    print(f"wrote {out}")
    print(f"next: avbench caption {out} FILE")


@app.command()
def caption(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder of avbench export.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Media files.")],
    start: Annotated[float | None, typer.Option(help="Seconds into the file.")] = None,
    end: Annotated[float | None, typer.Option(help="Seconds into the file.")] = None,
    speech: Annotated[
        str | None, typer.Option(help="What is said in the clip, for models that read text.")
    ] = None,
    speech_file: Annotated[
        Path | None, typer.Option(help='The same for many clips: JSON {"file name": "text"}.')
    ] = None,
    beam: Annotated[int | None, typer.Option(min=1, help="Beam width; as in the suite.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at once.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads of the network; rounding may depend on them.")
    ] = 1,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Print the caption of each file (after ``--``, of files whose names begin with a dash)."""
    from avbench.describing import describe_files

    good = describe_files(
        model,
        files,
        start=start,
        end=end,
        speech=speech,
        speech_file=speech_file,
        beam=beam,
        batch=batch,
        device=device,
        threads=threads,
        plugins_dir=plugins_dir,
        as_json=as_json,
    )
    raise typer.Exit(0 if good else 1)


@app.command()
def score(
    hypotheses: Annotated[
        list[Path], typer.Option(metavar="FILE", help="Captions; may be repeated, one a system.")
    ],
    references: Annotated[Path, typer.Option(metavar="FILE", help="One or more captions an id.")],
    protocol: Annotated[str, typer.Option(help="coco, or paragraph (ids are videos).")] = "coco",
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this metric; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write figures and statistics by id.")
    ] = None,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Score any model's captions against references: JSON lines, coco-caption's JSON or csv."""
    from avbench.registry import load
    from avbench.score import print_scores, score_files

    found = score_files(
        hypotheses, references, protocol, load(plugins_dir), metrics=metric or (), out=out
    )
    _json(found) if as_json else print_scores(found)


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
    _json([asdict(advice) for advice in found]) if as_json else print_advice(found)
    raise typer.Exit(1 if any(advice.status == "problem" for advice in found) else 0)


@app.command("schema")
def schema_(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="suite, preset or data.")],
    plugins_dir: PluginsDir = None,
) -> None:
    """Print a JSON Schema for editors, your plugins' options included."""
    from avbench.registry import load
    from avbench.schema import schema

    _json(schema(what, load(plugins_dir)))


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
    _json(found) if as_json else print_data_check(found)
    raise typer.Exit(0 if found["ok"] else 1)


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


def _report(
    made: "Plan",
    store: "Store",
    results: Path,
    formats: list[str],
    as_json: bool,
    intervals: str | None,
    plugins_dir: Path | None,
) -> int:
    """Write and print the tables; the number of cells that have no figure yet."""
    from avbench.listing import write_report

    return write_report(
        made,
        store,
        results / made.suite,
        formats,
        as_json,
        intervals=intervals,
        plugins_dir=plugins_dir,
    )


def _known(option: str, what: str, value: str | None, allowed: tuple[str, ...]) -> None:
    """Refuse a value that an option does not have."""
    from avbench.errors import unknown

    if value is not None and value not in allowed:
        raise AvbenchError(f"{option}: {unknown(what, value, allowed)}")


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
