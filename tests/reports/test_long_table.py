"""Long rows and their pivot to the tables of a paper."""

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from avbench.core.columns import AFTER, BEFORE
from avbench.core.errors import AvbenchError
from avbench.core.options import build, plain
from avbench.reports.long_table import Measurement, Table
from avbench.reports.notes import signature_notes
from avbench.reports.pivot import pivot
from avbench.reports.table import Column, TableCell, TableLayout, TableRow


def _golden() -> ModuleType:
    path = Path(__file__).parents[1] / "golden" / "sheets.py"
    spec = importlib.util.spec_from_file_location("golden_sheets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = _golden()


def _table(*figures: tuple[str, int | None, float], metric: str = "cider") -> Table:
    """Label, seed and value on one dataset."""
    return Table.of(
        Measurement(
            suite="s", trial="t", label=x, seed=n, dataset="d", metric=metric, value=v, unit="u"
        )
        for x, n, v in figures
    )


def _cells(table: Table, **layout: Any) -> dict[str, TableCell]:
    layout = {"title": "T", "columns": (Column(metric="cider"),)} | layout
    return {title: cells[0] for title, cells in pivot(table, TableLayout(**layout)).rows}


# ------------------------------------------------------------------ long rows


def test_columns_are_those_promised() -> None:
    table = Table.of(golden.rows())
    assert table.axes == ("loss", "tokens")
    assert list(table.frame.columns) == [*BEFORE, "loss", "tokens", *AFTER]
    assert str(table.frame["seed"].dtype) == "Int64"
    assert table.frame["value"].dtype == "float64"


def test_csv_reads_back_to_equal_rows() -> None:
    table = Table.of(golden.rows()) + _table(("NA", None, 0.1 + 0.2), ('q"u,\no', 7, 1e-300))
    again = Table.read_csv(table.to_csv())
    pd.testing.assert_frame_equal(again.frame, table.frame, check_exact=True)
    assert again == table
    assert again.axes == table.axes
    assert again.to_csv() == table.to_csv()


def test_csv_reads_with_pandas_alone() -> None:
    table = Table.of(golden.rows())
    bare = pd.read_csv(io.StringIO(table.to_csv()))
    assert bare["value"].tolist() == pytest.approx(table.frame["value"].tolist(), nan_ok=True)
    assert bare["label"].tolist() == table.frame["label"].tolist()
    assert bare["seed"].isna().tolist() == table.frame["seed"].isna().tolist()


def test_csv_without_a_column_is_an_error() -> None:
    text = Table.of(golden.rows()).to_csv().replace("metric", "metrics")
    with pytest.raises(AvbenchError, match="no column 'metric' among suite, trial"):
        Table.read_csv(text)


def test_where_and_add() -> None:
    table = Table.of(golden.rows())
    assert set(table.where(dataset="sound", seed=1).frame["label"]) == {"plain_loss", "balanced"}
    with pytest.raises(AvbenchError, match="unknown column 'datset'; did you mean 'dataset'"):
        table.where(datset="sound")
    more = table + _table(("other", 0, 1.0))
    assert len(more) == len(table) + 1
    assert more.frame["loss"].iloc[-1] == ""
    assert len(Table.of([]) + table) == len(table)
    assert Table.of([]) + table != table.where(seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": None}, "an ok row needs a finite value, got None"),
        ({"value": float("nan")}, "an ok row needs a finite value, got nan"),
        ({"metric": ""}, "an ok row needs a metric"),
        ({"status": "failed"}, "a failed row has no value, got 1.0"),
    ],
)
def test_impossible_rows(changes: dict[str, Any], message: str) -> None:
    fields = {"suite": "s", "trial": "t", "label": "x", "metric": "cider", "value": 1.0}
    with pytest.raises(ValueError, match=message):
        Measurement(**(fields | changes))


def test_axes_may_not_hide_a_column() -> None:
    with pytest.raises(ValueError, match="axes must differ"):
        Table.of([Measurement(suite="", trial="", label="", status="pending", axes={"seed": "1"})])


def test_layouts_are_plain_data() -> None:
    layout = TableLayout(title="T", columns=(Column(metric="cider"),), rows=(TableRow(label="x"),))
    assert build(TableLayout, plain(layout)) == layout


# ------------------------------------------------------------------ pivot


