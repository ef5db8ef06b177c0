"""Stage ``prepare``: decode the clips of one split of a dataset in parallel processes.

The split is cut into parts of neighbouring clips. A killed stage keeps its finished parts and
resumes to the same output, to the byte.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import Job, write_json
from avbench.core.options import build, canonical, make, plain
from avbench.core.types import Clip, InputSpec, SoundState
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.annotations.reader import refuse
from avbench.data.annotations.slots import read_evidence
from avbench.data.contracts import Dataset
from avbench.data.media.container import CLIP_SECONDS
from avbench.data.prepared.clips import CLIPS, PARAGRAPHS, SPLIT, clip_to_json
from avbench.data.prepared.lost import LOST, ClipResult, LostClip, LostClips, count_reasons
from avbench.data.prepared.part import Part, Source
from avbench.data.prepared.pool import WorkerPool
from avbench.data.prepared.split import FRAMES, MELS, frames_shape
from avbench.data.settings import SoundPolicy

PART = 32
"""Clips in a part; a kill costs the unfinished parts."""

PARTS, PLAN = "parts", "plan.json"

log = logging.getLogger(__name__)


def run(job: Job) -> dict[str, Any]:
    """Decode the split of the job's role.

    Returns:
        ``split``, ``expected``, ``kept``, ``lost`` (by reason), ``sound`` (by state),
        ``partial`` (clips kept despite a defect), ``fingerprint``, ``clips_hash`` (of all
        annotations and paths) and ``list_hash`` (of the clips kept and their captions, see
        ``clip_list_hash``).

    Raises:
        DataError: the annotations are malformed or empty, no clip is usable, or a policy
            ``fail`` refuses clips that are malformed, cannot be decoded or lack sound; the
            message names them all.
    """
    spec = build(InputSpec, job.spec["input"])
    sound_policy = build(SoundPolicy, job.spec.get("sound", {}))
    root = root_of(job)
    dataset, split = open_split(job, root)
    where = f"{job.spec['dataset']}, split '{split}'"
    evidence = read_evidence(root)
    clips = [replace(c, slots=evidence.get(c.id, c.slots)) for c in dataset.clips(split)]
    _check(clips, where)
    if job.spec["role"] == "select":
        _check_selection(clips, dataset, where)
    defects = [d for d in dataset.defects(split) if d.clip is not None]
    refuse(defects, job.spec["policy"], where)
    left_out = LostClips(job.spec["policy"], sound_policy)
    left_out.lost += map(LostClip.of_defect, defects)
    listed = [clip_to_json(clip, root) for clip in clips]
    clips_hash = hashlib.sha256(canonical(listed).encode()).hexdigest()
    kept, states = [], Counter[str]()
    for i, result in enumerate(_decode(job, clips, spec, clips_hash)):
        clip, entry = clips[i], result.get("entry")
        if left_out.keep(clip, result):
            kept.append({**result["entry"], "clip": listed[i]})
        if entry is not None:
            states[str(entry["sound"])] += 1
            for note in entry["notes"]:
                log.warning("clip '%s' (%s): %s", clip.id, clip.media, note)
    left_out.check(where, f"{len(clips)} clips")
    lost = count_reasons(left_out.lost)
    if not kept:
        raise DataError(
            f"{where}: none of {len(clips)} clips can be used: {lost}; "
            f"the first: {left_out.lost[0].detail}"
        )
    _write_lines(job.directory / CLIPS, (json.dumps(x, ensure_ascii=False) + "\n" for x in kept))
    _write_lines(job.directory / LOST, (clip.line() for clip in left_out.lost))
    write_json(job.directory / PARAGRAPHS, plain(dataset.paragraphs(split)))
    results = {
        "split": split,
        "expected": len(clips) + len(defects),
        "kept": len(kept),
        "lost": lost,
        "partial": sum(bool(item["notes"]) for item in kept),
        "sound": {state.value: states[state.value] for state in SoundState},
        "fingerprint": job.spec["fingerprint"],
        "clips_hash": clips_hash,
        "list_hash": clip_list_hash(
            {str(item["clip"]["id"]): item["clip"]["captions"] for item in kept}
        ),
    }
    write_json(
        job.directory / SPLIT,
        {
            **results,
            "role": job.spec["role"],
            "rows": len(clips),
            "protocol": dataset.protocol,
            "input": spec.stored(),
            "read": job.spec["read"],
            "root": str(root),
        },
    )
    return results


def root_of(job: Job) -> Path:
    """Return the folder of the dataset's files: the user's, or the embedded world's."""
    if "world" in job.parents:
        return (job.parents["world"] / "data" / str(job.spec["dataset"])).absolute()
    return Path(str(job.local["root"])).absolute()


