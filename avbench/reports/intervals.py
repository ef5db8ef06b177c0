"""Intervals of a table's figures, and tests of its differences."""

import zlib

import numpy as np

from avbench.evaluation.statistics.estimate import Estimate, holm
from avbench.evaluation.statistics.resampling import System
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.evaluation.statistics.videos import difference, over_videos
from avbench.reports.long_table import Table
from avbench.reports.notes import interval_notes
from avbench.reports.signatures import agreed, figures_by_seed
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import TITLES, Inferred, Place, TableLayout, Tested


def inferred(
    table: Table, layout: TableLayout, what: str, statistics: ScoreStatistics | None = None
) -> Inferred:
    """Return the intervals of a table's scores and the tests of its differences.

    Args:
        table: the long rows.
        layout: the rows and columns that the table shows.
        what: ``seeds`` (about the methods), ``videos`` (about these trained models) or ``none``.
        statistics: of the scores, which intervals over videos need.

    Raises:
        DataError: a file of statistics is missing or damaged.
    """
    if what == "none" or not layout.columns or (what == "videos" and statistics is None):
        return Inferred()
    made = _Tabled(table, layout, statistics if what == "videos" else None)
    intervals = {}
    reasons: dict[str, dict[str, None]] = {}
    tests: dict[Place, Estimate] = {}
    for place in made.places():
        found = made.figure(place)
        if found is not None and np.isfinite(found.low):
            intervals[place] = found.low, found.high
        elif found is not None and what == "videos":
            column = f"{place[1]} {TITLES.get(place[2], place[2])}"
            reasons.setdefault(found.reason, {})[column] = None
        gap = made.gap(place)
        if gap is not None:
            tests[place] = gap
    corrected = holm([gap.p for gap in tests.values()])
    titles = (row.title or row.label for row in layout.rows if row.label == layout.delta_to)
    notes = interval_notes(
        what,
        found=bool(intervals),
        reasons=reasons,
        seeds=made.seeds(),
        tests=len(tests),
        base=next(titles, str(layout.delta_to)),
    )
    return Inferred(
        intervals=intervals,
        differences={
            place: Tested(to=str(layout.delta_to), estimate=gap, corrected=p)
            for (place, gap), p in zip(tests.items(), corrected, strict=True)
        },
        notes=tuple(notes),
    )


class _Tabled:
    """The scores of a table by place and seed, and their statistics for intervals over videos."""

    def __init__(
        self, table: Table, layout: TableLayout, statistics: ScoreStatistics | None
    ) -> None:
        self.layout, self.statistics = layout, statistics
        self.values = {
            place: values
            for place, values in figures_by_seed(agreed(table.frame)).items()
            if place[1]
        }

    def places(self) -> list[Place]:
        """Return the places of the scores that the table shows, in its order."""
        labels = [row.label for row in self.layout.rows]
        metrics = [column.metric for column in self.layout.columns]
        return [
            place
            for place in self.values
            if (not labels or place[0] in labels) and place[2] in metrics
        ]

    def seeds(self) -> int:
        """Return the largest number of seeds of a shown score."""
        return max((len(self.values[place]) for place in self.places()), default=0)

    def figure(self, place: Place) -> Estimate | None:
        """Return a figure with its interval, or None if nothing is known of it."""
        values = self.values[place]
        if self.statistics is None:
            return None if None in values else over_seeds(np.array(list(values.values())))
        systems = self._systems(place, [*values])
        return None if systems is None else over_videos(systems).estimate()

    def gap(self, place: Place) -> Estimate | None:
        """Return a difference; None if it is not shown or nothing is known of it."""
        base, (label, dataset, metric) = self.layout.delta_to, place
        shown = any(c.metric == metric and c.delta for c in self.layout.columns)
        if base is None or label == base or not shown:
            return None
        other = (base, dataset, metric)
        ours, theirs = self.values[place], self.values.get(other, {})
        seeds = [seed for seed in ours if seed in theirs]
        if not seeds:
            return None
        if self.statistics is None:
            values = np.array([ours[seed] - theirs[seed] for seed in seeds])
            return over_seeds(values) if len(seeds) > 1 else None
        first, second = self._systems(place, seeds), self._systems(other, seeds)
        if first is None or second is None:
            return None
        pairs = list(zip(first, second, strict=True))
        return difference(pairs, seed=zlib.crc32(dataset.encode()))

    def _systems(self, place: Place, seeds: list[int | None]) -> list[System] | None:
        """Return a place's systems, one a seed; None if no statistics of one exist."""
        label, dataset, metric = place
        assert self.statistics is not None
        held = self.statistics.systems(dataset, metric)
        if any((label, seed) not in held for seed in seeds):
            return None
        return [held[label, seed] for seed in seeds]
