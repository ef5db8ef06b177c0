"""Runs a plan: starts stages that are ready, watches them, survives failures and interrupts."""

import shutil
import signal
import threading
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
from avbench.runner import stage_record
from avbench.runner.common_failure import MIN_FAILURES, CommonFailure, KindFailures, last_line
from avbench.runner.executors.local import LocalExecutor, LocalProcess
from avbench.runner.lock import locked
from avbench.runner.plan import Plan, Stage, Store, stage_name
from avbench.runner.stage_kinds import KINDS
from avbench.runner.stage_process import OUT_OF_MEMORY, VERIFY

INTERRUPT = 130
"""Exit status after SIGINT or a notice (``job.NOTICES``)."""

FULL = 1 << 20
"""Free bytes below which a disk counts as full."""

OVERTIME = 0.1
"""Share of its time so far that a stage which takes longer than usual is expected to take yet."""

TELLING = 0.05
"""Share of a stage's work that must be done before its pace tells the rest."""


@runtime_checkable
class Watcher(Protocol):
    """Shows a run to the user."""

    def started(self, stages: list[Stage], run: "Run") -> None:
        """Take note that a process has started on stages."""

    def ended(self, stage: Stage, run: "Run", seconds: float) -> None:
        """Take note that a stage is done or has failed; see ``run.status``."""

    def tick(self, run: "Run") -> None:
        """Take note that time has passed."""


