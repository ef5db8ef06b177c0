"""A suite's plan beside its stages: what it computes, what is done, what is left, the cost."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.config.overrides import Overrides
from avbench.core.errors import AvbenchError
from avbench.core.paths import cache
from avbench.runner.common_failure import last_line
from avbench.runner.plan import Plan, Store
from avbench.runner.stage_kinds import KINDS

if TYPE_CHECKING:
    import pandas as pd

    from avbench.runner.planning.plan_cache import Plans
    from avbench.workflow.origin import Origin
    from avbench.workflow.progress import Tell
    from avbench.workflow.reporting import SuiteReport
    from avbench.workflow.running import RunResult
    from avbench.workflow.status import Status
    from avbench.workflow.verifying import Verification


def store_in(results: Path, *, option: str = "results") -> Store:
    """Return the store of a results folder and the user's cache.

    Args:
        results: the folder, which need not exist.
        option: the name that errors give it.

    Raises:
        AvbenchError: ``results`` is no folder, or the user has no cache.
    """
    for folder in (results, results / "stages"):
        if os.path.lexists(folder) and not folder.is_dir():
            raise AvbenchError(f"{option} {results}: {folder} is no folder; give another one")
    return Store(results=results, cache=cache())


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """The expected cost of a plan, before it runs."""

    trainings: "pd.DataFrame"
    """One line a training: ``stage``, ``kind``, ``dataset``, ``rows``, ``seed``, ``steps``,
    ``clips``, ``flops``, ``rough``, ``unknown``, ``done``; see
    ``runner.planning.training_sizes``."""
    flops: float | None
    """FLOPs of all trainings, 2 per multiply-accumulate; None: unknown for one of them."""
    flops_left: float | None
    """The same of the trainings that are not done."""
    seconds_left: float | None
    """Estimated seconds to the end, from finished stages of the same kinds; None: unknown."""
    unmeasured: tuple[str, ...]
    """Kinds of stages to do of which none has been measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuitePlan:
    """A planned suite and the folders of its stages; nothing has run for it.

    ``stages``, ``cost`` and ``repr`` read the folders anew each time.
    """

    plan: Plan
    """The trials and stages, see ``avbench.runner.plan``."""
    store: Store
    plugins_dir: Path | None = None
    parts: tuple[Plan, ...] = ()
    """Of a collection, the plans of its suites, and ``plan`` has the stages of all; else empty."""

    @classmethod
    def of(
        cls, suite: str, overrides: Overrides, store: Store, plugins_dir: Path | None = None
    ) -> "SuitePlan":
        """Plan a suite, or a collection of suites, with changes.

        Raises:
            AvbenchError: the suite, a plugin or the data have errors.
        """
        from avbench.runner.planning.plan_cache import plans_for

        return cls.of_plans(plans_for(suite, overrides, plugins_dir), store, plugins_dir)

    @classmethod
    def of_plans(
        cls, plans: "Plans", store: Store, plugins_dir: Path | None = None
    ) -> "SuitePlan":
        """Return the plan of a suite or of a collection."""
        parts = plans.plans if plans.is_collection else ()
        return cls(plan=plans.whole, store=store, plugins_dir=plugins_dir, parts=parts)

    @property
    def suites(self) -> "Mapping[str, SuitePlan]":
        """The suites of a collection, by name; of a suite, itself."""
        if not self.parts:
            return {self.plan.suite: self}
        return {
            part.suite: SuitePlan(plan=part, store=self.store, plugins_dir=self.plugins_dir)
            for part in self.parts
        }

    @property
    def folder(self) -> Path:
        """The folder of the suite's tables."""
        return self.store.results / self.plan.suite

    @property
    def rows(self) -> tuple[str, ...]:
        """The labels of the rows, in order."""
        return self.plan.labels

    @property
    def stages(self) -> "pd.DataFrame":
        """One line a stage, parents before children.

        ``stage`` (id), ``kind``, ``works_on`` (the first row that needs it), ``rows`` (how many
        need it), ``state`` (``done``, ``to do``, ``failed`` or ``not needed``: a stage above a
        finished one), ``reason`` (the damage or the error) and ``folder``.
        """
        import pandas as pd

        plan, found = self.plan, self.store.examine_all(self.plan.stages.values())
        needed = set(plan.needed(found.done, found.changed))
        damage, names, uses = found.damage(needed), plan.names(), plan.uses()
        lines = []
        for id_, stage in plan.stages.items():
            record = found[id_].record if id_ in found else None
            state, reason = "to do", damage.get(id_, "")
            if id_ in found.done:
                state = "done"
            elif id_ not in needed:
                state = "not needed"
            elif record is not None and record["status"] == "failed":
                state, reason = "failed", last_line(record["error"])
            lines.append(
                {
                    "stage": id_,
                    "kind": stage.kind,
                    "works_on": names.get(id_, ""),
                    "rows": len({use.row for use in uses[id_] if use.row}),
                    "state": state,
                    "reason": reason,
                    "folder": str(self.store.directory(stage)),
                }
            )
        return pd.DataFrame(lines)

    @property
    def cost(self) -> Cost:
        """The expected work of the trainings, and the time to the end on this machine."""
        import pandas as pd

        from avbench.runner.executors.local import cores

        data = plan_data(self.plan, self.store, cores())
        known = ("stage", "kind", "dataset", "rows", "seed", "steps", "clips", "flops")
        columns = [*known, "rough", "unknown", "done"]
        trainings = data["trainings"]
        return Cost(
            trainings=pd.DataFrame(trainings, columns=columns),
            flops=_sum(training["flops"] for training in trainings),
            flops_left=_sum(t["flops"] for t in trainings if not t["done"]),
            seconds_left=data["seconds_left"],
            unmeasured=tuple(data["unmeasured"]),
        )

    def run(self, *, progress: "Tell | None" = None, **machine: Any) -> "RunResult":
        """Run the suite, see ``avbench.run``."""
        from avbench.workflow import functions

        return functions.run(self, progress=progress, **machine)

    def results(self, *, intervals: str | None = None) -> "pd.DataFrame":
        """Return the results so far, see ``avbench.results``."""
        from avbench.workflow import functions

        return functions.results(self, intervals=intervals)

    def report(self, **options: Any) -> "SuiteReport":
        """Return the tables so far, see ``avbench.report``."""
        from avbench.workflow import functions

        return functions.report(self, **options)

    def status(self) -> "Status":
        """Return what is done, running or failed, and the time left."""
        from avbench.workflow.status import suite_status

        return suite_status(self.plan, self.store)

    def origin(
        self,
        row: str,
        *,
        dataset: str | None = None,
        metric: str | None = None,
        seed: int | None = None,
    ) -> "Origin":
        """Return figures of a row and the stages that they come from.

        Args:
            row: a label of the suite's tables.
            dataset: None: every dataset, and the costs.
            metric: None: every score and cost.
            seed: None: every seed.

        Raises:
            AvbenchError: the tables have no such figure, or it is a collection.
        """
        from avbench.workflow.origin import origin

        self.refuse_collection("origin")

        return origin(self.plan, self.store, row, dataset=dataset, metric=metric, seed=seed)

    def verify(self) -> "Verification":
        """Make every figure again from stored captions and settings, and compare.

        Raises:
            AvbenchError: it is a collection; ``suites`` has its suites.
        """
        from avbench.workflow.verifying import verify

        self.refuse_collection("verify")

        return verify(self.plan, self.store, self.plugins_dir)

    def refuse_collection(self, what: str) -> None:
        """Refuse what a collection has only by suite.

        Raises:
            AvbenchError: it is a collection.
        """
        if self.parts:
            raise AvbenchError(
                f"{what}: '{self.plan.suite}' is a collection; take it of one of its suites: "
                f"{', '.join(self.suites)}"
            )

    def __repr__(self) -> str:
        plan = self.plan
        done = self.store.examine_all(plan.stages.values()).done
        suites = [f"{len(self.parts)} suites"] if self.parts else []
        parts = [
            *suites,
            f"{len(self.rows)} rows × {len(plan.seeds)} seeds",
            f"{len(done)} of {len(plan.stages)} stages done",
            f"preset {plan.preset}",
            f"data {plan.data}",
        ]
        skipped = len({trial.label for trial in plan.trials if trial.skipped})
        parts += [f"{skipped} rows skipped"] if skipped else []
        return f"<plan of {plan.suite}: {', '.join(parts)}>"