def test_mean_and_spread_over_seeds() -> None:
    cells = _cells(_table(("x", 0, 1.0), ("x", 1, 2.0), ("x", 2, 4.5), ("y", None, 3.0)))
    assert cells["x"].mean == 2.5
    assert cells["x"].std == pytest.approx(1.8027756377319946)  # ddof 1
    assert cells["x"].n == 3
    assert (cells["x"].text, cells["x"].spread) == ("2.5", "± 1.8")
    assert (cells["y"].std, cells["y"].n, cells["y"].spread) == (None, 1, "")


def test_best_and_second_by_the_printed_figure() -> None:
    figures = (("x", 0, 1.04), ("y", 0, 1.01), ("z", 0, 0.9), ("w", 0, 0.2), ("ref", 0, 9.0))
    rows = tuple(TableRow(label=x, ranked=x != "ref") for x in ("x", "y", "z", "w", "ref"))
    ranks = {x: cell.rank for x, cell in _cells(_table(*figures), rows=rows).items()}
    assert ranks == {"x": 1, "y": 1, "z": 2, "w": 0, "ref": 0}
    lower = (Column(metric="cider", higher_is_better=False),)
    ranks = {x: c.rank for x, c in _cells(_table(*figures), rows=rows, columns=lower).items()}
    assert ranks == {"x": 0, "y": 0, "z": 2, "w": 1, "ref": 0}
    unranked = (Column(metric="cider", ranked=False),)
    assert not any(c.rank for c in _cells(_table(*figures), columns=unranked).values())
    assert not any(c.rank for c in _cells(_table(("x", 0, 1.0), ("y", 0, 1.0))).values())


def test_a_baseline_above_the_best_model_is_said_and_not_marked() -> None:
    figures = (("x", 0, 1.0), ("y", 0, 2.0), ("base", None, 2.04), ("top", None, 2.1))
    rows = tuple(TableRow(label=x, ranked=x in "xy", title=x.upper()) for x, _, _ in figures)
    layout = TableLayout(title="T", columns=(Column(metric="cider"),), rows=rows)
    sheet = pivot(_table(*figures), layout)
    assert [cells[0].rank for _, cells in sheet.rows] == [2, 1, 0, 0]
    assert sheet.legend[0] == "Best model in bold, second in italics, as printed."
    (said,) = [note for note in sheet.notes if "better" in note]  # base is 2.0 as printed
    assert said == "TOP is better than the best model: d CIDEr."
    lower = replace(layout, columns=(Column(metric="cider", higher_is_better=False),))
    assert not any("better" in note for note in pivot(_table(*figures), lower).notes)
    alone = replace(layout, rows=(rows[0], rows[3]))  # a single model has no mark
    assert "TOP is better than the best model: d CIDEr." in pivot(_table(*figures), alone).notes


def test_costs_rank_only_when_asked_and_low_is_good() -> None:
    rows = [
        Measurement(suite="s", trial="t", label=x, metric="macs_g", value=v, unit="GMACs")
        for x, v in (("x", 1.0), ("y", 2.0))
    ]
    for ranked, expected in ((None, [0, 0]), (True, [1, 2])):
        layout = TableLayout(
            title="T", columns=(), cost_columns=(Column(metric="macs_g", ranked=ranked),)
        )
        sheet = pivot(Table.of(rows), layout)
        assert [cells[0].rank for _, cells in sheet.rows] == expected
        assert sheet.groups == (("Cost", 1),)
        assert sheet.headers == ["Cost MACs (G)"]


def test_differences() -> None:
    x, y = (("x", 0, 10.0), ("x", 1, 11.0)), (("y", 0, 9.96), ("y", 1, 10.96))
    table = _table(*x, *y, ("z", 0, 12.0), ("z", 1, 12.0))
    cells = _cells(table, delta_to="x")
    assert [cells[x].change for x in "xyz"] == ["", "(+0.0)", "(+1.5)"]
    assert cells["y"].delta == pytest.approx(-0.04)
    off = (Column(metric="cider", delta=False),)
    assert not any(c.change for c in _cells(table, delta_to="x", columns=off).values())
    with pytest.raises(AvbenchError, match="delta_to is 'q', which is none of its rows: x, y, z"):
        _cells(table, delta_to="q")


