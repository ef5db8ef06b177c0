"""What is kept of scores: the figures of each item, their sufficient statistics, a description."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from avbench.core.contracts import Metric, Score
from avbench.core.errors import PluginError
from avbench.evaluation.statistics import sufficient

PER_CLIP = "per_clip.csv"


@dataclass(frozen=True, slots=True)
class Scored:
    """A score, the metric that made it, and how the suite names that: name and options."""

    score: Score
    metric: Metric
    ref: Mapping[str, Any]


def write_scores(folder: Path, scored: Sequence[Scored], videos: Mapping[str, str]) -> None:
    """Write ``per_clip.csv`` and ``statistics.npz``.

    Args:
        folder: where.
        scored: the scores, each with the metric that made it.
        videos: every scored item and its video, in the order of the lines.

    Raises:
        PluginError: two metrics give a score of the same name.
    """
    names = [one.score.name for one in scored]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PluginError(f"two metrics of this job give the score '{twice}'")
    each = [one.score for one in scored if one.score.per_item]
    with (folder / PER_CLIP).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "video", *(score.name for score in each)])
        for item, video in videos.items():
            writer.writerow([item, video, *(score.per_item.get(item, "") for score in each)])
    kept: dict[str, sufficient.Sufficient] = {}
    for one in scored:
        values = statistics(one)
        if values is not None:
            ids = tuple(one.score.per_item)
            of_ids = tuple(videos[i] for i in ids)
            kept[one.score.name] = sufficient.Sufficient(ids=ids, videos=of_ids, values=values)
    sufficient.write(folder, videos, kept)


def describe(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """What a record says of each score."""
    return [
        {
            "name": one.score.name,
            "value": one.score.value,
            "unit": one.score.unit,
            "signature": one.score.signature,
            "higher_is_better": one.score.higher_is_better,
            "metric": one.ref,
            "statistics": statistics(one) is not None,
        }
        for one in scored
    ]


def statistics(one: Scored) -> Float64[np.ndarray, "n K"] | None:
    """A score's sufficient statistics; None where its figure cannot be made from them."""
    score = one.score
    values = score.statistics
    if values is None:
        figures = np.array(list(score.per_item.values()), dtype=np.float64)
        values = np.stack([figures, np.ones_like(figures)], axis=1)
    if not len(values) or len(values) != len(score.per_item):
        return None
    made = float(one.metric.from_sums(score.name, values.sum(0, keepdims=True))[0])
    return values if math.isclose(made, score.value, rel_tol=1e-9, abs_tol=1e-9) else None
