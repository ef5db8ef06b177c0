"""Suites: plan them, run them, report and judge what came out."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from avbench.cli.commands.common import (
    FORMATS,
    RESULTS,
    Data,
    Format,
    Json,
    Only,
    PluginsDir,
    Preset,
    Results,
    Seeds,
    SuiteName,
    With,
    formats_of,
    known_value,
    planned,
    print_json,
    store_in,
)
from avbench.core.errors import AvbenchError

if TYPE_CHECKING:
    from avbench.runner.plan import Plan, Store

app = typer.Typer()

Strategy = Literal["ddp", "fsdp"]


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
    strategy: Annotated[
        Strategy, typer.Option(help="What each of them holds: the whole model, or its part.")
    ] = "ddp",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that read clips ahead for each of them.")
    ] = 0,
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
    from avbench.cli.progress import console, watch
    from avbench.runner.executors.local import LocalExecutor, cores
    from avbench.runner.scheduler import INTERRUPT, Run

    formats = formats_of(format_)
    plan = planned(suite, preset, data, seeds, additional, only, plugins_dir)
    store = store_in(results)
    executor = LocalExecutor(jobs or cores(), threads, processes=processes)
    local = {
        "device": device,
        "plugins_dir": _plugins(plugins_dir),
        "checkpoint_seconds": 60 * checkpoint_minutes,
        "checkpoint_steps": checkpoint_steps,
        "checkpoint_keep": checkpoint_keep,
        "tensorboard": tensorboard,
        "strategy": strategy,
        "workers": workers,
    }
    current = Run(plan, store, executor, local)
    terminal = console(stderr=as_json)
    with watch(terminal) as watcher:
        watcher.begin(current)
        code = current.go(watcher)
    if code == INTERRUPT:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(code)
    failures = current.common_failures()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    if current.stopped is not None:
        left = current.count("waiting", "elsewhere", "blocked")
        print(
            f"stopped early, with {left} stages to go: no setting of theirs suggests that they "
            "would succeed. Look for the cause with `avbench doctor`; once it is mended, the "
            "same command goes on from here",
            file=sys.stderr,
        )
    if failures and current.fruitless:
        raise typer.Exit(1)
    unfinished = _report(plan, store, results, formats, as_json, None, plugins_dir)
    raise typer.Exit(1 if code or unfinished else 0)


@app.command()
def plan(
    suite: SuiteName,
    stage: Annotated[
        str | None,
        typer.Argument(metavar="[STAGE]", help="With --why: a kind, a row, or an id's beginning."),
    ] = None,
    why: Annotated[
        bool, typer.Option("--why", help="Why stages are to be run again, against those done.")
    ] = False,
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
    from avbench.cli.listing import plan_data, print_plan
    from avbench.runner.executors.local import cores

    if stage is not None and not why:
        raise AvbenchError(f"'{stage}': only --why takes a stage")
    made = planned(suite, preset, data, seeds, additional, only, plugins_dir)
    if why:
        from avbench.cli.listing import print_reasons
        from avbench.runner.why import why as reasons_of

        reasons = reasons_of(made, store_in(results), stage)
        print_json([r.to_json() for r in reasons]) if as_json else print_reasons(reasons)
        return
    shown = plan_data(made, store_in(results), cores())
    print_json(shown) if as_json else print_plan(shown)


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
    delta_to: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="The row that differences refer to; as the suite says."
        ),
    ] = None,
    strata: Annotated[
        bool, typer.Option("--strata", help="Scores by stratum, and how varied captions are.")
    ] = False,
    words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="words.csv of analyse relevance, for --strata's ARS."),
    ] = None,
    modality_use: Annotated[
        bool,
        typer.Option(
            "--modality-use",
            help="Losses by modality (Fig. 4), scores with streams altered, Shapley values.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write and print a suite's tables from what has been run."""
    formats = formats_of(format_)
    known_value("--intervals", "kind", intervals, ("none", "seeds", "videos"))
    if words is not None and not strata:
        raise AvbenchError("--words: only the tables of --strata use it")
    made = planned(suite, preset, data, seeds, additional, only, plugins_dir)
    asked = [o for o, on in (("--strata", strata), ("--modality-use", modality_use)) if on]
    if len(asked) > 1:
        raise AvbenchError(f"{' and '.join(asked)}: give one of them at a time")
    if asked and intervals is not None:
        raise AvbenchError(f"{asked[0]}: its tables have no intervals; leave out --intervals")
    if asked and delta_to is not None:
        raise AvbenchError(f"{asked[0]}: its tables compare no rows; leave out --delta-to")
    if delta_to is not None:
        known_value("--delta-to", "row", delta_to, {trial.label for trial in made.trials})
        made = replace(made, table={**made.table, "delta_to": delta_to})
    folder = results / made.suite
    if strata:
        from avbench.cli.reports import write_strata

        store = store_in(results)
        write_strata(made, store, folder, formats, as_json, plugins_dir, words)
        return
    if modality_use:
        from avbench.cli.reports import write_modality_use

        write_modality_use(made, store_in(results), folder, formats, as_json)
        return
    _report(made, store_in(results), results, formats, as_json, intervals, plugins_dir)


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
    from avbench.cli.claims import asked, claims_data, print_claims

    question = asked(about)
    made = planned(suite, preset, data, seeds, additional, only, plugins_dir)
    found = claims_data(made, store_in(results), about=question, plugins_dir=plugins_dir)
    print_json(found) if as_json else print_claims(found)


@app.command()
def suites(as_json: Json = False) -> None:
    """List the predefined suites."""
    from avbench.config.shipped import suite_names
    from avbench.config.strict_yaml import load

    found = [
        {"name": name, "title": str(load(path).data.get("title", "")), "file": str(path)}
        for name, path in suite_names().items()
    ]
    if as_json:
        print_json(found)
        return
    for entry in found:
        print(f"{entry['name']:<14} {entry['title']}")


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
    from avbench.cli.reports import write_report

    return write_report(
        made,
        store,
        results / made.suite,
        formats,
        as_json,
        intervals=intervals,
        plugins_dir=plugins_dir,
    )


def _plugins(plugins_dir: Path | None) -> str | None:
    """The plugins' folder for the stages' processes."""
    folder = plugins_dir or Path("plugins")
    return str(folder.resolve()) if folder.is_dir() else None
