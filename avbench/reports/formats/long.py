"""The long rows behind the tables, with all digits, as comma-separated values."""

from collections.abc import Sequence

from avbench.reports.long_table import Table
from avbench.reports.table import Sheet


def render(sheets: Sequence[Sheet]) -> str:
    """Write the long rows of all tables as one table without repetition."""
    return whole(sheets).to_csv() if sheets else ""


def whole(sheets: Sequence[Sheet]) -> Table:
    """Return the long rows of one or more tables as one table without repetition."""
    tables = list({id(sheet.table): sheet.table for sheet in sheets}.values())
    made = tables[0]
    for table in tables[1:]:
        made += table
    return made.without_repetition()
