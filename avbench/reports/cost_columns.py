"""The cost columns of tables: counts, closed form, the paper's figures and a base row.

Everything is derived from the records of profile stages; nothing is counted here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from avbench.config.shipped import published
from avbench.reports.table import TITLES, Column

RECORDED = {
    "macs_g": "GMACs",
    "closed_form_g": "GMACs",
    "norms_g": "G operations",
    "flops_g": "GFLOPs",
    "params_m": "M",
    "train_macs_g": "GMACs",
    "positions": "positions",
}
"""The figures of a profile record, and their units."""


def _column(metric: str, group: str, title: str, decimals: int | None = None) -> Column:
    """Make a cost column; ``decimals`` fixes its decimals, whatever its smallest figure needs."""
    return Column(
        metric=metric,
        group=group,
        title=title,
        decimals=1 if decimals is None else decimals,
        exact=decimals is not None,
        signed="difference" in metric or "base" in metric,
    )


BASE = "FLOPs over the base"
"""The group whose title names the base."""

COLUMNS = {
    column.metric: column
    for column in (
        _column("macs_g", "MACs (G)", "counted"),
        _column("closed_form_g", "MACs (G)", "closed form"),
        _column("flops_g", "FLOPs (G)", "counted"),
        _column("flops_paper_g", "FLOPs (G)", "paper", 0),
        _column("flops_difference", "FLOPs (G)", "difference (%)", 2),
        _column("flops_base_g", BASE, "counted (G)", 1),
        _column("flops_base_paper_g", BASE, "paper (G)", 0),
        _column("flops_base_percent", BASE, "counted (%)", 2),
        _column("flops_base_paper_percent", BASE, "paper (%)", 2),
        _column("params_m", "Parameters (M)", "counted"),
        _column("params_paper_m", "Parameters (M)", "paper", 0),
        _column("params_difference", "Parameters (M)", "difference (%)", 2),
        _column("train_macs_g", "Training MACs (G)", "counted"),
    )
}
"""Every cost column that a suite may ask for."""

COMPARED = {
    "flops_g": ("flops_paper_g", "flops_difference"),
    "params_m": ("params_paper_m", "params_difference"),
}
"""Costs that the paper prints → the metrics of its figure and of the difference to it (%)."""

WITHOUT = {
    "output projection": ("output projection",),
    "decoder": ("decoder", "output projection"),
}
"""Parts that the table by parts leaves out to explain a difference to the paper, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCosts:
    """The recorded costs of one row, and the paper's figures for it."""

    record: str
    """Id of the profile stage."""
    values: Mapping[str, float]
    """Metric of ``RECORDED`` → value, of those that were recorded."""
    parts: Mapping[str, float]
    """Part → FLOPs (G)."""
    paper: Mapping[str, float]
    """Metric → the paper's figure."""


@dataclass(frozen=True, slots=True)
class DerivedCost:
    """One cost of a row, as long rows have it."""

    metric: str
    value: float
    unit: str
    record: str


def quantities(table: str | None) -> dict[str, float]:
    """Return the figures of a published table of single quantities; none for other tables."""
    lines = published(table) if table is not None else []
    return {line["quantity"]: float(line["value"]) for line in lines if "quantity" in line}


def derived_costs(
    row: RowCosts, base: RowCosts | None, table: str | None
) -> Iterator[DerivedCost]:
    """Yield a row's recorded costs and all that follows from them.

    Args:
        row: the row.
        base: the row that relative costs refer to, if any.
        table: the published table that the paper's figures are from.
    """
    own, source = row.record, f"published/{table}"
    for metric, value in row.values.items():
        yield DerivedCost(metric, value, RECORDED[metric], own)
    for part, value in row.parts.items():
        yield DerivedCost(part_metric(part), value, "GFLOPs", own)
    for cost, paper in row.paper.items():
        printed, difference = COMPARED[cost]
        yield DerivedCost(printed, paper, RECORDED[cost], source)
        yield DerivedCost(difference, percent(row.values[cost], paper), "%", own)
    if "flops_g" in row.paper:
        for name, parts in WITHOUT.items():
            left = row.values["flops_g"] - sum(row.parts.get(part, 0.0) for part in parts)
            value = percent(left, row.paper["flops_g"])
            yield DerivedCost(without_metric(name), value, "%", own)
    if base is not None:
        counted, below = row.values["flops_g"], base.values["flops_g"]
        yield DerivedCost("flops_base_g", counted - below, "GFLOPs", own)
        yield DerivedCost("flops_base_percent", percent(counted, below), "%", own)
        if "flops_g" in row.paper and "flops_g" in base.paper:
            paper, below = row.paper["flops_g"], base.paper["flops_g"]
            yield DerivedCost("flops_base_paper_g", paper - below, "GFLOPs", source)
            yield DerivedCost("flops_base_paper_percent", percent(paper, below), "%", source)


def percent(value: float, reference: float) -> float:
    """Return the relative difference of a value to a reference, in percent."""
    return 100 * (value / reference - 1)


def part_metric(part: str) -> str:
    """Name the metric of a part's FLOPs."""
    return f"flops_g {part}"


def without_metric(name: str) -> str:
    """Name the metric of the difference to the paper without some parts."""
    return f"flops_difference without {name}"


def columns(asked: Sequence[str], base: Mapping[str, str]) -> tuple[Column, ...]:
    """Return the cost columns of a table, in groups if a count stands beside other figures.

    Args:
        asked: the metrics, in order.
        base: the axes on which the base row differs.
    """
    chosen = [COLUMNS[metric] for metric in asked]
    groups = [column.group for column in chosen]
    made = []
    for column in chosen:
        if groups.count(column.group) == 1 and column.metric in RECORDED:
            made.append(Column(metric=column.metric, title=TITLES[column.metric]))
        elif column.group == BASE:
            made.append(replace(column, group=f"FLOPs over {', '.join(base.values())}"))
        else:
            made.append(column)
    return tuple(made)


def part_columns(rows: Sequence[RowCosts]) -> tuple[Column, ...]:
    """Return the columns of the table by parts: FLOPs, then differences without some parts."""
    parts = dict.fromkeys(part for row in rows for part in row.parts)
    ordered = sorted(parts, key=lambda part: not part.startswith("encoder"))
    made = [_column("positions", "Caption", "positions", 0)]
    made += [_column(part_metric(part), "FLOPs (G)", part_title(part), 2) for part in ordered]
    made.append(_column("flops_g", "FLOPs (G)", "all", 2))
    if any("flops_g" in row.paper for row in rows):
        made.append(_column("flops_paper_g", "FLOPs (G)", "paper", 0))
        group = "Difference to paper (%)"
        made.append(_column("flops_difference", group, "all", 2))
        made += [_column(without_metric(n), group, f"without {n}", 2) for n in WITHOUT]
    return tuple(made)


def part_title(part: str) -> str:
    """Name a part for a header.

    >>> part_title("encoder video")
    'video encoder'
    """
    kind, _, stream = part.partition(" ")
    return f"{stream} encoder" if kind == "encoder" else part
