"""The records of a plan, each read once: every table and note of a report is made from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from avbench.core.job import LOG
from avbench.runner.common_failure import last_line
from avbench.runner.plan import Plan, Stage, Store


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a plan's stages, as they were when they were read."""

    plan: Plan
    store: Store
    by_stage: Mapping[str, Mapping[str, Any]]
    """Stage id → record; without the stages that have none."""

    @classmethod
    def read(cls, plan: Plan, store: Store) -> "Records":
        """Read the record of every stage of a plan."""
        found = ((stage.id, store.record(stage)) for stage in plan.stages.values())
        return cls(plan, store, {id_: record for id_, record in found if record is not None})

    def results(self, id_: str) -> Mapping[str, Any] | None:
        """Return the results of a stage, or None if it is not done."""
        record = self.by_stage.get(id_)
        if record is None or record["status"] != "done":
            return None
        results: Mapping[str, Any] = record["results"]
        return results

    def absence(self, stage: Stage) -> dict[str, Any]:
        """Say why a stage has no result: a failure in it or above it, or that it has not run.

        Returns:
            The fields of a ``Measurement`` without a value.
        """
        failed = self._failed(stage, set())
        if failed is None:
            damage = self.store.examine(stage).damage
            reason = f"to do again: {damage}" if damage else "has not run"
            return {"status": "pending", "reason": reason}
        return {
            "status": "failed",
            "reason": f"{failed.kind}: {self.error(failed)}",
            "log": self.log(failed),
            "record": failed.id,
        }

    def error(self, stage: Stage) -> str:
        """Return the last line of a failed stage's error."""
        return last_line(self.by_stage[stage.id].get("error"))

    def log(self, stage: Stage) -> str:
        """Return the path of a stage's log."""
        return str(self.store.directory(stage) / LOG)

    def _failed(self, stage: Stage, seen: set[str]) -> Stage | None:
        """Return the stage that failed: this one or the first above it."""
        if stage.id in seen:
            return None
        seen.add(stage.id)
        record = self.by_stage.get(stage.id)
        if record is not None:
            return stage if record["status"] == "failed" else None
        above = (self._failed(self.plan.stages[p], seen) for p in stage.parents.values())
        return next((found for found in above if found is not None), None)
