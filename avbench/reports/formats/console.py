"""Tables for the terminal, by rich."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from avbench.reports.formats.markdown import marks, under
from avbench.reports.formats.panels import panels
from avbench.reports.table import Sheet, TableCell

STYLES = {"failed": "red", "skipped": "yellow", "pending": "dim", "missing": "dim"}


def renderables(sheets: Sequence[Sheet], width: int = 100) -> Iterator[RenderableType]:
    """Yield objects for ``rich.console.Console.print``: each table, then its notes.

    Args:
        sheets: the tables.
        width: characters of a line. A wider table is broken between its groups of columns. Each
            part repeats the rows' names, so no figure is cut.
    """
    for sheet in sheets:
        for i, columns in enumerate(_parts(sheet, width)):
            title = Text(sheet.title) if i == 0 else None
            grid = Grid(title=title, title_justify="left", header_style="bold")
            grid.add_column(Text(sheet.corner), overflow="fold")
            groups = [name for name, wide in sheet.groups for _ in range(wide)]
            for j in columns:
                header = Text(f"{groups[j]}\n{sheet.columns[j]}")
                grid.add_column(header, justify="right", no_wrap=True)
            for name, cells in sheet.rows:
                grid.add_row(Text(name), *(_cell(cells[j]) for j in columns))
            yield grid
        yield Padding(Text("\n".join(under(sheet)), style="dim"), (0, 0, 1, 1))


def _parts(sheet: Sheet, width: int) -> list[list[int]]:
    """Return the columns of each part of a table that fits into a line."""
    names = max((len(name) for name, _ in sheet.rows), default=0) + 4
    groups = [name for name, wide in sheet.groups for _ in range(wide)]
    needed = [
        3.0 + max([len(groups[j]), len(head), *(len(_cell(cells[j])) for _, cells in sheet.rows)])
        for j, head in enumerate(sheet.columns)
    ]
    return panels(sheet, float(names), needed, float(width))


def _cell(cell: TableCell) -> Text:
    style = STYLES.get(cell.status, ("", "bold", "italic")[cell.rank])
    text = Text(cell.text, style=style)
    for part in (cell.spread, cell.change):
        if part:
            text.append(f" {part}", style="not bold not italic dim")
    return text.append(marks(cell), style="not bold not italic")
