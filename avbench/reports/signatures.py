"""Signatures: scores that were made in different ways do not share a column of a table.

A score's signature names its metric, tokenizer, versions, number of references and protocol, and
holds a hash of the clips and their references. Figures whose signatures differ cannot be compared.
Under each dataset and metric a table keeps the figures with the most frequent signature. It shows
the others as refused, with the difference.
"""

from collections import Counter

import pandas as pd

from avbench.reports.table import Place

REFUSED = "refused"


def agreed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return long rows in which every dataset and metric has one signature.

    Rows without a signature (costs, published figures) stay as they are. The name before the first
    ``|`` does not count, because a score by chance stands beside the score itself.

    Args:
        frame: long rows, see ``avbench.reports.long_table.Table``.

    Returns:
        The rows; those with another signature are ``refused``: a reason and no value.
    """
    made = frame["signature"].map(lambda signature: signature.partition("|")[2])
    compared = (frame["status"] == "ok") & (made != "")
    changed = frame.copy()
    for _, group in made[compared].groupby([frame["dataset"], frame["metric"]], sort=False):
        if group.nunique() < 2:
            continue
        # Of equally frequent signatures this is the first: Counter keeps their order.
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


def apart(own: str, other: str) -> tuple[str, str]:
    """Return the parts that only one of two signatures has, of each; ``less``: it has none."""
    mine, theirs = own.split("|"), other.split("|")
    here = ", ".join(part for part in mine if part not in theirs) or "less"
    there = ", ".join(part for part in theirs if part not in mine) or "less"
    return here, there


def _difference(own: str, usual: str) -> str:
    """Say in which parts two signatures differ."""
    here, there = apart(own, usual)
    return f"made with {here}, the others of this column with {there}"


def signatures(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the signatures behind a table's figures: dataset → metric → signature."""
    shown = agreed(frame)
    shown = shown[(shown["status"] == "ok") & (shown["signature"] != "")]
    found: dict[str, dict[str, str]] = {}
    for row in shown.itertuples():
        # The first one counts: a score by chance follows under the same name.
        found.setdefault(str(row.dataset), {}).setdefault(str(row.metric), str(row.signature))
    return found
