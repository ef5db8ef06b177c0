"""Runs stages: ``python -m avbench.runner.stage_process DIR [DIR …]``.

Each DIR holds its ``job.json``. The record is written last and atomically. What is deterministic
stands under ``results``, all else (time, memory, machine) under ``provenance``.
"""

import importlib
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

from avbench.core.errors import AvbenchError
from avbench.core.job import (
    INTERRUPTED,
    LOG,
    NOTICES,
    RECORD,
    Job,
    read_job,
    read_json,
    write_json,
)
from avbench.core.versions import check_versions
from avbench.runner.lock import StageLock
from avbench.runner.stage_kinds import KINDS

ATTENDED = "--attended"
"""First argument where a runner holds our standard input open and logs are files."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""What the numerical libraries read at their start."""

GRACE = 60.0
"""Seconds that a stage has to save and leave once its runner is gone."""

PATIENCE = 5.0
"""Seconds that the last processes of all our stages, killed a moment ago, have to be gone."""

POLL = 0.1
"""Seconds between looks at whether the launcher is still there."""


def main(arguments: Sequence[str]) -> int:
    """Run stages one after the other.

    Returns:
        0: all are done; 1: some failed, see their records, or another process works on them;
        2: no folder was given, or libraries are not of the tested versions.
    """
    attended = bool(arguments) and arguments[0] == ATTENDED
    folders = [Path(a).resolve() for a in arguments[attended:]]
    if not folders:
        print("usage: python -m avbench.runner.stage_process DIR [DIR …]", file=sys.stderr)
        return 2
    try:
        check_versions()
    except AvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for notice in NOTICES:
        signal.signal(notice, _leave)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        threading.Thread(target=_watch_launcher, args=(os.getppid(),), daemon=True).start()
    if int(os.environ.get("RANK", "0")) > 0:
        return _follow(folders)
    if attended:
        threading.Thread(target=_watch_runner, daemon=True).start()
    locks = {folder: StageLock(folder) for folder in folders}
    deadline = time.monotonic() + PATIENCE
    mine = [f for f in folders if locks[f].acquire(deadline - time.monotonic())]
    for folder in folders:
        if folder not in mine:
            print(f"{folder}: another process is working on this stage", file=sys.stderr)
    jobs = [job for folder in mine if (job := _open(folder)) is not None]
    # Those who share a stage with a process that may not work on it must not wait for it.
    ok = len(mine) == len(folders)
    for together in _groups(jobs):
        if attended:
            _log_to(together[0].directory / LOG)
        ready = [job for job in together if _parents_done(job)]
        ok = (not ready or run_stages(ready)) and len(ready) == len(together) and ok
        for job in together:
            locks[job.directory].release()
    return 0 if ok else 1


def _follow(folders: list[Path]) -> int:
    """The part of a process that is not the first of its stage: it writes nothing."""
    for folder in folders:
        job = _read(folder)
        if job is not None and KINDS[job.kind].distributed:
            _set_threads(int(job.local.get("threads", 1)))
            importlib.import_module(KINDS[job.kind].module).run(job)
    return 0


def _open(folder: Path) -> Job | None:
    """The stage in a folder, ready to be run; None where it is done already."""
    job = _read(folder)
    if job is not None:
        (folder / RECORD).unlink(missing_ok=True)
    return job


def _read(folder: Path) -> Job | None:
    """The stage in a folder; None where it is done already."""
    job = read_job(folder)
    try:
        if read_json(folder / RECORD).get("status") == "done":
            return None
    except (OSError, ValueError):
        pass  # none yet, or one that is damaged
    return replace(job, local={**job.local, "device": _device(job.local.get("device", "cpu"))})


def _parents_done(job: Job) -> bool:
    """Whether all that a stage reads is there; a stage before it may have failed."""
    for role, parent in job.parents.items():
        if not (parent / RECORD).exists() or read_json(parent / RECORD)["status"] != "done":
            print(f"{job.directory}: {role} is not done: {parent}", file=sys.stderr)
            return False
    return True


def _groups(jobs: list[Job]) -> list[list[Job]]:
    """The stages that their module runs together, and each of the others alone."""
    groups: list[list[Job]] = []
    for kind, alike in groupby(jobs, key=lambda job: job.kind):
        members = list(alike)
        groups.extend([members] if KINDS[kind].has_run_many else [[job] for job in members])
    return groups


