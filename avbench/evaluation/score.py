"""Stage ``score``: predictions against references, by every metric of the suite.

Jobs that share references are scored together, so that the references are prepared once. Metrics
and METEOR's Java live for all jobs of a process. A failed job does not affect the others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from avbench.core.errors import PluginError
from avbench.core.job import Job
from avbench.core.options import canonical, make
from avbench.core.visible import csv_text
from avbench.data.prepared.clips import PreparedClips
from avbench.evaluation.contracts import Metric, References, Score
from avbench.evaluation.predictions import PREDICTIONS, read_predictions
from avbench.evaluation.references import Level, by_clip, by_protocol
from avbench.evaluation.statistics import sufficient

PER_CLIP = "per_clip.csv"

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scored:
    """A score, its metric, and that metric's name and options in the suite."""

    score: Score
    metric: Metric
    ref: Mapping[str, Any]


def run(job: Job) -> Result:
    """Score one job; see ``run_many``."""
    (result,) = run_many([job])
    if isinstance(result, Exception):
        raise result
    return result


def run_many(jobs: Sequence[Job]) -> list[Result | Exception]:
    """Score jobs; those with the same references are scored together.

    Writes each job's ``per_clip.csv`` and ``statistics.npz``, see
    ``avbench.evaluation.statistics.sufficient``.

    Returns:
        For each job, in order, ``{"scores": [...], "items": n, "without_clip": m}`` or the
        exception it failed with. m videos of the paragraph protocol count as ``""``.
    """
    results: dict[int, Result | Exception] = {}
    metrics: dict[str, Metric] = {}
    order = sorted(range(len(jobs)), key=lambda i: str(jobs[i].parents["data"].resolve()))
    try:
        for _, group in groupby(order, key=lambda i: jobs[i].parents["data"].resolve()):
            results.update(_score_group({i: jobs[i] for i in group}, metrics))
    finally:
        for metric in metrics.values():
            metric.close()
    return [results[i] for i in range(len(jobs))]


def _score_group(
    jobs: Mapping[int, Job], metrics: dict[str, Metric]
) -> dict[int, Result | Exception]:
    """Score jobs that share a prepared split; ``metrics`` caches instances for all groups."""
    results: dict[int, Result | Exception] = {}
    try:
        split = PreparedClips.open(next(iter(jobs.values())).parents["data"])
        levels = {True: by_clip(split), False: by_protocol(split)}
    except Exception as error:
        return dict.fromkeys(jobs, error)
    said: dict[int, dict[str, str]] = {}
    for i, job in jobs.items():
        try:
            said[i] = read_predictions(job.parents["predictions"] / PREDICTIONS, split.clips)
        except Exception as error:
            results[i] = error
    wanted: dict[str, tuple[Mapping[str, Any], list[int]]] = {}
    for i in said:
        for ref in jobs[i].spec["metrics"]:
            wanted.setdefault(canonical(ref), (ref, []))[1].append(i)
    scores: dict[int, list[Scored]] = {i: [] for i in said}
    at_level: dict[int, dict[str, Level]] = {i: {} for i in said}
    for done, (key, (ref, users)) in enumerate(wanted.items()):
        try:
            metric = metrics[key] = metrics.get(key) or _build(ref, jobs[users[0]])
        except Exception as error:
            results.update(dict.fromkeys(users, error))
            continue
        level = levels[metric.clip_by_clip]
        alive = [i for i in users if i not in results]
        joined = {i: level.join(said[i]) for i in alive}
        for i, outcome in _score_together(metric, ref["name"], joined, level.references).items():
            if isinstance(outcome, Exception):
                results[i] = outcome
                continue
            scores[i] += [Scored(score, metric, ref) for score in outcome]
            at_level[i] |= dict.fromkeys((score.name for score in outcome), level)
        for i in alive:
            jobs[i].progress(done + 1, len(wanted), ref["name"])
    for i in said:
        if i not in results:
            try:
                results[i] = _write(jobs[i], scores[i], at_level[i])
            except Exception as error:
                results[i] = error
    return results


def _build(ref: Mapping[str, Any], job: Job) -> Metric:
    component = job.registry.get("metrics", ref["name"])
    metric: Metric = make(component, ref["options"], where=ref["name"])
    return metric


def _score_together(
    metric: Metric, name: str, systems: Mapping[int, dict[str, str]], references: References
) -> dict[int, Sequence[Score] | Exception]:
    """Score systems in one call, or one by one if that fails, so that only the culprit fails."""
    if not systems:
        return {}
    try:
        outcomes = metric.score(list(systems.values()), references)
        _check(name, outcomes, len(systems))
    except Exception as error:
        if len(systems) == 1:
            return dict.fromkeys(systems, error)
        alone = [_score_together(metric, name, {i: s}, references) for i, s in systems.items()]
        return {i: outcome for one in alone for i, outcome in one.items()}
    return dict(zip(systems, outcomes, strict=True))


def _check(name: str, outcomes: Sequence[Sequence[Score]], systems: int) -> None:
    """Check a metric's scores against its contract.

    Raises:
        PluginError: a system has no list of scores, or a score is not finite.
    """
    if len(outcomes) != systems:
        raise PluginError(
            f"metric '{name}': {len(outcomes)} lists of scores for {systems} systems"
        )
    for score in (score for scores in outcomes for score in scores):
        if not math.isfinite(score.value):
            raise PluginError(f"metric '{name}': score '{score.name}' is {score.value}")


def _write(job: Job, scored: Sequence[Scored], levels: Mapping[str, Level]) -> Result:
    """Write a job's files and return its results."""
    videos: dict[str, str] = {}
    for level in levels.values():
        videos |= level.videos
    silent = {v for level in levels.values() for v, clips in level.members.items() if not clips}
    write_scores(job.directory, scored, videos)
    return {"scores": describe(scored), "items": len(videos), "without_clip": len(silent)}


def write_scores(folder: Path, scored: Sequence[Scored], videos: Mapping[str, str]) -> None:
    """Write ``per_clip.csv`` and ``statistics.npz``.

    Args:
        folder: of the job.
        scored: the scores, each with its metric.
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
        head = ["id", "video", *(score.name for score in each)]
        lines = (
            [item, video, *(str(score.per_item.get(item, "")) for score in each)]
            for item, video in videos.items()
        )
        file.write(csv_text([head, *lines]))
    kept: dict[str, sufficient.Sufficient] = {}
    for one in scored:
        values = statistics(one)
        if values is not None:
            ids = tuple(one.score.per_item)
            of_ids = tuple(videos[i] for i in ids)
            kept[one.score.name] = sufficient.Sufficient(ids=ids, videos=of_ids, values=values)
    sufficient.write(folder, videos, kept)


def describe(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """Return the scores as a record has them."""
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
    """Return a score's sufficient statistics, or None if they do not give its figure."""
    score = one.score
    values = score.statistics
    if values is None:
        figures = np.array(list(score.per_item.values()), dtype=np.float64)
        values = np.stack([figures, np.ones_like(figures)], axis=1)
    if not len(values) or len(values) != len(score.per_item):
        return None
    made = float(one.metric.from_sums(score.name, values.sum(0, keepdims=True))[0])
    return values if math.isclose(made, score.value, rel_tol=1e-9, abs_tol=1e-9) else None
