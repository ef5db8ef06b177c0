"""Breaks a wide table between its groups of columns, for formats with a limited width."""

from collections.abc import Sequence

from avbench.reports.table import Sheet


def panels(sheet: Sheet, names: float, needed: Sequence[float], most: float) -> list[list[int]]:
    """Return the columns of each panel of a table: as many whole groups as fit.

    A group that is wider than a panel is broken too.

    Args:
        sheet: the table.
        names: width of the rows' names, which each panel repeats.
        needed: width of each column, in the same unit.
        most: width of a panel.
    """
    made: list[list[int]] = [[]]
    first = 0
    for _, wide in sheet.groups:
        group = list(range(first, first + wide))
        first += wide
        used = names + sum(needed[j] for j in made[-1] + group)
        if made[-1] and used > most:
            made.append([])
        for j in group:
            if made[-1] and names + sum(needed[k] for k in (*made[-1], j)) > most:
                made.append([])
            made[-1].append(j)
    return made
