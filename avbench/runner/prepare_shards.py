"""``avbench data prepare``: writes a split of a dataset as shards, by independent jobs.

A folder of shards contains, for each split::

    plan.json     all settings, and the place of each shard's first clip in the list
    clips.jsonl   the clips of the annotations, one per line
    shards/       000000.tar, and 000000.json with its hash and its clips, …
    stages/       the jobs: each is ``python -m avbench.runner.stage_process stages/…``
    shards.json   every shard's size and hash; written when all are complete
    lost.jsonl    every lost clip with its reason: those of defects.jsonl, which the annotations
                  lost, and those of the shards

Annotations are read once, clip by clip, and no job reads them again. So neither their size nor the
number of jobs matters.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avbench.config.builder import Builder
from avbench.config.data_file import DataSource, file_sources
from avbench.config.strict_yaml import Problems
from avbench.core.code_hash import package_version
from avbench.core.digest import sha256
from avbench.core.errors import DataError, SuiteError, unknown
from avbench.core.job import JOB, RECORD, read_json, write_json
from avbench.core.options import canonical, plain
from avbench.core.paths import cache
from avbench.core.registry import Registry
from avbench.data.annotations.reader import refuse
from avbench.data.annotations.slots import read_evidence
from avbench.data.annotations.strict_json import checked_id
from avbench.data.contracts import Dataset, Defect
from avbench.data.media.recode import Encoding
from avbench.data.media.tar_members import INDEX
from avbench.data.prepared.clips import clip_to_json
from avbench.data.prepared.lost import LOST, LostClip, read_lost
from avbench.data.shards.folder import CLIPS, ShardSums, is_complete, read_index, shard_path
from avbench.data.shards.manifest import FORM, LIST, MANIFEST, PARAGRAPHS, ShardFile, hash_of
from avbench.data.shards.shard import need_webdataset
from avbench.runner.executors.local import LocalExecutor
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.scheduler import Run

DEFECTS = "defects.jsonl"

PLACES = ("root", "shards", "listed", "bytes", "clips")
"""Fields of ``plan.json`` that follow from the others, or may change between runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRequest:
    """The split to prepare, its encoding, and the folder to write."""

    file: Path
    """The data file."""
    dataset: str
    split: str
    out: Path
    """The folder of shards, with a folder for each split."""
    encoding: Encoding

    @property
    def folder(self) -> Path:
        """The folder of the split."""
        return self.out.absolute() / checked_id(self.split, "--split")


def list_shards(request: ShardRequest, registry: Registry) -> Mapping[str, Any]:
    """Read the annotations and list the clips of each shard, unless an earlier run did.

    Returns:
        The contents of ``plan.json``.

    Raises:
        SuiteError: the data file has errors.
        DataError: the dataset, the split or its files have errors, or the folder belongs to a run
            with other settings.
    """
    need_webdataset()
    source = _source(request, registry)
    dataset = source.open(registry)
    if request.split not in dataset.splits():
        raise DataError(f"{source.key}: {unknown('split', request.split, dataset.splits())}")
    roles = [role for role in ("train", "report", "select") if dataset.of(role) == request.split]
    settings = {
        "form": FORM,
        "dataset": source.key,
        "split": request.split,
        "roles": roles,
        "protocol": dataset.protocol,
        "reader": plain(source.reader),
        "fingerprint": dataset.fingerprint(),
        "policy": source.policy,
        "sound": plain(source.sound),
        "clip_seconds": source.clip_seconds,
        "encoding": plain(request.encoding),
        "versions": {name: package_version(name) for name in ("av", "webdataset")},
    }
    known = _known(request.folder, settings)
    if known is not None:
        known = {**known, "root": str(source.root)}
        write_json(request.folder / LIST, known, indent=None)
        return known
    request.folder.mkdir(parents=True, exist_ok=True)
    write_json(request.folder / PARAGRAPHS, plain(dataset.paragraphs(request.split)))
    listing = {**settings, **_list(request, source, dataset), "root": str(source.root)}
    write_json(request.folder / LIST, listing, indent=None)
    return listing


