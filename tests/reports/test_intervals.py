"""Intervals and significance marks of a table: over seeds, over videos, corrected together."""

import math
from dataclasses import replace

import numpy as np
import pytest

from avbench.evaluation.statistics.estimate import holm
from avbench.evaluation.statistics.seeds import over_seeds
from avbench.reports.intervals import inferred
from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.table import Column, Inferred, TableLayout, TableRow

VALUES = {
    ("plain", "x"): (50.0, 50.5, 49.5),
    ("far", "x"): (62.0, 61.0, 63.0),
    ("near", "x"): (52.0, 49.0, 50.5),
    ("plain", "y"): (10.0, 10.5, 9.0),
    ("far", "y"): (10.0, 11.0, 9.5),
    ("lone", "x"): (70.0,),
}


def table(values=VALUES) -> Table:
    rows = [
        Measurement(
            suite="s", trial="t", label=label, seed=seed, dataset=dataset, metric="cider", value=v
        )
        for (label, dataset), given in values.items()
        for seed, v in enumerate(given)
    ]
    baseline = Measurement(
        suite="s", trial="", label="base", dataset="x", metric="cider", value=5.0
    )
    return Table.of([*rows, baseline])


LAYOUT = TableLayout(
    title="t",
    columns=(Column(metric="cider"),),
    rows=tuple(TableRow(label=label) for label in ("plain", "far", "near", "lone", "base")),
    delta_to="plain",
)


def test_intervals_over_seeds_are_students() -> None:
    found = inferred(table(), LAYOUT, "seeds").intervals
    for (label, dataset), values in VALUES.items():
        if len(values) > 1:
            known = over_seeds(np.array(values))
            assert found[label, dataset, "cider"] == (known.low, known.high)
    assert ("lone", "x", "cider") not in found  # one seed
    assert ("base", "x", "cider") not in found  # none


def test_differences_are_tested_by_seed_and_corrected_over_the_table() -> None:
    found = inferred(table(), LAYOUT, "seeds")
    gaps = {
        (label, dataset): np.subtract(values, VALUES["plain", dataset])
        for (label, dataset), values in VALUES.items()
        if label in ("far", "near")
    }
    p = holm([over_seeds(gap).p for gap in gaps.values()])
    wanted = {(*place, "cider") for place, q in zip(gaps, p, strict=True) if q <= 0.05}
    assert found.significant == wanted == {("far", "x", "cider")}
    assert found.notes[1] == (
        "†: differs from plain at 5 %, with Holm's correction over the 3 differences of this "
        "table."
    )


def test_the_table_shows_intervals_and_marks() -> None:
    sheet = pivot(table(), LAYOUT, (), inferred(table(), LAYOUT, "seeds"))
    plain, far, near, lone, base = (cells[0] for _, cells in sheet.rows)
    half = 4.302652729749464 * 0.5 / math.sqrt(3)
    assert plain.spread == f"[{50 - half:.1f}, {50 + half:.1f}]"
    assert (far.change, near.change) == ("(+12.0†)", "(+0.5)")
    assert (lone.spread, lone.change, base.spread) == ("", "(+20.0)", "")
    assert sheet.notes[:2] == (
        "Mean over 1 to 3 seeds.",
        "Only one seed, so differences may be chance: lone.",
    )


def test_one_seed_everywhere_is_said() -> None:
    once = table({place: values[:1] for place, values in VALUES.items()})
    sheet = pivot(once, LAYOUT, (), inferred(once, LAYOUT, "seeds"))
    assert sheet.notes == (
        "One seed a row: differences between rows may be chance.",
        "No intervals over seeds: one seed a row.",
    )
    assert not any(cell.spread for _, cells in sheet.rows for cell in cells)
    assert pivot(once, LAYOUT).notes == sheet.notes[:1]


def test_seeds_that_agree_have_no_interval_and_no_mark() -> None:
    tied = table({("plain", "x"): (50.0, 50.0), ("far", "x"): (60.0, 60.0)})
    found = inferred(tied, replace(LAYOUT, rows=LAYOUT.rows[:2]), "seeds")
    assert (found.intervals, found.significant) == ({}, frozenset())
    assert found.notes[0] == "No intervals over seeds: the seeds of each row agree."


def test_unranked_rows_with_one_seed_are_marked_too() -> None:
    layout = TableLayout(
        title="t", columns=LAYOUT.columns, rows=(TableRow(label="lone", ranked=False),)
    )
    assert pivot(table(), layout).notes == (
        "One seed a row: differences between rows may be chance.",
    )


def test_nothing_is_inferred_where_nothing_is_asked() -> None:
    assert inferred(table(), LAYOUT, "none") == Inferred()
    assert inferred(table(), LAYOUT, "videos") == Inferred()
    bare = TableLayout(title="costs", columns=())
    assert inferred(table(), bare, "seeds") == Inferred()


@pytest.mark.parametrize("shown", [True, False])
def test_only_differences_that_are_shown_are_tested(shown: bool) -> None:
    layout = TableLayout(
        title="t", columns=(Column(metric="cider", delta=shown),), delta_to="plain"
    )
    assert bool(inferred(table(), layout, "seeds").significant) == shown
