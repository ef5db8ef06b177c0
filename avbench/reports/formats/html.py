"""Tables as one self-contained HTML page without a script; see ``reports.page`` for a report."""

from collections.abc import Sequence

from avbench.reports.page.render import tables
from avbench.reports.table import Sheet


def render(sheets: Sequence[Sheet]) -> str:
    """Write one page with all tables."""
    return tables(sheets)
