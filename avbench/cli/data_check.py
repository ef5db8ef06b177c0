"""``avbench data check``: contents, lost clips and overlaps of the datasets of a data file.

Annotations are read completely. Of media files, the headers are read, as many as the time allows.
Damage and silence show only when clips are decoded: on demand, with the prepare stage's own code.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from avbench.cli.progress import console as make_console
from avbench.config.builder import Builder
from avbench.config.data_file import DataSource, file_sources
from avbench.config.strict_yaml import Problems
from avbench.core import options
from avbench.core.digest import file_digest
from avbench.core.errors import AvbenchError, SuiteError
from avbench.core.registry import Registry
from avbench.core.types import Clip, InputSpec
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.annotations.local_files import missing_hint
from avbench.data.contracts import Dataset, Defect
from avbench.data.media.container import Allowance, LostReason, MediaError
from avbench.data.media.headers import Header, read_headers
from avbench.data.media.tar_members import media_exists
from avbench.data.media.video import read_frames
from avbench.data.prepared.lost import ClipResult, LostClip, count_reasons, lost_clip
from avbench.data.prepared.part import Part, Source
from avbench.data.prepared.pool import WorkerPool
from avbench.testing.datasets import check_clips

NEEDED = ("train", "report")
"""Roles whose splits must have clips; few suites need a split for selection."""

DISJOINT = (("train", "report"), ("select", "report"))
"""Pairs of roles whose splits must share no video."""

EXAMPLES = 5
"""Number of shared clips to name."""

PART = 32
"""Number of clips that one process decodes in a row."""

WARNINGS = {"train": "trained on and reported", "select": "selected and reported on"}
"""Warnings about splits that share videos with a reported split, by the role of the other."""

MOST = 3
"""Number of lost clips to name per reason; ``--json`` names all."""


@dataclass(slots=True)
class _Split:
    """One split of one dataset, as annotated."""

    dataset: str
    name: str
    roles: tuple[str, ...]
    """Its roles, among ``train``, ``report`` and ``select``."""
    clips: Sequence[Clip]
    defects: Sequence[Defect]
    lost: list[LostClip] = field(default_factory=list)
    found: list[Clip] = field(default_factory=list)
    decoded: list[ClipResult] = field(default_factory=list)
    """Results of decoding the clips found; empty: they were not decoded."""

    @property
    def title(self) -> str:
        return f"{self.dataset} {self.name}"

    @property
    def files(self) -> set[Path]:
        return {clip.media for clip in self.found}


def data_check(
    path: Path,
    registry: Registry,
    *,
    seconds: float = 60.0,
    workers: int = 1,
    decode: bool = False,
) -> dict[str, Any]:
    """Check a data file's datasets.

    Args:
        path: the data file.
        registry: the components, for the datasets' readers.
        seconds: time for opening media; files beyond it count as found if they exist.
        workers: number of processes that open media.
        decode: True: decode every clip too, as preparation does, without a time limit.

    Returns:
        ``datasets`` (each with its splits and the checks of its clips, see
        ``testing.datasets.DATA``), ``overlaps`` between splits of all datasets, and ``ok``: every
        dataset can be read and passes the checks, every split for training or reporting has
        clips, and none of them is lost under the policy ``fail``.

    Raises:
        SuiteError: the data file has errors.
    """
    if not path.is_file():
        raise SuiteError(f"data file {path}: no such file")
    problems = Problems()
    sources = file_sources(path, Builder(registry, problems))
    problems.check()
    reports: list[dict[str, Any]] = []
    splits: list[_Split] = []
    for source in sources.values():
        report = {
            "key": source.key,
            "reader": source.reader.name,
            "root": str(source.root),
            "policy": source.policy,
            "sound": options.plain(source.sound),
            "fingerprint": None,
            "problem": None,
            "checks": [],
            "splits": [],
        }
        read: list[_Split] = []
        try:
            dataset = source.open(registry)
            read.extend(_splits(source.key, dataset))
            report["fingerprint"] = dataset.fingerprint()
            found = check_clips(
                partial(source.open, registry),
                dataset,
                {split.name: split.clips for split in read},
            )
            report["checks"] = [options.plain(finding) for finding in found]
        except AvbenchError as error:
            report["problem"] = str(error)
        splits += read  # also those before one that cannot be read
        reports.append(report)
    present = sorted({c.media for s in splits for c in s.clips if media_exists(c.media)})
    headers = read_headers(present, seconds=seconds, workers=workers)
    for split in splits:
        source = sources[split.dataset]
        _lose(split, headers, None if decode else source.clip_seconds)
        if decode:
            _decode(split, source, workers)
        (report,) = (r for r in reports if r["key"] == split.dataset)
        report["splits"].append(_report(split, headers))
    return {
        "file": str(path),
        "datasets": reports,
        "overlaps": _overlaps(splits),
        "ok": all(_is_usable(report) for report in reports),
    }


def _splits(key: str, dataset: Dataset) -> Iterator[_Split]:
    held = dataset.splits()
    needed = [name for role in NEEDED if (name := dataset.of(role)) is not None]
    # A needed split is reported even if its files are missing.
    for name in dict.fromkeys([*held, *needed]):
        roles = tuple(role for role in (*NEEDED, "select") if dataset.of(role) == name)
        yield _Split(key, name, roles, dataset.clips(name), dataset.defects(name))


def _lose(split: _Split, headers: Mapping[Path, Header], seconds: float | None) -> None:
    """Sort the clips of a split into found and lost ones, by their headers.

    Args:
        split: the split.
        headers: the headers that were read.
        seconds: limit of decoding a clip that starts after its file's stated end, because the
            stated end may be wrong; None: it counts as found, and is decoded later.
    """
    for defect in split.defects:
        if defect.clip is not None:
            split.lost.append(LostClip.of_defect(defect))
    for clip in split.clips:
        header = headers.get(clip.media)
        if header is None and not media_exists(clip.media):
            detail = f"no such file{missing_hint(clip.media)}"
            header = Header(reason=LostReason.MISSING.value, detail=detail)
        reason, detail = (header.reason, header.detail) if header else (None, "")
        ends = header.seconds if header and not reason else None
        after = ends is not None and clip.start is not None and clip.start >= ends
        if after and seconds is not None and not _has_frames(clip, seconds):
            reason = LostReason.NO_FRAME.value
            detail = f"starts at {clip.start:g} s, the file ends at {ends:g} s"
        if reason:
            said = f"{clip.media}: {detail.removeprefix(f'{clip.media}: ')}"
            split.lost.append(LostClip(id=clip.id, reason=reason, detail=said))
        else:
            split.found.append(clip)


def _has_frames(clip: Clip, seconds: float) -> bool:
    """Return True if a frame of a clip decodes."""
    try:
        read_frames(
            clip.media,
            start=clip.start,
            end=clip.end,
            size=16,
            pick=lambda _: [0],
            allowance=Allowance(seconds),
        )
    except MediaError:
        return False
    return True


def _decode(split: _Split, source: DataSource, workers: int) -> None:
    """Decode the clips found, and move those that fail to the lost ones."""
    results = _decode_clips(split.found, seconds=source.clip_seconds, workers=workers)
    kept = []
    for clip, result in zip(split.found, results, strict=True):
        lost = lost_clip(clip, result, source.sound)
        if lost is None:
            kept.append(clip)
            split.decoded.append(result)
        else:
            split.lost.append(lost)
    split.found = kept


def _decode_clips(clips: Sequence[Clip], *, seconds: float, workers: int) -> list[ClipResult]:
    """Decode clips in other processes and return their results, see ``data.prepared``.

    Args:
        clips: the clips to decode.
        seconds: processor time that each clip may take.
        workers: number of processes.
    """
    if not clips:
        return []
    with (
        TemporaryDirectory() as folder,
        WorkerPool[list[ClipResult]](workers, delegate=True) as pool,
    ):
        parts = [
            Part(
                directory=Path(folder),
                result=Path(folder) / f"{first:08d}.json",
                first=first,
                sources=[
                    Source(media=c.media, start=c.start, end=c.end)
                    for c in clips[first : first + PART]
                ],
                input=InputSpec(size=16),
                read="raw",
                seconds=seconds,
            )
            for first in range(0, len(clips), PART)
        ]
        return [result for results in pool.map(parts, lambda _: None) for result in results]


def _decoded(split: _Split) -> dict[str, Any] | None:
    """Return notes and kinds of sound of the decoded clips; None: none was decoded."""
    if not split.decoded:
        return None
    entries = [result["entry"] for result in split.decoded]
    notes = [
        {"id": clip.id, "note": note}
        for clip, entry in zip(split.found, entries, strict=True)
        for note in entry["notes"]
    ]
    partial = sum(bool(entry["notes"]) for entry in entries)
    return {"partial": partial, "notes": notes, "sound": _counts(e["sound"] for e in entries)}


def _report(split: _Split, headers: Mapping[Path, Header]) -> dict[str, Any]:
    """Return a split's figures as plain data."""
    opened = {path: headers[path] for path in sorted(split.files) if path in headers}
    lengths = [s for clip in split.found if (s := _seconds(clip, headers)) is not None]
    audible = [h for h in opened.values() if h.audio]
    return {
        "split": split.name,
        "roles": list(split.roles),
        "expected": len(split.clips) + sum(d.clip is not None for d in split.defects),
        "found": len(split.found),
        "videos": len({clip.video for clip in split.found}),
        "captions": sum(len(clip.captions) for clip in split.found),
        "lost": count_reasons(split.lost),
        "lost_clips": [clip.plain() for clip in split.lost],
        "defects": [
            {"place": d.place, "problem": d.problem, "clip": d.clip} for d in split.defects
        ],
        "list_hash": clip_list_hash({clip.id: clip.captions for clip in split.found}),
        "annotated_hash": clip_list_hash({clip.id: clip.captions for clip in split.clips}),
        "clip_seconds": _spread(lengths),
        "decoded": _decoded(split),
        "speech": sum(bool(clip.speech) for clip in split.found),
        "files": {
            "all": len(split.files),
            "opened": len(opened),
            "seconds": _spread([h.seconds for h in opened.values() if h.seconds is not None]),
            "video": _counts(h.video for h in opened.values()),
            "audio": _counts(h.audio or "none" for h in opened.values()),
            "height": _spread([float(h.size[1]) for h in opened.values() if h.video]),
            "rate": _spread([h.rate for h in opened.values() if h.rate is not None]),
            "sample_rate": _counts(str(h.sample_rate) for h in audible),
            "channels": _counts(str(h.channels) for h in audible),
        },
    }


