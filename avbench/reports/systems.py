"""The sufficient statistics of a suite's finished score stages, by dataset and system."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from avbench.core import options
from avbench.core.registry import Registry
from avbench.evaluation.contracts import Metric
from avbench.evaluation.perturbation import altered_label
from avbench.evaluation.statistics.resampling import FromSums, System, by_video
from avbench.evaluation.statistics.sufficient import Sufficient, read
from avbench.reports.collect import MOST_FREQUENT
from avbench.reports.records import Records
from avbench.runner.plan import Stage

Key = tuple[str, int | None]
"""Label and seed of a system; a baseline has no seed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SystemScore:
    """One score of one trained model, item by item."""

    statistics: Sufficient
    from_sums: FromSums
    unit: str
    signature: str
    record: str
    """Id of the score stage."""


class Metrics:
    """The metrics whose sums are tested, each made once.

    Args:
        registry: loads the components; called once a metric is needed.
    """

    def __init__(self, registry: Callable[[], Registry]) -> None:
        self._load = registry
        self._registry: Registry | None = None
        self._made: dict[str, Metric] = {}

    def from_sums(self, ref: Mapping[str, Any], score: str) -> FromSums:
        """Return the function that makes a score of a metric from sums.

        Raises:
            UnknownNameError: the metric is not registered here.
        """
        key = options.canonical(ref)
        if key not in self._made:
            self._registry = self._registry or self._load()
            component = self._registry.get("metrics", ref["name"])
            self._made[key] = options.make(component, ref["options"], where=ref["name"])
        return partial(self._made[key].from_sums, score)


@dataclass(slots=True)
class ScoreStatistics:
    """Reads each file of statistics once."""

    records: Records
    registry: Registry
    _scores: dict[str, dict[str, dict[Key, SystemScore]]] = field(default_factory=dict)
    _systems: dict[tuple[str, str], dict[Key, System]] = field(default_factory=dict)
    _metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self._metrics = Metrics(lambda: self.registry)

    def scores(self, dataset: str) -> dict[str, dict[Key, SystemScore]]:
        """Return the statistics of the finished cells: score → system → statistics.

        Raises:
            DataError: a file is missing or damaged.
        """
        if dataset not in self._scores:
            found: dict[str, dict[Key, SystemScore]] = {}
            for key, stage in self._all(dataset):
                results = self.records.results(stage.id)
                if results is None:
                    continue
                scores = [s for s in results["scores"] if s.get("statistics")]
                statistics = read(self.records.store.directory(stage)) if scores else {}
                for score in scores:
                    name = score["name"]
                    found.setdefault(name, {})[key] = SystemScore(
                        statistics=statistics[name],
                        from_sums=self._metrics.from_sums(score["metric"], name),
                        unit=score["unit"],
                        signature=score["signature"],
                        record=stage.id,
                    )
            self._scores[dataset] = found
        return self._scores[dataset]

    def systems(self, dataset: str, score: str) -> dict[Key, System]:
        """Return the systems of a score by video; they share the videos, so they can be paired."""
        if (dataset, score) not in self._systems:
            held = self.scores(dataset)
            names = (
                v for of in held.values() for one in of.values() for v in one.statistics.videos
            )
            videos = {name: i for i, name in enumerate(sorted(set(names)))}
            self._systems[dataset, score] = {
                key: System(sums=by_video(one.statistics, videos), from_sums=one.from_sums)
                for key, one in held.get(score, {}).items()
            }
        return self._systems[dataset, score]

    def stages(self, dataset: str) -> dict[Key, Stage]:
        """Return the score stages of unaltered rows and of the baseline."""
        labels = {MOST_FREQUENT, *(trial.label for trial in self.records.plan.trials)}
        return {key: stage for key, stage in self._all(dataset) if key[0] in labels}

    def _all(self, dataset: str) -> Iterator[tuple[Key, Stage]]:
        for trial in self.records.plan.trials:
            for cell in trial.cells:
                if cell.dataset == dataset:
                    yield (trial.label, trial.seed), self.records.plan.stages[cell.score]
                    for name, id_ in cell.altered.items():
                        key = (altered_label(trial.label, name), trial.seed)
                        yield key, self.records.plan.stages[id_]
        if dataset in self.records.plan.baselines:
            yield (
                (MOST_FREQUENT, None),
                self.records.plan.stages[self.records.plan.baselines[dataset]],
            )
