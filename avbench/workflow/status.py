"""The state of a suite or of a whole results folder, as its files tell it: from any terminal."""

import os
import re
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import JOB, LOG, read_json
from avbench.runner import stage_record
from avbench.runner.common_failure import failure_line
from avbench.runner.executors.local import cores
from avbench.runner.lock import locked
from avbench.runner.plan import Plan, Stage, Store, Use, stage_name
from avbench.runner.scheduler import StageTimes, progress_of, remaining
from avbench.runner.stage_kinds import KINDS
from avbench.runner.stage_record import Findings
from avbench.workflow.progress import span

FOLDER = re.compile(rf"({'|'.join(KINDS)})-([0-9a-f]{{16}})")
"""The name of a stage's folder: its kind and its id."""

STATES = ("done", "running", "failed", "waiting", "blocked")


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A stage that a process works on."""

    stage: str
    """Its kind, the name of its work, and the beginning of its id."""
    seconds: float
    """Seconds since its process was started."""
    done: float | None
    """Units of work that are done, such as training steps or clips; None: it has told none."""
    total: float | None
    note: str
    per_second: float | None
    """Units of work a second; None: unknown."""
    seconds_left: float | None
    """Estimated seconds to its end; None: unknown."""
    log: str

    def text(self) -> str:
        """Return one line."""
        parts = [f"{self.stage}: for {span(self.seconds)}"]
        if self.done is not None:
            parts.append(f"{self.done:g} of {self.total:g}")
        if self.per_second is not None:
            parts.append(f"{self.per_second:.3g} a second")
        if self.seconds_left is not None:
            parts.append(f"about {span(self.seconds_left)} left")
        return ", ".join([*parts, *([self.note] if self.note else [])])


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """The state of the stages of a suite, or of all in a results folder."""

    name: str
    """The suite; of a folder, its path."""
    done: int
    running: tuple[Running, ...]
    """The stages that are being computed, here or by another run."""
    failed: Mapping[str, str]
    """Name of each failed stage → the last line of its error, and its log."""
    waiting: int | None = None
    """Stages to do that nothing computes; None: no suite tells."""
    blocked: int | None = None
    """Stages that wait for failed ones."""
    seconds_left: float | None = None
    """Estimated seconds to the end; None: unknown."""
    unmeasured: tuple[str, ...] = ()
    """Kinds of stages to do of which none has been measured."""

    @property
    def ended(self) -> bool:
        """True if a suite has nothing left that could run."""
        return not self.running and self.waiting == 0

    @property
    def summary(self) -> str:
        """One line with the numbers of stages."""
        counts = [
            (self.done, "done"),
            (len(self.running), "running"),
            (len(self.failed), "failed"),
        ]
        counts += [(n, "waiting") for n in (self.waiting,) if n is not None]
        counts += [(self.blocked, "blocked by failures")] if self.blocked else []
        return f"{self.name}: {', '.join(f'{n} {state}' for n, state in counts)}"

    @property
    def time_left(self) -> str:
        """One line with the estimated time to the end; empty: nothing is left, or no suite."""
        if self.waiting is None or self.ended:
            return ""
        if self.seconds_left is None:
            return f"time left unknown: no {' or '.join(self.unmeasured)} stage has ended yet"
        if not self.running:
            return f"nothing runs; about {span(self.seconds_left)} of work is left"
        return f"about {span(max(1.0, self.seconds_left))} left"

    def lines(self) -> list[str]:
        """Return everything as lines of text."""
        return [
            self.summary,
            *(f"running: {running.text()}" for running in self.running),
            *(f"failed: {name}: {why}" for name, why in self.failed.items()),
            *([self.time_left] if self.time_left else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "failed": dict(self.failed), "ended": self.ended}

    def __str__(self) -> str:
        return "\n".join(self.lines())


def suite_status(plan: Plan, store: Store) -> Status:
    """Return the state of a suite's stages; those above finished ones need not be done."""
    found = store.examine_all(plan.stages.values())
    names, times = plan.names(), StageTimes()
    for id_ in found.done:
        seconds = _record(found, id_).get("provenance", {}).get("wall_s")
        if seconds is not None:
            times.add(plan.stages[id_].kind, seconds)
    states: dict[str, list[Stage]] = {state: [] for state in STATES}
    stuck: set[str] = set()
    for id_ in plan.needed(found.done, found.changed):
        stage = plan.stages[id_]
        state = _state(stage, store, found, stuck)
        states[state].append(stage)
        if state in ("failed", "blocked"):
            stuck.add(id_)
    running = [
        _running(
            store.directory(stage),
            stage_name(stage.kind, stage.id, names.get(stage.id, "")),
            times.of(stage.kind),
        )
        for stage in states["running"]
    ]
    todo = [stage.kind for stage in states["waiting"]]
    unmeasured = {kind for kind in todo if times.of(kind) is None}
    for stage, now in zip(states["running"], running, strict=True):
        if now.seconds_left is None:
            unmeasured.add(stage.kind)
    left = [now.seconds_left or 0.0 for now in running]
    work = (times.sum(todo) or 0.0) + sum(left)
    return Status(
        name=plan.suite,
        done=len(found.done),
        running=tuple(running),
        failed={
            stage_name(stage.kind, stage.id, names.get(stage.id, "")): failure_line(
                _record(found, stage.id).get("error"), store.directory(stage)
            )
            for stage in states["failed"]
        },
        waiting=len(todo),
        blocked=len(states["blocked"]),
        seconds_left=None if unmeasured else max([work / (len(running) or cores()), *left]),
        unmeasured=tuple(kind for kind in KINDS if kind in unmeasured),
    )


