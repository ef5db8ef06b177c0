"""The paper's Fig. 4 from records: every modality's losses during pre-training.

Each combination of the other axes has a panel. Colours stand for losses, line styles for
strategies. As in the paper, a line is solid if losses of single modalities are only measured, and
dotted for MBP; further styles follow in the suite's order. Several seeds are drawn as mean and
range.

Source: Exploring the Role of Audio in Video Captioning (Shen et al.), Fig. 4
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from avbench.analysis import pretraining
from avbench.analysis.pretraining import Line
from avbench.reports.drawing import literal, saved, style
from avbench.reports.records import Records
from avbench.reports.table import Picture
from avbench.training.names import JOINT

LOSS = "loss"
"""The axis of loss strategies."""

COLOURS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours of Okabe and Ito, which the colour-blind can tell apart."""
STYLES = ("solid", "dotted", "dashed", "dashdot", (0, (8, 2, 1, 2, 1, 2)), (0, (1, 4)))
COLUMNS = 3
IN_ONE_ROW = 6
"""The most entries of a legend in one row."""

Panel = dict[str, dict[int, list[Line]]]
"""Loss strategy → seed → lines."""


def loss_picture(records: Records) -> Picture | None:
    """Draw Fig. 4 of the finished pre-trainings; None if none has several modalities."""
    panels: dict[str, Panel] = {}
    weighed: dict[str, bool] = {}
    measured: set[int] = set()
    every: set[int] = set()
    done = pretraining.stages(records).values()
    store, plan = records.store, records.plan
    axes = [a for a in plan.axes if a != LOSS and len({t.axes.get(a, "") for t, _ in done}) > 1]
    for trial, stage in done:
        made = pretraining.lines(store, stage)
        if len(made) < 2:
            continue
        title = ", ".join(value for a in axes if (value := trial.axes.get(a, "")))
        strategy = trial.axes.get(LOSS, "")
        weighed[strategy] = weighed.get(strategy, False) or pretraining.weighs(store, stage)
        panels.setdefault(title, {}).setdefault(strategy, {})[trial.seed] = made
        measured |= {line.measured for line in made}
        every.add(stage.spec["train"]["measure_every"])
    if not panels:
        return None
    order = sorted(weighed, key=lambda strategy: weighed[strategy])
    styles = dict(zip(order, STYLES * len(order), strict=False))
    found = dict.fromkeys(
        line.name
        for p in panels.values()
        for runs in p.values()
        for ls in runs.values()
        for line in ls
    )
    names = sorted(found, key=lambda name: (name != JOINT, name))
    colours = dict(zip(names, COLOURS * len(names), strict=False))
    svg, png = _drawn(panels, styles, colours)
    seeds = max(len(runs) for panel in panels.values() for runs in panel.values())
    shown = ", ".join(f"{strategy} {_word(styles[strategy])}" for strategy in order)
    steps = f"Measured every {_either(every)} steps, and at the last"
    if measured != {1}:
        steps += f"; means of {_either(measured)} measurements"
    spread = f" Lines: means over {seeds} seeds; areas: their range." if seeds > 1 else ""
    return Picture(
        name="losses",
        title="The pre-training losses by modality (as the paper's Fig. 4)",
        caption=f"{shown}. L: all modalities; L_m: modality m alone, the others zeroed (Eq. 2). "
        f"{steps}.{spread}",
        svg=svg,
        png=png,
    )


def _either(numbers: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _word(style: object) -> str:
    """Name a style for a caption."""
    return style if isinstance(style, str) else f"in style {STYLES.index(style) + 1}"


def _drawn(
    panels: Mapping[str, Panel], styles: Mapping[str, object], colours: Mapping[str, str]
) -> tuple[bytes, bytes]:
    """Return the picture as SVG and PNG; equal figures give equal bytes."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with style():
        figure = Figure(figsize=(max(5.4, 3.6 * columns), 2.9 * rows + 0.5), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (title, panel) in zip(grid.flat, panels.items(), strict=False):
            _panel(axes, panel, styles, colours)
            axes.set_title(literal(title), fontsize=9)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for column in range(columns):  # the last row may be short
            lowest = grid[(len(panels) - 1 - column) // columns, column]
            lowest.set_xlabel("step")
            lowest.tick_params(labelbottom=True)
        for axes in grid[:, 0]:
            axes.set_ylabel("loss (nats per token)")
        handles = _legend(styles, colours)
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=len(handles) if len(handles) <= IN_ONE_ROW else len(handles) // 2,
            frameon=False,
            handlelength=3,
        )
        return saved(figure)


def _legend(styles: Mapping[str, object], colours: Mapping[str, str]) -> list[Line2D]:
    """Return the losses by colour, then the strategies by style, in one row each if in two."""
    losses = [Line2D([], [], color=colour, label=_math(name)) for name, colour in colours.items()]
    strategies = [
        Line2D([], [], color="#555555", linestyle=style, label=literal(strategy))  # type: ignore[arg-type]
        for strategy, style in styles.items()
    ]
    if len(losses) + len(strategies) <= IN_ONE_ROW:
        return [*losses, *strategies]
    # A legend is filled column by column.
    pairs = zip_longest(losses, strategies)
    return [h or Line2D([], [], linestyle="none", label=" ") for pair in pairs for h in pair]


def _panel(
    axes: Axes, panel: Panel, styles: Mapping[str, object], colours: Mapping[str, str]
) -> None:
    """Draw a panel: a line for each strategy and loss."""
    for strategy, runs in panel.items():
        for name, colour in colours.items():
            points: dict[float, list[float]] = {}
            for made in runs.values():
                for line in made:
                    for step, value in line.points if line.name == name else ():
                        points.setdefault(step, []).append(value)
            if not points:
                continue
            steps = sorted(points)
            means = [fmean(points[s]) for s in steps]
            axes.plot(
                steps,
                means,
                color=colour,
                linestyle=styles[strategy],
                linewidth=1.9 if name == JOINT else 1.2,
            )
            if len(runs) > 1:
                low, high = ([pick(points[s]) for s in steps] for pick in (min, max))
                axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _math(name: str) -> str:
    """Typeset a loss with its modality as index."""
    stem, _, index = name.partition("_")
    if not index:
        return f"${stem}$"
    return f"${stem}_{{\\mathrm{{{index}}}}}$" if index.isalpha() else name


__all__: Sequence[str] = ["loss_picture"]
