"""Short names of a table's rows, for formats with little room."""

from collections.abc import Sequence

from avbench.reports.table import TableRow

PART = ", "
"""Separator of the parts of a label, as a grid's combinations have them."""


def short_names(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """Return a short name of each row: its own, or what tells its label from the others.

    Parts that all ranked labels share are left out. Names that would then be equal stay whole.

    >>> short_names([TableRow(label="merged, mbp, V+A"), TableRow(label="cross, mbp, V+A")])
    ('merged', 'cross')
    """
    titles = [row.title or row.label for row in rows]
    parts = [set(t.split(PART)) for row, t in zip(rows, titles, strict=True) if row.ranked]
    shared = set.intersection(*parts) if len(parts) > 1 else set()
    pairs = list(zip(rows, titles, strict=True))
    made = [row.short or _without(title, shared) for row, title in pairs]
    if len(set(made)) == len(made):
        return tuple(made)
    return tuple(row.short or title for row, title in pairs)


def _without(title: str, shared: set[str]) -> str:
    """Return a title without its shared parts; the whole title if nothing would be left."""
    return PART.join(part for part in title.split(PART) if part not in shared) or title
