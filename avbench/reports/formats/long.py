"""The long rows behind the tables, with all digits, as comma-separated values."""

from collections.abc import Sequence

from avbench.reports.table import Sheet


def render(sheets: Sequence[Sheet]) -> str:
    """Write the long rows of all tables as one table without repetition."""
    tables = list({id(sheet.table): sheet.table for sheet in sheets}.values())
    if not tables:
        return ""
    whole = tables[0]
    for table in tables[1:]:
        whole += table
    return whole.without_repetition().to_csv()
