"""``avbench data prepare``: a split of a dataset into shards, by independent jobs.

A folder of shards holds, for each split::

    plan.json     how it is made, and where each shard's clips begin in the list
    clips.jsonl   the clips of the annotations, one a line
    shards/       000000.tar, and 000000.json with its hash and its clips, …
    stages/       the jobs: each is ``python -m avbench.runner.stage_process stages/…``
    shards.json   every shard's size and hash; written when all are complete
    lost.jsonl    every clip that was left out, with its reason; those of defects.jsonl, which
                  the annotations lost, and the shards'

Annotations are read once, clip by clip, and no job reads them again, so that neither their size
nor the number of jobs matters.
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
"""What of a plan follows from the rest, or may change from one run to the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be prepared, and where."""

    file: Path
    """The data file."""
    dataset: str
    split: str
    out: Path
    """The folder of shards; each split has its own within."""
    encoding: Encoding

    @property
    def folder(self) -> Path:
        """The folder of the split."""
        return self.out.absolute() / checked_id(self.split, "--split")


def plan_shards(order: Order, registry: Registry) -> Mapping[str, Any]:
    """Read the annotations and list the clips of each shard, unless that was done before.

    Raises:
        SuiteError: the data file is at fault.
        DataError: the dataset, the split or its files are, or the folder was begun otherwise.
    """
    need_webdataset()
    source = _source(order, registry)
    dataset = source.open(registry)
    if order.split not in dataset.splits():
        raise DataError(f"{source.key}: {unknown('split', order.split, dataset.splits())}")
    roles = [role for role in ("train", "report", "select") if dataset.of(role) == order.split]
    asked = {
        "form": FORM,
        "dataset": source.key,
        "split": order.split,
        "roles": roles,
        "protocol": dataset.protocol,
        "reader": plain(source.reader),
        "fingerprint": dataset.fingerprint(),
        "policy": source.policy,
        "sound": plain(source.sound),
        "clip_seconds": source.clip_seconds,
        "encoding": plain(order.encoding),
        "versions": {name: package_version(name) for name in ("av", "webdataset")},
    }
    known = _known(order.folder, asked)
    if known is not None:
        known = {**known, "root": str(source.root)}
        write_json(order.folder / LIST, known, indent=None)
        return known
    order.folder.mkdir(parents=True, exist_ok=True)
    write_json(order.folder / PARAGRAPHS, plain(dataset.paragraphs(order.split)))
    plan = {**asked, **_list(order, source, dataset), "root": str(source.root)}
    write_json(order.folder / LIST, plan, indent=None)
    return plan


def data_prepare(
    order: Order,
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
        order: what, where and how.
        registry: the readers.
        jobs: among how many jobs the shards are divided.
        workers: how many run at once on this machine.
        start: False: the jobs are only laid down, for other machines to run; called again when
            they have, this writes the manifest.
        verify: whether to compare every complete shard with its hash, and write those anew that
            are damaged.
        watch: lets the jobs run, and shows them.

    Returns:
        ``folder``, ``complete``, ``status`` (as of ``Run.go``), ``failed`` (each job's error),
        ``jobs`` (their folders), ``damaged`` (shards that were found so), and the sums of
        ``folder.Tally`` over what is complete.

    Raises:
        AvbenchError: see ``plan_shards``.
    """
    plan = plan_shards(order, registry)
    folder, count = order.folder, len(plan["shards"])
    damaged = [n for n in range(count) if verify and _damaged(folder, n)]
    for number in damaged:
        shard_path(folder, number).with_suffix(INDEX).unlink(missing_ok=True)
    stages = _stages(plan, folder, min(jobs, count))
    store = Store(results=folder, cache=cache())
    for stage in stages:
        share = range(stage.spec["job"], count, stage.spec["jobs"])
        if store.done(stage) and not all(is_complete(folder, n) for n in share):
            (store.directory(stage) / RECORD).unlink()
    run = Run(_graph(plan, stages), store, LocalExecutor(slots=workers), {"device": "cpu"})
    status = 0
    if start:
        status = watch(run)
    else:
        for stage in stages:
            _lay_down(stage, store)
    ready = all(is_complete(folder, n) for n in range(count))
    found = _finish(folder, plan) if ready else _so_far(folder, count)
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


def _source(order: Order, registry: Registry) -> DataSource:
    if not order.file.is_file():
        raise SuiteError(f"data file {order.file}: no such file")
    problems = Problems()
    sources = file_sources(order.file, Builder(registry, problems))
    problems.check()
    if order.dataset not in sources:
        raise SuiteError(f"{order.file}: {unknown('dataset', order.dataset, sources)}")
    return sources[order.dataset]


