"""Commands on the stages of a results folder: state, origin of a figure, checks, clearing up."""

import shlex
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from avbench.cli.commands.common import (
    Data,
    Json,
    Only,
    PluginsDir,
    Preset,
    Results,
    Seeds,
    SuiteName,
    With,
    plan_from_options,
    plans_from_options,
    print_json,
    say,
    store_in,
)
from avbench.cli.commands.numbers import SECONDS, number
from avbench.core.errors import AvbenchError
from avbench.core.numbers import SEED
from avbench.core.paths import RESULTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from avbench.workflow.status import Status

app = typer.Typer()
results_app = typer.Typer(help="Care for a results folder.", no_args_is_help=True)
app.add_typer(results_app, name="results")

EVERY = 2.0
"""Seconds between two looks of ``avbench status --watch``."""

AGAIN = 30.0
"""Seconds after which output without a terminal says the same numbers again."""


@app.command()
def status(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE]",
            help="A predefined suite, or a file; by default everything in the folder.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again until nothing of the suite is left.")
    ] = False,
    every: Annotated[float, number(SECONDS, "Seconds between looks of --watch.")] = EVERY,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    only: Only = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Show what is done, running or failed, rates, and the time left, from any terminal."""
    from avbench.workflow.status import folder_status, suite_status

    store = store_in(results)
    if watch and as_json:
        raise AvbenchError("--watch and --json: give only one of them")
    if suite is None:
        asked = {"--preset": preset, "--data": data, "--seeds": seeds, "--with": additional}
        given = [name for name, value in {**asked, "--only": only}.items() if value]
        if given:
            raise AvbenchError(f"{given[0]}: only with a suite")
        look = partial(folder_status, store)
    else:
        plans = plans_from_options(suite, preset, data, seeds, additional, only, plugins_dir)
        look = partial(suite_status, plans.whole, store)
    if watch:
        _watch(look, every)
    elif as_json:
        print_json(look().to_json())
    else:
        say(str(look()))


def _watch(look: "Callable[[], Status]", every: float) -> None:
    """Show a state again and again: in a terminal in place, elsewhere as lines."""
    from rich.live import Live
    from rich.text import Text

    from avbench.cli.progress import console

    terminal = console()
    if not terminal.is_terminal:
        _log(look, every)
        return
    with Live(console=terminal, refresh_per_second=4) as live:
        while True:
            now = look()
            live.update(Text(str(now)), refresh=True)
            if now.ended:
                return
            time.sleep(every)


def _log(look: "Callable[[], Status]", every: float) -> None:
    """Print a state when its numbers change, and every ``AGAIN`` seconds."""
    said, at = "", 0.0
    while True:
        now = look()
        if now.summary != said or time.monotonic() - at >= AGAIN or now.ended:
            said, at = now.summary, time.monotonic()
            say(f"{time.strftime('%H:%M:%S')} {now}")
        if now.ended:
            return
        time.sleep(every)


@app.command()
def show(
    suite: SuiteName,
    row: Annotated[str, typer.Argument(metavar="ROW", help="A row of the suite's tables.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only this dataset; by default all.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this score or cost.")
    ] = None,
    seed: Annotated[int | None, number(SEED, "Only this seed of the suite.")] = None,
    preset: Preset = None,
    data: Data = None,
    seeds: Seeds = None,
    additional: With = None,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Walk from a figure to the stages that made it: settings, times, code, folders."""
    from avbench.workflow.origin import origin

    plan = plan_from_options(suite, preset, data, seeds, additional, None, plugins_dir)
    found = origin(plan, store_in(results), row, dataset=dataset, metric=metric, seed=seed)
    if as_json:
        print_json(found.to_json())
        return
    say(str(found))
    given = {"--preset": preset, "--data": data, "--seeds": seeds, "--only": row}
    words = [word for option, value in given.items() if value for word in (option, value)]
    words += [word for name in additional or () for word in ("--with", name)]
    if row in plan.labels:
        say(f"again: {shlex.join(['avbench', 'run', suite, *words])}")


@app.command()
def verify(
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
    """Make a suite's figures again from what is stored; ends with 1 if one differs."""
    from avbench.cli.progress import console, working
    from avbench.workflow.verifying import verify as verify_figures

    store = store_in(results)
    plans = plans_from_options(suite, preset, data, seeds, additional, only, plugins_dir)
    verified = []
    for plan in plans.plans:
        with working(console(stderr=True), f"making the figures of {plan.suite} again"):
            verified.append(verify_figures(plan, store, plugins_dir))
        if not as_json:
            say(str(verified[-1]))
    if as_json:
        plain = [found.to_json() for found in verified]
        print_json(plain if plans.is_collection else plain[0])
    raise typer.Exit(0 if all(found.ok for found in verified) else 1)


@results_app.command("gc")
def gc(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUITE…]", help="Further suites to keep, as predefined ones or files."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    results: Results = RESULTS,
    plugins_dir: PluginsDir = None,
    as_json: Json = False,
) -> None:
    """Remove the stages that no suite that was run here names; says which, and asks."""
    from avbench.workflow.clearing import garbage, remove

    store = store_in(results)
    plans = [
        plans_from_options(suite, None, None, None, None, None, plugins_dir).whole
        for suite in suites or ()
    ]
    found = garbage(store, plans)
    print_json(found.to_json()) if as_json else say(found.text())
    if not found.removable:
        return
    count = len(found.removable)
    if not yes:
        if as_json or not sys.stdin.isatty():
            say("nothing is removed without --yes", stderr=True)
            return
        typer.confirm(f"remove {count} stages?", abort=True)
    say(f"removed {remove(found)} of {count} stages", stderr=True)
