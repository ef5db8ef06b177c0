"""The plots of a report page: losses, cost against score, use of modalities, strata."""

import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from statistics import fmean

import pandas as pd

from avbench.analysis import pretraining
from avbench.core.columns import ALTERED
from avbench.reports.collect import Report
from avbench.reports.page.contents import Plot, Series
from avbench.reports.records import Records
from avbench.reports.signatures import agreed
from avbench.reports.table import LOWER_IS_BETTER, TITLES, Sheet
from avbench.training import loss_log
from avbench.training.names import JOINT

DASHES = ("solid", "dotted", "dashed", "dashdot", "dotdash")
LOSS = "loss"
"""The axis of loss strategies."""

LOGGED = (
    (
        "Losses",
        "loss (nats per token)",
        f"{JOINT}_",
        "L: all modalities; L_m: modality m alone, the others zeroed (Eq. 2).",
    ),
    (
        "Gaps",
        "L_m − L (nats per token)",
        "gap_",
        "The loss of one modality alone minus the joint loss.",
    ),
    (
        "Weights",
        "weight in the objective",
        "w_",
        "The weights that the loss strategies give to each loss.",
    ),
)
"""Title, axis, prefix of names and caption of the plots of a pre-training's log."""

STREAMS = ("audio", "video", "text")
"""The streams with a colour of their own; the joint loss has the first colour."""

MOST = 12
"""The most rows of a plot with one line a row."""


def plots(report: Report, strata: Sequence[Sheet] = ()) -> tuple[Plot, ...]:
    """Return the plots of a report; those that it has no figures for are left out."""
    return (
        *_losses(report.records),
        *_costs(report),
        *_altered(report),
        *(plot for sheet in strata for plot in _strata(sheet)),
    )


# ---------------------------------------------------------------------- pre-training


def _losses(records: Records) -> Iterator[Plot]:
    """Yield the losses, the gaps and the weights of each combination of the other axes."""
    done = list(pretraining.stages(records).values())
    axes = [
        a for a in records.plan.axes if a != LOSS and len({t.axes.get(a) for t, _ in done}) > 1
    ]
    panels: dict[str, dict[str, dict[str, dict[int, list[float]]]]] = {}
    for trial, stage in done:
        panel = panels.setdefault(", ".join(v for a in axes if (v := trial.axes.get(a, ""))), {})
        runs = panel.setdefault(trial.axes.get(LOSS, "") or trial.label, {})
        every = stage.spec["train"]["measure_every"]
        rows = loss_log.read(records.store.directory(stage))
        last = max((step for step, _, _ in rows), default=0)
        for step, name, value in rows:
            if math.isfinite(value) and (step % every == 0 or step == last):
                runs.setdefault(name, {}).setdefault(step, []).append(value)
    for title, panel in panels.items():
        for kind, y, prefix, caption in LOGGED:
            series = [
                _averaged(f"{strategy} {name}", figures, _colour(name), dash)
                for dash, (strategy, runs) in zip(cycle(DASHES), panel.items(), strict=False)
                for name, figures in runs.items()
                if name.startswith(prefix) or f"{name}_" == prefix
            ]
            if series:
                yield Plot(
                    title=f"{kind} in pre-training{f': {title}' if title else ''}",
                    caption=f"{caption} Lines: means over seeds; areas: their range.",
                    x="step",
                    y=y,
                    series=tuple(series),
                )


def _colour(name: str) -> int:
    """Return the colour of a figure's stream: the same in losses, gaps and weights."""
    stream = name.partition("_")[2]
    return 1 + STREAMS.index(stream) if stream in STREAMS else 0


