"""The long-row table of a suite's results: one row a trial, seed, dataset and metric.

``Table`` wraps a pandas DataFrame; ``avbench.reports.pivot`` turns it into the tables of a paper
and ``avbench.reports.formats`` writes both. ``avbench.reports.collect`` makes the rows.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from avbench.core.columns import AFTER, BEFORE
from avbench.core.errors import AvbenchError, unknown
from avbench.core.visible import as_cell, of_cell

Status = Literal["ok", "failed", "skipped", "missing", "pending", "refused"]
"""``failed``: its stage ended in an error. ``skipped``: the combination is impossible.
``missing``: the stage ended well without this figure. ``pending``: it has not run yet.
``refused``, in tables only: its signature differs from that of its column."""


LONG_FILE = "table.long.csv"
"""The file of a suite's long rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One long row.

    A row that is not ``ok`` may leave ``metric``, or ``dataset`` and ``metric``, empty. It then
    stands for all figures of the dataset, or of the trial, that have no row of their own.
    """

    suite: str
    trial: str
    """Id of one combination and seed."""
    label: str
    """The row of the paper-style table; trials that differ only by seed share it."""
    seed: int | None = None
    """None for figures without a seed: baselines, published figures, costs."""
    axes: Mapping[str, str] = field(default_factory=dict)
    """Axis → value, e.g. ``fusion``, ``loss``, ``modalities``."""
    dataset: str = ""
    """Empty for costs, which belong to the trial."""
    split: str = ""
    metric: str = ""
    """``bleu4, meteor, rougeL, cider, slot_*, macs_g, flops_g, params_m, train_macs_g`` or a
    score of a metric plugin."""
    value: float | None = None
    unit: str = ""
    status: Status = "ok"
    signature: str = ""
    """Signature of a score, ``metric|option:value|…``; empty for costs and published figures."""
    record: str = ""
    """Id of the stage whose record holds the figure."""
    reason: str = ""
    """The reason for a missing figure."""
    log: str = ""
    """Path of the log with the details."""

    def __post_init__(self) -> None:
        where = f"row of '{self.label}', {self.dataset or 'costs'}, {self.metric or 'all'}"
        if self.status == "ok":
            if self.value is None or not math.isfinite(self.value):
                raise ValueError(f"{where}: an ok row needs a finite value, got {self.value}")
            if not self.metric:
                raise ValueError(f"{where}: an ok row needs a metric")
        elif self.value is not None:
            raise ValueError(f"{where}: a {self.status} row has no value, got {self.value}")


class Table:
    """Long rows with the columns ``BEFORE``, one an axis, ``AFTER``.

    Attributes:
        frame: texts as strings (empty: none), ``seed`` as nullable ``Int64``, ``value`` as
            float (NaN: none); the index counts from 0.
        axes: the names of the axis columns, in order.
    """

    def __init__(self, frame: pd.DataFrame, axes: Sequence[str]) -> None:
        self.axes = tuple(axes)
        clash = sorted({*self.axes} & {*BEFORE, *AFTER})
        if clash or len(set(self.axes)) != len(self.axes):
            raise ValueError(f"axes must differ from each other and the columns, got {axes}")
        columns = [*BEFORE, *self.axes, *AFTER]
        frame = frame[columns].reset_index(drop=True)
        texts = {c: str for c in columns if c not in ("seed", "value")}
        self.frame = frame.astype(texts | {"seed": "Int64", "value": "float64"})

    @classmethod
    def of(cls, rows: Iterable[Measurement], axes: Sequence[str] | None = None) -> "Table":
        """Make a table of rows, in their order.

        Args:
            rows: the measurements.
            axes: the axis columns; None: all that the rows name, in order of appearance.
        """
        rows = list(rows)
        if axes is None:
            axes = list(dict.fromkeys(name for row in rows for name in row.axes))
        data: dict[str, Any] = {
            name: [getattr(row, name) for row in rows] for name in (*BEFORE, *AFTER)
        }
        data |= {name: [row.axes.get(name, "") for row in rows] for name in axes}
        data["seed"] = pd.array(data["seed"], dtype="Int64")
        return cls(pd.DataFrame(data), axes)

    @classmethod
    def read_csv(cls, text: str) -> "Table":
        """Read what ``to_csv`` wrote: equal rows, to the last bit of the values.

        Raises:
            AvbenchError: a column is missing.
        """
        header = pd.read_csv(io.StringIO(text), nrows=0).columns.tolist()
        missing = [name for name in (*BEFORE, *AFTER) if name not in header]
        if missing:
            raise AvbenchError(f"long rows: no column '{missing[0]}' among {', '.join(header)}")
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        # Python's own float() is exact; pandas' parser is so only in some versions.
        for name in header:
            frame[name] = frame[name].map(of_cell)
        frame["value"] = [float(value) if value else math.nan for value in frame["value"]]
        seeds = [int(seed) if seed else None for seed in frame["seed"]]
        frame["seed"] = pd.array(seeds, dtype="Int64")
        return cls(frame, [name for name in header if name not in {*BEFORE, *AFTER}])

    def to_csv(self) -> str:
        """Return comma-separated values with a header; figures have all digits.

        Texts are cells that no spreadsheet runs (``avbench.core.visible``).
        """
        safe = self.frame.rename(columns=as_cell)
        for name in safe.columns:
            if name not in ("seed", "value"):
                safe[name] = safe[name].map(as_cell)
        return safe.to_csv(index=False, lineterminator="\n")

    def where(self, **equals: Any) -> "Table":
        """Return the rows in which each named column has the given value.

        Raises:
            AvbenchError: there is no such column.
        """
        frame = self.frame
        for name, value in equals.items():
            if name not in frame.columns:
                raise AvbenchError(unknown("column", name, frame.columns))
            frame = frame[frame[name] == value]
        return Table(frame, self.axes)

    def __add__(self, other: "Table") -> "Table":
        axes = list(dict.fromkeys((*self.axes, *other.axes)))
        frames = [
            t.frame.assign(**{a: "" for a in axes if a not in t.axes}) for t in (self, other)
        ]
        return Table(pd.concat([f for f in frames if len(f)] or frames, ignore_index=True), axes)

    def without_repetition(self) -> "Table":
        """Return the table with each row once."""
        return Table(self.frame.drop_duplicates(), self.axes)

    def __len__(self) -> int:
        return len(self.frame)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Table) and self.axes == other.axes and self.frame.equals(other.frame)
        )

    __hash__ = None  # type: ignore[assignment]  # a frame can be changed