def run_stages(jobs: list[Job]) -> bool:
    """Run stages of one kind; several only where its module has ``run_many``.

    Returns:
        Whether all are done.
    """
    kind = KINDS[jobs[0].kind]
    started = datetime.now(UTC).isoformat(timespec="seconds")
    begin = time.monotonic()
    outcomes: list[dict[str, Any] | Exception]
    try:
        _set_threads(int(jobs[0].local.get("threads", 1)))
        module = importlib.import_module(kind.module)
        outcomes = module.run_many(jobs) if kind.has_run_many else [module.run(jobs[0])]
    except Exception as problem:
        outcomes = [problem] * len(jobs)
    seconds = (time.monotonic() - begin) / len(jobs)
    for job, outcome in zip(jobs, outcomes, strict=True):
        provenance = _provenance(job, started, seconds) | {"processed_together": len(jobs)}
        if isinstance(outcome, Exception):
            error = _explain(outcome, job.directory / LOG)
            write_record(job.directory, job, results={}, error=error, provenance=provenance)
        else:
            write_record(job.directory, job, results=outcome, error=None, provenance=provenance)
            for name in kind.dropped_folders:
                shutil.rmtree(job.directory / name, ignore_errors=True)
    return not any(isinstance(outcome, Exception) for outcome in outcomes)


def _explain(problem: Exception, log: Path) -> str:
    """A failure in a line or so; the rest of it goes into the stage's log."""
    if isinstance(problem, AvbenchError):
        error, text = str(problem), f"error: {problem}\n"
    else:
        error = f"{type(problem).__name__}: {problem}"
        text = "".join(traceback.format_exception(problem))
    sys.stderr.write(text)
    sys.stderr.flush()
    if not log.exists() or not os.path.samestat(os.fstat(2), log.stat()):
        with log.open("a", encoding="utf-8") as file:
            file.write(text)
    return error


def write_record(
    folder: Path,
    job: Job,
    *,
    results: dict[str, Any],
    error: str | None,
    provenance: dict[str, Any],
) -> None:
    """Write ``record.json``, the proof that a stage came to its end, good or bad."""
    write_json(
        folder / RECORD,
        {
            "kind": job.kind,
            "id": job.id,
            "status": "done" if error is None else "failed",
            "spec": job.spec,
            "parents": {role: path.name for role, path in job.parents.items()},
            "results": results,
            "error": error,
            "provenance": provenance,
        },
    )


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """On a notice: unwind, so that workers and files are closed. Training saves by itself."""
    raise SystemExit(INTERRUPTED)


def _watch_runner() -> None:
    """Leave when the runner is gone, however it went: our standard input is then at its end."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # A runner would end a stage that does not leave in time; there is none any more.
    time.sleep(GRACE)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _watch_launcher(launcher: int) -> None:
    """Die with torchrun: killed, it leaves us behind, each in a session of its own.

    We would hold the stage, and write to it, while whoever starts it again waits for us.
    """
    while os.getppid() == launcher:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def _log_to(path: Path) -> None:
    """Send standard output and error, also that of child processes, to the stage's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _set_threads(threads: int) -> None:
    """Threads of one operator, by what numerical libraries read when they are imported.

    Results may depend on their number, so one is the default.
    """
    for name in THREADS:
        os.environ[name] = str(threads)


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _provenance(job: Job, started: str, wall: float) -> dict[str, Any]:
    """What the record says about how the result came about."""
    scale = 1 if sys.platform == "darwin" else 1024
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    peaks = [
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return {
        "started": started,
        "wall_s": round(wall, 3),
        "peak_memory_mb": round(peaks[0] * scale / 2**20),
        "peak_memory_child_mb": round(peaks[1] * scale / 2**20),
        "seed": job.spec.get("seed"),
        "threads": int(job.local.get("threads", 1)),
        "device": job.local.get("device"),
        "processes": processes,
        "strategy": job.local.get("strategy", "ddp") if processes > 1 else None,
        "workers": int(job.local.get("workers", 0)),
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
        },
        "python": platform.python_version(),
        "versions": _versions(job.kind),
        "commit": _commit(),
    }


def _versions(kind: str) -> dict[str, str]:
    versions = {}
    for name in ("avbench", *KINDS[kind].versions):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _commit() -> str | None:
    """The git commit of the checkout that avbench runs from, if it does."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
