"""Three tables with every kind of cell, for the tests of the pivot and of the report formats."""

from dataclasses import replace

from avbench.reports.intervals import inferred
from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.table import Column, Sheet, TableLayout, TableRow, Tested

FIGURES = {
    ("plain_loss", "talk"): {"cider": (50.0, 52.0, 54.0), "bleu4": (10.0, 10.0, 10.0)},
    ("plain_loss", "sound"): {"cider": (31.26, 30.0, 29.0), "bleu4": (8.0, 8.5, 9.0)},
    ("balanced", "talk"): {"cider": (60.0, 61.0, None), "bleu4": (10.04, 10.0, None)},
    ("balanced", "sound"): {"cider": (28.0, 29.0, None)},
}
COSTS = {"plain_loss": 316.04, "balanced": 316.04, "G & B <50%>": 338.0}


def rows() -> list[Measurement]:
    """Long rows: ok, failed, skipped, missing and pending; three seeds and none."""
    made = [
        _row("most frequent caption", d, "cider", value=v, record="b0")
        for d, v in (("talk", 70.0), ("sound", 12.5))
    ]
    for (label, dataset), figures in FIGURES.items():
        for metric, values in figures.items():
            for seed, value in enumerate(values):
                if value is not None:
                    made.append(_row(label, dataset, metric, seed=seed, value=value, record="r1"))
    made.append(
        _row("balanced", "", "", seed=2, status="failed", reason="loss is nan", log="runs/a|b.txt")
    )
    for seed in (0, 1):
        made.append(_row("balanced", "sound", "bleu4", seed=seed, status="missing"))
    made.append(
        _row("G & B <50%>", "", "", status="failed", reason="killed, signal 9", log="runs/g_1.txt")
    )
    made.append(_row("text | sound", "", "", status="skipped", reason="needs two streams"))
    made.append(_row("later", "", "", seed=0, status="pending"))
    made += [_row(x, "", "macs_g", value=v, unit="GMACs") for x, v in COSTS.items()]
    return made


def _row(label: str, dataset: str, metric: str, **more: object) -> Measurement:
    return Measurement(
        suite="demo",
        trial=f"t{label[0]}{more.get('seed', '')}",
        label=label,
        axes={"loss": label, "tokens": "64"},
        dataset=dataset,
        split="test" if dataset else "",
        metric=metric,
        **{"unit": "x100" if dataset else "", **more},  # type: ignore[arg-type]
    )


def sheets() -> list[Sheet]:
    """A table with differences and a cost column, one of a single seed, one with intervals."""
    table = Table.of(rows())
    large = TableLayout(
        title="Losses, V+A",
        corner="Loss",
        columns=(Column(metric="bleu4", delta=False), Column(metric="cider")),
        cost_columns=(Column(metric="macs_g"),),
        rows=(
            TableRow(label="most frequent caption", ranked=False),
            TableRow(label="plain_loss", title="plain"),
            TableRow(label="balanced"),
            TableRow(label="G & B <50%>"),
            TableRow(label="text | sound"),
            TableRow(label="later"),
        ),
        delta_to="plain_loss",
    )
    first = Table(table.frame[table.frame["seed"].fillna(0) == 0], table.axes)
    small = TableLayout(
        title="One seed",
        columns=(Column(metric="cider", title="C", decimals=2),),
        datasets=("sound",),
        rows=(TableRow(label="plain_loss"), TableRow(label="balanced")),
    )
    notes = ("12 steps: the pipeline, not the paper.", "talk: 3 clips lost (no picture).")
    sure = TableLayout(
        title="With intervals",
        columns=(Column(metric="cider"),),
        datasets=("talk", "sound"),
        rows=(*small.rows, TableRow(label="later")),
        delta_to="plain_loss",
    )
    known = inferred(table, sure, "seeds")
    place = "balanced", "talk", "cider"
    sure_of = Tested(to="plain_loss", estimate=known.differences[place].estimate, corrected=0.01)
    known = replace(known, differences={place: sure_of})
    return [pivot(table, large, notes), pivot(first, small), pivot(table, sure, (), known)]
