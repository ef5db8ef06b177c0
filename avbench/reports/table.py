"""The tables of a paper: their layout, and their cells ready for any format.

``avbench.reports.pivot`` makes a ``Sheet`` from long rows and a ``TableLayout``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from avbench.evaluation.statistics.estimate import LEVEL, Estimate
from avbench.reports.long_table import Table

TITLES = {
    "bleu4": "BLEU-4",
    "meteor": "METEOR",
    "rougeL": "ROUGE-L",
    "cider": "CIDEr",
    "slot_visual": "Visual slots (%)",
    "slot_audible": "Audible slots (%)",
    "macs_g": "MACs (G)",
    "flops_g": "FLOPs (G)",
    "params_m": "Parameters (M)",
    "train_macs_g": "Training MACs (G)",
    "closed_form_g": "Closed form, MACs (G)",
}
"""Titles of the metrics that every suite has; others are shown by name."""

SIGNIFICANT = "†"
"""The mark of a difference that is significant."""

LOWER_IS_BETTER = frozenset({"macs_g", "flops_g", "params_m", "train_macs_g"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One metric's column, once under each dataset, or once among the costs."""

    metric: str
    title: str = ""
    """Empty: the usual title of the metric."""
    decimals: int = 1
    """Of scores. Costs span orders of magnitude, so they take as many as the smallest needs."""
    higher_is_better: bool | None = None
    """None: as usual for the metric."""
    ranked: bool | None = None
    """Mark best and second. None: in scores, not in costs."""
    delta: bool = True
    """Show differences to ``TableLayout.delta_to``."""
    group: str = ""
    """Group of a cost. Empty: the group of all costs."""
    exact: bool = False
    """Keep ``decimals`` in a cost, whatever its smallest figure needs."""
    signed: bool = False
    """Put a plus sign before positive figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One row of a layout."""

    label: str
    title: str = ""
    """Empty: the label."""
    short: str = ""
    """The name in formats with little room. Empty: what tells the title from the others."""
    ranked: bool = True
    """False for baselines, references and published figures: never best or second."""
    published: bool = False
    """True for a row that has only published figures; it is shown as such, and not ranked."""
    variant_of: str | None = None
    """The label that its differences refer to; None: the layout's ``delta_to``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableLayout:
    """The shape of a paper-style table."""

    title: str
    columns: tuple[Column, ...]
    """The metrics under each dataset."""
    cost_columns: tuple[Column, ...] = ()
    """The columns of the cost group, at the right."""
    datasets: tuple[str, ...] = ()
    """Empty: every dataset, in order of appearance."""
    rows: tuple[TableRow, ...] = ()
    """Only these labels; empty: every label, in order of appearance, all ranked."""
    delta_to: str | None = None
    """The label whose figures the differences refer to."""
    corner: str = ""
    """The header of the label column."""


Place = tuple[str, str, str]
"""Label, dataset (empty: costs) and metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """A difference to ``TableLayout.delta_to``, tested."""

    to: str
    """The label that the difference is to."""
    estimate: Estimate
    corrected: float
    """p after Holm's correction over the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inferred:
    """The intervals and tests of a table, see ``avbench.reports.intervals``."""

    intervals: Mapping[Place, tuple[float, float]] = field(default_factory=dict)
    differences: Mapping[Place, Tested] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def significant(self) -> frozenset[Place]:
        """The places whose difference to ``TableLayout.delta_to`` is significant."""
        return frozenset(at for at, one in self.differences.items() if one.corrected <= LEVEL)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableCell:
    """One figure of a table, or the status that replaces it."""

    status: str
    mean: float | None = None
    std: float | None = None
    """Standard deviation over seeds (ddof 1); None: one seed, or equal for all."""
    n: int = 0
    """Seeds in the mean."""
    interval: tuple[float, float] | None = None
    """The 95 % interval, shown in place of the standard deviation."""
    delta: float | None = None
    significant: bool = False
    """The difference is significant."""
    rank: int = 0
    """1 best, 2 second, 0 neither."""
    footnotes: tuple[int, ...] = ()
    """Numbers of the footnotes that apply, from 1."""
    decimals: int = 1
    signed: bool = False

    @property
    def text(self) -> str:
        """The mean, or a word or sign for its absence."""
        if self.mean is None:
            return {"missing": "–", "pending": "…"}.get(self.status, self.status)
        rounded = round(self.mean, self.decimals) + 0.0  # no "-0.0"
        return f"{rounded:{'+' if self.signed and rounded else ''}.{self.decimals}f}"

    @property
    def spread(self) -> str:
        """``± 0.4``, or ``[51.2, 54.9]``, or nothing."""
        if self.interval is not None:
            return "[{}, {}]".format(*self.ends)
        return "" if self.std is None else f"± {self.std:.{self.decimals}f}"

    @property
    def ends(self) -> tuple[str, str]:
        """The interval's ends, or empty texts."""
        if self.interval is None:
            return "", ""
        low, high = (f"{round(x, self.decimals) + 0.0:.{self.decimals}f}" for x in self.interval)
        return low, high

    @property
    def change(self) -> str:
        """``(+1.2)``, with ``†`` if significant, or nothing."""
        if self.delta is None:
            return ""
        gap = f"{round(self.delta, self.decimals) + 0.0:+.{self.decimals}f}"  # no "-0.0"
        return f"({gap}{SIGNIFICANT if self.significant else ''})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture under a table, drawn from the same records."""

    name: str
    """The stem of its files, ``.svg`` and ``.png``."""
    title: str
    caption: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sheet:
    """A table of a paper, ready for any format."""

    title: str
    corner: str
    groups: tuple[tuple[str, int], ...]
    """Title and width of each group of columns; together as wide as ``columns``."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[TableCell, ...]], ...]
    """Title and cells."""
    short: tuple[str, ...]
    """A short name of each row, see ``avbench.reports.short_names``."""
    footnotes: tuple[str, ...]
    """Reasons for empty or partial cells; the first is number 1."""
    legend: tuple[str, ...]
    """The meaning of bold, italics, parentheses and signs, for formats that use them."""
    notes: tuple[str, ...]
    table: Table
    """The long rows that it was made from."""
    pictures: tuple[Picture, ...] = ()
    inferred: Inferred = field(default_factory=Inferred)
    """The intervals and tests that its cells show."""
    labels: tuple[str, ...] = ()
    """The label of each row; empty: the cells have no places in ``table``."""
    keys: tuple[tuple[str, str], ...] = ()
    """Dataset and metric of each column; empty like ``labels``."""

    @property
    def headers(self) -> list[str]:
        """One header a column with its group, for formats without grouped headers."""
        groups = [name for name, width in self.groups for _ in range(width)]
        return [f"{g} {c}".strip() for g, c in zip(groups, self.columns, strict=True)]
