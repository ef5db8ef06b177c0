"""How ``avbench data check`` is shown to people."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from avbench.cli.progress import console as make_console

WARNINGS = {"train": "trained on and reported", "select": "selected and reported on"}
"""What is wrong with splits that share videos, by the role of the one that is not reported."""

MOST = 3
"""Clips that are named of each kind of loss; ``--json`` names all."""


def print_data_check(data: Mapping[str, Any]) -> None:
    """A table of the splits, then of their media, then what is wrong."""
    console = make_console()
    clips = Grid(header_style="bold", title="Clips", title_justify="left")
    for title in ("dataset", "split", "role", "expected", "found", "lost", "list", "hours"):
        right = title in ("expected", "found", "hours")
        clips.add_column(title, justify="right" if right else "left", overflow="fold")
    media = Grid(header_style="bold", title="Media, by their headers", title_justify="left")
    for title in ("dataset", "split", "files", "opened", "picture", "sound", "clip (s)"):
        media.add_column(title, overflow="fold")
    for dataset in data["datasets"]:
        for split in dataset["splits"]:
            name = (dataset["key"], split["split"])
            length, files = split["clip_seconds"], split["files"]
            clips.add_row(
                *name,
                ", ".join(split["roles"]),
                str(split["expected"]),
                str(split["found"]),
                _listed(split["lost"]) or "none",
                split["list_hash"] if split["found"] else "–",
                f"{length['sum'] / 3600:.2f}" if length else "–",
            )
            span = " / ".join(f"{(length or {}).get(k, 0):g}" for k in ("least", "median", "most"))
            media.add_row(
                *name,
                str(files["all"]),
                str(files["opened"]),
                _listed(files["video"]),
                _listed(files["audio"]),
                span if length else "–",
            )
    console.print(clips)
    console.print(media)
    console.print("clip: least / median / most. list: the hash of the clips found.")
    for dataset in data["datasets"]:
        if dataset["problem"] is not None:
            console.print(Text(f"{dataset['key']}: {dataset['problem']}", "bold red"))
        for split in dataset["splits"]:
            _print_losses(console, f"{dataset['key']} {split['split']}", split)
    for overlap in data["overlaps"]:
        style = "bold red" if overlap["serious"] else ""
        console.print(Text(_overlap(overlap), style), soft_wrap=True)
    console.print("ok" if data["ok"] else Text("not ok", "bold red"))


def _print_losses(console: Console, name: str, split: Mapping[str, Any]) -> None:
    """What is lost, by reason, and what was mended."""
    groups = [(f"lost ({reason})", reason) for reason in split["lost"]]
    told = {
        title: [f"{x['id']}: {x['detail']}" for x in split["lost_clips"] if x["reason"] == reason]
        for title, reason in groups
    }
    if split["decoded"] is not None:
        sound = _listed(split["decoded"]["sound"])
        console.print(Text(f"{name}: decoded; sound: {sound}"), soft_wrap=True)
        told["used in part"] = [f"{x['id']}: {x['note']}" for x in split["decoded"]["notes"]]
    told["noted"] = [f"{d['place']}: {d['problem']}" for d in split["defects"] if not d["clip"]]
    for title, lines in told.items():
        for line in lines[:MOST]:
            console.print(Text(f"{name}: {title}: {line}", "yellow"), soft_wrap=True)
        if len(lines) > MOST:
            console.print(f"{name}: {title}: … and {len(lines) - MOST} more (--json names all)")


def _overlap(overlap: Mapping[str, Any]) -> str:
    one, other = overlap["splits"]
    shared = ", ".join(
        f"{overlap[what]} {text}"
        for what, text in (
            ("clips", "clips"),
            ("videos", "videos"),
            ("files", "files"),
            ("copies", "files of equal content"),
        )
        if overlap[what]
    )
    examples = ", ".join(overlap["examples"]) or " = ".join(overlap["same_content"][0])
    warning = f"{WARNINGS[overlap['roles'][0]]}: " if overlap["serious"] else ""
    return f"{warning}{one} and {other} share {shared}, e.g. {examples}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items())


def print_shards(data: Mapping[str, Any]) -> None:
    """What ``avbench data prepare`` has written, and what is left to do."""
    console = make_console()
    lost = _listed(data["lost"]) or "none"
    lines = [
        f"{data['folder']}: {data['kept']} of {data['expected']} clips in {data['shards']} "
        f"shards, {data['bytes'] / 2**20:.1f} MiB; lost: {lost}",
        f"sound: {_listed(data['sound'])}; with a defect, but used: {data['partial']}",
    ]
    lines += [f"was damaged: {name}" for name in data["damaged"]]
    lines += [f"failed: {error}" for error in data["failed"]]
    if data["complete"]:
        lines.append(f"complete; hash {data['hash']}")
    elif not data["status"]:
        lines += [
            f"to do: python -m avbench.runner.stage_process {folder}" for folder in data["jobs"]
        ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)
