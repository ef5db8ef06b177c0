"""Records of stages: written last and durably, with the outputs' sizes and hashes.

A record proves that a stage is done only while its outputs are what it says. Their sizes are
compared whenever a record is read. Their contents are compared once a run is about to use them;
the hashes of large files are cached by size, times and inode (``core.digest``), so that a run
reads again only what changed. Records without ``outputs`` were written before; they stay valid.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from avbench.core.digest import file_digest
from avbench.core.errors import DataError
from avbench.core.job import (
    JOB,
    LOG,
    MINUTE,
    PROGRESS,
    RECORD,
    Job,
    read_json,
    remove_if_older,
    sync,
    write_json,
)
from avbench.runner.lock import LOCK
from avbench.runner.stage_kinds import KINDS

Record = Mapping[str, Any]

FIELDS: Mapping[str, Any] = {"kind": str, "id": str, "results": Mapping, "provenance": Mapping}
"""Fields that every record has, besides ``status`` and ``error``."""

NO_OUTPUTS = (JOB, LOG, PROGRESS, RECORD, LOCK)
"""Files of a stage's folder that the stage's result does not consist of."""

KEPT = (JOB, LOG, LOCK)
"""Files that stay when a damaged stage is done again."""


class Finding(NamedTuple):
    """The record of a stage, as far as it can be relied on."""

    record: Record | None
    """None: there is none, or it proves nothing."""
    damage: str = ""
    """The reason why a record proves nothing; empty: there is none."""
    gone: bool = False
    """True if the damage is that an output was deleted: it need not be made while no stage reads
    it."""

    @property
    def done(self) -> bool:
        """True if the stage has finished without error."""
        return self.record is not None and self.record["status"] == "done"


class Findings(dict[str, Finding]):
    """The findings on the stages of a plan that have a folder, by id."""

    @property
    def done(self) -> set[str]:
        """The ids of the stages that are done."""
        return {id_ for id_, found in self.items() if found.done}

    @property
    def changed(self) -> set[str]:
        """The ids of the stages to do again even if no other stage reads them."""
        return {id_ for id_, found in self.items() if found.damage and not found.gone}

    def damage(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the damage of those of the stages that are damaged, by id."""
        return {id_: self[id_].damage for id_ in ids if id_ in self and self[id_].damage}


def write(
    folder: Path,
    job: Job,
    *,
    results: Mapping[str, Any],
    error: str | None,
    provenance: Mapping[str, Any],
) -> None:
    """Write ``record.json``: the stage has ended, well or with an error.

    Temporary files are removed first. The outputs of a finished stage are on disk before its
    record is.

    Raises:
        OSError: the disk is full or broken.
    """
    for stray in folder.glob(".*"):  # of killed processes; a runner may be writing ``job.json``
        remove_if_older(stray, MINUTE if stray.name.startswith(f".{JOB}.") else 0.0)
    record = {
        "kind": job.kind,
        "id": job.id,
        "status": "done" if error is None else "failed",
        "spec": job.spec,
        "parents": {role: path.name for role, path in job.parents.items()},
        "results": results,
        "error": error,
        "provenance": provenance,
    }
    if error is None:
        record["outputs"] = dict(_sealed(folder, job.kind))
    write_json(folder / RECORD, record, durable=True)


def examine(folder: Path, *, contents: bool = False) -> Finding:
    """Read a stage's record, and compare the outputs with it.

    Args:
        folder: the stage's folder.
        contents: True: compare the outputs' hashes too, not their sizes alone.
    """
    try:
        record = read_json(folder / RECORD)
    except (FileNotFoundError, NotADirectoryError):
        return Finding(None)
    except (OSError, DataError) as error:
        return Finding(None, f"{RECORD} cannot be read: {_reason(error.__cause__ or error)}")
    wrong = _wrong(record)
    if wrong:
        return Finding(None, f"{RECORD} is not a record: {wrong}")
    for name, (size, sha256) in record.get("outputs", {}).items():
        try:
            damage = _damage(folder / name, size, sha256 if contents else None)
        except (FileNotFoundError, NotADirectoryError):
            return Finding(None, f"{name} is missing", gone=True)
        if damage:
            return Finding(None, f"{name} {damage}")
    return Finding(record)


def clear(folder: Path) -> None:
    """Delete what a damaged stage left, so that nothing of it is taken up again."""
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _wrong(record: Any) -> str:
    """Return the first reason why data are no record; empty: they are one."""
    if not isinstance(record, Mapping):
        return f"expected an object, got {type(record).__name__}"
    for name, kind in FIELDS.items():
        if not isinstance(record.get(name), kind):
            return f"{name} is missing" if name not in record else f"{name} is {record[name]!r}"
    status, error = record.get("status"), record.get("error")
    if status not in ("done", "failed") or isinstance(error, str) != (status == "failed"):
        return f"status is {status!r} and error is {error!r}"
    outputs = record.get("outputs", {})
    pairs = outputs.values() if isinstance(outputs, Mapping) else [None]
    for pair in pairs:
        match pair:
            case [int(), str()]:
                continue
        return "outputs are not sizes and hashes by name"
    return ""


def _damage(path: Path, size: int, sha256: str | None) -> str:
    """Return the difference of a file from its record; empty: there is none.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found} of {size} bytes"
        changed = sha256 is not None and file_digest(path) != sha256
        return "has other contents than its record says" if changed else ""
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        return f"cannot be read: {_reason(error)}"


def _sealed(folder: Path, kind: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Yield name, size and SHA-256 of each output, once it is on disk."""
    working = (*KINDS[kind].dropped_folders, *KINDS[kind].working_folders)
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or str(place) in NO_OUTPUTS or place.parts[0] in working or path.is_dir():
            continue
        sync(path)
        yield str(place), (path.stat().st_size, file_digest(path))


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}".splitlines()[0]
