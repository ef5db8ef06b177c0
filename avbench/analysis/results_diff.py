"""Two results folders, cell by cell: the figures of their long tables, and tests of differences.

A cell is one score or cost of one row on one dataset. Each folder holds, as ``avbench report``
wrote it, ``SUITE/table.long.csv``; its lines name the score stages behind them. Where both folders
keep these stages' statistics by video, a difference is tested by approximate randomisation over
videos, averaged over the seeds that both have, as ``avbench score --compare`` does. Otherwise
seeds decide, by a paired t test. Costs depend on no chance: they are equal or they differ.
"""

import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from avbench.core.errors import AvbenchError, DataError, UnknownNameError, unknown
from avbench.core.registry import Registry
from avbench.evaluation.statistics.estimate import LEVEL, TIE, Estimate, holm
from avbench.evaluation.statistics.resampling import System, by_video
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.sufficient import Sufficient, read
from avbench.evaluation.statistics.videos import difference
from avbench.reports.long_table import LONG_FILE, Table
from avbench.reports.signatures import apart
from avbench.reports.systems import Metrics
from avbench.runner import stage_record

PUBLISHED = "published/"
"""Beginning of ``record`` of the paper's figures, which are equal everywhere."""

ID = re.compile(r"[0-9a-f]{16}")

Verdict = Literal[
    "equal",
    "not significant",
    "significant",
    "differs",
    "untested",
    "refused",
    "only in A",
    "only in B",
]
"""``differs``: a cost, which no chance moves. ``untested``: the figures differ, and neither seeds
nor statistics say whether by chance. ``refused``: they were made in different ways."""

AGREEING = frozenset({"equal", "not significant"})
"""Verdicts that speak for no difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellDiff:
    """One cell of both folders."""

    suite: str
    row: str
    dataset: str
    """Empty: a cost."""
    metric: str
    unit: str
    verdict: Verdict = "untested"
    first: float | None = None
    """Mean of A over the seeds that both have; of all of A's if only A has the cell."""
    second: float | None = None
    """The same of B."""
    test: Literal["", "videos", "seeds"] = ""
    """The unit that is drawn by chance; empty: not tested."""
    estimate: Estimate | None = None
    """B − A; None: not tested, or equal."""
    corrected: float | None = None
    """Two-sided p after Holm's correction over all tested cells; 1 for an equal one."""
    seeds: tuple[int, ...] = ()
    """Seeds that both have."""
    reason: str = ""
    """The reason for no test or no interval, or what only one folder has."""

    @property
    def difference(self) -> float | None:
        """B − A, or None if one of them has no figure."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first


@dataclass(frozen=True, kw_only=True, slots=True)
class Diff:
    """All cells of two results folders."""

    cells: tuple[CellDiff, ...]
    notes: tuple[str, ...]
    tables: tuple[Table, Table]
    """The long rows of A and of B."""


def compare_folders(
    first: Path, second: Path, suite: str | None, registry: Callable[[], Registry]
) -> Diff:
    """Compare the figures of two results folders.

    Args:
        first: results folder A.
        second: results folder B; differences are B − A.
        suite: name of a suite; None: every suite that either folder has tables of.
        registry: loads the components; called if there are statistics to test by.

    Raises:
        AvbenchError: a folder or its tables are missing or damaged, or have no such suite.
    """
    sides = [_Side(first), _Side(second)]
    names = [side.suites() for side in sides]
    every = list(dict.fromkeys([*names[0], *names[1]]))
    if suite is not None:
        for side, known in zip(sides, names, strict=True):
            if suite not in known:
                raise AvbenchError(f"{side.folder}: {unknown('suite', suite, known)}; {WRITE}")
        every = [suite]
    if not every:
        raise AvbenchError(f"{first}, {second}: no suite has a {LONG_FILE}; {WRITE}")
    metrics = Metrics(registry)
    cells: list[CellDiff] = []
    notes: list[str] = []
    tables = tuple(side.table(every) for side in sides)
    for name in every:
        figures = [side.figures(name) for side in sides]
        notes += _other_axes(name, *figures)
        places = dict.fromkeys([*figures[0].values, *figures[1].values])
        cells += [_compared(name, place, sides, figures, metrics) for place in places]
    # An equal score is a test with p = 1: whether it counts must not hang on the outcome.
    tested = [cell for cell in cells if cell.test]
    corrected = iter(holm([c.estimate.p if c.estimate is not None else 1.0 for c in tested]))
    made = tuple(_judged(cell, corrected) for cell in cells)
    return Diff(cells=made, notes=tuple(notes), tables=(tables[0], tables[1]))


WRITE = "'avbench report SUITE --results FOLDER --format long' writes its tables"

Place = tuple[str, str, str]
"""Row, dataset and metric."""


@dataclass(frozen=True, slots=True)
class _Figure:
    value: float
    unit: str
    signature: str
    record: str


@dataclass(slots=True)
class _Figures:
    """The figures of one suite in one folder."""

    values: dict[Place, dict[int | None, _Figure]] = field(default_factory=dict)
    absent: dict[tuple[str, str], str] = field(default_factory=dict)
    """Row and dataset (empty: any) → the reason why figures are missing."""
    axes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Row → its values on the axes."""

    def why_absent(self, place: Place) -> str:
        row, dataset, _ = place
        return self.absent.get((row, dataset)) or self.absent.get((row, "")) or "no such cell"


