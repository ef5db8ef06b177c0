"""The paper's Fig. A: the words with the highest ARS, as bars."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from avbench.reports.drawing import literal, saved, style
from avbench.reports.table import Picture

COLOUR, PALE = "#0072b2", "#9ecae1"
"""Colours of words that image captions have, and of words that none has."""
ROW = 50
"""The most bars in one row of the picture."""


def words_picture(
    words: Sequence[tuple[str, float, bool]], caption: str, *, unseen: str
) -> Picture:
    """Draw words as bars, in falling order of ARS.

    Args:
        words: word, its ARS, and whether an image caption has it.
        caption: what stands below.
        unseen: the rule for words that none has, for the legend.
    """
    rows = [words[i : i + ROW] for i in range(0, len(words), ROW)]
    top = 1.05 * max((ars for _, ars, _ in words), default=1.0) or 1.0
    legend: Mapping[bool, str] = {
        True: "in image captions too",
        False: f"in no image caption ({unseen})",
    }
    with style():
        figure = Figure(figsize=(11, 2.6 * len(rows) + 0.4), layout="constrained")
        grid = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
        for axes, row in zip(grid, rows, strict=True):
            colours = [COLOUR if seen else PALE for _, _, seen in row]
            axes.bar(range(len(row)), [ars for _, ars, _ in row], color=colours, width=0.75)
            axes.set_xticks(range(len(row)), [literal(word) for word, _, _ in row], rotation=90)
            axes.set_xlim(-0.7, ROW - 0.3 if len(rows) > 1 else len(row) - 0.3)
            axes.set_ylim(0, top)
            axes.set_ylabel("ARS")
            axes.tick_params(axis="x", length=0)
            axes.spines[["top", "right"]].set_visible(False)
        shown = [kind for kind in (True, False) if any(seen is kind for _, _, seen in words)]
        handles = [mpl.patches.Patch(color=COLOUR if k else PALE, label=legend[k]) for k in shown]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=len(handles), frameon=False
        )
        svg, png = saved(figure)
    return Picture(
        name="top_words",
        title=f"The {len(words)} words with the highest ARS (as the paper's Fig. A)",
        caption=caption,
        svg=svg,
        png=png,
    )
