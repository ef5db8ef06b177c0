"""Reads a suite: the one way from YAML to a ``Suite``, complete and checked.

Two passes: the skeleton and the settings; then the options of every component against the
``config`` that its plugin registered. Everything that is wrong is raised at once, a line each:
``file:line: field: what is wrong, the value got, what is allowed, the nearest match``.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avbench import documents
from avbench.contracts import ModalityConfiguration
from avbench.documents import Document, Location, Mark, Problems
from avbench.errors import SuiteError, unknown
from avbench.files import find_preset, find_suite, published_names
from avbench.registry import Registry
from avbench.sections import AXES, SECTIONS, Builder, Settings, Training
from avbench.sections import normal as normal_sections
from avbench.sections import normal_component
from avbench.settings import ComponentRef
from avbench.sources import EMBEDDED, DataSource, embedded_sources, file_sources

TASKS = "tasks"
"""The axis of pre-training's tasks; the others of a row are AXES and dotted settings paths."""

COSTS = ("macs_g", "flops_g", "params_m", "train_macs_g")
"""The figures of the profile stage that a table may show as columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSettings:
    """How a suite's table looks; changes no result."""

    metrics: tuple[str, ...] = ("bleu4", "meteor", "rougeL", "cider")
    """The scores shown, by name, in order."""
    delta_to: str | None = None
    """The label of the row that the others' differences are shown to."""
    delta_metrics: tuple[str, ...] = ("cider",)
    """The scores whose differences are shown."""
    costs: tuple[Literal["macs_g", "flops_g", "params_m", "train_macs_g"], ...] = ()
    """Cost columns."""
    most_frequent: bool = False
    """A row that always gives the training set's most frequent caption."""
    published: str | None = None
    """The paper's figures to show beside ours: the name of a file in ``avbench/published``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a suite's table: a combination, before seeds."""

    label: str
    axes: Mapping[str, str]
    """What the row is on each axis, as tables and long rows show it."""
    published: Mapping[str, Any]
    """Which rows of the paper's figures are this row: column to value."""
    fusion: ComponentRef
    modalities: ComponentRef
    configuration: ModalityConfiguration
    settings: Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A checked suite."""

    name: str
    title: str
    file: str
    preset: str
    data: str
    """``embedded``, or the data file."""
    sources: Mapping[str, DataSource]
    """Where each dataset comes from, by key."""
    axes: tuple[str, ...]
    """The axes on which rows differ or may differ, in order."""
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    table: TableSettings
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the command line changes in a suite."""

    preset: str | None = None
    data: str | None = None
    seeds: str | None = None
    additional: tuple[str, ...] = ()
    """Components (``name`` or ``axis=name``) to add a row for (``--with``)."""
    only: tuple[str, ...] = ()
    """Labels of the rows to keep; empty: all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Skeleton:
    """The fields of a suite file; SECTIONS are checked apart."""

    name: str
    title: str = ""
    preset: str = "tiny"
    data: str = EMBEDDED
    seeds: int | list[int] = field(default_factory=lambda: [0])
    defaults: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] | None = None
    grid: dict[str, list[Any]] | None = None
    table: TableSettings = field(default_factory=TableSettings)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.replace("-", "_").isidentifier():
            raise ValueError(
                f"name must be letters, digits, '-' and '_', as it names a folder; got '{self.name}'"
            )
        if (self.rows is None) == (self.grid is None):
            raise ValueError("give either rows or grid, got " + ("both" if self.rows else "none"))
        if self.rows == [] or self.grid == {} or any(v == [] for v in (self.grid or {}).values()):
            raise ValueError("rows and grid, and each axis of a grid, must not be empty")


@dataclass(frozen=True, slots=True)
class _Axes:
    """One combination as written: the value of each axis, with its line."""

    label: str | None
    published: Mapping[str, Any]
    values: Mapping[str, Document]
    mark: Mark


def read_suite(ref: str, registry: Registry, overrides: Overrides | None = None) -> Suite:
    """Read and check a suite.

    Args:
        ref: a predefined suite's name, or the path of a file.
        registry: the components that the suite may name.
        overrides: what the command line changes.

    Raises:
        SuiteError: everything that is wrong with it, a line each.
    """
    overrides = overrides or Overrides()
    problems = Problems()
    path = find_suite(ref)
    doc = documents.load(path)
    _fields(doc, {*_Skeleton.__dataclass_fields__, *SECTIONS}, problems)
    builder = Builder(registry, problems)
    own = {k: v for k, v in doc.data.items() if k not in SECTIONS}
    skeleton = builder.section(_Skeleton, Document(own, doc.marks), "")
    problems.check()
    assert skeleton is not None
    preset_name = overrides.preset or skeleton.preset
    preset = _preset(preset_name, path, doc, problems)
    builder.preset = preset.mark(()).file
    sections = normal_sections(_sections(doc), problems).over(
        normal_sections(_sections(preset), problems)
    )
    sources, data = _sources(skeleton.data, overrides.data, path, doc, builder)
    seeds = _seeds(overrides.seeds, skeleton.seeds, doc, preset, problems)
    combinations = _combinations(doc, problems)
    combinations += _additional(overrides.additional, combinations[0], registry, problems)
    rows = [_row(c, sections, sources, builder) for c in combinations]
    _check_table(skeleton.table, [c.label for c in combinations], rows, doc, problems)
    problems.check()
    made = _only([row for row in rows if row is not None], overrides.only)
    axes = dict.fromkeys([*AXES, TASKS, *(axis for row in made for axis in row.axes)])
    return Suite(
        name=skeleton.name,
        title=skeleton.title,
        file=doc.mark(()).file,
        preset=preset_name,
        data=data,
        sources=sources,
        axes=tuple(axes),
        rows=tuple(made),
        seeds=seeds,
        table=skeleton.table,
        notes=skeleton.notes,
    )


def _fields(doc: Document, allowed: set[str], problems: Problems) -> None:
    for key in doc.data:
        if key not in allowed:
            problems.add(doc.mark((key,)), f"{key}: {unknown('field', key, allowed)}")
    problems.check()


def _sections(doc: Document) -> Document:
    return Document({k: doc.data[k] for k in (*SECTIONS, "defaults") if k in doc.data}, doc.marks)


def _preset(name: str, suite: Path, doc: Document, problems: Problems) -> Document:
    """The defaults under a suite's own fields."""
    try:
        preset = documents.load(find_preset(name, suite.parent))
    except SuiteError as error:
        raise SuiteError(f"{doc.mark(('preset',))}: preset: {error}") from error
    _fields(preset, {*SECTIONS, "defaults", "seeds"}, problems)
    return preset


