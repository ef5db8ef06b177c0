"""The head of a report page: the suite, commit, machine, data and cost, and what is missing."""

from collections import Counter
from collections.abc import Iterable, Iterator

from avbench.reports.collect import Report
from avbench.reports.page.contents import Fact
from avbench.reports.records import Records

SHOWN = 5
"""The most values of a fact; the rest is counted."""

PREFIXES = {1e18: "E", 1e15: "P", 1e12: "T", 1e9: "G", 1e6: "M"}


def facts(report: Report) -> tuple[Fact, ...]:
    """Return the facts that a run's records hold; those that are unknown are left out."""
    found = (Fact(name=name, values=_few(values)) for name, values in _facts(report))
    return tuple(fact for fact in found if fact.values)


def missing(report: Report) -> tuple[str, ...]:
    """Return the figures without a value, by reason."""
    frame = report.figures.frame
    absent = frame[frame["status"] != "ok"]
    said: Counter[str] = Counter()
    for line in absent.to_dict("records"):
        where = ", ".join(filter(None, (line["label"], line["dataset"])))
        why = f": {line['reason']}" if line["reason"] else ""
        said[f"{where}: {line['status']}{why}"] += 1
    failed = [f"failed stage {folder}: {why}" for folder, why in report.failures.items()]
    return (*(f"{text} ({n} seeds)" if n > 1 else text for text, n in said.items()), *failed)


def _facts(report: Report) -> Iterator[tuple[str, Iterable[str]]]:
    plan, records = report.plan, report.records
    made = [record.get("provenance", {}) for record in records.by_stage.values()]
    started = sorted(p["started"] for p in made if p.get("started"))
    machines = (p["machine"] for p in made if p.get("machine"))
    yield "Suite", [f"{plan.suite}, preset {plan.preset}"]
    yield "Rows and seeds", [f"{len(plan.labels)} rows, seeds {', '.join(map(str, plan.seeds))}"]
    yield "Commit", (p["commit"][:12] for p in made if p.get("commit"))
    yield "Date", [f"{_time(started[0])} to {_time(started[-1])}"] if started else []
    yield "Machine", (f"{m['host']}, {m['system']}, {m['cores']} cores" for m in machines)
    yield "Devices", (str(p["device"]) for p in made if p.get("device"))
    yield "Data", [f"{plan.data}", *_lists(records)]
    yield "Cost", _cost(report)


def _lists(records: Records) -> Iterator[str]:
    """Yield the clips of each prepared split, with the hash of their list."""
    for stage in records.plan.stages.values():
        results = records.results(stage.id) if stage.kind == "prepare" else None
        if results is not None:
            name = f"{stage.spec['dataset']} {results['split']}"
            yield f"{name}: {results['kept']} clips, list {results['list_hash']}"


def _cost(report: Report) -> Iterator[str]:
    """Yield the FLOPs of the trainings, and the processor time of the stages."""
    plan, records = report.plan, report.records
    done = [size for id_, size in plan.trainings.items() if records.results(id_) is not None]
    flops = [size["flops"] for size in done if size.get("flops") is not None]
    if flops:
        yield f"trainings: {_scaled(sum(flops))}FLOPs in {len(flops)} of {len(plan.trainings)}"
    made = [record.get("provenance", {}) for record in records.by_stage.values()]
    seconds = sum(
        p["wall_s"] * p.get("threads", 1) * p.get("processes", 1) for p in made if "wall_s" in p
    )
    if seconds:
        yield f"stages: {seconds:,.0f} s × threads × processes, of {len(made)} stages"


def _time(written: str) -> str:
    """Return a time of a record without the separators of ISO 8601."""
    return written.replace("T", " ").replace("+00:00", " UTC")


def _scaled(value: float) -> str:
    """Return a number with a prefix of the SI."""
    for size, prefix in PREFIXES.items():
        if value >= size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g} "


def _few(values: Iterable[str]) -> tuple[str, ...]:
    known = list(dict.fromkeys(values))
    more = (f"and {len(known) - SHOWN} more",) if len(known) > SHOWN + 1 else ()
    return (*known[:SHOWN], *more) if more else tuple(known)
