"""Explains why a stage must run: the first difference from a similar stage that is done.

Every stage's folder keeps, in ``job.json``, its settings, its parents, the hashes of the modules
that it ran, and its uses. A finished stage of the same kind for the same row, dataset and seed is
a relative. Of several, the one with the fewest differences is compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from avbench.core.digest import CONTENT
from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import JOB, RECORD, read_json
from avbench.runner import stage_record
from avbench.runner.plan import Plan, Stage, Store, Use

Earlier = Mapping[str, Any]
"""The ``job.json`` of a finished stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One difference between two stages."""

    what: Literal["setting", "data", "module", "version", "parent"]
    name: str
    """The setting's dotted path, the dataset or setting whose files changed, the module, the
    distribution, or the parent's role."""
    old: Any
    """Value or hash; None: there was none."""
    new: Any
    through: tuple[str, ...] = ()
    """Kinds of the ancestors that lead to the difference; empty: it is the stage's own."""

    def text(self) -> str:
        """Return the difference in one line."""
        return "".join(f"its {kind} stage changed: " for kind in self.through) + self._own()

    def _own(self) -> str:
        match self.what:
            case "setting":
                return f"setting {self.name}: {self.old} → {self.new}"
            case "data":
                return f"the contents of {self.name} changed: {self.old} → {self.new}"
            case "version":
                return f"version of {self.name}: {self.old} → {self.new}"
            case "parent":
                return f"it reads another {self.name}: {self.old} → {self.new}"
        gone, fresh = self.new is None, self.old is None
        how = "is no longer used" if gone else "is used now" if fresh else "changed"
        return f"module {self.name} {how}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """The reason why one stage must run."""

    stage: Stage
    works_on: str
    relative: str | None
    """Folder of the finished stage that it is compared with; None: there is none."""
    first: Difference | None
    others: int
    """Number of further differences."""
    damage: str = ""
    """The damage of the stage's own record or outputs; empty: there is none."""

    def text(self) -> str:
        """Return the reason in one line."""
        if self.damage:
            return f"it was done, but {self.damage}"
        if self.first is None:
            return "no finished stage of this kind for this row, dataset and seed"
        more = f" (and {self.others} more)" if self.others else ""
        return f"{self.first.text()}{more}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stage": self.stage.id,
            "kind": self.stage.kind,
            "works_on": self.works_on,
            "relative": self.relative,
            "difference": asdict(self.first) if self.first else None,
            "others": self.others,
            "damage": self.damage,
            "text": self.text(),
        }


def reasons(plan: Plan, store: Store, selector: str | None = None) -> list[Reason]:
    """Explain why stages must run, in the plan's order.

    Args:
        plan: the suite's plan.
        store: the folders with finished stages.
        selector: a kind, the beginning of an id, or a row's label; None: every stage.

    Raises:
        AvbenchError: ``selector`` matches no stage of the plan.
    """
    uses, names = plan.uses(), plan.names()
    chosen = {
        stage.id
        for stage in plan.stages.values()
        if selector is None or _matches(selector, stage, uses[stage.id])
    }
    if not chosen:
        kinds = {stage.kind for stage in plan.stages.values()}
        allowed = {*kinds, *(trial.label for trial in plan.trials)}
        raise AvbenchError(f"--why: {unknown('kind, row or id', str(selector), allowed)}")
    found = store.examine_all(plan.stages.values())
    needed = plan.needed(found.done, found.changed)
    damage = found.damage(needed)
    history = _History(plan, store)
    return [
        replace(
            history.reason(plan.stages[id_], uses[id_], names.get(id_, "")),
            damage=damage.get(id_, ""),
        )
        for id_ in needed
        if id_ in chosen and id_ not in found.done
    ]


def _matches(selector: str, stage: Stage, uses: list[Use]) -> bool:
    return (
        selector == stage.kind
        or stage.id.startswith(selector)
        or any(selector == use.row for use in uses)
    )


