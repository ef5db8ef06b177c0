"""The stage ``prepare``: decodes the clips of one split of a dataset, in parallel processes.

Work is cut into parts of neighbouring clips. A part that is finished stays finished when the
stage is killed and started again; the output is the same to the byte.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from avbench.data.prepared.clips import CLIPS, LOST, PARAGRAPHS, SPLIT, clip_to_json
from avbench.data.prepared.crash_guard import Outcome
from avbench.data.prepared.lost import loss_of
from avbench.data.prepared.part import Part, Source
from avbench.data.prepared.pool import Crew
from avbench.data.prepared.split import FRAMES, MELS, frames_shape
from avbench.data.settings import SoundPolicy

PART = 32
"""Clips that are decoded, and lost to a kill, together."""

PARTS, PLAN = "parts", "plan.json"

log = logging.getLogger(__name__)


def run(job: Job) -> dict[str, Any]:
    """Decode the split of the job's role.

    Returns:
        ``split``, ``expected``, ``kept``, ``lost`` (by reason), ``sound`` (by state),
        ``partial`` (clips with a defect that did not lose them), ``fingerprint``, ``clips_hash``
        (of all that the annotations and files' places say) and ``list_hash`` (of the clips kept
        and their captions, see ``clip_list_hash``).

    Raises:
        DataError: the annotations are malformed or empty, no clip is usable, or, under a policy
            ``fail``, a clip's annotations are malformed, it cannot be decoded or lacks its sound;
            all such clips are named.
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
        _keep_apart(clips, dataset, where)
    defects = [d for d in dataset.defects(split) if d.clip is not None]
    refuse(defects, job.spec["policy"], where)
    lost = [
        {"id": d.clip, "reason": d.reason, "detail": f"{d.place}: {d.problem}"} for d in defects
    ]
    listed = [clip_to_json(clip, root) for clip in clips]
    clips_hash = hashlib.sha256(canonical(listed).encode()).hexdigest()
    kept, heard, refused = [], [], []
    for i, outcome in enumerate(_decode(job, clips, spec, clips_hash)):
        clip, entry = clips[i], outcome.get("entry")
        loss = loss_of(clip, outcome, sound_policy)
        if loss is None:
            kept.append({**outcome["entry"], "clip": listed[i]})
        else:
            lost.append({"id": clip.id, "reason": loss.reason, "detail": loss.detail})
            log.warning("clip '%s': %s", clip.id, loss.detail)
            if loss.use == "fail" or (entry is None and job.spec["policy"] == "fail"):
                refused.append(f"clip '{clip.id}': {loss.detail}")
        if entry is not None:
            heard.append(str(entry["sound"]))
            for note in entry["notes"]:
                log.warning("clip '%s' (%s): %s", clip.id, clip.media, note)
    if refused:
        said = "".join(f"\n  {line}" for line in refused)
        raise DataError(
            f"{where}: {len(refused)} of {len(clips)} clips cannot be used "
            f"(policy 'fail'; 'skip', or 'drop' for sound, leaves such clips out):{said}"
        )
    reasons = dict(sorted(Counter(str(item["reason"]) for item in lost).items()))
    if not kept:
        raise DataError(
            f"{where}: none of {len(clips)} clips can be used: {reasons}; "
            f"the first: {lost[0]['detail']}"
        )
    _write_lines(job.directory / CLIPS, kept)
    _write_lines(job.directory / LOST, lost)
    write_json(job.directory / PARAGRAPHS, plain(dataset.paragraphs(split)))
    sound = Counter(heard)
    results = {
        "split": split,
        "expected": len(clips) + len(defects),
        "kept": len(kept),
        "lost": reasons,
        "partial": sum(bool(item["notes"]) for item in kept),
        "sound": {state.value: sound[state.value] for state in SoundState},
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
    """The folder of the dataset's files: the user's, or the embedded world's."""
    if "world" in job.parents:
        return (job.parents["world"] / "data" / str(job.spec["dataset"])).absolute()
    return Path(str(job.local["root"])).absolute()


def open_split(job: Job, root: Path) -> tuple[Dataset, str]:
    """The dataset of a prepare job and the split that its role names."""
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


def _keep_apart(clips: Sequence[Clip], dataset: Dataset, where: str) -> None:
    """Refuse clips for selection of videos that are reported on, and clips that are trained on.

    Raises:
        DataError: there are some.
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
                f"'{shared[0]}'. Name another split in the reader's option 'select', or null: "
                "videos of the training split are then kept for selection"
            )


def _decode(
    job: Job, clips: Sequence[Clip], spec: InputSpec, clips_hash: str
) -> Iterator[Mapping[str, Any]]:
    """The outcome of each clip, in order, as parts are finished."""
    directory = job.directory
    seconds = float(job.spec.get("clip_seconds", CLIP_SECONDS))
    plan = {
        "clips": clips_hash,
        "input": spec.stored(),
        "read": job.spec["read"],
        "part": PART,
        "seconds": seconds,
        "media": _stamp(clips),
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
    with Crew[list[Outcome]](int(job.local.get("workers", 2))) as crew:
        for outcomes in crew.map(parts, lambda done: job.progress(done, len(clips), "decoding")):
            yield from outcomes


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


def _stamp(clips: Sequence[Clip]) -> str:
    """A hash of the media files' sizes and times: parts made of other files are not kept."""
    digest = hashlib.sha256()
    for media in sorted({clip.media for clip in clips}):
        try:
            status = media.stat()
            digest.update(f"{media.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        except OSError:
            digest.update(f"{media.name}\0-\0".encode())
    return digest.hexdigest()


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    temporary.replace(path)