def test_a_difference_is_of_the_seeds_that_both_rows_have() -> None:
    """As it is tested; the means' difference would be of seeds that one row alone has."""
    x = ("x", 0, 10.0), ("x", 1, 20.0)
    table = _table(*x, ("y", 0, 11.0), ("z", 1, 20.0), ("z", 2, 60.0), ("w", 3, 16.0))
    layout = TableLayout(title="T", columns=(Column(metric="cider"),), delta_to="x")
    sheet = pivot(table, layout)
    cells = {title: line[0] for title, line in sheet.rows}
    assert [cells[x].change for x in "xyzw"] == ["", "(+1.0)", "(+0.0)", "(+1.0)"]
    marks = [[sheet.footnotes[n - 1] for n in cells[x].footnotes] for x in "xyzw"]
    shared = "difference of the seed shared with x"
    assert marks == [[], [shared], [shared], ["no seed in common with x"]]


def test_two_rows_for_one_figure_are_an_error() -> None:
    with pytest.raises(AvbenchError, match="table 'T': two rows for x, seed 0, d, cider"):
        _cells(_table(("x", 0, 1.0), ("x", 0, 2.0)))


def test_every_kind_of_cell() -> None:
    large, small, _ = golden.sheets()
    assert large.groups == (("talk", 2), ("sound", 2), ("Cost", 1))
    assert large.columns == ("BLEU-4", "CIDEr", "BLEU-4", "CIDEr", "MACs (G)")
    cells = dict(large.rows)
    words = {title: [cell.text for cell in line] for title, line in cells.items()}
    assert words == {
        "most frequent caption": ["–", "70.0", "–", "12.5", "–"],
        "plain": ["10.0", "52.0", "8.5", "30.1", "316.0"],
        "balanced": ["10.0", "60.5", "failed", "28.5", "316.0"],
        "G & B <50%>": ["failed", "failed", "failed", "failed", "338.0"],
        "text | sound": ["skipped"] * 5,
        "later": ["…"] * 5,
    }
    assert large.footnotes == (
        "seed 2 failed: loss is nan (log: runs/a|b.txt)",
        "failed: killed, signal 9 (log: runs/g_1.txt)",
        "skipped: needs two streams",
        "difference of the 2 seeds shared with plain",
    )
    assert [cell.footnotes for cell in cells["balanced"]] == [(1,), (1, 4), (1,), (1, 4), ()]
    assert [cell.rank for cell in cells["plain"]] == [0, 2, 0, 1, 0]
    assert [cell.rank for cell in cells["most frequent caption"]] == [0] * 5
    assert cells["balanced"][1].change == "(+9.5)"
    assert large.notes[-2:] == (
        "12 steps: the pipeline, not the paper.",
        "talk: 3 clips lost (no picture).",
    )
    assert small.notes[0] == "One seed a row: differences between rows may be chance."


def test_a_seed_without_a_row_is_said() -> None:
    table = _table(("x", 0, 1.0), ("x", 1, 2.0)) + Table.of(
        [
            Measurement(
                suite="s", trial="t", label="x", seed=2, dataset="e", metric="cider", value=3.0
            )
        ]
    )
    sheet = pivot(table, TableLayout(title="T", columns=(Column(metric="cider"),)))
    assert sheet.footnotes == ("mean of 2 of 3 seeds", "mean of 1 of 3 seeds")
    assert [cell.footnotes for cell in sheet.rows[0][1]] == [(1,), (2,)]


def test_labels_and_metrics_without_rows_are_missing_cells() -> None:
    rows = (TableRow(label="x"), TableRow(label="absent"))
    columns = (Column(metric="cider"), Column(metric="other"))
    sheet = pivot(_table(("x", 0, 1.0)), TableLayout(title="T", columns=columns, rows=rows))
    assert [[c.status for c in cells] for _, cells in sheet.rows] == [
        ["ok", "missing"],
        ["missing", "missing"],
    ]
    assert "–: no such figure." in sheet.legend


def test_signature_notes_say_common_parts_once() -> None:
    common = "nrefs:5|tok:ptb"
    bleu, cider = f"bleu4|ref:closest|{common}", f"cider|n:4|{common}"
    signatures = {"d": {"bleu4": bleu, "again": bleu, "cider": cider}, "e": {"x": "x|y:1"}}
    notes = signature_notes(signatures, ["bleu4", "cider", "again", "x", "none"])
    assert notes == ["d: bleu4 ref:closest, cider n:4; nrefs:5|tok:ptb", "e: x; y:1"]
