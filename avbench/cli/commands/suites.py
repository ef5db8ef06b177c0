"""Commands on suites: plan them, run them, report results and judge claims."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli.commands.common import (
    FORMATS,
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
    clips_of,
    formats_of,
    known_value,
    plans_from_options,
    print_json,
    say,
    store_in,
)
from avbench.cli.commands.numbers import (
    CHECKPOINTS,
    MINUTES,
    PROCESSES,
    THREADS,
    WORKERS,
    number,
)
from avbench.core.errors import AvbenchError
from avbench.core.numbers import SEED
from avbench.core.paths import RESULTS
from avbench.training.settings import STEPS
from avbench.workflow.machine import Machine, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from avbench.runner.plan import Store
    from avbench.runner.planning.plan_cache import Plans
    from avbench.workflow.further_reports import Asked
    from avbench.workflow.reporting import SuiteReport

app = typer.Typer()


@app.command()
def run(
    suite: SuiteName,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    jobs: Annotated[
        int | None,
        number(PROCESSES, "Processes at once; by default one per core."),
    ] = None,
    threads: Annotated[
        int,
        number(THREADS, "Threads per process; results may depend on them."),
    ] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    processes: Annotated[
        int,
        number(PROCESSES, "Processes that share each training, one per device."),
    ] = 1,
    strategy: Annotated[
        Strategy,
        typer.Option(help="Each process holds the whole model (ddp) or a part of it (fsdp)."),
    ] = "ddp",
    workers: Annotated[
        int,
        number(WORKERS, "Data-loading workers per training process."),
    ] = 0,
    checkpoint_minutes: Annotated[
        float,
        number(MINUTES, "Minutes between a training's checkpoints."),
    ] = 0.5,
    checkpoint_steps: Annotated[
        int | None,
        number(STEPS, "Steps between further checkpoints."),
    ] = None,
    checkpoint_keep: Annotated[int, number(CHECKPOINTS, "Checkpoints to keep.")] = 2,
    tensorboard: Annotated[
        bool, typer.Option(help="Also write TensorBoard files of trainings, beside curve.csv.")
    ] = False,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    format_: Format = FORMATS,
    as_json: Json = False,
) -> None:
    """Run a suite and print its tables; finished stages are not run again."""
    from avbench.cli.progress import console, watch, working
    from avbench.workflow.further_reports import Asked
    from avbench.workflow.planning import SuitePlan
    from avbench.workflow.running import go, prepare

    formats = formats_of(format_)
    terminal = console(stderr=as_json)
    store = store_in(results)
    plans = plans_from_options(
        suite, preset, data, seeds, additional, only, plugins_dir, log=terminal
    )
    machine = Machine(
        jobs=jobs,
        threads=threads,
        device=device,
        processes=processes,
        strategy=strategy,
        workers=workers,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_steps=checkpoint_steps,
        checkpoint_keep=checkpoint_keep,
        tensorboard=tensorboard,
    )
    planned = SuitePlan.of_plans(plans, store, plugins_dir)
    with working(terminal, "checking the finished stages and this machine", logged=True):
        prepared = prepare(planned, machine)
    with watch(terminal) as watcher:
        watcher.begin(prepared)
        ended = go(planned, prepared, watcher)
    if ended.interrupted:
        say("interrupted; the same command continues from here", stderr=True)
        raise typer.Exit(ended.status)
    for failure in ended.common:
        say(f"error: {failure}", stderr=True)
    if ended.left is not None:
        say(
            f"stopped early, with {ended.left} stages to go: none of their settings suggests "
            "that they would succeed. Look for the cause with `avbench doctor`. Once it is fixed, "
            f"the same command continues from here. `avbench report {suite}` prints what is there",
            stderr=True,
        )
    if ended.left is not None or (ended.common and ended.has_no_results):
        raise typer.Exit(1)
    unfinished = _report(plans, store, None, Asked(), formats, as_json, plugins_dir)
    raise typer.Exit(1 if ended.status or unfinished else 0)


@app.command()
def plan(
    suite: SuiteName,
    stage: Annotated[
        str | None,
        typer.Argument(
            metavar="[STAGE]", help="With --why: a kind, a row, or the start of an id."
        ),
    ] = None,
    why: Annotated[
        bool,
        typer.Option("--why", help="Show what changed since a stage was last done."),
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
    """Show a suite's trials and stages, and those that are done; nothing runs."""
    from avbench.cli.listing import print_collection, print_plan
    from avbench.runner.executors.local import cores
    from avbench.workflow.planning import collection_data, plan_data

    if stage is not None and not why:
        raise AvbenchError(f"'{stage}': a stage can only be given with --why")
    plans = plans_from_options(suite, preset, data, seeds, additional, only, plugins_dir)
    if why:
        from avbench.cli.listing import print_reasons
        from avbench.runner.planning.why import reasons

        found = reasons(plans.whole, store_in(results), stage)
        print_json([reason.to_json() for reason in found]) if as_json else print_reasons(found)
        return
    if plans.is_collection:
        several = collection_data(plans, store_in(results), cores())
        print_json(several) if as_json else print_collection(several)
        return
    shown = plan_data(plans.whole, store_in(results), cores())
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
        typer.Option(help="95 % intervals: none, seeds or videos; by default the suite's."),
    ] = None,
    delta_to: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL", help="Row that others are compared with; by default the suite's."
        ),
    ] = None,
    strata: Annotated[
        bool, typer.Option("--strata", help="Scores by stratum, and diversity of captions.")
    ] = False,
    words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="words.csv of 'analyse relevance', for --strata."),
    ] = None,
    modality_use: Annotated[
        bool,
        typer.Option(
            "--modality-use",
            help="Losses by modality (Fig. 4), scores with streams altered, Shapley values.",
        ),
    ] = False,
    captions: Annotated[
        bool, typer.Option("--captions", help="Captions beside the ground truth (Figs. 1 and B).")
    ] = False,
    relevance: Annotated[
        bool,
        typer.Option("--relevance", help="Audio relevance of the data (Table 1, Fig. A)."),
    ] = False,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Attention from sound to the picture (Fig. 5), drawn."),
    ] = False,
    published: Annotated[
        bool,
        typer.Option("--published", help="Published figures of rows in columns beside ours."),
    ] = False,
    clips: Annotated[
        str | None,
        typer.Option(
            metavar="N|ID,…",
            help="Most clips on the HTML page; for captions and attention, clips of each dataset "
            "or their ids.",
        ),
    ] = None,
    clip_seed: Annotated[
        int | None,
        number(SEED, "Seed that draws the clips."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write and print a suite's reports from finished stages; by default those it shows."""
    from avbench.config.suite import INTERVALS
    from avbench.workflow.further_reports import Asked

    formats = formats_of(format_)
    known_value("--intervals", "kind", intervals, INTERVALS)
    if words is not None and not strata:
        raise AvbenchError("--words: only the tables of --strata use it")
    plans = plans_from_options(suite, preset, data, seeds, additional, only, plugins_dir)
    flags = {
        "strata": strata,
        "modality-use": modality_use,
        "captions": captions,
        "attention": attention,
        "relevance": relevance,
    }
    asked = [f"--{kind}" for kind, on in flags.items() if on]
    if len(asked) > 1:
        raise AvbenchError(f"{' and '.join(asked)}: give only one of them")
    if asked and intervals is not None:
        raise AvbenchError(f"{asked[0]}: its tables have no intervals; leave out --intervals")
    if asked and published:
        raise AvbenchError(f"{asked[0]}: it has no published figures; leave out --published")
    if clip_seed is not None and not (captions or attention):
        raise AvbenchError("--clip-seed: only --captions and --attention draw clips")
    if asked and clips is not None and not (captions or attention):
        raise AvbenchError(f"{asked[0]}: its page has no clips; leave out --clips")
    if asked and delta_to is not None:
        raise AvbenchError(f"{asked[0]}: its tables compare no rows; leave out --delta-to")
    if delta_to is not None:
        if plans.is_collection:
            raise AvbenchError(f"--delta-to: '{plans.name}' is a collection; name one suite")
        known_value("--delta-to", "row", delta_to, plans.whole.labels)
        made = replace(plans.whole, table={**plans.whole.table, "delta_to": delta_to})
        plans = replace(plans, plans=(made,), whole=made)
    kinds = [kind for kind, on in flags.items() if on]
    shown = {kind for made in plans.plans for kind in kinds or made.show}
    named = clips_of(clips)
    if isinstance(named, list) and not shown & {"captions", "attention"}:
        raise AvbenchError("--clips: ids are for --captions and --attention; give a number")
    choices = Asked(
        intervals=intervals,
        published=published,
        words=words,
        clips=named,
        clip_seed=clip_seed,
    )
    _report(plans, store_in(results), kinds or None, choices, formats, as_json, plugins_dir)


@app.command()
def claims(
    suite: SuiteName,
    about: Annotated[
        str | None,
        typer.Option(help="For all claims: methods (other seeds) or models (other videos)."),
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
    """Judge a suite's claims: supported, refuted, inconclusive or not run."""
    from avbench.cli.claims import claims_data, print_claims, question_of

    question = question_of(about)
    plans = plans_from_options(suite, preset, data, seeds, additional, only, plugins_dir)
    judged = [
        claims_data(made, store_in(results), about=question, plugins_dir=plugins_dir)
        for made in plans.plans
        if made.claims or not plans.is_collection
    ]
    if as_json:
        print_json(judged if plans.is_collection else judged[0])
        return
    for found in judged:
        print_claims(found)


@app.command("diff")
def diff_(
    first: Annotated[Path, typer.Argument(metavar="FOLDER_A", help="A results folder.")],
    second: Annotated[Path, typer.Argument(metavar="FOLDER_B", help="Another; shown is B − A.")],
    suite: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this suite; by default all.")
    ] = None,
    plugins_dir: PluginsDir = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Print md, csv, latex, html or long in place of a table."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two results folders cell by cell; ends with 1 if they differ, with 0 if not."""
    from avbench.cli.reports import print_sheets
    from avbench.reports.formats import FORMATS as KNOWN
    from avbench.workflow.functions import diff

    known_value("--format", "format", format_, KNOWN)
    if as_json and format_ is not None:
        raise AvbenchError("--json and --format: give only one of them")
    found = diff(first, second, suite=suite, plugins_dir=plugins_dir)
    if as_json:
        print_json(found.to_json())
    elif format_ is not None:
        say(found.text(format_).removesuffix("\n"))
    else:
        print_sheets([found.sheet()])
    raise typer.Exit(1 if found.differs else 0)


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
        say(f"{entry['name']:<14} {entry['title']}")


def _report(
    plans: "Plans",
    store: "Store",
    kinds: "Sequence[str] | None",
    choices: "Asked",
    formats: list[str],
    as_json: bool,
    plugins_dir: Path | None,
) -> int:
    """Write and print reports of a suite, or of each of a collection.

    If there are several, one that cannot be made is told of.

    Args:
        plans: the plans.
        store: the folders of their stages.
        kinds: the reports; None: those that each suite shows.
        choices: the choices of the reports.
        formats: the formats to write.
        as_json: True: print JSON instead of text.
        plugins_dir: a folder of plugins.

    Returns:
        The number of cells without a figure, and of reports that cannot be made.
    """
    from avbench.cli.reports import write_index, write_reports
    from avbench.workflow.further_reports import report_of

    wanted = [(made, kind) for made in plans.plans for kind in kinds or made.show]
    missing = []

    def reports() -> "Iterator[SuiteReport]":
        for made, kind in wanted:
            folder = store.results / made.suite
            try:
                yield report_of(kind, made, store, folder, choices, plugins_dir=plugins_dir)
            except AvbenchError as error:
                if len(wanted) == 1:
                    raise
                missing.append((made, kind))
                say(f"no report '{kind}' of {made.suite}: {error}", stderr=True)

    shown = any(kind == "table" for _, kind in wanted)
    places = {"stages": str(store.results / "stages")} if shown else {}
    files: dict[str, dict[str, str]] = {}
    unfinished = write_reports(reports(), formats, as_json, places, files)
    if plans.is_collection and not as_json:
        write_index(plans, store.results, files)
    return unfinished + len(missing)
