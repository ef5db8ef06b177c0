"""The cost columns of tables: counts beside the closed form, the paper's figures and a base row.

Everything is derived from what profile stages recorded; nothing is counted here.
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
    """A cost column; with ``decimals`` it has so many whatever its smallest figure needs."""
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
"""The costs that the paper prints: the metrics of its figure and of the difference to it (%)."""

WITHOUT = {
    "output projection": ("output projection",),
    "decoder": ("decoder", "output projection"),
}
"""What the table by parts leaves out to explain a difference to the paper: name to parts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CostRow:
    """What a profile recorded of one row, and what its suite holds it against."""

    record: str
    """Id of the profile stage."""
    values: Mapping[str, float]
    """The figures of RECORDED that it has."""
    parts: Mapping[str, float]
    """FLOPs (G) of each part."""
    paper: Mapping[str, float]
    """The paper's figures: cost to value."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One derived figure."""

    metric: str
    value: float
    unit: str
    record: str


def quantities(table: str | None) -> dict[str, float]:
    """The figures of a published table that lists single quantities; none for other tables."""
    lines = published(table) if table is not None else []
    return {line["quantity"]: float(line["value"]) for line in lines if "quantity" in line}


def figures(row: CostRow, base: CostRow | None, table: str | None) -> Iterator[Figure]:
    """A row's recorded figures and all that follows from them.

    Args:
        row: the row.
        base: the row that relative costs refer to; None: there is none.
        table: the published table that the paper's figures are from.
    """
    own, source = row.record, f"published/{table}"
    for metric, value in row.values.items():
        yield Figure(metric, value, RECORDED[metric], own)
    for part, value in row.parts.items():
        yield Figure(part_metric(part), value, "GFLOPs", own)
    for cost, paper in row.paper.items():
        printed, difference = COMPARED[cost]
        yield Figure(printed, paper, RECORDED[cost], source)
        yield Figure(difference, percent(row.values[cost], paper), "%", own)
    if "flops_g" in row.paper:
        for name, parts in WITHOUT.items():
            left = row.values["flops_g"] - sum(row.parts.get(part, 0.0) for part in parts)
            value = percent(left, row.paper["flops_g"])
            yield Figure(without_metric(name), value, "%", own)
    if base is not None:
        counted, below = row.values["flops_g"], base.values["flops_g"]
        yield Figure("flops_base_g", counted - below, "GFLOPs", own)
        yield Figure("flops_base_percent", percent(counted, below), "%", own)
        if "flops_g" in row.paper and "flops_g" in base.paper:
            paper, below = row.paper["flops_g"], base.paper["flops_g"]
            yield Figure("flops_base_paper_g", paper - below, "GFLOPs", source)
            yield Figure("flops_base_paper_percent", percent(paper, below), "%", source)


def percent(value: float, reference: float) -> float:
    """By how many per cent a value is above another."""
    return 100 * (value / reference - 1)


def part_metric(part: str) -> str:
    """The metric of a part's FLOPs."""
    return f"flops_g {part}"


def without_metric(name: str) -> str:
    """The metric of the difference to the paper without some parts."""
    return f"flops_difference without {name}"


def columns(asked: Sequence[str], base: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns of a table's costs: in groups where a count stands beside something.

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


def part_columns(rows: Sequence[CostRow]) -> tuple[Column, ...]:
    """The columns of the table by parts: FLOPs, then what of a difference the parts explain."""
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
    """A part as a header names it.

    >>> part_title("encoder video")
    'video encoder'
    """
    kind, _, stream = part.partition(" ")
    return f"{stream} encoder" if kind == "encoder" else part


def notes(rows: Mapping[str, CostRow], asked: Sequence[str], base: Mapping[str, str]) -> list[str]:
    """What stands under a table of costs, from its figures.

    Args:
        rows: label to what was recorded.
        asked: the metrics that the table shows.
        base: the axes on which the base row differs.
    """
    said: list[str] = []
    if "closed_form_g" in asked:
        closed = [
            abs(percent(row.values["macs_g"], row.values["closed_form_g"]))
            for row in rows.values()
            if "closed_form_g" in row.values
        ]
        if closed:
            said.append(
                f"Counts agree with the closed form to {_bound(max(closed))} % "
                f"in {len(closed)} of {len(rows)} rows."
            )
        added = [row.values["norms_g"] for row in rows.values() if "norms_g" in row.values]
        if added:
            said.append(
                "Counted are matrix products, convolutions and attention. Norms are not; at five "
                f"operations an element, as fvcore counts them, they would add "
                f"{_range(added, 2)} G to the MACs."
            )
    if any(COLUMNS[metric].group == BASE for metric in asked):
        said.append(
            f"Over {', '.join(base.values())}: against the row that differs in "
            f"{' and '.join(base)} alone."
        )
    if any(metric.startswith("flops") for metric in asked) and rows:
        said.insert(0, "For one clip. FLOPs are 2 × MACs (multiply-accumulates).")
    return said


def part_notes(rows: Mapping[str, CostRow]) -> list[str]:
    """What stands under the table by parts, from its figures."""
    said = [
        "Caption positions: those that the decoder reads under teacher forcing. Decoder: its "
        "layers, with the keys and values of the fused tokens. Output projection: from the "
        "caption's positions to the vocabulary."
    ]
    for label, row in rows.items():
        if "flops_g" not in row.paper:
            continue
        excess = row.values["flops_g"] - row.paper["flops_g"]
        share = sum(row.parts.get(part, 0.0) for part in WITHOUT["decoder"])
        said.append(
            f"{label}: {abs(excess):.1f} G {'above' if excess >= 0 else 'below'} the paper's "
            f"{row.paper['flops_g']:.0f} G; decoder and output projection are {share:.1f} G."
        )
    return said


def _bound(value: float) -> str:
    """A bound that a percentage keeps: the first of these that is not below it."""
    return next(
        (text for text in ("0.001", "0.01", "0.1") if value <= float(text)), f"{value:.1f}"
    )


def _range(values: Sequence[float], decimals: int) -> str:
    low, high = f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"
    return low if low == high else f"{low} to {high}"
