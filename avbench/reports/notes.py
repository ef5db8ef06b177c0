"""Notes under tables: clips used, initial weights, selected checkpoints and those that leaked."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from avbench.reports.table import Sheet
from avbench.runner.plan import Plan, Store

STAMP = "SELECTED ON THE REPORTED SPLIT"


def clip_notes(plan: Plan, store: Store) -> list[str]:
    """How many clips each prepared split gave, which, and what became of the others.

    Returns:
        One note; none where nothing was prepared.
    """
    told, lost = [], []
    for stage in plan.stages.values():
        record = store.record(stage) if stage.kind == "prepare" else None
        if record is None or record["status"] != "done":
            continue
        results = record["results"]
        name = f"{stage.spec['dataset']} {results['split']}"
        told.append(f"{name} {results['kept']} (list {results['list_hash']})")
        if results["lost"]:
            reasons = ", ".join(f"{n} {why}" for why, n in results["lost"].items())
            lost.append(f"{name} {results['expected'] - results['kept']} ({reasons})")
    if not told:
        return []
    # Worlds that differ in what a picture shows have the same clips.
    used, gone = (", ".join(dict.fromkeys(texts)) for texts in (told, lost))
    return [f"Clips used: {used}; lost: {gone or 'none'}."]


def started_notes(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """One note, or none; where rows differ it names them.

    Args:
        found: row, modality, and what its encoder started from.

    >>> started_notes([("a", "video", "k.pth"), ("b", "video", "k.pth"), ("a", "audio", "none")])
    ['Encoders started from: audio: none; video: k.pth.']
    >>> started_notes([("a", "video", "k.pth"), ("b", "video", "scratch")])
    ['Encoders started from: video: k.pth (a), scratch (b).']
    """
    rows: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for row, modality, text in found:
        rows[modality][text][row] = None
    parts = []
    for modality, texts in sorted(rows.items()):
        told = [
            f"{text} ({', '.join(labels)})" if len(texts) > 1 else text
            for text, labels in texts.items()
        ]
        parts.append(f"{modality}: {', '.join(told)}")
    return [f"Encoders started from: {'; '.join(parts)}."] if parts else []


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The selection of one training, as its record tells it."""

    trial: str
    """What the row, and its seed where there are several, are called."""
    dataset: str
    record: Mapping[str, Any]
    """``results.selection`` of the training."""


def leaking(plan: Plan) -> tuple[str, ...]:
    """The datasets of which the reported split also chose the checkpoints, in order."""
    found = set()
    for trial in plan.trials:
        for cell in trial.cells:
            train = plan.stages[cell.finetune].spec["train"]
            if train["select"] == "best" and train["selection"]["on_report"]:
                found.add(cell.dataset)
    return tuple(dataset for dataset in plan.datasets if dataset in found)


def stamp(plan: Plan, sheets: Iterable[Sheet]) -> list[Sheet]:
    """Every table of a suite with the warning that its scores are not of unseen clips.

    Tables are as they are where no checkpoint was selected on a reported split.
    """
    datasets = leaking(plan)
    if not datasets:
        return list(sheets)
    warning = (
        f"WARNING: checkpoints of {', '.join(datasets)} were selected on the split that is "
        "reported (selection.on_report), so their scores are not scores of unseen clips; they "
        "are too good, and compare with none that were made without."
    )
    return [
        replace(sheet, title=f"{STAMP}: {sheet.title}", notes=(warning, *sheet.notes))
        for sheet in sheets
    ]


def selection_notes(found: Iterable[Selected]) -> list[str]:
    """How checkpoints were selected: one note a way, with the curve of each row."""
    ways: dict[str, list[str]] = defaultdict(list)
    for one in found:
        record = one.record
        split = {
            "own": "the dataset's split for selection",
            "carved": f"{record['videos']} videos kept out of training",
            "reported": "THE REPORTED SPLIT",
        }[record["split"]]
        search = "greedy" if record["beam"] == 1 else f"beam {record['beam']}"
        way = (
            f"{one.dataset}: the step with the best {record['by']} ({search}, every "
            f"{record['every']} steps) on {split}, {record['clips']} clips "
            f"(list {record['list_hash']})"
        )
        curve = ", ".join(
            f"{step}: {value:.1f}{'*' * (step == record['step'])}"
            for step, value in record["curve"]
        )
        ways[way].append(f"{one.trial} step {record['step']} ({curve})")
    return [f"{way}: {'; '.join(rows)}." for way, rows in ways.items()]