def _state(stage: Stage, store: Store, found: Findings, stuck: Container[str]) -> str:
    """Return the state of a stage, one of ``STATES``; ``stuck``: failed and blocked stages."""
    if locked(store.directory(stage)):
        return "running"
    if stage.id in found.done:
        return "done"
    if _record(found, stage.id):
        return "failed"
    return "blocked" if any(p in stuck for p in stage.parents.values()) else "waiting"


def _record(found: Findings, id_: str) -> Mapping[str, Any]:
    """Return the record of a stage, empty if it has none."""
    return (found[id_].record if id_ in found else None) or {}


def folder_status(store: Store) -> Status:
    """Return the state of all stages in a results folder, and of those that run in the cache."""
    done, running, failed = 0, list[Running](), dict[str, str]()
    for folder, own in _folders(store):
        if locked(folder):
            running.append(_running(folder, _named(folder), None))
            continue
        record = stage_record.examine(folder).record if own else None
        if record is None:
            continue
        if record["status"] == "done":
            done += 1
        else:
            failed[_named(folder)] = failure_line(record["error"], folder)
    return Status(name=str(store.results), done=done, running=tuple(running), failed=failed)


def _folders(store: Store) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of stages, each with True if it lies in the results folder."""
    for base, own in ((store.results, True), (store.cache, False)):
        stages = base / "stages"
        if stages.is_dir():
            for folder in sorted(stages.iterdir()):
                if FOLDER.fullmatch(folder.name):
                    yield folder, own


def _running(folder: Path, name: str, usual: float | None) -> Running:
    """Return the state of a stage that a process works on.

    Args:
        folder: the stage's folder; its job was written when its process was started.
        name: the stage's name.
        usual: seconds that stages of its kind take; None: unknown.
    """
    now, told = time.time(), progress_of(folder)
    begun = now
    with suppress(OSError):
        begun = os.stat(folder / JOB).st_mtime
    done, total, since, first = (_number(told.get(n)) for n in ("done", "total", "since", "first"))
    known = done is not None and total is not None
    pace = None
    if done is not None and since is not None and first is not None and now - since >= 1:
        pace = max(0.0, done - first) / (now - since) or None
    left = remaining(now - begun, 0.0, usual)
    if pace is not None and done is not None and total is not None:
        left = max(0.0, total - done) / pace
    return Running(
        stage=name,
        seconds=max(0.0, now - begun),
        done=done if known else None,
        total=total if known else None,
        note=str(told.get("note", "")) if known else "starting",
        per_second=pace,
        seconds_left=left,
        log=str(folder / LOG),
    )


def _number(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else None


def _named(folder: Path) -> str:
    """Return a stage's name by its own job, which no suite has to explain."""
    kind, id_ = folder.name.split("-")
    name = ""
    with suppress(OSError, DataError, LookupError, TypeError, AttributeError):
        name = Use(**read_json(folder / JOB)["uses"][0]).text(seeds=True)
    return stage_name(kind, id_, name)
