"""Tables in GitHub's Markdown, which has no grouped headers: each header names its dataset."""

import re
from collections.abc import Sequence

from tabulate import tabulate

from avbench.core.visible import one_line
from avbench.reports.table import Sheet, TableCell

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def render(sheets: Sequence[Sheet]) -> str:
    """Write the tables one after the other."""
    return "\n".join(_table(sheet) for sheet in sheets)


def marks(cell: TableCell) -> str:
    """Return the numbers of a cell's footnotes as superscripts: ``¹,²``."""
    return ",".join(map(str, cell.footnotes)).translate(SUPERSCRIPT)


def under(sheet: Sheet) -> list[str]:
    """Return the text under a table: numbered footnotes, legend and notes."""
    numbered = [
        f"{str(n).translate(SUPERSCRIPT)} {text}" for n, text in enumerate(sheet.footnotes, 1)
    ]
    return [*numbered, *sheet.legend, *sheet.notes]


def _table(sheet: Sheet) -> str:
    body = [[_escape(title), *map(_cell, cells)] for title, cells in sheet.rows]
    grid = tabulate(
        body,
        headers=[_escape(text) for text in (sheet.corner, *sheet.headers)],
        tablefmt="github",
        colalign=["left", *["right"] * len(sheet.columns)],
        disable_numparse=True,
    )
    lines = "".join(f"- {_escape(line)}\n" for line in under(sheet))
    pictures = "".join(
        f"\n![{_escape(p.title)}]({p.name}.svg)\n\n{_escape(p.caption)}\n" for p in sheet.pictures
    )
    return f"### {_escape(sheet.title)}\n\n{grid}\n" + (f"\n{lines}" if lines else "") + pictures


def _cell(cell: TableCell) -> str:
    emphasis = ("", "**", "*")[cell.rank]
    figure = f"{emphasis}{cell.text}{emphasis}"
    return " ".join(part for part in (figure, cell.spread, cell.change) if part) + marks(cell)


ACTIVE = re.compile(
    r"[\\`*|<\[\]$~]"  # anywhere
    r"|(?<!\w)_|_(?!\w)"  # emphasis, not the _ within a name
    r"|&(?=#?\w+;)|:(?=\w+:)"  # entities and emoji
    r"|^[#>+-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"  # headings, quotes and lists
)
"""Characters that GitHub's Markdown would take as markup."""


def _escape(text: str) -> str:
    return ACTIVE.sub(r"\\\g<0>", one_line(text))
