"""Verifies a suite's figures: each is made again from what it was made from, and compared.

Scores are made again from the stored captions and the references, costs from the stage's settings.
The contents of all files that count are compared with their records, the written long table with
the records, and each published figure with its source.
"""

import importlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from avbench.config.shipped import published_names, source_of
from avbench.core.errors import AvbenchError
from avbench.core.job import Job
from avbench.reports.collect import Report, collect
from avbench.reports.long_table import LONG_FILE, Table
from avbench.runner.plan import Plan, Stage, Store, stage_name
from avbench.runner.stage_kinds import KINDS
from avbench.workflow.machine import Machine

AGAIN = ("score", "profile")
"""The kinds of stages whose results are made again."""

CLOSE = 1e-9
"""Relative difference that another processor's rounding may make."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not what it should be."""

    where: str
    """The stage, the file or the figure."""
    what: str
    stored: Any = None
    again: Any = None

    def text(self) -> str:
        """Return one line."""
        if self.stored is None and self.again is None:
            return f"{self.where}: {self.what}"
        return f"{self.where}: {self.what}: stored {self.stored}, made again {self.again}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """The result of ``verify``."""

    suite: str
    scores: int
    """Scores that were made again."""
    costs: int
    """Costs that were made again."""
    files: int
    """Stages whose files were compared with their records."""
    lines: int
    """Figures of the written long table that were compared."""
    published: int
    """Published figures that were compared with their source."""
    left: int
    """Figures of the suite that cannot be verified, because their stages are not done."""
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """True if nothing differs."""
        return not self.differences

    def text(self) -> str:
        """Return a line for each difference, and the numbers."""
        left = f"; {self.left} figures not there yet" if self.left else ""
        counts = (
            f"{self.suite}: made again: {self.scores} scores, {self.costs} costs; compared: files "
            f"of {self.files} stages, {self.lines} written figures, {self.published} published "
            f"figures{left}"
        )
        found = [f"differs: {difference.text()}" for difference in self.differences]
        many = f"{len(found)} differences" if len(found) != 1 else "1 difference"
        return "\n".join([*found, counts, many if found else "nothing differs"])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "ok": self.ok}

    def __str__(self) -> str:
        return self.text()


def verify(plan: Plan, store: Store, plugins_dir: Path | None = None) -> Verification:
    """Make a suite's figures again, and compare.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        plugins_dir: a folder of plugins; None: ``./plugins`` if there is one.
    """
    report = collect(plan, store)
    found = store.examine_all(plan.stages.values())
    names = plan.names()
    shown = {
        id_: stage_name(plan.stages[id_].kind, id_, names.get(id_, "")) for id_ in plan.stages
    }
    used = [id_ for id_ in plan.needed(found.done, found.changed) if id_ in found.done]
    differences = [
        Difference(where=shown[id_], what=f"its files: {damage}")
        for id_ in used
        if (damage := store.examine(plan.stages[id_], contents=True).damage)
    ]
    made = {"score": 0, "profile": 0}
    for kind in AGAIN:
        stages = [plan.stages[id_] for id_ in used if plan.stages[id_].kind == kind]
        outcomes = _again(kind, stages, plan, store, plugins_dir)
        for stage, outcome in zip(stages, outcomes, strict=True):
            if isinstance(outcome, Exception):
                why = f"cannot be made again: {type(outcome).__name__}: {outcome}"
                differences.append(Difference(where=shown[stage.id], what=why))
                continue
            stored = dict(_figures((found[stage.id].record or {})["results"]))
            again = dict(_figures(outcome))
            made[kind] += len(again)
            differences += [
                Difference(where=shown[stage.id], what=n, stored=stored.get(n), again=again.get(n))
                for n in dict.fromkeys((*stored, *again))
                if not _same(stored.get(n), again.get(n))
            ]
    lines, wrong = _written(report, store.results / plan.suite / LONG_FILE)
    differences += wrong
    sources, wrong = _sources(report)
    differences += wrong
    return Verification(
        suite=plan.suite,
        scores=made["score"],
        costs=made["profile"],
        files=len(used),
        lines=lines,
        published=sources,
        left=report.unfinished,
        differences=tuple(differences),
    )


def _again(
    kind: str, stages: Sequence[Stage], plan: Plan, store: Store, plugins_dir: Path | None
) -> list[Mapping[str, Any] | Exception]:
    """Return the results of stages of a kind, made anew in folders that do not stay."""
    module = importlib.import_module(KINDS[kind].module)
    local = Machine().local(plugins_dir)
    with tempfile.TemporaryDirectory(prefix="avbench-verify-") as folder:
        jobs = []
        for stage in stages:
            own = Path(folder) / stage.folder
            own.mkdir()
            parents = {
                role: store.directory(plan.stages[id_]) for role, id_ in stage.parents.items()
            }
            jobs.append(
                Job(
                    kind=kind,
                    id=stage.id,
                    spec=stage.spec,
                    directory=own,
                    parents=parents,
                    local={**local, **stage.local},
                )
            )
        if KINDS[kind].has_run_many:
            many: list[Mapping[str, Any] | Exception] = module.run_many(jobs)
            return many
        return [_attempt(module.run, job) for job in jobs]


def _attempt(run: Any, job: Job) -> Mapping[str, Any] | Exception:
    try:
        results: Mapping[str, Any] = run(job)
    except Exception as error:
        return error
    return results


def _figures(results: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the numbers and texts of a stage's results, by dotted name; of scores, by theirs."""
    for key, value in results.items():
        here = f"{name}.{key}" if name else key
        if key == "scores":
            for score in value:
                yield score["name"], score["value"]
        elif isinstance(value, Mapping):
            yield from _figures(value, here)
        else:
            yield here, value