def data_prepare(
    request: ShardRequest,
    registry: Registry,
    *,
    jobs: int,
    workers: int,
    start: bool = True,
    verify: bool = False,
    watch: Callable[[Run], int] = lambda run: run.go(_Silent()),
) -> dict[str, Any]:
    """Write a split's shards.

    Args:
        request: the split, its encoding and its folder.
        registry: the components, for the dataset's reader.
        jobs: number of jobs that share the shards.
        workers: number of jobs that run at once on this machine.
        start: False: only write the jobs, for other machines to run. A further call after they
            have finished writes the manifest.
        verify: True: compare every complete shard with its hash, and rewrite damaged ones.
        watch: runs the jobs and shows their progress.

    Returns:
        ``folder``, ``complete``, ``status`` (as of ``Run.go``), ``failed`` (errors of jobs),
        ``jobs`` (their folders), ``damaged`` (names of damaged shards), and the sums of
        ``shards.folder`` over the complete shards.

    Raises:
        AvbenchError: see ``list_shards``.
    """
    listing = list_shards(request, registry)
    folder, count = request.folder, len(listing["shards"])
    damaged = [n for n in range(count) if verify and _damaged(folder, n)]
    for number in damaged:
        shard_path(folder, number).with_suffix(INDEX).unlink(missing_ok=True)
    stages = _stages(listing, folder, min(jobs, count))
    store = Store(results=folder, cache=cache())
    for stage in stages:
        share = range(stage.spec["job"], count, stage.spec["jobs"])
        if store.done(stage) and not all(is_complete(folder, n) for n in share):
            (store.directory(stage) / RECORD).unlink()
    plan = _plan(listing, stages)
    run = Run(plan, store, LocalExecutor(slots=workers), {"device": "cpu"})
    status = 0
    if start:
        status = watch(run)
    else:
        for stage in stages:
            _write_job(stage, store)
    ready = all(is_complete(folder, n) for n in range(count))
    found = _finish(folder, listing) if ready else _sums(folder, count)
    errors = [r["error"] for s in stages if (r := store.record(s)) and r["error"] is not None]
    return {
        "folder": str(folder),
        "complete": ready,
        "status": status,
        "failed": errors,
        "jobs": [str(store.directory(stage)) for stage in stages],
        "damaged": [shard_path(folder, n).name for n in damaged],
        **found,
    }


def _source(request: ShardRequest, registry: Registry) -> DataSource:
    if not request.file.is_file():
        raise SuiteError(f"data file {request.file}: no such file")
    problems = Problems()
    sources = file_sources(request.file, Builder(registry, problems))
    problems.check()
    if request.dataset not in sources:
        raise SuiteError(f"{request.file}: {unknown('dataset', request.dataset, sources)}")
    return sources[request.dataset]