class _Side:
    """One of the two results folders."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise AvbenchError(f"{folder}: no such folder; give a results folder")
        self.folder = folder
        self._tables: dict[str, Table] = {}
        self._scores: dict[str, tuple[list[Mapping[str, Any]], dict[str, Sufficient]]] = {}

    def suites(self) -> list[str]:
        """Return the suites that have long rows."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{LONG_FILE}"))

    def table(self, suites: list[str]) -> Table:
        """Return the long rows of suites, without published figures."""
        made = Table.of(())
        for suite in suites:
            made += self._read(suite)
        return made

    def _read(self, suite: str) -> Table:
        path = self.folder / suite / LONG_FILE
        if suite not in self._tables:
            try:
                table = Table.read_csv(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                table = Table.of(())
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: cannot be read: {error}") from error
            kept = ~table.frame["record"].str.startswith(PUBLISHED)
            self._tables[suite] = Table(table.frame[kept], table.axes)
        return self._tables[suite]

    def figures(self, suite: str) -> _Figures:
        """Return the figures of a suite."""
        table, found = self._read(suite), _Figures()
        for line in table.frame.to_dict("records"):
            row, dataset, metric = (str(line[k]) for k in ("label", "dataset", "metric"))
            found.axes.setdefault(row, {axis: str(line[axis]) for axis in table.axes})
            if line["status"] != "ok":
                reason = f"{line['status']}: {line['reason']}".removesuffix(": ")
                found.absent.setdefault((row, dataset), reason)
                continue
            seed = None if pd.isna(line["seed"]) else int(line["seed"])
            figure = _Figure(
                value=float(line["value"]),
                unit=str(line["unit"]),
                signature=str(line["signature"]),
                record=str(line["record"]),
            )
            found.values.setdefault((row, dataset, metric), {})[seed] = figure
        return found

    def statistics(
        self, figure: _Figure, metric: str
    ) -> tuple[Sufficient, Mapping[str, Any]] | None:
        """Return the statistics behind a score and the metric that made it; None: there are none.

        Raises:
            DataError: the file of statistics is damaged.
        """
        if not ID.fullmatch(figure.record):
            return None
        if figure.record not in self._scores:
            self._scores[figure.record] = self._stage(figure.record)
        scores, statistics = self._scores[figure.record]
        for score in scores:
            # A reference value names the stage of another score; its signature tells them apart.
            if score["name"] == metric and score["signature"] == figure.signature:
                ref: Mapping[str, Any] = score["metric"]
                return (statistics[metric], ref) if metric in statistics else None
        return None

    def _stage(self, record: str) -> tuple[list[Mapping[str, Any]], dict[str, Sufficient]]:
        """Return the scores of a score stage and their statistics; empty: it is not there."""
        folder = self.folder / "stages" / f"score-{record}"
        found = stage_record.examine(folder)
        if not found.done or found.record is None:
            return [], {}
        scores = [s for s in found.record["results"].get("scores", ()) if s.get("statistics")]
        return scores, read(folder) if scores else {}


def _compared(
    suite: str, place: Place, sides: list[_Side], figures: list[_Figures], metrics: Metrics
) -> CellDiff:
    """Compare one cell; its p is not corrected yet."""
    row, dataset, metric = place
    ours, theirs = (of.values.get(place, {}) for of in figures)
    unit = next(iter((ours or theirs).values())).unit
    cell = CellDiff(suite=suite, row=row, dataset=dataset, metric=metric, unit=unit)
    if not theirs:
        reason = f"B: {figures[1].why_absent(place)}"
        return replace(cell, verdict="only in A", first=_mean(ours), reason=reason)
    if not ours:
        reason = f"A: {figures[0].why_absent(place)}"
        return replace(cell, verdict="only in B", second=_mean(theirs), reason=reason)
    shared = [seed for seed in ours if seed in theirs]
    if not shared:
        reason = f"no seed is in both: A {_seeds(ours)}, B {_seeds(theirs)}"
        cell = replace(cell, first=_mean(ours), second=_mean(theirs))
        return replace(cell, verdict="refused", reason=reason)
    ours, theirs = ({seed: of[seed] for seed in shared} for of in (ours, theirs))
    cell = replace(
        cell,
        first=_mean(ours),
        second=_mean(theirs),
        seeds=tuple(sorted(seed for seed in shared if seed is not None)),
        reason=_unshared(figures, place, shared),
    )
    signs = [{f.signature.partition("|")[2] for f in of.values()} for of in (ours, theirs)]
    if signs[0] != signs[1]:
        mine, other = apart(sorted(signs[0])[0], sorted(signs[1])[0])
        return replace(cell, verdict="refused", reason=f"A made with {mine}, B with {other}")
    alike = all(_close(ours[seed].value, theirs[seed].value) for seed in shared)
    if not dataset:
        return replace(cell, verdict="equal" if alike else "differs")
    try:
        pairs = _pairs(sides, ours, theirs, metric, metrics)
    except _OtherClipsError as error:
        return replace(cell, verdict="refused", reason=str(error))
    except UnknownNameError as error:
        pairs, cell = None, replace(cell, reason=str(error))
    if alike:
        return replace(cell, verdict="equal", test="videos" if pairs is not None else "")
    if pairs is not None:
        estimate = difference(pairs, seed=zlib.crc32(dataset.encode()))
        reason = "; ".join(filter(None, (cell.reason, estimate.reason)))
        return replace(cell, test="videos", estimate=estimate, reason=reason)
    gaps = np.array([theirs[seed].value - ours[seed].value for seed in shared])
    known = over_seeds(gaps)
    if known.reason:
        why = "" if cell.reason.startswith("unknown") else "no statistics by video; "
        reason = "; ".join(filter(None, (cell.reason, f"{why}{known.reason}")))
        return replace(cell, reason=reason)
    return replace(cell, test="seeds", estimate=known)


class _OtherClipsError(DataError):
    """The statistics of two scores are of different clips."""


def _pairs(
    sides: list[_Side],
    ours: Mapping[int | None, _Figure],
    theirs: Mapping[int | None, _Figure],
    metric: str,
    metrics: Metrics,
) -> list[tuple[System, System]] | None:
    """Return the systems (B, A) of each seed; None: one has no statistics.

    Raises:
        _OtherClipsError: the systems are of different clips.
        UnknownNameError: the metric is not registered here.
    """
    found = []
    for seed in ours:
        one = sides[0].statistics(ours[seed], metric)
        other = sides[1].statistics(theirs[seed], metric)
        if one is None or other is None:
            return None
        found.append((one, other))
    every = [held for pair in found for held, _ in pair]
    for held in every[1:]:
        if set(held.ids) != set(every[0].ids):
            gap = set(held.ids) ^ set(every[0].ids)
            raise _OtherClipsError(f"other clips: {len(gap)} are of one side alone")
    videos = {name: i for i, name in enumerate(sorted({v for h in every for v in h.videos}))}

    def system(held: Sufficient, ref: Mapping[str, Any]) -> System:
        return System(sums=by_video(held, videos), from_sums=metrics.from_sums(ref, metric))

    return [(system(*other), system(*one)) for one, other in found]


def _judged(cell: CellDiff, corrected: Iterator[float]) -> CellDiff:
    if not cell.test:
        return cell
    p = next(corrected)
    if cell.verdict == "equal":
        return replace(cell, corrected=p)
    return replace(cell, corrected=p, verdict="significant" if p <= LEVEL else "not significant")


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=TIE, abs_tol=TIE)


def _mean(figures: Mapping[int | None, _Figure]) -> float:
    return math.fsum(f.value for f in figures.values()) / len(figures)


def _seeds(figures: Mapping[int | None, _Figure]) -> str:
    return ", ".join("none" if seed is None else str(seed) for seed in figures)


def _unshared(figures: list[_Figures], place: Place, shared: list[int | None]) -> str:
    """Return the seeds that only one side has, in words; empty: there are none."""
    told = []
    for name, of in zip("AB", figures, strict=True):
        extra = [str(seed) for seed in of.values[place] if seed not in shared]
        told += [f"only {name} has seed {', '.join(extra)}"] if extra else []
    return "; ".join(told)


def _other_axes(suite: str, first: _Figures, second: _Figures) -> Iterator[str]:
    """Yield one note for each row whose values on the axes differ."""
    for row, own in first.axes.items():
        other = second.axes.get(row, own)
        gaps = [
            f"{axis} {own.get(axis) or 'none'} → {other.get(axis) or 'none'}"
            for axis in dict.fromkeys([*own, *other])
            if own.get(axis, "") != other.get(axis, "")
        ]
        if gaps:
            yield f"{suite}, {row}: other values on axes: {', '.join(gaps)}."
