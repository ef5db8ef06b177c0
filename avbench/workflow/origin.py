"""From a figure to its origin: the stages that made it, their settings, times, code and logs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import LOG
from avbench.reports.collect import collect
from avbench.reports.records import Records
from avbench.runner.plan import Plan, Stage, Store, stage_name
from avbench.workflow.progress import span

HEAVY = ("model", "input", "compute")
"""Settings that every stage of a suite shares; text leaves them out."""

UNSET: tuple[object, ...] = (None, "", [])
"""Values of settings that text leaves out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a row, or the reason why there is none."""

    row: str
    seed: int | None
    dataset: str
    metric: str
    value: float | None
    unit: str
    status: str
    reason: str
    signature: str
    stage: str
    """Id of the stage whose record holds it; of published figures, their table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A stage that a figure comes from."""

    stage: str
    """Its id."""
    kind: str
    name: str
    """Its kind, the name of its work, and the beginning of its id."""
    role: str
    """What it is for the stage that reads it; empty: it holds the figure."""
    depth: int
    """Number of stages between it and the figure."""
    repeated: bool
    """True if it stands further up with its own parents."""
    state: str
    """``done``, ``failed`` or ``not done``."""
    started: str
    """Date and time in UTC; empty: unknown."""
    seconds: float | None
    commit: str
    """Git commit of avbench's checkout; empty: unknown."""
    settings: Mapping[str, Any]
    """Every setting that it was computed with, by dotted name."""
    folder: str
    log: str

    def text(self) -> str:
        """Return one line: name, end, folder."""
        ended = f"{self.started}, {span(self.seconds)}" if self.seconds is not None else self.state
        role = f"{self.role}: " if self.role else ""
        again = " (see above)" if self.repeated else ""
        return f"{'  ' * self.depth}{role}{self.name}: {ended}{again}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Figures of a row, and all stages that they come from."""

    suite: str
    figures: tuple[Figure, ...]
    steps: tuple[Step, ...]
    """Each stage that holds a figure, followed by those that it reads, depth first."""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a text."""
        for figure in self.figures:
            where = [figure.row, figure.dataset, figure.metric]
            where += [] if figure.seed is None else [f"seed {figure.seed}"]
            said = f"{figure.value:.6g}" if figure.value is not None else figure.status
            yield f"{', '.join(filter(None, where))}: {said} {figure.unit}".rstrip()
            yield from (f"  {text}" for text in (figure.reason, figure.signature) if text)
            yield f"  in the record of {figure.stage}"
        yield "made by"
        for step in self.steps:
            yield f"  {step.text()}"
            if step.repeated:
                continue
            pad = "  " * (step.depth + 2)
            yield f"{pad}folder {step.folder}"
            own = [
                f"{name} {_shown(value)}"
                for name, value in step.settings.items()
                if name.partition(".")[0] not in HEAVY and value not in UNSET
            ]
            if own:
                yield f"{pad}{', '.join(own)}"
        commits = list(dict.fromkeys(step.commit for step in self.steps if step.commit))
        if commits:
            yield f"code: commit {', '.join(commits)}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def origin(
    plan: Plan,
    store: Store,
    row: str,
    *,
    dataset: str | None = None,
    metric: str | None = None,
    seed: int | None = None,
) -> Origin:
    """Return figures of a row and the stages that they come from.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        row: a label of the suite's tables, also of an altered row or a baseline.
        dataset: None: every dataset, and the costs.
        metric: None: every score and cost.
        seed: None: every seed.

    Raises:
        AvbenchError: the tables have no such row, dataset, metric or seed.
    """
    report = collect(plan, store)
    frame = every = report.figures.frame
    asked = {"label": row, "dataset": dataset, "metric": metric, "seed": seed}
    words = {"label": "row"}
    for name, value in asked.items():
        if value is None:
            continue
        more = (*plan.table["metrics"], *plan.table["costs"]) if name == "metric" else ()
        known = {str(v) for v in (*every[name].dropna(), *more) if str(v)}
        if str(value) not in known:
            raise AvbenchError(unknown(words.get(name, name), str(value), known))
        # A row without a figure stands for all metrics of its dataset.
        own = frame[name].astype(str) == str(value)
        frame = frame[own | ((frame["status"] != "ok") & (name == "metric"))]
    if frame.empty:
        of = ", ".join(f"{words.get(n, n)} '{v}'" for n, v in asked.items() if v is not None)
        raise AvbenchError(f"{plan.suite}: no figure has {of} together")
    figures = tuple(
        Figure(
            row=line["label"],
            seed=None if line["seed"] is None else int(line["seed"]),
            dataset=line["dataset"],
            metric=line["metric"],
            value=line["value"] if line["status"] == "ok" else None,
            unit=line["unit"],
            status=line["status"],
            reason=line["reason"],
            signature=line["signature"],
            stage=line["record"],
        )
        for line in frame.astype(object).where(frame.notna(), None).to_dict("records")
    )
    walk = _Walk(report.records)
    steps: list[Step] = []
    for id_ in dict.fromkeys(figure.stage for figure in figures):
        if id_ in plan.stages:
            steps += walk.steps(plan.stages[id_])
    return Origin(suite=plan.suite, figures=figures, steps=tuple(steps))


class _Walk:
    """Walks from stages to those that they read; a stage's own are listed once."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._names = records.plan.names()
        self._seen: set[str] = set()

    def steps(self, stage: Stage, role: str = "", depth: int = 0) -> Iterator[Step]:
        """Yield a stage, then those that it reads."""
        repeated = stage.id in self._seen
        self._seen.add(stage.id)
        yield self._step(stage, role, depth, repeated)
        if not repeated:
            for part, parent in stage.parents.items():
                yield from self.steps(self._records.plan.stages[parent], part, depth + 1)

    def _step(self, stage: Stage, role: str, depth: int, repeated: bool) -> Step:
        record = self._records.by_stage.get(stage.id) or {}
        known = record.get("provenance", {})
        folder = self._records.store.directory(stage)
        return Step(
            stage=stage.id,
            kind=stage.kind,
            name=stage_name(stage.kind, stage.id, self._names.get(stage.id, "")),
            role=role,
            depth=depth,
            repeated=repeated,
            state=record.get("status", "not done"),
            started=str(known.get("started") or "").replace("T", " ").partition("+")[0],
            seconds=known.get("wall_s"),
            commit=known.get("commit") or "",
            settings=dict(_flat(stage.spec)),
            folder=str(folder),
            log=str(folder / LOG),
        )


def _flat(value: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield settings by dotted name; a component's name stands for it."""
    for key, below in value.items():
        here = f"{name}.{key}" if name else key
        if _is_ref(below):
            yield here, below["name"]
            yield from _flat(below["options"], here)
        elif isinstance(below, Mapping):
            yield from _flat(below, here)
        elif isinstance(below, list) and below and all(map(_is_ref, below)):
            yield here, [one["name"] for one in below]
        else:
            yield here, below


def _shown(value: Any) -> str:
    """Return a setting's value as text.

    >>> _shown(["pcc", "pnc"]), _shown(True)
    ('pcc+pnc', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "+".join(map(_shown, value)) if isinstance(value, list) else str(value)


def _is_ref(value: object) -> bool:
    """Return True for a component with its options."""
    return isinstance(value, Mapping) and set(value) == {"name", "options"}