def _seconds(clip: Clip, headers: Mapping[Path, Header]) -> float | None:
    """Return a clip's length; None if its file was not opened or does not give it."""
    header = headers.get(clip.media)
    whole = header.seconds if header else None
    if whole is not None and whole <= (clip.start or 0.0):
        whole = None  # the clip was found after the stated end
    end = clip.end if clip.end is not None else whole
    if end is None:
        return None
    return max(min(end, whole if whole is not None else end) - (clip.start or 0.0), 0.0)


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "sum": round(sum(values), 3),
        "least": round(min(values), 3),
        "median": round(median(values), 3),
        "most": round(max(values), 3),
    }


def _counts(values: Iterator[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _overlaps(splits: Sequence[_Split]) -> list[dict[str, Any]]:
    """Return the videos, clips and files of equal content that pairs of splits share.

    Videos are compared across datasets too (HowTo100M contains videos of YouCook2). A YouTube id
    may have the prefix ``v_``.
    """
    videos = [{clip.video.removeprefix("v_") for clip in split.clips} for split in splits]
    ids = [{clip.id for clip in split.clips} for split in splits]
    digests = _digests(set().union(*(split.files for split in splits)))
    contents = [{digests[f]: f for f in sorted(s.files) if f in digests} for s in splits]
    found = []
    for i, j in combinations(range(len(splits)), 2):
        one, other = splits[i], splits[j]
        same = one.dataset == other.dataset
        shared = sorted(videos[i] & videos[j])
        clips = sorted(ids[i] & ids[j]) if same else []
        files = sorted(one.files & other.files)
        copies = sorted(contents[i].keys() & contents[j].keys())
        if shared or clips or files or copies:
            roles = _conflicting_roles(one, other)
            found.append(
                {
                    "splits": [one.title, other.title],
                    "serious": bool(roles),
                    "roles": roles,
                    "videos": len(shared),
                    "clips": len(clips),
                    "files": len(files),
                    "copies": len(copies),
                    "examples": [*clips[:EXAMPLES], *shared[:EXAMPLES]][:EXAMPLES],
                    "same_content": [
                        [str(contents[i][c]), str(contents[j][c])] for c in copies[:EXAMPLES]
                    ],
                }
            )
    return found


def _conflicting_roles(one: _Split, other: _Split) -> list[str]:
    """Return the roles for which two splits must share no video; empty: they may."""
    for pair in DISJOINT:
        for a, b in ((one, other), (other, one)):
            if pair[0] in a.roles and pair[1] in b.roles:
                return [*pair]
    return []


def _digests(files: set[Path]) -> dict[Path, str]:
    """Return the hashes of files with the size of another file; only these can be equal."""
    sizes: dict[int, list[Path]] = {}
    for path in sorted(path for path in files if path.is_file()):  # no members of shards
        sizes.setdefault(os.stat(path).st_size, []).append(path)
    alike = [path for paths in sizes.values() if len(paths) > 1 for path in paths]
    return {path: file_digest(path) for path in alike}


def _is_usable(report: Mapping[str, Any]) -> bool:
    if report["problem"] is not None or not all(check["ok"] for check in report["checks"]):
        return False
    needed = [split for split in report["splits"] if {*split["roles"]} & {*NEEDED}]
    strict = report["policy"] == "fail"
    return all(s["found"] and not (strict and s["lost"]) for s in needed)


def print_data_check(data: Mapping[str, Any]) -> None:
    """Print a table of the splits, one of their media, and all problems."""
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
        for check in (check for check in dataset["checks"] if not check["ok"]):
            said = f"{dataset['key']}: {check['check']}: {check['got']}"
            console.print(Text(said, "bold red"), soft_wrap=True)
            console.print(Text(f"  expected: {check['expected']}"), soft_wrap=True)
        for split in dataset["splits"]:
            _print_losses(console, f"{dataset['key']} {split['split']}", split)
    for overlap in data["overlaps"]:
        style = "bold red" if overlap["serious"] else ""
        console.print(Text(_overlap(overlap), style), soft_wrap=True)
    every = [split for dataset in data["datasets"] for split in dataset["splits"]]
    lost = sum(len(split["lost_clips"]) for split in every)
    losses = f", {lost} of {sum(split['expected'] for split in every)} lost" if lost else ""
    console.print(Text(f"ok{losses}") if data["ok"] else Text(f"not ok{losses}", "bold red"))


def _print_losses(console: Console, name: str, split: Mapping[str, Any]) -> None:
    """Print lost clips by reason, clips used in part, and defects that cost no clip."""
    groups = [(f"lost ({reason})", reason) for reason in split["lost"]]
    groups_of_lines = {
        title: [f"{x['id']}: {x['detail']}" for x in split["lost_clips"] if x["reason"] == reason]
        for title, reason in groups
    }
    if split["decoded"] is not None:
        sound = _listed(split["decoded"]["sound"])
        console.print(Text(f"{name}: decoded; sound: {sound}"), soft_wrap=True)
        notes = split["decoded"]["notes"]
        groups_of_lines["used in part"] = [f"{x['id']}: {x['note']}" for x in notes]
    harmless = [d for d in split["defects"] if not d["clip"]]
    groups_of_lines["noted"] = [f"{d['place']}: {d['problem']}" for d in harmless]
    for title, lines in groups_of_lines.items():
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
    """Print the results of ``avbench data prepare``, and the jobs that are left."""
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
