"""Runs a plan: starts what is ready, watches it, survives failures and interruptions."""

import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from avbench.core.job import (
    INTERRUPTED,
    JOB,
    LEFT,
    LOG,
    NOTICES,
    PROGRESS,
    RECORD,
    read_job,
    read_json,
    write_json,
)
from avbench.runner.common_failure import (
    ENOUGH,
    CommonFailure,
    last_line,
    same_error,
    settings_tell_apart,
)
from avbench.runner.executors.local import LocalExecutor, LocalProcess
from avbench.runner.lock import locked
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.stage_kinds import KINDS
from avbench.runner.stage_process import write_record

INTERRUPT = 130
"""Exit status after SIGINT or a notice (``job.NOTICES``)."""


@runtime_checkable
class Watcher(Protocol):
    """What shows a run to the user."""

    def started(self, stages: list[Stage], run: "Run") -> None:
        """A process began to work on stages."""

    def ended(self, stage: Stage, run: "Run", seconds: float) -> None:
        """A stage is done or failed; see ``run.status``."""

    def tick(self, run: "Run") -> None:
        """Some time has passed."""


@dataclass(slots=True)
class StageTimes:
    """How long stages take, learnt from those that are done."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        """Note a measurement."""
        self.seconds.setdefault(kind, []).append(seconds)

    def of(self, kind: str) -> float:
        """Seconds for a stage of a kind: the mean of those seen, else by the kinds' weights."""
        if kind in self.seconds:
            return sum(self.seconds[kind]) / len(self.seconds[kind])
        seen = [(sum(v), KINDS[k].weight * len(v)) for k, v in self.seconds.items()]
        scale = sum(s for s, _ in seen) / sum(w for _, w in seen) if seen else 1.0
        return KINDS[kind].weight * scale


