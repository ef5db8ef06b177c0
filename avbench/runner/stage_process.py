"""Runs stages: ``python -m avbench.runner.stage_process DIR [DIR …]``.

Each DIR holds its ``job.json``. The record is written last and atomically. Deterministic results
stand under ``results``, all else (time, memory, machine) under ``provenance``.
"""

import errno
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
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

from avbench.core.environment import whole_number
from avbench.core.errors import AvbenchError, PluginError
from avbench.core.job import INTERRUPTED, LOG, NOTICES, RECORD, Job, read_job
from avbench.core.versions import check_versions
from avbench.core.visible import tolerate_output
from avbench.runner import stage_record
from avbench.runner.lock import StageLock
from avbench.runner.stage_kinds import KINDS

ATTENDED = "--attended"
"""First argument if a runner holds standard input open and output goes to log files."""

VERIFY = "verify"
"""Field of a job's ``local``: True if the outputs of an earlier, finished process of the stage are
damaged, or were, so that their contents must be compared with their record."""

OUT_OF_MEMORY = "out of memory: "
"""Beginning of the error of a stage that lacked memory; the runner tries it once more, alone."""

ERROR_LENGTH = 20_000
"""Characters of an error that a record keeps."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
"""Environment variables that numerical libraries read when they are imported."""

GRACE = 60.0
"""Seconds that a stage has to save and exit once its runner is gone."""

PATIENCE = 5.0
"""Seconds to wait for the locks of stages whose earlier processes have just been killed."""

POLL = 0.1
"""Seconds between checks that the launcher is alive."""


def main(arguments: Sequence[str]) -> int:
    """Run stages one after the other.

    Returns:
        0: all are done; 1: some failed (see their records) or belong to another process;
        2: no folder was given, a library has a version that was not tested, or the folders'
        file system has no locks.
    """
    tolerate_output()
    attended = bool(arguments) and arguments[0] == ATTENDED
    folders = [Path(a).resolve() for a in arguments[attended:]]
    if not folders:
        print("usage: python -m avbench.runner.stage_process DIR [DIR …]", file=sys.stderr)
        return 2
    for notice in NOTICES:
        signal.signal(notice, _exit_on_notice)
    try:
        check_versions()
        return _run_folders(folders, attended=attended)
    except AvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run_folders(folders: list[Path], *, attended: bool) -> int:
    """Run the stages of folders; return 0 if all are done, else 1."""
    if whole_number("WORLD_SIZE", 1) > 1:
        threading.Thread(target=_watch_launcher, args=(os.getppid(),), daemon=True).start()
    if whole_number("RANK", 0) > 0:
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
    # A stage that another process holds counts as failed here: nobody must wait for us to run it.
    ok = len(mine) == len(folders)
    for group in _groups(jobs):
        if attended:
            log_to(group[0].directory / LOG)
        ready = [job for job in group if _parents_done(job)]
        ok = (not ready or run_stages(ready)) and len(ready) == len(group) and ok
        for job in group:
            locks[job.directory].release()
    return 0 if ok else 1


def _follow(folders: list[Path]) -> int:
    """Run stages in a process of rank above 0, which writes no record."""
    for folder in folders:
        job, _ = _read(folder)
        if job is not None and KINDS[job.kind].distributed:
            _set_threads(int(job.local.get("threads", 1)))
            importlib.import_module(KINDS[job.kind].module).run(job)
    return 0


def _open(folder: Path) -> Job | None:
    """Return the job in a folder and delete its old record; None if the stage is done.

    Nothing of a stage that is damaged is taken up again.
    """
    job, found = _read(folder)
    if found.damage:
        print(f"{folder}: {found.damage}; the stage is done again", file=sys.stderr)
        stage_record.clear(folder)
    if job is not None:
        (folder / RECORD).unlink(missing_ok=True)
    return job


def _read(folder: Path) -> tuple[Job | None, stage_record.Finding]:
    """Return the job in a folder, None if the stage is done, and the finding on its record."""
    job = read_job(folder)
    found = stage_record.examine(folder, contents=bool(job.local.get(VERIFY)))
    device = _device(job.local.get("device", "cpu"))
    return None if found.done else replace(job, local={**job.local, "device": device}), found


def _parents_done(job: Job) -> bool:
    """Return True if all parents of a stage are done; an earlier one may have failed."""
    for role, parent in job.parents.items():
        found = stage_record.examine(parent)
        if not found.done:
            why = f": {found.damage}" if found.damage else ""
            print(f"{job.directory}: {role} is not done: {parent}{why}", file=sys.stderr)
            return False
    return True


def _groups(jobs: list[Job]) -> list[list[Job]]:
    """Group stages that their module runs in one call; every other stage is a group."""
    groups: list[list[Job]] = []
    for kind, alike in groupby(jobs, key=lambda job: job.kind):
        members = list(alike)
        groups.extend([members] if KINDS[kind].has_run_many else [[job] for job in members])
    return groups


def run_stages(jobs: list[Job]) -> bool:
    """Run stages of one kind; several only if its module has ``run_many``.

    Returns:
        True if all are done.
    """
    kind = KINDS[jobs[0].kind]
    start_time = datetime.now(UTC).isoformat(timespec="seconds")
    begin = time.monotonic()
    outcomes: list[dict[str, Any] | Exception]
    try:
        _set_threads(int(jobs[0].local.get("threads", 1)))
        module = importlib.import_module(kind.module)
        outcomes = module.run_many(jobs) if kind.has_run_many else [module.run(jobs[0])]
    except Exception as problem:
        outcomes = [problem] * len(jobs)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise
        how = f"a component or a library ended the stage by sys.exit({end.code!r})"
        outcomes = [PluginError(how).with_traceback(end.__traceback__)] * len(jobs)
    seconds = (time.monotonic() - begin) / len(jobs)
    done = []
    for job, outcome in zip(jobs, outcomes, strict=True):
        provenance = _provenance(job, start_time, seconds) | {"processed_together": len(jobs)}
        done.append(_write_record(job, outcome, provenance))
    return all(done)


def _write_record(
    job: Job, outcome: dict[str, Any] | Exception, provenance: dict[str, Any]
) -> bool:
    """Write a stage's record; return True if the stage is done.

    If the disk is full, removing what the stage began may leave room for the record of that.
    """
    error, results = None, {}
    if isinstance(outcome, Exception):
        error = _log_failure(outcome, job.directory / LOG)
    else:
        results = outcome
    try:
        stage_record.write(job.directory, job, results=results, error=error, provenance=provenance)
    except OSError as problem:
        return error is None and _write_record(job, problem, provenance)
    if error is not None:
        return False
    for name in KINDS[job.kind].dropped_folders:
        shutil.rmtree(job.directory / name, ignore_errors=True)
    return True


def _log_failure(problem: Exception, log: Path) -> str:
    """Write a failure to standard error and to the stage's log; return its message."""
    if isinstance(problem, AvbenchError):
        error, text = str(problem), f"error: {problem}\n"
    else:
        error = f"{type(problem).__name__}: {problem}"
        text = "".join(traceback.format_exception(problem))
    with suppress(OSError):  # the disk may be full
        sys.stderr.write(text)
        sys.stderr.flush()
        if not log.exists() or not os.path.samestat(os.fstat(2), log.stat()):
            with log.open("a", encoding="utf-8") as file:
                file.write(text)
    if len(error) > ERROR_LENGTH:
        half = ERROR_LENGTH // 2
        error = f"{error[:half]} [...] {error[-half:]}"
    return f"{OUT_OF_MEMORY}{error}" if _lacks_memory(problem) else error


