"""Shows the progress of a run: bars in a terminal, plain log lines elsewhere."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from avbench.core.visible import visible
from avbench.runner.plan import Stage
from avbench.runner.scheduler import Run
from avbench.workflow.progress import (
    Event,
    Events,
    damage_lines,
    describe,
    end_line,
    span,
    summary,
    time_left,
)

__all__ = ["Bars", "Lines", "Terminal", "console", "span", "time_left", "watch", "working"]

SOON = 2.0
"""Seconds after which a log says what a command does."""

LOG_WIDTH = 140
"""Width of output without a terminal, in columns."""


@contextmanager
def working(output: Console, text: str, *, logged: bool = False) -> Iterator[None]:
    """Show, until the body ends, what a command does before it can show more.

    Args:
        output: in a terminal the text is shown at once, and removed at the end.
        text: what is done.
        logged: True: other output gets it as a line, once it takes more than ``SOON``.
    """
    if output.is_terminal:
        spinner = Spinner("dots", text=Text(text))
        with Live(spinner, console=output, transient=True):
            yield
        return
    timer = threading.Timer(SOON, _log, (output, text))
    timer.daemon = True
    if logged:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _log(output: Console, text: str) -> None:
    stamp = time.strftime("%H:%M:%S")
    output.print(Text(f"{stamp} {text}"), highlight=False, soft_wrap=True)


class Terminal(Console):
    """A console that shows texts as they are: no markup, and hidden characters as escapes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of an object; rich's own control codes stay."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else visible(segment.text, keep="\n")
            yield segment if shown == segment.text else Segment(shown, segment.style)

    def on_broken_pipe(self) -> NoReturn:
        """Leave a closed output to the command; rich's own way ends the process.

        Raises:
            BrokenPipeError: always.
        """
        raise BrokenPipeError


class Bars:
    """One bar for the whole run and one for each running stage, with the estimated time left."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", style="progress.download", markup=False),
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
        for text in (summary(run), *damage_lines(run)):
            self._bars.console.print(Text(text), soft_wrap=True)

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
            self._all = self._bars.add_task("all stages", total=total, note="", count="")
        while run.notes:
            self._bars.console.print(Text(run.notes.pop(0), "bold yellow"), soft_wrap=True)
        if time.monotonic() - self._estimated > 1:
            self._estimated = time.monotonic()
            self._bars.update(
                self._all,
                completed=run.count("done"),
                count=f"{run.count('done')}/{len(run.status)}",
                note=time_left(run),
            )
        shown = {stage.id: (stage, progress) for stage, _, progress in run.running()}
        for id_ in [i for i in self._tasks if i not in shown]:
            self._bars.remove_task(self._tasks.pop(id_))
        for id_, (stage, progress) in shown.items():
            if id_ not in self._tasks:
                name = describe(stage, run)
                self._tasks[id_] = self._bars.add_task(name, total=None, note="", count="")
            self._bars.update(
                self._tasks[id_],
                completed=progress.get("done", 0),
                total=progress.get("total"),
                count=f"{progress['done']}/{progress['total']}" if progress else "",
                note=str(progress.get("note", "starting")),
            )


class Lines(Events):
    """Log lines: each start and end, and the running stages every ``every`` seconds."""

    def __init__(self, console: Console, every: float = 30.0) -> None:
        super().__init__(self._print, every)
        self._console = console

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def _print(self, event: Event) -> None:
        stamp = time.strftime("%H:%M:%S")
        self._console.print(f"{stamp} {event}", markup=False, highlight=False, soft_wrap=True)


def console(*, stderr: bool = False) -> Console:
    """Return the console for output, with a fixed width if there is no terminal."""
    terminal = Terminal(stderr=stderr, markup=False, emoji=False)
    if not terminal.is_terminal:
        terminal.width = LOG_WIDTH
    return terminal


def watch(terminal: Console) -> Bars | Lines:
    """Return bars for a terminal, and lines for any other output."""
    return Bars(terminal) if terminal.is_terminal else Lines(terminal)