class Run:
    """The state of a plan that is being run.

    Attributes:
        status: of each stage that is needed: ``waiting``, ``running``, ``elsewhere`` (another
            run computes it), ``done``, ``failed`` or ``blocked`` (something above it failed).
        stopped: the failure, common to all stages of a kind, for which the run stopped early.
    """

    def __init__(
        self, plan: Plan, store: Store, executor: LocalExecutor, local: Mapping[str, Any]
    ) -> None:
        self.plan, self.store, self.executor = plan, store, executor
        self.local = dict(local)
        self.times = StageTimes()
        self.interrupted = False
        self.stopped: CommonFailure | None = None
        self._errors: dict[str, dict[str, str]] = {}
        self._succeeded: set[str] = set()
        self._suspects: dict[str, CommonFailure] = {}
        self._restarted: set[str] = set()
        self._folders = {store.directory(s): s for s in plan.stages.values()}
        self.names = plan.names()
        self._uses = plan.uses()
        self._children = plan.children()
        done = store.all_done(plan.stages.values())
        needed = plan.needed(done)
        self.status = {id_: "done" if id_ in done else "waiting" for id_ in needed}
        for id_ in done & set(needed):
            self._measure(plan.stages[id_])
        self.cached = sum(s == "done" for s in self.status.values())
        self._priority = self._critical_path()

    def count(self, *states: str) -> int:
        """How many of the needed stages are in one of these states."""
        return sum(s in states for s in self.status.values())

    @property
    def finished(self) -> bool:
        """Whether nothing more can be done."""
        return not self.count("waiting", "running", "elsewhere")

    def go(self, watcher: Watcher, poll: float = 0.1) -> int:
        """Run to the end or to an interruption.

        Returns:
            0: everything is done; 1: stages failed, see ``stopped`` and ``common_failures``; 130:
            interrupted.
        """
        numbers = (signal.SIGINT, *NOTICES)
        previous = {number: signal.signal(number, self._interrupt) for number in numbers}
        try:
            while not (self.finished or self.interrupted or self.stopped):
                self._look_elsewhere()
                self._look_here(watcher)
                for stages in self._start():
                    watcher.started(stages, self)
                for process in self.executor.reap():
                    self._reap(process, watcher)
                self._stop_early()
                watcher.tick(self)
                if not self.finished:
                    time.sleep(poll)
        finally:
            self.executor.stop()
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self.interrupted:
            return INTERRUPT
        return 1 if self.count("failed", "blocked") else 0

    @property
    def fruitless(self) -> bool:
        """Whether no stage is done whose result stands in a table."""
        ends = (id_ for id_ in self.status if not self._children[id_])
        return all(self.status[id_] != "done" for id_ in ends)

    def repeats_error(self, stage: Stage) -> bool:
        """Whether an earlier stage of the kind failed with the error that this one failed with."""
        first, error = next(iter(self._errors[stage.kind].items()))
        return stage.id != first and same_error([error, self._errors[stage.kind][stage.id]])

    def common_failures(self) -> list[CommonFailure]:
        """Return the kinds of which no stage that ran succeeded, all for the same reason."""
        found = [self._common_failure(kind, 1) for kind in self._errors]
        return [failure for failure in found if failure is not None]

    def _common_failure(self, kind: str, least: int) -> CommonFailure | None:
        errors = self._errors.get(kind, {})
        if kind in self._succeeded or len(errors) < least or not same_error(errors.values()):
            return None
        failed = [self.plan.stages[id_] for id_ in errors]
        alike = [s for s in self.plan.stages.values() if s.kind == kind and s.id in self.status]
        untried = [s for s in alike if self.status[s.id] in ("waiting", "elsewhere")]
        if settings_tell_apart(self.plan, failed, untried):
            return None
        error = next(iter(errors.values()))
        log = self.store.directory(failed[0]) / LOG
        return CommonFailure(kind, error, len(failed), len(untried), log)

    def _stop_early(self) -> None:
        """Stop once no stage of a suspect kind is left running, which might yet succeed.

        Until then none of the kind is started, see ``_ready``.
        """
        if self.finished:
            return
        for kind, failure in self._suspects.items():
            states = (s for i, s in self.status.items() if self.plan.stages[i].kind == kind)
            if "running" not in states:
                self.stopped = failure

    def running(self) -> list[tuple[Stage, float, Mapping[str, Any]]]:
        """What runs here: the stage, seconds since its start, what it says of its progress."""
        shown = []
        for process in self.executor.running:
            stage = next(
                (self._folders[f] for f in process.folders if not (f / RECORD).exists()),
                self._folders[process.folders[-1]],
            )
            progress = _progress(self.store.directory(stage))
            shown.append((stage, time.monotonic() - process.started, progress))
        return shown

    def seconds_left(self) -> float:
        """An estimate of the time to the end."""
        work = sum(
            self.times.of(self.plan.stages[id_].kind)
            for id_, state in self.status.items()
            if state in ("waiting", "elsewhere")
        )
        for stage, elapsed, progress in self.running():
            share = progress.get("done", 0) / max(1, progress.get("total", 0) or 1)
            usual = self.times.of(stage.kind)
            work += elapsed * (1 - share) / share if share > 0.05 else max(0.0, usual - elapsed)
        return work / self.executor.slots

    def _interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def _measure(self, stage: Stage) -> None:
        record = self.store.record(stage) or {}
        seconds = record.get("provenance", {}).get("wall_s")
        if seconds is not None:
            self.times.add(stage.kind, seconds)

    def _critical_path(self) -> dict[str, float]:
        """Seconds from a stage's start to the end of the longest chain below it."""
        length: dict[str, float] = {}
        for id_ in reversed(list(self.plan.stages)):
            below = [length[c] for c in self._children[id_] if c in self.status]
            length[id_] = self.times.of(self.plan.stages[id_].kind) + max(below, default=0.0)
        return length

    def _ready(self) -> list[Stage]:
        """The stages that can start now, the longest chain first."""
        ready = [
            self.plan.stages[id_]
            for id_, state in self.status.items()
            if state == "waiting"
            and self.plan.stages[id_].kind not in self._suspects
            and all(map(self._is_done, self.plan.stages[id_].parents.values()))
        ]
        return sorted(ready, key=lambda s: (-self._priority[s.id], s.id))

    def _start(self) -> Iterable[list[Stage]]:
        """Start as many ready stages as there are free slots for."""
        ready = self._ready() if self.executor.free > 0 else []
        while ready and self.executor.free > 0:
            stages = self._together(ready)
            ready = [s for s in ready if s not in stages]
            here = [s for s in stages if self._free(s)]
            if not here:
                continue
            here += self._brought(here, ready)
            slots, processes = 1, 1
            if self.executor.processes > 1 and KINDS[here[0].kind].distributed:
                slots = processes = self.executor.processes
            elif KINDS[here[0].kind].uses_workers:
                peers = 1 + sum(KINDS[s.kind].uses_workers for s in ready)
                slots = max(1, self.executor.free // peers)
            if processes > self.executor.free and self.executor.running:
                # It waits until there is room for all of its processes.
                self.status |= {s.id: "waiting" for s in here}
                break
            folders = [self._write_job(s, slots) for s in here]
            self.executor.start(folders, slots, processes)
            yield here

    def _together(self, ready: list[Stage]) -> list[Stage]:
        """The first ready stage, and those that its process takes along.

        Stages whose module has ``run_many`` always go together. Others only where slots are
        scarce, and no more of them than leaves every slot some.
        """
        first, kind = ready[0], KINDS[ready[0].kind]
        if kind.shares_process_by is None:
            return [first]
        parent = first.parents.get(kind.shares_process_by)
        alike = [
            s
            for s in ready
            if s.kind == first.kind and s.parents.get(kind.shares_process_by) == parent
        ]
        return alike if kind.has_run_many else alike[: -(-len(ready) // self.executor.free)]

    def _brought(self, here: list[Stage], ready: list[Stage]) -> list[Stage]:
        """Children that the same process runs next, where other work keeps the slots busy."""
        first = here[0]
        kind = KINDS[first.kind].runs_next
        if kind is None or len(here) > 1 or len(ready) < self.executor.free:
            return []
        children = [self.plan.stages[c] for c in self._children[first.id]]
        return [
            c
            for c in children
            if c.kind == kind
            and self.status.get(c.id) == "waiting"
            and all(p == first.id or self._is_done(p) for p in c.parents.values())
            and self._free(c)
        ]

    def _is_done(self, id_: str) -> bool:
        # A stage that nobody needs any more is not in ``status``: its child is done.
        return self.status.get(id_, "done") == "done"

    def _free(self, stage: Stage) -> bool:
        """Whether a stage is ours to compute: another run may be at it, or have done it."""
        if locked(self.store.directory(stage)):
            self.status[stage.id] = "elsewhere"
        else:
            self.status[stage.id] = "done" if self.store.done(stage) else "running"
        return self.status[stage.id] == "running"

    def _write_job(self, stage: Stage, workers: int) -> Path:
        folder = self.store.directory(stage)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROGRESS).unlink(missing_ok=True)
        parents = {
            role: str(self.store.directory(self.plan.stages[p]))
            for role, p in stage.parents.items()
        }
        local = {**self.local, **stage.local, "threads": self.executor.threads}
        if KINDS[stage.kind].uses_workers:
            local["workers"] = workers
        job = {"kind": stage.kind, "id": stage.id, "spec": stage.spec, "parents": parents}
        told = {
            "uses": list(map(asdict, self._uses[stage.id])),
            **self.plan.codes.get(stage.code, {}),
        }
        write_json(folder / JOB, {**job, "local": local, **told})
        return folder

    def _look_here(self, watcher: Watcher) -> None:
        """Take in the records of processes that have more to do."""
        for process in self.executor.running:
            for folder in process.folders[:-1]:
                stage = self._folders[folder]
                if self.status[stage.id] == "running" and (folder / RECORD).exists():
                    record = self.store.record(stage)
                    # A record of an earlier failure stays until the process comes to its stage.
                    if record is not None and record["status"] == "done":
                        self._settle(stage, record, watcher, 0.0)

    def _reap(self, process: LocalProcess, watcher: Watcher) -> None:
        """Take in what an ended process left."""
        seconds = time.monotonic() - process.started
        for folder in process.folders:
            stage = self._folders[folder]
            if self.status[stage.id] != "running":
                continue  # taken in already, or blocked by what failed before it
            record = self.store.record(stage)
            if record is None and locked(folder):
                self.status[stage.id] = "elsewhere"
                continue
            code = process.ended() or 0
            if record is None and (self.interrupted or _left(folder, code)):
                # Whoever tells a stage to leave wants the machine: the run ends, to go on later.
                self.interrupted = True
                self.status[stage.id] = "waiting"
                continue
            if record is None and code < 0 and self._again(stage):
                self.status[stage.id] = "waiting"
                continue
            if record is None:
                how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
                error = f"the process ended with {how} and left no record; see its log"
                write_record(folder, read_job(folder), results={}, error=error, provenance={})
                record = {"status": "failed", "error": error}
            self._settle(stage, record, watcher, seconds)

    def _again(self, stage: Stage) -> bool:
        """Whether a stage whose process died is started once more."""
        if not KINDS[stage.kind].skips_crashed_clip or stage.id in self._restarted:
            return False
        self._restarted.add(stage.id)
        return True

    def _settle(
        self, stage: Stage, record: Mapping[str, Any], watcher: Watcher, seconds: float
    ) -> None:
        self.status[stage.id] = record["status"]
        if record["status"] == "done":
            self._succeeded.add(stage.kind)
            self._measure(stage)
        else:
            self._errors.setdefault(stage.kind, {})[stage.id] = last_line(record.get("error"))
            self._block(stage.id)
        suspect = self._common_failure(stage.kind, ENOUGH)
        self._suspects = {k: f for k, f in self._suspects.items() if k != stage.kind}
        if suspect is not None:
            self._suspects[stage.kind] = suspect
        watcher.ended(stage, self, record.get("provenance", {}).get("wall_s", seconds))

    def _block(self, id_: str) -> None:
        for child in self._children[id_]:
            if self.status.get(child) in ("waiting", "running"):
                self.status[child] = "blocked"
                self._block(child)

    def _look_elsewhere(self) -> None:
        """Stages that another run computed: take what it left, or compute what it did not."""
        for id_ in [i for i, state in self.status.items() if state == "elsewhere"]:
            stage = self.plan.stages[id_]
            if not locked(self.store.directory(stage)):
                self.status[id_] = "done" if self.store.done(stage) else "waiting"


def _progress(folder: Path) -> Mapping[str, Any]:
    """What a stage said last of its progress."""
    try:
        progress: Mapping[str, Any] = read_json(folder / PROGRESS)
    except (OSError, ValueError):
        return {}
    return progress


def _left(folder: Path, code: int) -> bool:
    """Whether a stage without a record, whose process ended so, was told to leave."""
    told = code in (INTERRUPTED, *(-number for number in NOTICES))
    return told or _progress(folder).get("note") == LEFT
