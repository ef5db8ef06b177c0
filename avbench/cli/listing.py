"""Output of several commands, as plain data (``--json``) and as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from avbench.cli.progress import console as make_console
from avbench.cli.progress import span

if TYPE_CHECKING:
    from avbench.cli.doctor import Advice
    from avbench.core.registry import Component, Registry
    from avbench.runner.planning.why import Reason

MOST_ROWS = 60
"""Trials that a plan prints at most; ``--json`` lists all."""


def print_plan(data: Mapping[str, Any]) -> None:
    """Print trials, numbers of stages, the work of trainings, and impossible combinations."""
    console = make_console()
    console.print(Text(f"{data['suite']}: {data['title']}"), style="bold")
    learns = any("pretrain" in t["done"] for t in data["trials"]) or bool(data["datasets"])
    source = f"data: {data['data']}" if learns else "nothing is trained"
    console.print(Text(f"preset {data['preset']}, {source}"))
    trials = data["trials"]
    shown = trials[:MOST_ROWS]
    axes = [a for a in data["axes"] if len({t["axes"].get(a) for t in trials}) > 1]
    grid = Grid(header_style="bold")
    several = len(data["seeds"]) > 1
    # The labels of a grid's rows only repeat its values.
    labels = any(set(t["label"].split(", ")) != {t["axes"].get(a) for a in axes} for t in trials)
    for title in [*(["row"] if labels else []), *axes, *(["seed"] if several else [])]:
        grid.add_column(title)
    stages = ["pretrain", *data["datasets"]] if learns else ["profile"]
    for title in stages:
        grid.add_column(title)
    for trial in shown:
        states = {True: Text("done", "green"), False: Text("to do"), None: Text("–", "dim")}
        skipped = Text("skipped", "yellow")
        grid.add_row(
            *([trial["label"]] if labels else []),
            *(trial["axes"].get(a, "") for a in axes),
            *([str(trial["seed"])] if several else []),
            *(skipped if trial["skipped"] else states[trial["done"].get(s)] for s in stages),
        )
    console.print(grid)
    if len(trials) > len(shown):
        console.print(f"… and {len(trials) - len(shown)} more trials (--json lists all)")
    _print_stages(console, data)
    reasons = Counter(t["skipped"] for t in trials if t["skipped"])
    for trial in trials:
        if trial["skipped"] in reasons:
            times = reasons.pop(trial["skipped"])
            more = f" (and {times - 1} more)" if times > 1 else ""
            console.print(Text(f"skipped: {trial['label']}{more}: {trial['skipped']}", "yellow"))
    _print_time_left(console, data)


def print_collection(data: Mapping[str, Any]) -> None:
    """Print the suites of a collection, the stages that they share, and the work of trainings."""
    console = make_console()
    console.print(Text(f"{data['collection']}: {data['title']}"), style="bold")
    console.print(Text(f"preset {data['preset']}, data: {data['data']}"))
    grid = Grid(header_style="bold")
    for title in ("suite", "title", "rows", "shows", "stages", "done"):
        right = title in ("rows", "stages", "done")
        grid.add_column(title, justify="right" if right else "left")
    for suite in data["suites"]:
        numbers = [str(suite[name]) for name in ("rows", "stages", "done")]
        texts = [suite["suite"], suite["title"], ", ".join(suite["show"])]
        grid.add_row(*texts[:2], numbers[0], texts[2], *numbers[1:])
    console.print(grid)
    console.print(
        f"the suites name {data['named']} stages, of which {data['distinct']} are distinct"
    )
    _print_stages(console, data)
    _print_time_left(console, data)


def _print_stages(console: Console, data: Mapping[str, Any]) -> None:
    """Print numbers of stages by kind, and the work of trainings."""
    counts = Grid(header_style="bold")
    for title in ("stage", "done", "to do"):
        counts.add_column(title, justify="left" if title == "stage" else "right")
    for kind, count in data["stages"].items():
        counts.add_row(kind, str(count["done"]), str(count["all"] - count["done"]))
    console.print(counts)
    _print_trainings(console, data["trainings"])


def _print_time_left(console: Console, data: Mapping[str, Any]) -> None:
    for folder, damage in data["damaged"].items():
        console.print(Text(f"damaged, and to do again: {folder}: {damage}", "yellow"))
    if data["seconds_left"] is None:
        kinds = " or ".join(data["unmeasured"])
        console.print(f"time left: unknown: no {kinds} stage has been measured")
    else:
        console.print(f"time left: about {span(data['seconds_left'])}")


def _print_trainings(console: Console, trainings: Sequence[Mapping[str, Any]]) -> None:
    """Print the work of each training; a line is for all with the same work."""
    if not trainings:
        return
    alike: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for training in trainings:
        work = [training[k] for k in ("kind", "dataset", "steps", "clips", "flops", "rough")]
        alike.setdefault((*work, training["unknown"]), []).append(training)
    grid = Grid(header_style="bold")
    for title in ("training", "rows", "stages", "steps", "clips seen", "FLOPs"):
        justify: Literal["left", "right"] = "left" if title in ("training", "rows") else "right"
        grid.add_column(title, justify=justify)
    order = {key[:2]: i for i, key in reversed(list(enumerate(alike)))}
    lines = sorted(alike.items(), key=lambda line: order[line[0][:2]])
    for (kind, dataset, steps, clips, flops, rough, _), those in lines[:MOST_ROWS]:
        rows = dict.fromkeys(row for training in those for row in training["rows"])
        about = "about " if rough else ""
        grid.add_row(
            Text(f"{kind} {dataset}"),
            Text("; ".join(rows)),
            str(len(those)),
            *("unknown" if n is None else f"{about}{n:,}" for n in (steps, clips)),
            "unknown" if flops is None else f"{about}{flops:.2e}",
        )
    console.print(grid)
    if len(lines) > MOST_ROWS:
        console.print(f"… and {len(lines) - MOST_ROWS} more trainings (--json lists all)")
    console.print("per stage, as annotated: clips that decoding loses are included")
    console.print("FLOPs: 2 per multiply-accumulate, a backward pass as two forward passes")
    for reason in dict.fromkeys(t["unknown"] for t in trainings if t["unknown"]):
        console.print(Text(f"unknown: {reason}", "yellow"))


def print_reasons(reasons: "Sequence[Reason]") -> None:
    """Print why stages must run; stages of a kind with the same reason share a line."""
    console = make_console()
    if not reasons:
        console.print("no stage needs to run")
        return
    alike: dict[tuple[str, str], list[Reason]] = {}
    for reason in reasons:
        alike.setdefault((reason.stage.kind, reason.text()), []).append(reason)
    grid = Grid("stage", "works on", "why", header_style="bold")
    for (kind, text), those in alike.items():
        first = those[0]
        more = f", and {len(those) - 1} more" if len(those) > 1 else ""
        grid.add_row(f"{kind}-{first.stage.id}", Text(first.works_on + more), Text(text))
    console.print(grid)


def plugins_data(registry: "Registry") -> list[dict[str, Any]]:
    """Return every component with its options and its origin."""
    from avbench.core.registry import options_of

    return [
        {
            "family": component.family,
            "name": component.name,
            "options": [
                {"name": name, "type": kind, "default": default}
                for name, kind, default in options_of(component)
            ],
            "source": component.source,
            "module": component.module,
            "distribution": component.distribution,
        }
        for component in registry
    ]


def print_plugins(data: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of the components."""
    grid = Grid(header_style="bold", show_lines=True)
    for title in ("family", "name", "options", "source", "registered by"):
        grid.add_column(title, overflow="fold")
    last = None
    for entry in data:
        options = "\n".join(f"{o['name']} = {o['default']}" for o in entry["options"])
        by = f"{entry['distribution']}\n{entry['module']}"
        family = entry["family"] if entry["family"] != last else ""
        last = entry["family"]
        grid.add_row(*map(Text, (family, entry["name"], options, entry["source"], by)))
    make_console().print(grid)


