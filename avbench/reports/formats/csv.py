"""Tables as comma-separated values, for spreadsheets.

Each dataset's metric has a column with the mean, rounded as in other formats. Further columns
follow if any row needs them: standard deviation or ends of the interval, number of seeds,
difference, its significance, rank (1 best, 2 second) and numbers of footnotes. Title, footnotes
and notes are lines that begin with ``#``. The long rows have all digits. A text that a spreadsheet
would run as a formula begins with an apostrophe.
"""

from collections.abc import Sequence

from avbench.core.visible import as_comment, csv_text
from avbench.reports.table import SIGNIFICANT, Sheet, TableCell


def render(sheets: Sequence[Sheet]) -> str:
    """Write the tables, separated by empty lines."""
    return "\n".join(_table(sheet) for sheet in sheets)


def _table(sheet: Sheet) -> str:
    header = [sheet.corner or "row"]
    body = [[title] for title, _ in sheet.rows]
    for j, name in enumerate(sheet.headers):
        cells = [line[j] for _, line in sheet.rows]
        parts = _parts(cells)
        header += [f"{name} {part}".strip() for part in parts]
        for line, i in zip(body, range(len(cells)), strict=True):
            line += [values[i] for values in parts.values()]
    numbered = [f"{number}: {text}" for number, text in enumerate(sheet.footnotes, start=1)]
    under = "".join(map(as_comment, [*numbered, *sheet.notes]))
    return as_comment(sheet.title) + csv_text([header, *body]) + under


def _parts(cells: Sequence[TableCell]) -> dict[str, list[str]]:
    """Return the columns of one figure: suffix of the header → values."""
    parts = {"": [cell.text if cell.mean is not None else cell.status for cell in cells]}
    if any(cell.interval is not None for cell in cells):
        parts["low"], parts["high"] = ([cell.ends[i] for cell in cells] for i in (0, 1))
        parts["seeds"] = [str(cell.n) for cell in cells]
    elif any(cell.std is not None for cell in cells):
        parts["std"] = [cell.spread.removeprefix("± ") for cell in cells]
        parts["seeds"] = [str(cell.n) for cell in cells]
    if any(cell.delta is not None for cell in cells):
        parts["difference"] = [cell.change.strip(f"(){SIGNIFICANT}") for cell in cells]
    if any(cell.significant for cell in cells):
        parts["significant"] = ["yes" if cell.significant else "" for cell in cells]
    if any(cell.rank for cell in cells):
        parts["rank"] = [str(cell.rank or "") for cell in cells]
    if any(cell.footnotes for cell in cells):
        parts["footnotes"] = [" ".join(map(str, cell.footnotes)) for cell in cells]
    return parts