def plan_data(plan: Plan, store: Store, slots: int) -> dict[str, Any]:
    """Return a plan's trials and its stages by kind, with those that are done.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        slots: processes at once, for the estimate of the time left.
    """
    from avbench.runner.scheduler import StageTimes

    found = store.examine_all(plan.stages.values())
    done = found.done
    times = StageTimes()
    for id_ in done:
        record = found[id_].record or {}
        if "wall_s" in record.get("provenance", {}):
            times.add(plan.stages[id_].kind, record["provenance"]["wall_s"])
    kinds = Counter(stage.kind for stage in plan.stages.values())
    ready = Counter(plan.stages[id_].kind for id_ in done)
    needed = plan.needed(done, found.changed)
    todo = [plan.stages[id_].kind for id_ in needed if id_ not in done]
    seconds = times.sum(todo)
    return {
        "suite": plan.suite,
        "title": plan.title,
        "preset": plan.preset,
        "data": plan.data,
        "datasets": list(plan.datasets),
        "axes": list(plan.axes),
        "seeds": list(plan.seeds),
        "trials": [
            {
                "label": trial.label,
                "axes": dict(trial.axes),
                "seed": trial.seed,
                "skipped": trial.skipped,
                "done": {
                    **({"pretrain": trial.pretrain in done} if trial.pretrain else {}),
                    **{cell.dataset: cell.score in done for cell in trial.cells},
                    **({"profile": trial.profile in done} if trial.profile else {}),
                },
                "stages": {
                    "pretrain": trial.pretrain,
                    "profile": trial.profile,
                    "score": {cell.dataset: cell.score for cell in trial.cells},
                },
            }
            for trial in plan.trials
        ],
        "stages": {k: {"done": ready[k], "all": kinds[k]} for k in KINDS if k in kinds},
        "trainings": _trainings(plan, done),
        "damaged": {plan.stages[i].folder: why for i, why in found.damage(needed).items()},
        "seconds_left": None if seconds is None else seconds / slots,
        "unmeasured": sorted({kind for kind in todo if times.of(kind) is None}),
    }