def _same(stored: Any, again: Any) -> bool:
    if isinstance(stored, int | float) and isinstance(again, int | float):
        return math.isclose(stored, again, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(stored == again)


def _written(report: Report, path: Path) -> tuple[int, list[Difference]]:
    """Compare the long table that was written last with the records."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0, []
    except (OSError, UnicodeDecodeError) as error:
        return 0, [Difference(where=str(path), what=f"cannot be read: {error}")]
    try:
        written = Table.read_csv(text)
    except (AvbenchError, ValueError) as error:
        return 0, [Difference(where=str(path), what=f"is no long table: {error}")]
    ours = _places(report.figures) | _places(report.paper) | _places(report.systems)
    lines, differences = 0, []
    for place, value in _places(written).items():
        lines += 1
        if place not in ours:
            differences.append(Difference(where=str(path), what=f"{place}: no record has it"))
        elif not _same(value, ours[place]):
            differences.append(
                Difference(where=str(path), what=place, stored=value, again=ours[place])
            )
    return lines, differences


def _places(table: Table) -> dict[str, float]:
    """Return the figures of a long table by the text of their place."""
    frame = table.frame[table.frame["status"] == "ok"]
    found = {}
    for line in frame.astype({"seed": object}).to_dict("records"):
        seed = [] if pd.isna(line["seed"]) else [f"seed {line['seed']}"]
        parts = [line["label"], *seed, line["dataset"], line["metric"], line["record"]]
        found[", ".join(filter(None, parts))] = float(line["value"])
    return found


def _sources(report: Report) -> tuple[int, list[Difference]]:
    """Compare the published figures that the suite shows with their source.

    The paper's files must be as they were checked against it, and each figure must be one.
    """
    plan, selected = report.plan, report.plan.table["published"]
    given = {figure["source"] for figure in plan.published}
    differences = []
    for name in published_names():
        source = source_of(name)
        if (name == selected or source.text in given) and not source.intact:
            what = f"changed since it was checked against {source.text}"
            differences.append(Difference(where=f"published/{name}", what=what))
    twice = report.paper.frame.duplicated(["label", "dataset", "metric"], keep=False)
    for _, row in report.paper.frame[twice].iterrows():
        where = f"{row['record']}: {row['label']}, {row['dataset']}, {row['metric']}"
        differences.append(Difference(where=where, what=f"several figures: {row['value']:g}"))
    costs = sum(len(costs.paper) for costs in report.costs.values())
    return len(report.paper) + len(report.systems) + costs, differences