class _History:
    """The finished stages of a store, compared with those of a plan."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self._plan = plan
        self._bases = [base.resolve() / "stages" for base in (store.results, store.cache)]
        self._found: dict[tuple[str, str], list[Difference]] = {}

    def reason(self, stage: Stage, uses: list[Use], works_on: str) -> Reason:
        """Return the reason why a stage must run."""
        keys = [_key(stage.kind, asdict(use)) for use in uses]
        relatives = dict.fromkeys(name for key in keys for name in self._by_use.get(key, ()))
        compared = {name: self._differences(stage, self._jobs[name]) for name in relatives}
        nearest = min(compared, key=lambda name: len(compared[name]), default=None)
        differences = compared[nearest] if nearest else []
        return Reason(
            stage=stage,
            works_on=works_on,
            relative=nearest,
            first=differences[0] if differences else None,
            others=max(0, len(differences) - 1),
        )

    @cached_property
    def _jobs(self) -> dict[str, Earlier]:
        """Finished stages by the names of their folders, the latest first."""
        records = [record for base in self._bases for record in base.glob(f"*/{RECORD}")]
        records.sort(key=lambda record: (-record.stat().st_mtime_ns, record.parent.name))
        found: dict[str, Earlier] = {}
        for record in records:
            if not stage_record.examine(record.parent).done:
                continue
            with suppress(OSError, ValueError):  # damaged
                found[record.parent.name] = read_json(record.with_name(JOB))
        return found

    @cached_property
    def _by_use(self) -> dict[str, list[str]]:
        """Folder names of finished stages by kind and use."""
        found = defaultdict(list)
        for name, job in self._jobs.items():
            for use in job.get("uses", ()):
                found[_key(job["kind"], use)].append(name)
        return found

    def _differences(self, stage: Stage, earlier: Earlier) -> list[Difference]:
        """Return a stage's own differences from an earlier one, or its parents' if it has none."""
        pair = (stage.id, earlier["id"])
        if pair not in self._found:
            code = self._plan.codes.get(stage.code, {})
            own = [
                *_settings(stage.spec, earlier["spec"]),
                *_changes("module", code.get("modules", {}), earlier.get("modules", {})),
                *_changes("version", code.get("versions", {}), earlier.get("versions", {})),
            ]
            self._found[pair] = own or _distinct(self._inherited(stage, earlier))
        return self._found[pair]

    def _inherited(self, stage: Stage, earlier: Earlier) -> Iterator[Difference]:
        """Yield the differences of a stage's parents, and parents that were exchanged."""
        before = {role: Path(path).name for role, path in earlier["parents"].items()}
        for role in sorted(stage.parents.keys() | before.keys()):
            now = self._plan.stages[stage.parents[role]] if role in stage.parents else None
            then = before.get(role)
            if now is not None and then == now.folder:
                continue
            if now is None or then not in self._jobs:
                new = now.folder if now else None
                yield Difference(what="parent", name=role, old=then, new=new)
                continue
            for one in self._differences(now, self._jobs[str(then)]):
                yield replace(one, through=(now.kind, *one.through))


def _distinct(differences: Iterable[Difference]) -> list[Difference]:
    """Return each difference once, even if several parents lead to it."""
    found: dict[str, Difference] = {}
    for one in differences:
        found.setdefault(repr((one.what, one.name, one.old, one.new)), one)
    return list(found.values())


def _key(kind: str, use: Mapping[str, Any]) -> str:
    return repr((kind, use["row"], use["seed"], use["dataset"], use["part"]))


def _settings(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Difference]:
    """Return the settings that differ, data last."""
    before, after = dict(_flat(old)), dict(_flat(new))
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one != other:
            files = name == "fingerprint"
            what: Literal["setting", "data"] = (
                "data" if files or str(other).startswith(CONTENT) else "setting"
            )
            subject = str(new["dataset"]) if files else name
            found.append(Difference(what=what, name=subject, old=one, new=other))
    return sorted(found, key=lambda difference: difference.what == "data")


def _flat(value: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings with their dotted paths."""
    for key, inner in value.items():
        if isinstance(inner, list) and any(isinstance(item, Mapping) for item in inner):
            inner = dict(enumerate(inner))
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}", inner


def _changes(
    what: Literal["module", "version"], new: Mapping[str, str], old: Mapping[str, str]
) -> list[Difference]:
    """Return the hashes or versions that differ, those that both sides have first."""
    both = old.keys() & new.keys()
    names = [*sorted(both), *sorted(old.keys() ^ new.keys())]
    return [
        Difference(what=what, name=name, old=old.get(name), new=new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]