def _averaged(name: str, figures: dict[int, list[float]], colour: int, dash: str) -> Series:
    """Return the mean over seeds by step, thinned to ``pretraining.POINTS`` points."""
    steps = sorted(figures)
    steps = steps[:: -(-len(steps) // pretraining.POINTS)]
    several = any(len(figures[s]) > 1 for s in steps)
    return Series(
        name=name,
        x=tuple(float(step) for step in steps),
        y=tuple(fmean(figures[s]) for s in steps),
        low=tuple(min(figures[s]) for s in steps) if several else (),
        high=tuple(max(figures[s]) for s in steps) if several else (),
        colour=colour,
        dash=dash,
    )


# ---------------------------------------------------------------------- scores


def _means(report: Report) -> pd.DataFrame:
    """Return the mean over seeds of each figure: label, alteration, dataset, metric, value."""
    shown = agreed(report.figures.frame)
    ok = shown[shown["status"] == "ok"]
    keys = ["label", ALTERED, "dataset", "metric"]
    return ok.groupby(keys, sort=False)["value"].mean().reset_index()


def _costs(report: Report) -> Iterator[Plot]:
    """Yield each set's score against a cost, with the rows that no other beats in both."""
    means, plan = _means(report), report.plan
    cost = next((c for c in plan.table["costs"] if c in LOWER_IS_BETTER), "")
    score = _score(plan.table["metrics"])
    prices = means[(means["metric"] == cost) & (means[ALTERED] == "")]
    price = dict(zip(prices["label"], prices["value"], strict=True))
    for dataset in plan.datasets if score else ():
        scores = means[
            (means["dataset"] == dataset) & (means["metric"] == score) & (means[ALTERED] == "")
        ]
        points = sorted(
            (price[label], value, label)
            for label, value in zip(scores["label"], scores["value"], strict=True)
            if label in price
        )
        if len(points) < 2:
            continue
        front = pareto([(x, y) for x, y, _ in points])
        names = {(x, y): label for x, y, label in points}
        yield Plot(
            title=f"{TITLES.get(score, score)} against cost, {dataset}",
            caption="The line joins the rows that none beats in both cost and score.",
            x=TITLES.get(cost, cost),
            y=TITLES.get(score, score),
            series=(
                Series(
                    name="rows",
                    x=tuple(x for x, _, _ in points),
                    y=tuple(y for _, y, _ in points),
                    names=tuple(label for _, _, label in points),
                    colour=2,
                    dash="",
                ),
                Series(
                    name="Pareto front",
                    x=tuple(x for x, _ in front),
                    y=tuple(y for _, y in front),
                    names=tuple(names[point] for point in front),
                    colour=1,
                ),
            ),
        )


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other beats: at most the same cost and a higher score.

    >>> pareto([(1, 5), (2, 4), (3, 9), (1, 3)])
    [(1, 5), (3, 9)]
    """
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _altered(report: Report) -> Iterator[Plot]:
    """Yield each set's score under each alteration, one line a row."""
    means, plan = _means(report), report.plan
    score = _score(plan.table["use_metrics"])
    known = means[means["metric"] == score]
    alterations = tuple(x for x in known[ALTERED].unique() if x)
    for dataset in plan.datasets if alterations else ():
        here = known[known["dataset"] == dataset]
        series: list[Series] = []
        for trial in plan.labels[:MOST]:
            found = here[here["label"].eq(trial) | here["label"].str.startswith(f"{trial} – ")]
            value = dict(zip(found[ALTERED], found["value"], strict=True))
            names = [a for a in ("", *alterations) if a in value]
            if len(names) > 1:
                series.append(
                    Series(
                        name=trial,
                        x=tuple(name or "all present" for name in names),
                        y=tuple(value[name] for name in names),
                        colour=len(series),
                        dash=DASHES[len(series) // 7 % len(DASHES)],
                    )
                )
        if series:
            yield Plot(
                title=f"Use of the modalities, {dataset}",
                caption=f"The score with streams altered.{_cut(plan.labels)}",
                x="streams",
                y=TITLES.get(score, score),
                series=tuple(series),
                categories=("all present", *alterations),
            )


def _strata(sheet: Sheet) -> Iterator[Plot]:
    """Yield the score of each stratum of a table, one line a row."""
    metrics = list(dict.fromkeys(metric for _, metric in sheet.keys))
    score = _score(metrics)
    columns = [j for j, (_, metric) in enumerate(sheet.keys) if metric == score]
    names = tuple(sheet.keys[j][0] for j in columns)
    series: list[Series] = []
    for title, cells in sheet.rows[:MOST]:
        known = [
            (name, mean)
            for name, j in zip(names, columns, strict=True)
            if (mean := cells[j].mean) is not None
        ]
        if known:
            series.append(
                Series(
                    name=title,
                    x=tuple(name for name, _ in known),
                    y=tuple(mean for _, mean in known),
                    colour=len(series),
                    dash=DASHES[len(series) // 7 % len(DASHES)],
                )
            )
    if series and len(names) > 1:
        yield Plot(
            title=sheet.title,
            caption=f"The score of each stratum.{_cut(sheet.rows)}",
            x="stratum",
            y=TITLES.get(score, score),
            series=tuple(series),
            categories=names,
        )


def _score(metrics: Sequence[str]) -> str:
    """Return the score that plots show: CIDEr, or the first of a table; empty: none."""
    return "cider" if "cider" in metrics else next(iter(metrics), "")


def _cut(rows: Sequence[object]) -> str:
    return f" The first {MOST} of {len(rows)} rows." if len(rows) > MOST else ""