def check_data(registry: "Registry", name: str, given: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run the contract checks on the components of a name, and return their findings.

    Args:
        registry: the components.
        name: a component's name.
        given: its options, ``KEY=VALUE`` each; none: its defaults.

    Raises:
        SuiteError: an option is unknown or has a wrong value.
        UnknownNameError: no component has this name.
    """
    from avbench import testing
    from avbench.core.errors import UnknownNameError, unknown

    found = [component for component in registry if component.name == name]
    if not found:
        names = sorted({component.name for component in registry})
        raise UnknownNameError(unknown("component", name, names))
    return [
        {"family": component.family, "name": component.name, **asdict(finding)}
        for component in found
        for finding in testing.check(component, options_from(registry, component, given))
    ]


def options_from(registry: "Registry", component: "Component", given: Sequence[str]) -> Any:
    """Return an instance of a component's config from ``KEY=VALUE`` texts; None: none is given.

    A value is read as in YAML, but for an option of text, which takes it as it stands.

    Raises:
        SuiteError: lists every option that is unknown or has a wrong value.
    """
    from avbench.config.builder import Builder
    from avbench.config.strict_yaml import Mark, Problems, constant, literal

    if not given:
        return None
    here, problems = Mark("--option", 0), Problems()
    types = {field.name: field.type for field in fields(component.config)}
    doc = constant({}, here)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            problems.add(here, f"must be KEY=VALUE, got '{text}'")
            continue
        plain = types.get(key) in (str, "str", str | None)
        doc = doc.set((key,), constant(value, here) if plain else literal(value, "--option"))
    made = Builder(registry, problems).section(component.config, doc, component.name)
    problems.check()
    return made


def print_checks(data: Sequence[Mapping[str, Any]], *, verbose: bool = False) -> None:
    """Print failed checks with the expected and actual result, then a summary.

    Args:
        data: findings, as ``check_data`` returns them.
        verbose: list the checks that passed, too.
    """
    console = make_console()
    failed: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for finding in data:
        if not finding["ok"]:
            title = finding["check"].partition(" [")[0]
            key = (finding["family"], finding["name"], title, finding["expected"])
            failed.setdefault(key, []).append(finding)
    for alike in failed.values():
        first, *others = alike
        places = [f["check"].partition(" [")[2].rstrip("]") for f in others]
        more = f", and on {', '.join(places)}" if others else ""
        title = f"{first['family']} {first['name']}: {first['check']}{more}"
        console.print(Text("FAILED", "bold red"), Text(title), soft_wrap=True)
        for what in ("expected", "got", "advice"):
            if first[what]:
                console.print(Text(f"       {what + ':':<9} {first[what]}"), soft_wrap=True)
    for finding in data if verbose else ():
        if finding["ok"]:
            title = f"{finding['family']} {finding['name']}: {finding['check']}"
            console.print(Text("ok    ", "green"), Text(title))
    passed = sum(finding["ok"] for finding in data)
    if len(data) == passed:
        console.print(f"{passed} of {len(data)} checks passed")
        return
    failures = f"{len(data) - passed} of {len(data)} checks failed"
    console.print(f"{failures}; those that presuppose them were left out")


def print_advice(found: Sequence["Advice"]) -> None:
    """Print one line per check, with the remedy below it."""
    console = make_console()
    styles = {"ok": "green", "warning": "yellow", "problem": "bold red"}
    for advice in found:
        mark = Text(f"{advice.status:<8}", styles[advice.status])
        console.print(mark + Text(f"{advice.check}: {advice.found}"), soft_wrap=True)
        if advice.remedy:
            console.print(Text(f"         → {advice.remedy}"), soft_wrap=True)
    counts = Counter(advice.status for advice in found)
    console.print(f"{counts['problem']} problems, {counts['warning']} warnings")
