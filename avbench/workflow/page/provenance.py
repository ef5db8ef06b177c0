"""The origin of a report's figures: stages, their options and logs, the command to run again."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from avbench.core.job import LOG
from avbench.core.visible import json_text
from avbench.evaluation.perturbation import altered_label
from avbench.reports.collect import Report
from avbench.reports.page.contents import Figure, StageFacts
from avbench.reports.records import Records
from avbench.reports.table import Place, Sheet
from avbench.runner.plan import Stage

LOG_TAIL = 2000
"""The most bytes of a log's end."""


def figures(sheets: Iterable[Sheet]) -> dict[Place, tuple[Figure, ...]]:
    """Return the origin of the figures that tables show, by place."""
    found: dict[Place, dict[int | None, Figure]] = {}
    for sheet in sheets:
        shown = {(label, *key) for label in sheet.labels for key in sheet.keys}
        for line in sheet.table.frame.to_dict("records"):
            place = (line["label"], line["dataset"], line["metric"])
            if place not in shown:
                continue
            seed = None if pd.isna(line["seed"]) else int(line["seed"])
            made = Figure(
                seed=seed,
                value=None if pd.isna(line["value"]) else float(line["value"]),
                status=line["status"],
                reason=line["reason"],
                record=line["record"],
                signature=line["signature"],
            )
            found.setdefault(place, {}).setdefault(seed, made)
    return {place: tuple(seeds.values()) for place, seeds in found.items()}


def stages(records: Records) -> dict[str, StageFacts]:
    """Return the provenance of every stage of a plan, by id."""
    return {id_: _facts(records, stage) for id_, stage in records.plan.stages.items()}


def commands(report: Report) -> dict[str, str]:
    """Return, for each label of the figures, the command that runs its row again."""
    plan = report.plan
    suite = plan.file or plan.suite
    seeds = ",".join(map(str, plan.seeds)) + ","
    base = ["avbench", "run", suite, "--preset", plan.preset, "--data", plan.data]
    base += ["--seeds", seeds, "--results", str(report.records.store.results)]
    made: dict[str, str] = {}
    for trial in plan.trials:
        command = shlex.join([*base, "--only", trial.label])
        made[trial.label] = command
        for cell in trial.cells:
            made.update((altered_label(trial.label, name), command) for name in cell.altered)
    return made


def _facts(records: Records, stage: Stage) -> StageFacts:
    record = records.by_stage.get(stage.id)
    made: Mapping[str, Any] = (record or {}).get("provenance", {})
    directory = records.store.directory(stage)
    facts = {"folder": str(directory), **dict(_provenance(made))}
    if record is not None and record["status"] == "failed":
        facts["error"] = records.error(stage)
    return StageFacts(
        kind=stage.kind,
        folder=stage.folder,
        status="to do" if record is None else record["status"],
        facts=facts,
        parents=stage.parents,
        options=json_text(dict(stage.spec)),
        log=_tail(directory / LOG),
    )


def _provenance(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the facts of a record's provenance."""
    if made.get("commit"):
        yield "commit", str(made["commit"])
    if made.get("started"):
        yield "started", str(made["started"])
    if "wall_s" in made:
        yield "seconds", f"{made['wall_s']:g}"
    if made.get("machine"):
        machine = made["machine"]
        yield "machine", f"{machine['host']}, {machine['system']}, {machine['cores']} cores"
    if made.get("device"):
        shares = f"processes {made.get('processes', 1)}, threads {made.get('threads', 1)}"
        yield "device", f"{made['device']}, {shares}"
    if made.get("versions"):
        versions = {"python": made.get("python", ""), **made["versions"]}
        yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())


def _tail(path: Any) -> str:
    """Return the last lines of a log; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL))
            text: str = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return text if size <= LOG_TAIL else text.partition("\n")[2]
