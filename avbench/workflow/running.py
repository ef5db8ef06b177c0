"""Runs a plan to its end, and says how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from avbench.runner.executors.local import LocalExecutor, cores
from avbench.runner.scheduler import INTERRUPT, Run, Watcher
from avbench.workflow import preflight
from avbench.workflow.clearing import remember_run
from avbench.workflow.machine import Machine
from avbench.workflow.planning import SuitePlan
from avbench.workflow.progress import describe, failure

if TYPE_CHECKING:
    import pandas as pd

    from avbench.workflow.reporting import SuiteReport


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """The end of a run; ``results`` and ``report`` show what is there."""

    plan: SuitePlan
    status: int
    """0: all stages are done; 1: some failed; 130: interrupted."""
    done: int
    """Stages that are done, with those that were done before."""
    total: int
    """Stages that the run needed."""
    failures: Mapping[str, str]
    """Name and id of each failed stage → the last line of its error, and its log."""
    common: tuple[str, ...]
    """One line for each kind of stage that failed alike wherever it ran."""
    left: int | None
    """Stages to go if the run stopped early, because none was likely to succeed; None: it did
    not."""
    has_no_results: bool
    """True if no stage is done whose result a table shows."""

    @property
    def ok(self) -> bool:
        """True if all stages are done."""
        return self.status == 0

    @property
    def interrupted(self) -> bool:
        """True if a signal ended the run."""
        return self.status == INTERRUPT

    def results(self, *, intervals: str | None = None) -> "pd.DataFrame":
        """Return the results so far, see ``avbench.results``."""
        return self.plan.results(intervals=intervals)

    def report(
        self, *, intervals: str | None = None, delta_to: str | None = None
    ) -> "SuiteReport":
        """Return the tables so far, see ``avbench.report``."""
        return self.plan.report(intervals=intervals, delta_to=delta_to)

    def text(self) -> str:
        """Return what a user should know of the end, a line for each failure."""
        name = self.plan.plan.suite
        ended = "interrupted, " if self.interrupted else ""
        lines = [f"{name}: {ended}{self.done} of {self.total} stages done"]
        if self.left is not None:
            lines.append(f"stopped early, with {self.left} stages to go: none would succeed")
        lines += [f"error: {text}" for text in self.common]
        lines += [f"failed: {stage}: {why}" for stage, why in self.failures.items()]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<run of {self.text()}>"


def prepare(planned: SuitePlan, machine: Machine) -> Run:
    """Check the finished stages and this machine, before the first stage starts.

    Raises:
        AvbenchError: the waiting stages cannot run here; the message lists every reason.
    """
    executor = LocalExecutor(machine.jobs or cores(), machine.threads, processes=machine.processes)
    made = Run(planned.plan, planned.store, executor, machine.local(planned.plugins_dir))
    preflight.check(made, planned.plugins_dir)
    for part in planned.suites.values():
        remember_run(part.plan, planned.store)
    return made


def go(planned: SuitePlan, run: Run, watcher: Watcher) -> RunResult:
    """Run to the end, or to an interruption."""
    status = run.go(watcher)
    failed = [run.plan.stages[id_] for id_, state in run.status.items() if state == "failed"]
    return RunResult(
        plan=planned,
        status=status,
        done=run.count("done"),
        total=len(run.status),
        failures={describe(stage, run): failure(stage, run) for stage in failed},
        common=tuple(map(str, run.common_failures())) if status != INTERRUPT else (),
        left=None if run.stopped is None else run.count("waiting", "elsewhere", "blocked"),
        has_no_results=run.has_no_results,
    )