@dataclass(slots=True)
class StageTimes:
    """The durations of stages by kind, as measured."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, kind: str, seconds: float) -> None:
        """Add a measured duration."""
        self.seconds.setdefault(kind, []).append(seconds)

    def of(self, kind: str) -> float | None:
        """Return the mean seconds of the stages of a kind; None: none has been measured."""
        seen = self.seconds.get(kind)
        return sum(seen) / len(seen) if seen else None

    def sum(self, kinds: Iterable[str]) -> float | None:
        """Return the seconds of stages of these kinds; None: one has not been measured."""
        total = 0.0
        for kind in kinds:
            seconds = self.of(kind)
            if seconds is None:
                return None
            total += seconds
        return total

    def ranked(self, kind: str) -> float:
        """Return the seconds of a kind for ordering: measured, or else scaled by weights."""
        seconds = self.of(kind)
        if seconds is not None:
            return seconds
        seen = [(sum(v), KINDS[k].weight * len(v)) for k, v in self.seconds.items()]
        scale = sum(s for s, _ in seen) / sum(w for _, w in seen) if seen else 1.0
        return KINDS[kind].weight * scale


def remaining(elapsed: float, share: float, usual: float | None) -> float | None:
    """Estimate the seconds that running work still needs; None: unknown.

    Args:
        elapsed: seconds since it began.
        share: share of it that is done, from 0 to 1.
        usual: seconds of the whole that were measured before; None: unknown.
    """
    if TELLING < share <= 1:
        return elapsed * (1 - share) / share
    return None if usual is None else max(usual - elapsed, OVERTIME * elapsed)


class Run:
    """The state of a plan that is being run.

    Attributes:
        status: state of each needed stage: ``waiting``, ``running``, ``elsewhere`` (another run
            computes it), ``done``, ``failed`` or ``blocked`` (an ancestor failed).
        stopped: the common failure of a kind of stages that stopped the run early; None: none.
        damaged: id of each needed stage whose record or outputs are damaged → the damage. It is
            done again.
        notes: lines for the user on what the run decided; a watcher shows and removes them.
    """

    def __init__(
        self, plan: Plan, store: Store, executor: LocalExecutor, local: Mapping[str, Any]
    ) -> None:
        self.plan, self.store, self.executor = plan, store, executor
        self.local = dict(local)
        self.times = StageTimes()
        self.interrupted = False
        self.stopped: CommonFailure | None = None
        self.notes: list[str] = []
        self._failures: dict[str, KindFailures] = {}
        self._succeeded: set[str] = set()
        self._suspects: dict[str, CommonFailure] = {}
        self._restarted: set[str] = set()
        self._alone: set[str] = set()
        self._unwritten: dict[str, str] = {}
        self._not_begun: list[tuple[Stage, str]] = []
        self._since: dict[LocalProcess, float] = {}
        self._folders = {store.directory(s): s for s in plan.stages.values()}
        self.names = plan.names()
        self._uses = plan.uses()
        self._children = plan.children()
        done, needed, self.damaged = self._check()
        self.status = {id_: "done" if id_ in done else "waiting" for id_ in needed}
        for id_ in done & set(needed):
            self._measure(plan.stages[id_])
        self.cached = sum(s == "done" for s in self.status.values())
        self._priority = self._critical_path()

    def _check(self) -> tuple[set[str], list[str], dict[str, str]]:
        """Return the ids of the stages that are done, of those that are needed, and the damage.

        All outputs are checked by their sizes. Those that this run uses are checked by their
        contents too: of the stages that tables show, and of those that waiting stages read.
        """
        found = self.store.examine_all(self.plan.stages.values())
        checked: set[str] = set()
        while True:
            needed = self.plan.needed(found.done, found.changed)
            used = [id_ for id_ in needed if id_ in found.done - checked]
            if not used:
                return found.done, needed, found.damage(needed)
            checked.update(used)
            for id_ in used:
                found[id_] = self.store.examine(self.plan.stages[id_], contents=True)

    def count(self, *states: str) -> int:
        """Return the number of needed stages in one of these states."""
        return sum(s in states for s in self.status.values())

    @property
    def finished(self) -> bool:
        """True if no stage is waiting or running, here or elsewhere."""
        return not self.count("waiting", "running", "elsewhere")

    def go(self, watcher: Watcher, poll: float = 0.1) -> int:
        """Run to the end or to an interruption.

        Returns:
            0: all stages are done; 1: stages failed, see ``stopped`` and ``common_failures``;
            130: interrupted.
        """
        # Only the main thread may handle signals; another one leaves them to it.
        here = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, *NOTICES) if here else ()
        previous = {number: signal.signal(number, self._interrupt) for number in numbers}
        try:
            while not (self.finished or self.interrupted or self.stopped):
                self._update_elsewhere()
                self._collect_records(watcher)
                for stages in self._start():
                    watcher.started(stages, self)
                while self._not_begun:
                    stage, error = self._not_begun.pop()
                    self._settle(stage, self._write_failure(stage, error), watcher, 0.0)
                self.executor.cap_logs()
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
    def has_no_results(self) -> bool:
        """True if no stage is done whose result a table shows."""
        ends = (id_ for id_ in self.status if not self._children[id_])
        return all(self.status[id_] != "done" for id_ in ends)

    def repeats_error(self, stage: Stage) -> bool:
        """Return True if an earlier stage of the kind failed with the same error."""
        return self._failures[stage.kind].repeats(stage.id)

    def common_failures(self) -> list[CommonFailure]:
        """Return a failure for each kind whose stages have all failed with one error."""
        found = [self._common_failure(kind, 1) for kind in self._failures]
        return [failure for failure in found if failure is not None]

    def _common_failure(self, kind: str, least: int) -> CommonFailure | None:
        """Return the failure of all stages of a kind that ran, if at least so many failed."""
        failures = self._failures.get(kind)
        if failures is None or kind in self._succeeded or len(failures.errors) < least:
            return None
        untried = (
            self.plan.stages[id_]
            for id_, state in self.status.items()
            if state in ("waiting", "elsewhere") and self.plan.stages[id_].kind == kind
        )
        if not failures.explain(self.plan, untried):
            return None
        first, error = next(iter(failures.errors.items()))
        log = self.store.directory(self.plan.stages[first]) / LOG
        return CommonFailure(kind, error, len(failures.errors), log)

    def _stop_early(self) -> None:
        """Stop the run once all running stages of a suspect kind have ended.

        One of them might still succeed. Until then no other of the kind is started, see
        ``_ready``.
        """
        if self.finished:
            return
        for kind, failure in self._suspects.items():
            states = (s for i, s in self.status.items() if self.plan.stages[i].kind == kind)
            if "running" not in states:
                self.stopped = failure

    def running(self) -> list[tuple[Stage, float, Mapping[str, Any]]]:
        """Return the stages that run here, seconds since their start, and their progress."""
        shown = []
        for process in self.executor.running:
            stages = self._stages_of(process)
            stage = next((s for s in stages if self.status[s.id] == "running"), stages[-1])
            progress = progress_of(self.store.directory(stage))
            shown.append((stage, self._elapsed(process), progress))
        return shown

    def error(self, stage: Stage) -> str:
        """Return the last line of a failed stage's error."""
        record = self.store.record(stage) or {}
        return last_line(self._unwritten.get(stage.id) or record.get("error"))

    def unmeasured(self) -> list[str]:
        """Return the kinds of stages that have work left and have never been measured."""
        left = ("waiting", "elsewhere", "running")
        kinds = {self.plan.stages[i].kind for i, state in self.status.items() if state in left}
        return [kind for kind in KINDS if kind in kinds and self.times.of(kind) is None]

    def seconds_left(self) -> float | None:
        """Estimate the seconds to the end of the run from stages of the same kinds.

        None: unknown, since no stage of some kind has been measured.
        """
        waiting = self.times.sum(
            self.plan.stages[id_].kind
            for id_, state in self.status.items()
            if state in ("waiting", "elsewhere")
        )
        left = [self._process_left(process) for process in self.executor.running]
        known = [seconds for seconds in left if seconds is not None]
        if waiting is None or len(known) < len(left):
            return None
        return max([(waiting + sum(known)) / self.executor.slots, *known])

    def _process_left(self, process: LocalProcess) -> float | None:
        """Estimate the seconds that a process still needs, by its progress if it tells."""
        stages = self._stages_of(process)
        first, *later = [s for s in stages if self.status[s.id] == "running"] or stages[-1:]
        progress = progress_of(self.store.directory(first))
        share = float(progress.get("done", 0) / (progress.get("total") or 1))
        together = KINDS[first.kind].has_run_many
        usual = self.times.sum(s.kind for s in ((first, *later) if together else (first,)))
        own = remaining(self._elapsed(process), share, usual)
        after = 0.0 if together else self.times.sum(s.kind for s in later)
        return None if own is None or after is None else own + after

    def _stages_of(self, process: LocalProcess) -> list[Stage]:
        """Return the stages that a process runs, in order."""
        return [self._folders[folder] for folder in process.folders]

    def _elapsed(self, process: LocalProcess) -> float:
        """Return the seconds since a process began with its present stage."""
        return time.monotonic() - self._since.get(process, process.start)

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
        """Return the seconds from each stage's start to the end of the longest chain below it."""
        length: dict[str, float] = {}
        for id_ in reversed(list(self.plan.stages)):
            below = [length[c] for c in self._children[id_] if c in self.status]
            length[id_] = self.times.ranked(self.plan.stages[id_].kind) + max(below, default=0.0)
        return length

    def _ready(self) -> list[Stage]:
        """Return the stages that can start now, the longest chain first.

        A stage that was killed for lack of memory waits until no other can run, and then has the
        machine to itself.
        """
        if any(s.id in self._alone for p in self.executor.running for s in self._stages_of(p)):
            return []
        ready = [
            self.plan.stages[id_]
            for id_, state in self.status.items()
            if state == "waiting"
            and self.plan.stages[id_].kind not in self._suspects
            and all(map(self._is_done, self.plan.stages[id_].parents.values()))
        ]
        ready.sort(key=lambda s: (-self._priority[s.id], s.id))
        beside = [s for s in ready if s.id not in self._alone]
        return beside if beside or self.executor.running else ready[:1]

    def _start(self) -> Iterable[list[Stage]]:
        """Start ready stages on the free slots; yield those of each process."""
        ready = self._ready() if self.executor.free > 0 else []
        while ready and self.executor.free > 0:
            stages = self._one_process(ready)
            ready = [s for s in ready if s not in stages]
            here = [s for s in stages if self._claim(s)]
            if not here:
                continue
            here += self._claim_children(here, ready)
            slots, processes = 1, 1
            if self.executor.processes > 1 and KINDS[here[0].kind].distributed:
                slots = processes = self.executor.processes
            elif KINDS[here[0].kind].uses_workers and here[0].id not in self._alone:
                peers = 1 + sum(KINDS[s.kind].uses_workers for s in ready)
                slots = max(1, self.executor.free // peers)
            if processes > self.executor.free and self.executor.running:
                # It waits until all of its processes have a slot.
                self.status |= {s.id: "waiting" for s in here}
                break
            try:
                folders = [self._write_job(s, slots) for s in here]
                device = str(self.local.get("device", "cpu"))
                self.executor.start(folders, slots, processes, device)
            except OSError as error:
                where = error.filename or self.store.directory(here[0])
                why = f"the stage could not be started: {where}: {error.strerror}"
                self._not_begun += [(stage, why) for stage in here]
                continue
            yield here

    def _one_process(self, ready: list[Stage]) -> list[Stage]:
        """Return the first ready stage and those that share its process.

        Stages whose module has ``run_many`` always share one. Others share it only if slots are
        scarce, and leave work for every free slot.
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

    def _claim_children(self, here: list[Stage], ready: list[Stage]) -> list[Stage]:
        """Claim children that the same process runs next, if other work fills the slots."""
        first = here[0]
        kind = KINDS[first.kind].runs_next
        if kind is None or len(here) > 1 or len(ready) < self.executor.free:
            return []
        if first.id in self._alone:
            return []
        children = [self.plan.stages[c] for c in self._children[first.id]]
        return [
            c
            for c in children
            if c.kind == kind
            and self.status.get(c.id) == "waiting"
            and all(p == first.id or self._is_done(p) for p in c.parents.values())
            and self._claim(c)
        ]

    def _is_done(self, id_: str) -> bool:
        # A stage whose children are all done is not needed, and so not in ``status``.
        return self.status.get(id_, "done") == "done"

    def _claim(self, stage: Stage) -> bool:
        """Set a stage to ``running``; return False if another run computes it or has done so."""
        if locked(self.store.directory(stage)):
            self.status[stage.id] = "elsewhere"
        else:
            self.status[stage.id] = "done" if self._examine(stage).done else "running"
        return self.status[stage.id] == "running"

    def _examine(self, stage: Stage) -> stage_record.Finding:
        """Read a stage's record; of a stage that was damaged, also its outputs' contents."""
        return self.store.examine(stage, contents=stage.id in self.damaged)

    def _write_job(self, stage: Stage, workers: int) -> Path:
        folder = self.store.directory(stage)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROGRESS).unlink(missing_ok=True)
        parents = {
            role: str(self.store.directory(self.plan.stages[p]))
            for role, p in stage.parents.items()
        }
        local = {**self.local, **stage.local, "threads": self.executor.threads}
        if stage.id in self.damaged:
            local[VERIFY] = True
        if KINDS[stage.kind].uses_workers:
            local["workers"] = workers
        job = {"kind": stage.kind, "id": stage.id, "spec": stage.spec, "parents": parents}
        # ``plan --why`` compares later plans with these.
        explanation = {
            "uses": list(map(asdict, self._uses[stage.id])),
            **self.plan.codes.get(stage.code, {}),
        }
        write_json(folder / JOB, {**job, "local": local, **explanation})
        return folder

    def _collect_records(self, watcher: Watcher) -> None:
        """Settle finished stages of processes that still run others."""
        for process in self.executor.running:
            for folder in process.folders[:-1]:
                stage = self._folders[folder]
                if self.status[stage.id] == "running" and (folder / RECORD).exists():
                    # The record of an earlier failure stays until the process starts the stage.
                    found = self._examine(stage)
                    if found.done and found.record is not None:
                        seconds = self._elapsed(process)
                        self._since[process] = time.monotonic()
                        self._settle(stage, found.record, watcher, seconds)

    def _reap(self, process: LocalProcess, watcher: Watcher) -> None:
        """Settle the stages of a process that has ended."""
        code = process.exit_status() or 0
        running = [s for s in self._stages_of(process) if self.status[s.id] == "running"]
        seconds = self._elapsed(process) / max(1, len(running))
        self._since.pop(process, None)
        for stage in running:
            if self.status[stage.id] != "running":
                continue  # blocked by an earlier failure
            folder = self.store.directory(stage)
            record = self._examine(stage).record
            if record is None and locked(folder):
                self.status[stage.id] = "elsewhere"
                continue
            if record is None and not all(map(self._is_done, stage.parents.values())):
                self.status[stage.id] = "waiting"  # for the first stage of its process
                continue
            if record is None and (self.interrupted or _got_notice(folder, code)):
                # A notice to a stage means that the machine is wanted, so the whole run ends.
                self.interrupted = True
                self.status[stage.id] = "waiting"
                continue
            if self._lacked_memory(process, record) and self._may_try_alone(stage):
                self.status[stage.id] = "waiting"
                continue
            if record is None and code < 0 and self._may_restart(stage):
                self.status[stage.id] = "waiting"
                continue
            if record is None:
                record = self._write_failure(stage, self._ending(process, stage))
            self._settle(stage, record, watcher, seconds)

    def _lacked_memory(self, process: LocalProcess, record: stage_record.Record | None) -> bool:
        """Return True if a stage failed, as far as can be told, for lack of memory.

        The kernel kills by SIGKILL, and nobody else is known to; a launcher or a pool of workers
        reports the killing of its processes in another way, but the kernel counts it.
        """
        if record is None:
            return process.exit_status() == -signal.SIGKILL or process.lacked_memory
        return record["status"] == "failed" and (
            str(record["error"]).startswith(OUT_OF_MEMORY) or process.lacked_memory
        )

    def _may_try_alone(self, stage: Stage) -> bool:
        """Return True, once, for a stage that lacked memory: it is tried again, alone."""
        if stage.id in self._alone:
            return False
        self._alone.add(stage.id)
        name = stage_name(stage.kind, stage.id, self.names.get(stage.id, ""))
        self.notes.append(f"out of memory: {name}; it is tried once more, alone")
        return True

    def _may_restart(self, stage: Stage) -> bool:
        """Return True, once, for a stage that skips the clip that crashed its process."""
        if not KINDS[stage.kind].skips_crashed_clip or stage.id in self._restarted | self._alone:
            return False
        self._restarted.add(stage.id)
        return True

    def _ending(self, process: LocalProcess, stage: Stage) -> str:
        """Return the error of a stage whose process left no record."""
        code = process.exit_status() or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        why = ""
        if self._lacked_memory(process, None):
            sure = "the kernel killed" if process.lacked_memory else "as if the kernel killed"
            why = f"{OUT_OF_MEMORY}{sure} it for lack of memory, also when it ran alone: "
        elif full := _full(self.store.directory(stage)):
            why = f"{full}: "
        return f"{why}the process ended with {how} and left no record; see its log"

    def _write_failure(self, stage: Stage, error: str) -> stage_record.Record:
        """Write and return the record of a stage that could not write its own.

        If the disk is full, the record is kept in this process alone.
        """
        folder = self.store.directory(stage)
        try:
            job = read_job(folder)
            stage_record.write(folder, job, results={}, error=error, provenance={})
        except (OSError, ValueError):
            self._unwritten[stage.id] = error
        return {"status": "failed", "error": error}

    def _settle(
        self, stage: Stage, record: Mapping[str, Any], watcher: Watcher, seconds: float
    ) -> None:
        self.status[stage.id] = record["status"]
        if record["status"] == "done":
            self._succeeded.add(stage.kind)
            self.times.add(stage.kind, seconds)
        else:
            failures = self._failures.setdefault(stage.kind, KindFailures())
            failures.add(self.plan, stage, record.get("error"))
            self._block(stage.id)
        self._suspects.pop(stage.kind, None)
        if (suspect := self._common_failure(stage.kind, MIN_FAILURES)) is not None:
            self._suspects[stage.kind] = suspect
        watcher.ended(stage, self, record.get("provenance", {}).get("wall_s", seconds))

    def _block(self, id_: str) -> None:
        for child in self._children[id_]:
            if self.status.get(child) in ("waiting", "running"):
                self.status[child] = "blocked"
                self._block(child)

    def _update_elsewhere(self) -> None:
        """Update stages that another run no longer computes: done, or waiting if unfinished."""
        for id_ in [i for i, state in self.status.items() if state == "elsewhere"]:
            stage = self.plan.stages[id_]
            if not locked(self.store.directory(stage)):
                self.status[id_] = "done" if self._examine(stage).done else "waiting"


def progress_of(folder: Path) -> Mapping[str, Any]:
    """Return the last progress that a stage has written."""
    try:
        progress = read_json(folder / PROGRESS)
    except (OSError, ValueError):
        return {}
    return progress if isinstance(progress, Mapping) else {}


def _full(folder: Path) -> str:
    """Return the statement that a folder's disk is full; empty: it is not."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return ""
    return f"the disk is full ({free} bytes free)" if free < FULL else ""


def _got_notice(folder: Path, code: int) -> bool:
    """Return True if a notice ended the process of a stage without a record.

    Args:
        folder: the stage's folder.
        code: the exit status of its process.
    """
    by_status = code in (INTERRUPTED, *(-number for number in NOTICES))
    return by_status or progress_of(folder).get("note") == LEFT
