"""Tables for the terminal, by rich."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from avbench.reports.markdown import marks, under
from avbench.tables import Cell, Sheet

STYLES = {"failed": "red", "skipped": "yellow", "pending": "dim", "missing": "dim"}


def renderables(sheets: Sequence[Sheet]) -> Iterator[RenderableType]:
    """What ``rich.console.Console.print`` takes, one table and its notes after the other."""
    for sheet in sheets:
        grid = Grid(title=Text(sheet.title), title_justify="left", header_style="bold")
        grid.add_column(Text(sheet.corner), overflow="fold")
        groups = [name for name, width in sheet.groups for _ in range(width)]
        for group, name in zip(groups, sheet.columns, strict=True):
            grid.add_column(Text(f"{group}\n{name}"), justify="right")
        for title, cells in sheet.rows:
            grid.add_row(Text(title), *map(_cell, cells))
        yield grid
        yield Padding(Text("\n".join(under(sheet)), style="dim"), (0, 0, 1, 1))


def _cell(cell: Cell) -> Text:
    style = STYLES.get(cell.status, ("", "bold", "italic")[cell.rank])
    text = Text(cell.text, style=style)
    for part in (cell.spread, cell.change):
        if part:
            text.append(f" {part}", style="not bold not italic dim")
    return text.append(marks(cell), style="not bold not italic")
