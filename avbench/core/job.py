"""A stage as data: its computation, its folder, and the record that proves it is done.

``job.json`` holds everything that the process ``python -m avbench.runner.stage_process DIR``
needs. ``record.json``, written last and atomically, proves that the stage is done.
"""

import csv
import errno
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avbench.core.errors import AvbenchError, DataError
from avbench.core.options import build
from avbench.core.registry import Registry, load
from avbench.core.visible import brief

NOTICES = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask a stage to leave; schedulers send them before they take a machine away."""

INTERRUPTED = 143
"""Exit status of a stage that left on a notice; a training has saved before."""

LEFT = "left"
"""The last progress note of a training that left on a notice: the launcher's status hides it."""

MINUTE = 60.0
"""Seconds after which a hidden file is nobody's: writing one takes less."""

SHOWN = 120
"""Characters of a parser's own error that a message shows."""

MISSHAPEN = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError),
    csv.Error,
)
"""Errors of code that takes contents to be of the right form."""

JOB, RECORD, PROGRESS, LOG = "job.json", "record.json", "progress.json", "log.txt"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One stage, as the process that runs it sees it."""

    kind: str
    id: str
    spec: Mapping[str, Any]
    """Everything that can change the result; hashed into the id."""
    directory: Path
    parents: Mapping[str, Path] = field(default_factory=dict)
    """Directories of the finished stages that this one reads, by role."""
    local: Mapping[str, Any] = field(default_factory=dict)
    """Settings of this machine that change no result: paths, threads, workers, device."""

    @property
    def registry(self) -> Registry:
        """Every registered component, loaded on first use."""
        if "_registry" not in self.__dict__:
            folder = self.local.get("plugins_dir")
            self.__dict__["_registry"] = load(Path(folder) if folder else None)
        loaded: Registry = self.__dict__["_registry"]
        return loaded

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Report the progress of the stage, and how far it was at the first report.

        The runner and ``avbench status`` show it. A full disk hides it.
        """
        since, first = self.__dict__.setdefault("_first_report", (time.time(), done))
        told = {"done": done, "total": total, "note": note, "since": since, "first": first}
        with suppress(OSError):
            write_json(self.directory / PROGRESS, told)


def read_job(directory: Path) -> Job:
    """Read a stage's ``job.json``.

    Raises:
        DataError: it is damaged.
    """
    path = directory / JOB
    data = read_json(path)
    with as_written(path):
        own = {name: data[name] for name in ("kind", "id", "spec", "parents", "local")}
        return build(Job, {**own, "directory": directory})


def read_json(path: Path) -> Any:
    """Read a JSON file that avbench wrote.

    Raises:
        DataError: the file is no JSON.
        OSError: it cannot be opened.
    """
    with as_written(path):
        return json.loads(path.read_text(encoding="utf-8"))


def read_json_lines(path: Path) -> Iterator[Any]:
    """Yield the values of a file of JSON lines that avbench wrote; see ``read_json``."""
    with as_written(path):
        text = path.read_text(encoding="utf-8")
    # Not splitlines(), because a caption may hold a Unicode line separator.
    for number, line in enumerate(text.split("\n"), start=1):
        if line:
            with as_written(path, f"line {number}"):
                value = json.loads(line)
            yield value


@contextmanager
def as_written(path: Path, place: str = "", hint: str = "") -> Iterator[None]:
    """Refuse a file of avbench's own if its contents are not as avbench writes them.

    Args:
        path: the file, which the body parses.
        place: the part of it that the body parses, for the message.
        hint: an action, for the message.

    Raises:
        DataError: the body met a missing field, or a value of another type or form.
    """
    try:
        yield
    except AvbenchError:
        raise
    except MISSHAPEN as error:
        reason = brief(f"{type(error).__name__}: {error}", SHOWN)
        where = f"{path}: {place}" if place else f"{path}"
        text = f"{where}: is damaged, or not what avbench writes ({reason})"
        raise DataError(f"{text}; {hint}" if hint else text) from error


def remember(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write JSON into the user's cache; a failure costs time later, not results."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value, indent=indent)


def write_json(path: Path, value: Any, *, indent: int | None = 1, durable: bool = False) -> None:
    """Write JSON so that readers see the old file or the new one, never a part.

    Args:
        path: the file.
        value: plain data.
        indent: spaces per level; None: one line.
        durable: True: the file is on disk before it takes its name, so that it also survives a
            power failure.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, ensure_ascii=False), "utf-8")
        if durable:
            sync(temporary)
    if durable:
        sync(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a hidden file, which takes the place of ``path`` at the end.

    If the body fails, the hidden file is removed and ``path`` stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> bool:
    """Wait until a file or a folder is on disk.

    Returns:
        False if its file system cannot tell.

    Raises:
        OSError: the disk is full or broken.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
        return False
    finally:
        os.close(opened)
    return True


def sweep(folder: Path) -> None:
    """Delete the hidden files of ``replacing`` that killed processes left in a folder."""
    for path in folder.glob(".*.*"):
        if path.name.rpartition(".")[2].isdecimal():
            remove_if_older(path, MINUTE)


def remove_if_older(path: Path, seconds: float) -> None:
    """Delete a file that was not written to for some seconds, if it is there."""
    with suppress(OSError):
        if path.is_file() and (not seconds or path.stat().st_mtime < time.time() - seconds):
            path.unlink()
