"""The progress of a run as events, and its texts; ``avbench.cli.progress`` shows them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from avbench.runner.common_failure import failure_line
from avbench.runner.plan import Stage, stage_name
from avbench.runner.scheduler import Run


def span(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds.

    >>> span(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))


def end_line(stage: Stage, run: Run, seconds: float) -> str:
    """Return one line about a stage that has ended."""
    if run.status[stage.id] == "done":
        return f"done in {span(seconds)}: {describe(stage, run)}"
    if run.repeats_error(stage):
        return f"FAILED: {describe(stage, run)}: the same error"
    return f"FAILED: {describe(stage, run)}: {failure(stage, run)}"


def failure(stage: Stage, run: Run) -> str:
    """Return the last line of a failed stage's error, and the place of its log."""
    return failure_line(run.error(stage), run.store.directory(stage))


def describe(stage: Stage, run: Run) -> str:
    """Return a stage's kind, the name of its work, and the start of its id."""
    return stage_name(stage.kind, stage.id, run.names.get(stage.id, ""))


def summary(run: Run) -> str:
    """Return one line about the work of a run."""
    left = len(run.status) - run.cached
    return (
        f"{run.plan.suite}: {len(run.plan.trials)} trials, {left} stages to do, "
        f"{run.cached} done before; {run.executor.slots} processes at once"
    )


def damage_lines(run: Run) -> list[str]:
    """Return one line about each stage that is done again because it is damaged."""
    stages = run.plan.stages
    return [
        f"damaged, and to do again: {describe(stages[id_], run)}: {damage}"
        for id_, damage in run.damaged.items()
    ]


def time_left(run: Run) -> str:
    """Return the estimated time to the end of a run, or that it is unknown."""
    seconds = run.seconds_left()
    return "time left unknown" if seconds is None else f"about {span(max(1.0, seconds))} left"


def reason_unknown(run: Run) -> str:
    """Return why the time left is unknown; empty: it is known, or soon will be."""
    kinds = run.unmeasured() if run.seconds_left() is None else []
    return f": no {' or '.join(kinds)} stage has ended yet" if kinds else ""


Kind = Literal["begin", "damaged", "started", "running", "done", "failed", "note", "time"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened in a run. As text it is one line, e.g. for ``print``."""

    kind: Kind
    """``running``: a stage goes on; ``note``: a decision of the run; ``time``: the time left."""
    text: str
    done: int
    """Stages that are done."""
    total: int
    """Stages that the run needs, with those that were done before."""
    stage: str = ""
    """Id of the stage; empty: the event is about none."""
    seconds: float | None = None
    """Seconds that the stage has taken; of ``time``: estimated seconds left, None: unknown."""

    def __str__(self) -> str:
        return f"[{self.done}/{self.total}] {self.text}"


Tell = Callable[[Event], object]
"""Takes events, e.g. ``print``; it runs between two looks at the stages, so it must be brief."""


class Events:
    """A watcher of ``runner.scheduler`` that tells events; every ``every`` seconds what runs."""

    def __init__(self, tell: Tell, every: float = 30.0) -> None:
        self._tell, self._every = tell, every
        self._last = time.monotonic()

    def begin(self, run: Run) -> None:
        """Tell the work of the run."""
        self._event(run, "begin", summary(run))
        for text in damage_lines(run):
            self._event(run, "damaged", text)

    def started(self, stages: list[Stage], run: Run) -> None:
        """Tell one event per stage."""
        for stage in stages:
            self._event(run, "started", f"started: {describe(stage, run)}", stage)

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        """Tell the end of a stage."""
        kind: Kind = "done" if run.status[stage.id] == "done" else "failed"
        self._event(run, kind, end_line(stage, run, seconds), stage, seconds)

    def tick(self, run: Run) -> None:
        """Tell notes, and every ``every`` seconds the running stages."""
        while run.notes:
            self._event(run, "note", run.notes.pop(0))
        if time.monotonic() - self._last < self._every:
            return
        self._last = time.monotonic()
        for stage, seconds, progress in run.running():
            share = f"{progress['done']}/{progress['total']} " if progress else "starting"
            note = f"{share}{progress.get('note', '')}".strip()
            text = f"running for {span(seconds)}: {describe(stage, run)} {note}".rstrip()
            self._event(run, "running", text, stage, seconds)
        text = time_left(run) + reason_unknown(run)
        self._event(run, "time", text, seconds=run.seconds_left())

    def _event(
        self,
        run: Run,
        kind: Kind,
        text: str,
        stage: Stage | None = None,
        seconds: float | None = None,
    ) -> None:
        event = Event(
            kind=kind,
            text=text,
            done=run.count("done"),
            total=len(run.status),
            stage=stage.id if stage else "",
            seconds=seconds,
        )
        self._tell(event)