def open_split(job: Job, root: Path) -> tuple[Dataset, str]:
    """Return the dataset of a prepare job, and the split of its role.

    Raises:
        DataError: the files changed since the plan, or the role has no split.
    """
    reader, role = job.spec["reader"], job.spec["role"]
    component = job.registry.get("datasets", reader["name"])
    dataset: Dataset = make(component, {**reader["options"], "root": str(root)})
    known = job.spec["fingerprint"]
    if known and dataset.fingerprint() != known:
        raise DataError(f"{root}: the files changed after the suite was planned; plan it again")
    split = dataset.of(role)
    if split is None:
        raise DataError(f"dataset '{job.spec['dataset']}' has no split for the role '{role}'")
    return dataset, split


def _check(clips: Sequence[Clip], where: str) -> None:
    if not clips:
        raise DataError(f"{where}: holds no clips")
    twice = [id_ for id_, count in Counter(clip.id for clip in clips).items() if count > 1]
    if twice:
        raise DataError(f"{where}: {len(twice)} clip ids come more than once, e.g. '{twice[0]}'")


def _check_selection(clips: Sequence[Clip], dataset: Dataset, where: str) -> None:
    """Refuse clips for selection that share a video with reporting or an id with training.

    Raises:
        DataError: some do.
    """
    for role in ("report", "train"):
        other = dataset.of(role)
        if other is None:
            continue
        what = "video" if role == "report" else "id"
        mine = {str(getattr(clip, what)) for clip in clips}
        shared = sorted(mine & {str(getattr(clip, what)) for clip in dataset.clips(other)})
        if shared:
            raise DataError(
                f"{where}: its clips are for selection, and {len(shared)} of its {len(mine)} "
                f"{what}s are in the split '{other}' too, which is for the role '{role}', e.g. "
                f"'{shared[0]}'. Name another split in the reader's option 'select', or set it to "
                "null to keep videos of the training split for selection"
            )


def _decode(
    job: Job, clips: Sequence[Clip], spec: InputSpec, clips_hash: str
) -> Iterator[ClipResult]:
    """Yield the result of each clip, in order, as parts finish."""
    directory = job.directory
    seconds = float(job.spec.get("clip_seconds", CLIP_SECONDS))
    plan = {
        "clips": clips_hash,
        "input": spec.stored(),
        "read": job.spec["read"],
        "part": PART,
        "seconds": seconds,
        "media": _media_hash(clips),
    }
    _resume(directory, plan, len(clips), spec)
    parts = [
        Part(
            directory=directory,
            result=directory / PARTS / f"{first:08d}.json",
            first=first,
            sources=[
                Source(media=c.media, start=c.start, end=c.end)
                for c in clips[first : first + PART]
            ],
            input=spec,
            read=job.spec["read"],
            seconds=seconds,
        )
        for first in range(0, len(clips), PART)
    ]
    with WorkerPool[list[ClipResult]](int(job.local.get("workers", 2))) as pool:
        for results in pool.map(parts, lambda done: job.progress(done, len(clips), "decoding")):
            yield from results


def _resume(directory: Path, plan: dict[str, Any], clips: int, spec: InputSpec) -> None:
    """Keep the finished parts of an equal plan; otherwise start with empty arrays."""
    parts = directory / PARTS
    known = parts / PLAN
    if known.exists() and json.loads(known.read_text(encoding="utf-8")) == plan:
        return
    parts.mkdir(parents=True, exist_ok=True)
    for old in parts.iterdir():
        old.unlink()
    frames = 1
    for axis in frames_shape(clips, spec):
        frames *= axis
    sizes = {FRAMES: frames, MELS: clips * spec.mel_frames * spec.mel_bins * 4}
    for name, size in sizes.items():
        (directory / name).unlink(missing_ok=True)
        if plan["read"] == "stored":
            with (directory / name).open("wb") as file:
                os.truncate(file.fileno(), size)
    write_json(known, plan)


def _media_hash(clips: Sequence[Clip]) -> str:
    """Hash the media files' sizes and times, so that changed files are decoded again."""
    digest = hashlib.sha256()
    for media in sorted({clip.media for clip in clips}):
        try:
            status = media.stat()
            digest.update(f"{media.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        except OSError:
            digest.update(f"{media.name}\0-\0".encode())
    return digest.hexdigest()


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    temporary.replace(path)
