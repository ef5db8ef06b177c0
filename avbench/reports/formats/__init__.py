"""Report formats: pure functions from tables to text."""

from collections.abc import Callable, Mapping, Sequence

from avbench.reports.formats import csv, html, latex, long, markdown
from avbench.reports.formats.console import renderables
from avbench.reports.table import Sheet

Render = Callable[[Sequence[Sheet]], str]

FORMATS: Mapping[str, Mapping[str, Render]] = {
    "md": {"md": markdown.render},
    "csv": {"csv": csv.render},
    "latex": {"tex": latex.render, "notes.tex": latex.notes},
    "long": {"long.csv": long.render},
    "html": {"html": html.render},
}
"""Name of each format → the extensions of its files, and the function that makes each."""


def rendered(sheets: Sequence[Sheet], format: str) -> str:  # noqa: A002
    """Return tables in a format, without what its further files hold."""
    return next(iter(FORMATS[format].values()))(sheets)


__all__ = ["FORMATS", "Render", "renderables", "rendered"]
