"""``avbench claims``: prints the verdicts on a suite's claims."""

from collections.abc import Mapping
from typing import Any, cast, get_args

from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from avbench.analysis.claims.verdicts import background, claims_data, conclusion, lines, notes
from avbench.cli.progress import console as make_console
from avbench.config.claims import About
from avbench.core.errors import AvbenchError, unknown

STYLES = {
    "supported": "bold green",
    "refuted": "bold red",
    "inconclusive": "yellow",
    "not run": "dim",
}


def question_of(about: str | None) -> About | None:
    """Return the question that ``--about`` names; None: not given.

    Raises:
        AvbenchError: the question is unknown.
    """
    if about is not None and about not in get_args(About):
        raise AvbenchError(f"--about: {unknown('question', about, get_args(About))}")
    return cast("About | None", about)


def print_claims(data: Mapping[str, Any]) -> None:
    """Print each claim with its verdict, its comparisons, and what would decide an open one."""
    console = make_console()
    if not data["claims"]:
        console.print(f"{data['suite']}: the suite states no claims")
        return
    for claim in data["claims"]:
        head = Text.assemble(
            (f"{claim['verdict']}", STYLES[claim["verdict"]]), f"  {claim['says']}"
        )
        console.print(head)
        below: list[Any] = [Text(background(claim), style="dim"), _grid(claim)]
        if said := conclusion(claim):
            open_ = claim["verdict"] in ("inconclusive", "not run")
            below.append(Text(said, style=STYLES[claim["verdict"]] if open_ else ""))
        for line in below:
            console.print(Padding(line, (0, 0, 0, 2)))
        console.print()
    for note in notes(data):
        console.print(Text(note, style="dim"))


def _grid(claim: Mapping[str, Any]) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="dim")
    found = lines(claim)
    published = any(line.published for line in found)
    n = "seeds" if claim["about"] == "methods" else "videos"
    grid.add_column("difference of", overflow="fold")
    columns = ["", "95 % interval", n, "p"]
    for name in (*columns, *(["paper"] if published else [])):
        grid.add_column(name, justify="right", no_wrap=True)
    for line in found:
        cells = [line.of, line.difference, line.interval, line.n, line.p]
        grid.add_row(*map(Text, (*cells, *([line.published] if published else []))))
    return grid


__all__ = ["claims_data", "print_claims", "question_of"]
