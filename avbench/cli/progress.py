"""Shows the progress of a run: bars in a terminal, plain log lines elsewhere."""

import time
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment

from avbench.core.job import LOG
from avbench.core.visible import visible
from avbench.runner.common_failure import last_line
from avbench.runner.plan import Stage
from avbench.runner.scheduler import Run

LOG_WIDTH = 140
"""Width of output without a terminal, in columns."""


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
    record = run.store.record(stage) or {}
    error = last_line(record.get("error"))
    return f"FAILED: {describe(stage, run)}: {error} (log: {run.store.directory(stage) / LOG})"


def describe(stage: Stage, run: Run) -> str:
    """Return a stage's kind, the name of its work, and the start of its id."""
    name = run.names.get(stage.id, "")
    return " ".join(part for part in (stage.kind, name, f"[{stage.id[:8]}]") if part)


def summary(run: Run) -> str:
    """Return one line about the work of a run."""
    left = len(run.status) - run.cached
    return (
        f"{run.plan.suite}: {len(run.plan.trials)} trials, {left} stages to do, "
        f"{run.cached} done before; {run.executor.slots} processes at once"
    )


class Terminal(Console):
    """A console that shows texts as they are: no markup, and hidden characters as escapes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of an object; rich's own control codes stay."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else visible(segment.text, keep="\n")
            yield segment if shown == segment.text else Segment(shown, segment.style)


class Bars:
    """One bar for the whole run and one for each running stage, with the estimated time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._estimated = 0.0

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, run: Run) -> None:
        """Print the work of the run."""
        self._bars.console.print(summary(run), highlight=False)

    def started(self, stages: list[Stage], run: Run) -> None:
        """Print nothing; the stages' bars appear at the next tick."""

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        """Print a line above the bars."""
        style = None if run.status[stage.id] == "done" else "bold red"
        self._bars.console.print(end_line(stage, run, seconds), style=style, highlight=False)

    def tick(self, run: Run) -> None:
        """Update the bars."""
        if self._all is None:
            total = len(run.status)
            self._all = self._bars.add_task("all stages", total=total, note="")
        if time.monotonic() - self._estimated > 1:
            self._estimated = time.monotonic()
            note = f"about {span(run.seconds_left())} left"
            self._bars.update(self._all, completed=run.count("done"), note=note)
        shown = {stage.id: (stage, progress) for stage, _, progress in run.running()}
        for id_ in [i for i in self._tasks if i not in shown]:
            self._bars.remove_task(self._tasks.pop(id_))
        for id_, (stage, progress) in shown.items():
            if id_ not in self._tasks:
                self._tasks[id_] = self._bars.add_task(describe(stage, run), total=None, note="")
            self._bars.update(
                self._tasks[id_],
                completed=progress.get("done", 0),
                total=progress.get("total"),
                note=str(progress.get("note", "")),
            )


class Lines:
    """Log lines: each start and end, and the running stages every ``every`` seconds."""

    def __init__(self, console: Console, every: float = 30.0) -> None:
        self._console, self._every = console, every
        self._last = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def begin(self, run: Run) -> None:
        """Print the work of the run."""
        self._print(run, summary(run))

    def started(self, stages: list[Stage], run: Run) -> None:
        """Print one line per stage."""
        for stage in stages:
            self._print(run, f"started: {describe(stage, run)}")

    def ended(self, stage: Stage, run: Run, seconds: float) -> None:
        """Print one line for the stage."""
        self._print(run, end_line(stage, run, seconds))

    def tick(self, run: Run) -> None:
        """Print the running stages, if ``every`` seconds have passed since the last time."""
        if time.monotonic() - self._last < self._every:
            return
        self._last = time.monotonic()
        for stage, seconds, progress in run.running():
            share = f"{progress['done']}/{progress['total']} " if progress else ""
            note = f"{share}{progress.get('note', '')}".strip()
            self._print(
                run, f"running for {span(seconds)}: {describe(stage, run)} {note}".rstrip()
            )
        self._print(run, f"about {span(run.seconds_left())} left")

    def _print(self, run: Run, text: str) -> None:
        stamp = time.strftime("%H:%M:%S")
        count = f"[{run.count('done')}/{len(run.status)}]"
        self._console.print(
            f"{stamp} {count} {text}", markup=False, highlight=False, soft_wrap=True
        )


def console(*, stderr: bool = False) -> Console:
    """Return the console for output, with a fixed width if there is no terminal."""
    terminal = Terminal(stderr=stderr, markup=False, emoji=False)
    if not terminal.is_terminal:
        terminal.width = LOG_WIDTH
    return terminal


def watch(terminal: Console) -> Bars | Lines:
    """Return bars for a terminal, and lines for any other output."""
    return Bars(terminal) if terminal.is_terminal else Lines(terminal)