def collection_data(plans: "Plans", store: Store, slots: int) -> dict[str, Any]:
    """Return the suites of a collection, and the stages that they name and share.

    Args:
        plans: the plans of its suites.
        store: the folders of the stages.
        slots: processes at once, for the estimate of the time left.
    """
    found = store.examine_all(plans.whole.stages.values())
    whole = plan_data(plans.whole, store, slots)
    return {
        "collection": plans.name,
        "title": plans.title,
        "preset": plans.whole.preset,
        "data": plans.whole.data,
        "suites": [
            {
                "suite": plan.suite,
                "title": plan.title,
                "rows": len(plan.labels),
                "show": list(plan.show),
                "stages": len(plan.stages),
                "done": sum(id_ in found.done for id_ in plan.stages),
            }
            for plan in plans.plans
        ],
        "named": sum(len(plan.stages) for plan in plans.plans),
        "distinct": len(plans.whole.stages),
        **{key: whole[key] for key in ("stages", "trainings", "damaged")},
        **{key: whole[key] for key in ("seconds_left", "unmeasured")},
    }


def _trainings(plan: Plan, done: Collection[str]) -> list[dict[str, Any]]:
    """Return the training stages with their expected work, see ``Plan.trainings``."""
    uses = plan.uses()
    return [
        {
            "stage": id_,
            "kind": plan.stages[id_].kind,
            "rows": list(dict.fromkeys(use.row for use in uses[id_])),
            "seed": plan.stages[id_].spec["seed"],
            "done": id_ in done,
            **size,
        }
        for id_, size in plan.trainings.items()
    ]


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else float(sum(v for v in known if v is not None))