def _lacks_memory(problem: Exception) -> bool:
    """Return True if an error is about memory: Python's, the system's, or PyTorch's."""
    return (
        isinstance(problem, MemoryError)
        or getattr(problem, "errno", None) == errno.ENOMEM
        or type(problem).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(problem)
    )


def _exit_on_notice(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Unwind on a notice, so that workers and files are closed. Training saves by itself."""
    raise SystemExit(INTERRUPTED)


def _watch_runner() -> None:
    """Exit once the runner is gone for any reason: standard input then reaches its end."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    # With the runner gone, nobody else would kill a stage that does not exit in time.
    time.sleep(GRACE)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _watch_launcher(launcher: int) -> None:
    """Die with torchrun, which leaves its processes behind if it is killed.

    They would keep the stage locked, and write to it, while its next process waits.
    """
    while os.getppid() == launcher:
        time.sleep(POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def log_to(path: Path) -> None:
    """Redirect standard output and error, also of child processes, to the stage's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _set_threads(threads: int) -> None:
    """Set the threads per operator in the variables that numerical libraries read at import.

    Results may depend on their number, so one is the default.
    """
    for name in THREADS:
        os.environ[name] = str(threads)


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _provenance(job: Job, start_time: str, wall: float) -> dict[str, Any]:
    """Return the record's data on time, memory, machine and versions."""
    scale = 1 if sys.platform == "darwin" else 1024
    processes = whole_number("WORLD_SIZE", 1)
    peaks = [
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return {
        "started": start_time,
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
    """Return the git commit of the checkout that avbench runs from; None without a checkout."""
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
