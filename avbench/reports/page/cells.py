"""The cells of a page's tables: their hints and the keys that sort them."""

from avbench.reports.table import Sheet


def hint(sheet: Sheet, row: int, column: int) -> str:
    """Return what a cell says on hover: its full figure, interval, difference and footnotes."""
    title, cells = sheet.rows[row]
    cell = cells[column]
    place = f"{title}, {sheet.headers[column]}".strip(", ")
    notes = [sheet.footnotes[number - 1] for number in cell.footnotes]
    if cell.mean is None:
        return ". ".join([f"{place}: {cell.status}", *notes])
    said = [f"{place}: {cell.mean:.6g}"]
    if cell.n > 1:
        said.append(f"mean of {cell.n} seeds")
    if cell.std is not None:
        said.append(f"standard deviation {cell.std:.3g}")
    if cell.interval is not None:
        low, high = cell.interval
        said.append(f"95 % interval {low:.4g} to {high:.4g}")
    if cell.delta is not None:
        said.append(f"difference {cell.delta:+.4g}")
    if sheet.labels:
        key = (sheet.labels[row], *sheet.keys[column])
        tested = sheet.inferred.differences.get(key)
        if tested is not None:
            found = "significant" if cell.significant else "not significant"
            said.append(
                f"to {tested.to}: p {tested.corrected:.3g} after Holm's correction, {found}"
            )
    if cell.rank:
        said.append(("best", "second")[cell.rank - 1])
    return ". ".join(["; ".join(said), *notes])


def sort_key(sheet: Sheet, row: int, column: int) -> str:
    """Return the number that a cell sorts by; empty where there is no figure."""
    mean = sheet.rows[row][1][column].mean
    return "" if mean is None else repr(float(mean))
