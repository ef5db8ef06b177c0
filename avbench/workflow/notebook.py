"""Tables in a notebook: the page of the format ``html`` in a frame, so its style stays its own."""

from collections.abc import Sequence
from html import escape

from avbench.reports.table import Sheet

LINE = 27
"""Estimated height of a table's line, in pixels."""

SHORTEST, TALLEST = 200, 900
"""Heights of a frame, in pixels; a longer page scrolls."""


def framed(page: str, sheets: Sequence[Sheet]) -> str:
    """Return a frame with a whole HTML page of tables.

    The frame runs no script and cannot reach the notebook.
    """
    lines = sum(len(s.rows) + len(s.footnotes) + len(s.notes) + 6 for s in sheets)
    height = min(max(LINE * lines, SHORTEST), TALLEST)
    title = escape("; ".join(sheet.title for sheet in sheets) or "avbench")
    return (
        f'<iframe title="{title}" sandbox="" '
        f'style="width: 100%; height: {height}px; border: 0" srcdoc="{escape(page)}"></iframe>'
    )