def _known(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the ``plan.json`` of an earlier run; None: there is none that is complete.

    Raises:
        DataError: the earlier run had other settings.
    """
    try:
        known: dict[str, Any] = read_json(folder / LIST)
        whole = (folder / CLIPS).stat().st_size == known["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    before = {k: v for k, v in known.items() if k not in PLACES}
    if before != plain(settings):
        changed = "".join(f"\n  {line}" for line in _changes(before, plain(settings)))
        raise DataError(
            f"{folder}: was begun with other settings; give another folder, or delete this "
            f"one:{changed}"
        )
    return known if whole else None


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> list[str]:
    """Return one line for each field that differs."""
    lines: list[str] = []
    for key in {**before, **now}:
        one, two = before.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += _changes(one, two, f"{at}{key}.")
        elif one != two:
            lines.append(f"{at}{key}: {json.dumps(one)} before, {json.dumps(two)} now")
    return lines


def _list(request: ShardRequest, source: DataSource, dataset: Dataset) -> dict[str, Any]:
    """Write the list of clips and the clips that the annotations lost.

    Returns:
        ``clips``, ``bytes`` and ``listed`` (number of clips, size and hash of the list), and
        ``shards``: the index and the byte offset of each shard's first clip.

    Raises:
        DataError: a clip is lost, and the dataset's policy is ``fail``.
    """
    shards: list[tuple[int, int]] = []
    digest, count, size, video = hashlib.sha256(), 0, 0, None
    costly: list[Defect] = []
    temporary = request.folder / f".{CLIPS}.{os.getpid()}"
    defects = request.folder / DEFECTS
    with temporary.open("wb") as file, defects.open("w", encoding="utf-8") as gone:
        for item in _clips(request, source, dataset):
            if isinstance(item, Defect):
                gone.write(LostClip.of_defect(item).line())
                costly += [item] if source.policy == "fail" else []
                continue
            full = not shards or count - shards[-1][0] >= request.encoding.clips_per_shard
            if full and item["video"] != video:
                shards.append((count, size))
            line = canonical(item).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count, size, video = count + 1, size + len(line), item["video"]
    refuse(costly, source.policy, f"{source.key}, split '{request.split}'")
    temporary.replace(request.folder / CLIPS)
    return {"clips": count, "bytes": size, "shards": shards, "listed": digest.hexdigest()}


def _clips(
    request: ShardRequest, source: DataSource, dataset: Dataset
) -> Iterator[dict[str, Any] | Defect]:
    """Yield the clips as plain data with their slots, and the defects that cost a clip."""
    root = source.root
    assert root is not None
    evidence = read_evidence(root)
    for item in dataset.iterate(request.split):
        if not isinstance(item, Defect):
            yield clip_to_json(replace(item, slots=evidence.get(item.id, item.slots)), root)
        elif item.clip is not None:
            yield item


def _stages(listing: Mapping[str, Any], folder: Path, jobs: int) -> list[Stage]:
    """Return the jobs as stages whose ids cover everything that their shards depend on."""
    kept = (
        "dataset", "split", "listed", "encoding", "policy", "sound", "clip_seconds", "versions",
    )  # fmt: skip
    stages = []
    for job in range(jobs):
        spec = {**{k: listing[k] for k in kept}, "job": job, "jobs": jobs}
        id_ = hashlib.blake2b(canonical(spec).encode(), digest_size=8).hexdigest()
        local = {"folder": str(folder)}
        stages.append(Stage(id=id_, kind="shards", spec=spec, parents={}, local=local))
    return stages


def _plan(listing: Mapping[str, Any], stages: Sequence[Stage]) -> Plan:
    """Return a plan of the jobs, which runs like a suite's."""
    return Plan(
        suite=f"{listing['dataset']}, {listing['split']}",
        title="",
        preset="",
        data="",
        axes=(),
        datasets=(listing["dataset"],),
        seeds=(),
        table={},
        notes=(),
        trials=(),
        baselines={},
        prepared={},
        stages={stage.id: stage for stage in stages},
    )


def _write_job(stage: Stage, store: Store) -> None:
    """Write a job for another machine to run."""
    folder = store.directory(stage)
    folder.mkdir(parents=True, exist_ok=True)
    job = {"kind": stage.kind, "id": stage.id, "spec": stage.spec, "parents": {}}
    write_json(folder / JOB, {**job, "local": stage.local})


def _sums(folder: Path, count: int) -> dict[str, Any]:
    """Return the sums over the shards that are complete so far."""
    sums = ShardSums()
    for number in range(count):
        index = read_index(folder, number)
        if index is not None:
            sums.add(index)
    return sums.plain()


def _damaged(folder: Path, number: int) -> bool:
    """Return True if a written shard differs from its index."""
    if not is_complete(folder, number):
        return False
    index = read_index(folder, number)
    return index is None or sha256(shard_path(folder, number)) != index["sha256"]


def _finish(folder: Path, listing: Mapping[str, Any]) -> dict[str, Any]:
    """Write the list of lost clips and the manifest, both shard by shard.

    Raises:
        DataError: a shard's size differs from its index.
    """
    sums, files = ShardSums(), []
    temporary = folder / f".{LOST}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as gone:
        for clip in read_lost(folder / DEFECTS):
            sums.add_lost(clip)
            gone.write(clip.line())
        for number in range(len(listing["shards"])):
            shard, index = shard_path(folder, number), read_index(folder, number)
            if index is None:
                raise DataError(
                    f"{shard}: damaged: its size differs from its index; run "
                    "'avbench data prepare' with --verify to rewrite it"
                )
            sums.add(index)
            gone.writelines(LostClip(**item).line() for item in index["lost"])
            files.append(
                ShardFile(
                    name=shard.name,
                    bytes=index["bytes"],
                    sha256=index["sha256"],
                    index=sha256(shard.with_suffix(INDEX)),
                )
            )
    temporary.replace(folder / LOST)
    lost, found = sha256(folder / LOST), sums.plain()
    manifest = {
        **{k: v for k, v in listing.items() if k not in PLACES},
        **found,
        "hash": hash_of(files, lost),
        "lost_sha256": lost,
        "files": [[f.name, f.bytes, f.sha256, f.index] for f in files],
    }
    write_json(folder / MANIFEST, manifest, indent=None)
    return {**found, "hash": manifest["hash"]}


class _Silent:
    """A watcher that shows nothing."""

    def started(self, stages: list[Stage], run: Run) -> None:
        """Do nothing."""

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        """Do nothing."""

    def tick(self, run: Run) -> None:
        """Do nothing."""