def _sources(
    written: str, asked: str | None, suite: Path, doc: Document, builder: Builder
) -> tuple[Mapping[str, DataSource], str]:
    """The datasets there are, and what to call their home."""
    data = asked or written
    if data == EMBEDDED:
        return embedded_sources(builder), data
    folder = Path.cwd() if asked else suite.parent
    path = (folder / Path(data).expanduser()).resolve()
    if not path.is_file():
        where = "--data" if asked else f"{doc.mark(('data',))}: data"
        raise SuiteError(f"{where}: no such file: {path}. Allowed: a data file, or '{EMBEDDED}'")
    return file_sources(path, builder), str(path)


def _seeds(
    asked: str | None, own: int | list[int], doc: Document, preset: Document, problems: Problems
) -> tuple[int, ...]:
    """Seeds: a number of them (0 to n − 1), or a list."""
    value: Any = own if "seeds" in doc.data else preset.data.get("seeds", [0])
    mark = doc.mark(("seeds",)) if "seeds" in doc.data else preset.mark(("seeds",))
    if asked is not None:
        value, mark = (
            documents.literal(f"[{asked}]" if "," in asked else asked, "--seeds").data,
            (Mark("--seeds", 0)),
        )
    seeds = list(range(value)) if type(value) is int else value
    if (
        not isinstance(seeds, list)
        or not seeds
        or any(type(s) is not int or s < 0 for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        problems.add(mark, f"seeds: must be a number of seeds or a list of seeds, got {value!r}")
        return ()
    return tuple(seeds)


def _combinations(doc: Document, problems: Problems) -> list[_Axes]:
    """The rows as listed, or every combination of the grid's values."""
    if doc.data.get("rows") is not None:
        made = []
        for i, row in enumerate(doc.data["rows"]):
            label, published = row.get("label"), row.get("published", {})
            if not isinstance(label, str | None) or not isinstance(published, dict):
                problems.add(
                    doc.mark(("rows", i)),
                    f"rows.{i}: label must be text and published "
                    f"a mapping, got {label!r} and {published!r}",
                )
                continue
            axes = {k: doc.part(("rows", i, k)) for k in row if k not in ("label", "published")}
            made.append(_Axes(label, published, axes, doc.mark(("rows", i))))
        problems.check()
        return made
    grid = doc.data["grid"]
    values = [
        [(axis, doc.part(("grid", axis, i))) for i in range(len(choices))]
        for axis, choices in grid.items()
    ]
    return [
        _Axes(None, {}, dict(combination), doc.mark(("grid",)))
        for combination in itertools.product(*values)
    ]


def _additional(
    asked: Sequence[str], first: _Axes, registry: Registry, problems: Problems
) -> list[_Axes]:
    """A row like the first for each component that ``--with`` names."""
    mark = Mark("--with", 0)
    made = []
    for text in asked:
        axis, _, name = text.rpartition("=")
        if axis and axis not in AXES:
            problems.add(mark, f"{text}: {unknown('axis', axis, AXES)}")
            continue
        axes = [axis] if axis else [a for a in AXES if name in registry.names(AXES[a])]
        if len(axes) != 1:
            every = sorted({n for family in AXES.values() for n in registry.names(family)})
            ways = ", ".join(f"{a}={name}" for a in axes)
            text = f"'{name}' is the name of several components; give one of {ways}"
            problems.add(mark, text if axes else unknown("component", name, every))
            continue
        value = documents.constant(name, mark)
        made.append(_Axes(name, {}, {**first.values, axes[0]: value}, mark))
    problems.check()
    return made


def _row(
    axes: _Axes, sections: Document, sources: Mapping[str, DataSource], builder: Builder
) -> Row | None:
    """One row: its axes applied to the sections, everything built and checked."""
    problems = builder.problems
    shown: dict[str, str] = {}
    refs: dict[str, ComponentRef | None] = {}
    doc = sections
    pretrains = isinstance(sections.data.get("pretrain"), Mapping)
    for axis, family in AXES.items():
        value = axes.values.get(axis) or _default(axis, axes, sections, problems)
        if value is None:
            return None
        value = normal_component(value, axis, problems)
        refs[axis] = builder.component(value, axis, family)
        shown[axis] = _component_text(value.data)
        if axis == "loss" and pretrains:
            doc = doc.set(("pretrain", axis), value)
    tasks = axes.values.get(TASKS) or _default(TASKS, axes, sections, problems)
    if tasks is None:
        return None
    if not isinstance(tasks.data, list):
        problems.add(tasks.mark(()), f"tasks: must be a list, got {tasks.data!r}")
        return None
    shown[TASKS] = "+".join(map(str, tasks.data))
    for field_ in ("loss", TASKS):
        if field_ in _mapping(sections.data.get("pretrain")):
            problems.add(
                sections.mark(("pretrain", field_)),
                f"pretrain.{field_}: is an axis; give it in rows, grid or defaults",
            )
        if not pretrains and field_ in axes.values:
            problems.add(
                axes.values[field_].mark(()),
                f"{field_}: belongs to pre-training, and this suite has none (pretrain is null)",
            )
    if pretrains:
        doc = doc.set(("pretrain", TASKS), tasks)
    for path, value in axes.values.items():
        if path in AXES or path == TASKS:
            continue
        at: Location = tuple(path.split("."))
        if at[0] not in SECTIONS or len(at) < 2:
            allowed = [*AXES, TASKS, *(f"{s}.…" for s in SECTIONS)]
            problems.add(axes.mark, f"{path}: {unknown('axis', path, allowed)}")
            return None
        doc = normal_sections(doc.set(at, value), problems)
        shown[path] = str(value.data) if not isinstance(value.data, Mapping) else _text(value.data)
    settings = builder.settings(doc, sources)
    fusion, modalities = refs["fusion"], refs["modalities"]
    if fusion is None or modalities is None or refs["loss"] is None or settings is None:
        return None
    configuration = _configuration(modalities, axes, builder)
    if configuration is None:
        return None
    if settings.pretrain is None:
        # Without pre-training its loss and tasks are not part of the row.
        shown["loss"] = shown[TASKS] = ""
    label = axes.label or ", ".join(shown[a] for a in axes.values if shown[a])
    return Row(
        label=label,
        axes=shown,
        published=axes.published,
        fusion=fusion,
        modalities=modalities,
        configuration=configuration,
        settings=settings,
    )


def _default(axis: str, axes: _Axes, sections: Document, problems: Problems) -> Document | None:
    if axis in _mapping(sections.data.get("defaults")):
        return sections.part(("defaults", axis))
    problems.add(axes.mark, f"{axis}: given neither by the row or grid nor by defaults")
    return None


def _configuration(
    ref: ComponentRef, axes: _Axes, builder: Builder
) -> ModalityConfiguration | None:
    component = builder.registry.get("modalities", ref.name)
    from avbench.options import build

    made: ModalityConfiguration = component.build(build(component.config, ref.options))
    return made


def _check_table(
    table: TableSettings,
    _labels: Sequence[str | None],
    rows: Sequence[Row | None],
    doc: Document,
    problems: Problems,
) -> None:
    labels = [row.label for row in rows if row is not None]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            problems.add(doc.mark(("rows", i)), f"label: two rows are called '{label}'")
    if table.delta_to is not None and len(labels) == len(rows) and table.delta_to not in labels:
        mark = doc.mark(("table", "delta_to"))
        problems.add(mark, f"table.delta_to: {unknown('row', table.delta_to, labels)}")
    if table.published is not None and table.published not in published_names():
        mark = doc.mark(("table", "published"))
        text = unknown("published table", table.published, published_names())
        problems.add(mark, f"table.published: {text}")


def _only(rows: list[Row], labels: Sequence[str]) -> list[Row]:
    known = [row.label for row in rows]
    wrong = [f"--only: {unknown('row', label, known)}" for label in labels if label not in known]
    if wrong:
        raise SuiteError("\n".join(wrong))
    return [row for row in rows if not labels or row.label in labels]


def _component_text(data: Mapping[str, Any]) -> str:
    """A component as tables name it: with the options that the suite gives."""
    options = ", ".join(f"{k}={_text(v)}" for k, v in data["options"].items())
    return f"{data['name']}({options})" if options else str(data["name"])


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return _component_text(
            {
                "name": value["name"],
                "options": {k: v for k, v in value.items() if k not in ("name", "options")}
                | _mapping(value.get("options")),
            }
        )
    return str(value)


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


__all__ = [
    "Callable",
    "DataSource",
    "Overrides",
    "Row",
    "Suite",
    "TableSettings",
    "Training",
    "read_suite",
]