def _known(folder: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The plan of an earlier run; None: there is none.

    Raises:
        DataError: it was made otherwise.
    """
    try:
        known: dict[str, Any] = read_json(folder / LIST)
        whole = (folder / CLIPS).stat().st_size == known["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    before = {k: v for k, v in known.items() if k not in PLACES}
    if before != plain(asked):
        changed = "".join(f"\n  {line}" for line in _changes(before, plain(asked)))
        raise DataError(
            f"{folder}: was begun otherwise; give another folder, or delete this one:{changed}"
        )
    return known if whole else None


def _changes(before: Mapping[str, Any], asked: Mapping[str, Any], at: str = "") -> list[str]:
    """What differs, one line a field."""
    lines: list[str] = []
    for key in {**before, **asked}:
        one, two = before.get(key), asked.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            lines += _changes(one, two, f"{at}{key}.")
        elif one != two:
            lines.append(f"{at}{key}: {json.dumps(one)} before, {json.dumps(two)} now")
    return lines


def _list(order: Order, source: DataSource, dataset: Dataset) -> dict[str, Any]:
    """Write the list of clips; where each shard begins in it, and what is lost already."""
    shards: list[tuple[int, int]] = []
    digest, count, size, video = hashlib.sha256(), 0, 0, None
    costly: list[Defect] = []
    temporary = order.folder / f".{CLIPS}.{os.getpid()}"
    defects = order.folder / DEFECTS
    with temporary.open("wb") as file, defects.open("w", encoding="utf-8") as gone:
        for item in _listed(order, source, dataset):
            if isinstance(item, Defect):
                gone.write(LostClip.of_defect(item).line())
                costly += [item] if source.policy == "fail" else []
                continue
            full = not shards or count - shards[-1][0] >= order.encoding.clips_per_shard
            if full and item["video"] != video:
                shards.append((count, size))
            line = canonical(item).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count, size, video = count + 1, size + len(line), item["video"]
    refuse(costly, source.policy, f"{source.key}, split '{order.split}'")
    temporary.replace(order.folder / CLIPS)
    return {"clips": count, "bytes": size, "shards": shards, "listed": digest.hexdigest()}


def _listed(
    order: Order, source: DataSource, dataset: Dataset
) -> Iterator[dict[str, Any] | Defect]:
    """The clips as plain data with what is known of each, and the defects that cost one."""
    root = source.root
    assert root is not None
    evidence = read_evidence(root)
    for item in dataset.iterate(order.split):
        if not isinstance(item, Defect):
            yield clip_to_json(replace(item, slots=evidence.get(item.id, item.slots)), root)
        elif item.clip is not None:
            yield item


def _stages(plan: Mapping[str, Any], folder: Path, jobs: int) -> list[Stage]:
    """The jobs, as stages whose ids say all that their shards depend on."""
    kept = (
        "dataset", "split", "listed", "encoding", "policy", "sound", "clip_seconds", "versions",
    )  # fmt: skip
    stages = []
    for job in range(jobs):
        spec = {**{k: plan[k] for k in kept}, "job": job, "jobs": jobs}
        id_ = hashlib.blake2b(canonical(spec).encode(), digest_size=8).hexdigest()
        local = {"folder": str(folder)}
        stages.append(Stage(id=id_, kind="shards", spec=spec, parents={}, local=local))
    return stages


def _graph(plan: Mapping[str, Any], stages: Sequence[Stage]) -> Plan:
    """The jobs as a plan that can be run like a suite's."""
    return Plan(
        suite=f"{plan['dataset']}, {plan['split']}",
        title="",
        preset="",
        data="",
        axes=(),
        datasets=(plan["dataset"],),
        seeds=(),
        table={},
        notes=(),
        trials=(),
        baselines={},
        prepared={},
        stages={stage.id: stage for stage in stages},
    )


def _lay_down(stage: Stage, store: Store) -> None:
    """Write a job for another machine to run."""
    folder = store.directory(stage)
    folder.mkdir(parents=True, exist_ok=True)
    job = {"kind": stage.kind, "id": stage.id, "spec": stage.spec, "parents": {}}
    write_json(folder / JOB, {**job, "local": stage.local})


def _so_far(folder: Path, count: int) -> dict[str, Any]:
    """The sums over the shards that are written."""
    sums = ShardSums()
    for number in range(count):
        index = read_index(folder, number)
        if index is not None:
            sums.add(index)
    return sums.plain()


def _damaged(folder: Path, number: int) -> bool:
    """Whether a shard that was written is not what its index says."""
    if not is_complete(folder, number):
        return False
    index = read_index(folder, number)
    return index is None or sha256(shard_path(folder, number)) != index["sha256"]


def _finish(folder: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Write the list of what is lost, and the manifest; both shard by shard.

    Raises:
        DataError: a shard is not of the size that its index says.
    """
    sums, files = ShardSums(), []
    temporary = folder / f".{LOST}.{os.getpid()}"
    with temporary.open("w", encoding="utf-8") as gone:
        for clip in read_lost(folder / DEFECTS):
            sums.add_lost(clip)
            gone.write(clip.line())
        for number in range(len(plan["shards"])):
            shard, index = shard_path(folder, number), read_index(folder, number)
            if index is None:
                raise DataError(
                    f"{shard}: damaged: its size is not what its index says; run "
                    "'avbench data prepare' with --verify to write it anew"
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
        **{k: v for k, v in plan.items() if k not in PLACES},
        **found,
        "hash": hash_of(files, lost),
        "lost_sha256": lost,
        "files": [[f.name, f.bytes, f.sha256, f.index] for f in files],
    }
    write_json(folder / MANIFEST, manifest, indent=None)
    return {**found, "hash": manifest["hash"]}


class _Silent:
    """Shows nothing."""

    def started(self, stages: list[Stage], run: Run) -> None:
        """Nothing."""

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        """Nothing."""

    def tick(self, run: Run) -> None:
        """Nothing."""
