"""Scores made in different ways do not share a column."""

from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.signatures import agreed, signatures
from avbench.reports.table import Column, Sheet, TableLayout

PTB = "cider|n:4|tok:ptb|clips:9-aa"
LETTERS = "cider|n:4|tok:letters|clips:9-aa"


def row(label: str, value: float, signature: str, seed: int = 0, **more: object) -> Measurement:
    given = {"dataset": "d", "metric": "cider", "unit": "x100", **more}
    return Measurement(
        suite="s", trial="t", label=label, seed=seed, value=value, signature=signature, **given
    )  # type: ignore[arg-type]


def sheet(*rows: Measurement) -> Sheet:
    return pivot(Table.of(rows), TableLayout(title="T", columns=(Column(metric="cider"),)))


def test_equal_signatures_share_a_column() -> None:
    made = sheet(row("one", 50.0, PTB), row("two", 60.0, PTB), row("chance", 1.0, "x" + PTB))
    assert [cells[0].text for _, cells in made.rows] == ["50.0", "60.0", "1.0"]
    assert made.footnotes == ()


def test_what_was_made_otherwise_is_refused_with_the_difference() -> None:
    made = sheet(row("one", 50.0, PTB), row("two", 60.0, LETTERS), row("three", 55.0, PTB))
    cells = {label: cells[0] for label, cells in made.rows}
    assert cells["two"].text == "refused"
    assert cells["two"].mean is None
    assert cells["two"].rank == 0
    assert (cells["one"].text, cells["three"].text) == ("50.0", "55.0")
    assert cells["three"].rank == 1
    assert made.footnotes == (
        "refused: made with tok:letters, the others of this column with tok:ptb",
    )
    assert made.table.frame["value"].tolist() == [50.0, 60.0, 55.0]  # the long rows keep all
    assert made.table.frame["signature"].tolist() == [PTB, LETTERS, PTB]


def test_of_two_the_first_stays() -> None:
    made = sheet(row("one", 50.0, LETTERS), row("two", 60.0, PTB + "|java:25"))
    assert [cells[0].text for _, cells in made.rows] == ["50.0", "refused"]
    assert made.footnotes[0].endswith(
        "made with tok:ptb, java:25, the others of this column with tok:letters"
    )


def test_a_seed_made_otherwise_does_not_enter_the_mean() -> None:
    seeds = [row("one", value, PTB, seed) for seed, value in enumerate((50.0, 52.0))]
    made = sheet(*seeds, row("one", 99.0, LETTERS, 2))
    ((_, (cell,)),) = made.rows
    assert (cell.mean, cell.n) == (51.0, 2)
    assert made.footnotes == (
        "seed 2 refused: made with tok:letters, the others of this column with tok:ptb",
    )


def test_other_columns_and_figures_without_a_signature_are_left_alone() -> None:
    made = sheet(
        row("one", 50.0, PTB),
        row("one", 70.0, LETTERS, dataset="e"),
        row("one", 3.0, "", dataset="", metric="macs_g"),
        row("two", 60.0, ""),
    )
    assert [[cell.text for cell in cells] for _, cells in made.rows] == [
        ["50.0", "70.0"],
        ["60.0", "–"],
    ]


def test_notes_take_the_signatures_that_are_shown() -> None:
    table = Table.of([row("one", 50.0, LETTERS), row("two", 60.0, PTB), row("three", 1.0, PTB)])
    assert signatures(table.frame) == {"d": {"cider": PTB}}


def test_a_table_without_rows_agrees() -> None:
    assert agreed(Table.of([]).frame).empty
