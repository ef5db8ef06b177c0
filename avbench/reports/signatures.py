"""Scores that were made in different ways do not share a column of a table.

A score's signature says how it was made: metric, tokenizer, versions, number of references,
protocol, a hash of the clips and their references. Figures whose signatures differ are not
comparable, so of those under one dataset and metric the table keeps the ones made as most are,
and shows the others as refused, with what differs.
"""

from collections import Counter

import pandas as pd

from avbench.reports.table import Place

REFUSED = "refused"


def agreed(frame: pd.DataFrame) -> pd.DataFrame:
    """Long rows in which every dataset and metric has one signature.

    Rows without a signature (costs, published figures) are left alone. The name before the first
    ``|`` does not count: what a score would be by chance stands beside the score itself.

    Args:
        frame: long rows, see ``avbench.reports.long_table.Table``.

    Returns:
        The rows; those that disagree are ``refused``, without a value, with the reason.
    """
    made = frame["signature"].str.partition("|")[2]
    compared = (frame["status"] == "ok") & (made != "")
    changed = frame.copy()
    for _, group in made[compared].groupby([frame["dataset"], frame["metric"]], sort=False):
        if group.nunique() < 2:
            continue
        # Of equally frequent ones the first: Counter keeps the order of appearance.
        usual = Counter(group).most_common(1)[0][0]
        for index, own in group[group != usual].items():
            changed.loc[index, ["status", "reason"]] = [REFUSED, _difference(own, usual)]
            changed.loc[index, "value"] = float("nan")
    return changed


def figures_by_seed(frame: pd.DataFrame) -> dict[Place, dict[int | None, float]]:
    """Return the figures of long rows by place, then by seed.

    The seed is None for what depends on none; the dataset of costs is empty.

    Args:
        frame: long rows that agree, see ``agreed``.
    """
    found: dict[Place, dict[int | None, float]] = {}
    for row in frame[frame["status"] == "ok"].to_dict("records"):
        seed = None if pd.isna(row["seed"]) else int(row["seed"])
        place = (row["label"], row["dataset"], row["metric"])
        found.setdefault(place, {})[seed] = row["value"]
    return found


def _difference(own: str, usual: str) -> str:
    """What two signatures do not share."""
    mine, theirs = own.split("|"), usual.split("|")
    here = ", ".join(part for part in mine if part not in theirs) or "less"
    there = ", ".join(part for part in theirs if part not in mine) or "less"
    return f"made with {here}, the others of this column with {there}"


def signatures(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """How the figures were made that a table shows: dataset → metric → signature."""
    shown = agreed(frame)
    shown = shown[(shown["status"] == "ok") & (shown["signature"] != "")]
    found: dict[str, dict[str, str]] = {}
    for row in shown.itertuples():
        # The first: what a score would be by chance stands under the same name, further down.
        found.setdefault(str(row.dataset), {}).setdefault(str(row.metric), str(row.signature))
    return found
