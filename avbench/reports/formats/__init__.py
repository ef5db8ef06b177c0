"""Report formats: pure functions from tables to text."""

from collections.abc import Callable, Mapping, Sequence

from avbench.reports.formats import csv, html, latex, long, markdown
from avbench.reports.formats.console import renderables
from avbench.reports.table import Sheet

Render = Callable[[Sequence[Sheet]], str]

FORMATS: Mapping[str, tuple[Render, str]] = {
    "md": (markdown.render, "md"),
    "csv": (csv.render, "csv"),
    "latex": (latex.render, "tex"),
    "long": (long.render, "long.csv"),
    "html": (html.render, "html"),
}
"""Name of each format → its function and file extension."""

__all__ = ["FORMATS", "Render", "renderables"]
