"""The rows of a suite: as listed or as a grid's combinations, each with all its settings."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avbench.config import strict_yaml
from avbench.config.axes import Bundles, expand
from avbench.config.builder import SECTIONS, Builder, Settings
from avbench.config.components import AXES, normal, normal_component, option_location
from avbench.config.data_file import DataSource
from avbench.config.strict_yaml import Document, Location, Mark, Problems
from avbench.core import options
from avbench.core.components import ComponentRef
from avbench.core.errors import unknown
from avbench.core.registry import Registry
from avbench.evaluation.perturbation import Alteration
from avbench.models.contracts import ModalityConfiguration

_UNDER = Document({}, {(): Mark("", 0)})

TASKS = "tasks"
"""The axis of pre-training's tasks; the others of a row are AXES, dotted settings paths, and the
axes that the suite defines (``avbench.config.axes``)."""

NOT_AXES = ("label", "published")
"""What a row gives beside its axes."""


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

    @property
    def alterations(self) -> tuple[Alteration, ...]:
        """What is done to its streams in additional generations."""
        return self.settings.evaluate.alterations(self.configuration.encoded)


@dataclass(frozen=True, slots=True)
class Axes:
    """One combination as written: the value of each axis, with its line."""

    label: str | None
    published: Mapping[str, Any]
    values: Mapping[str, Document]
    mark: Mark


def combinations(doc: Document, problems: Problems) -> list[Axes]:
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
            axes = {k: doc.part(("rows", i, k)) for k in row if k not in NOT_AXES}
            made.append(Axes(label, published, axes, doc.mark(("rows", i))))
        if not made:
            problems.check()
        return made
    grid = doc.data["grid"]
    values = [
        [(axis, doc.part(("grid", axis, i))) for i in range(len(choices))]
        for axis, choices in grid.items()
    ]
    return [
        Axes(None, {}, dict(combination), doc.mark(("grid",)))
        for combination in itertools.product(*values)
    ]


def additional(
    asked: Sequence[str], first: Axes, registry: Registry, problems: Problems
) -> list[Axes]:
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
        value = strict_yaml.constant(name, mark)
        made.append(Axes(name, {}, {**first.values, axes[0]: value}, mark))
    return made


def make_row(
    axes: Axes,
    sections: Document,
    sources: Mapping[str, DataSource],
    builder: Builder,
    bundles: Bundles,
) -> Row | None:
    """One row: its axes applied to the sections, everything built and checked."""
    written = _Written.of(axes, sections, builder, bundles)
    components = written.components()
    tasks = written.tasks() if components is not None else None
    if components is None or tasks is None:
        return None
    written.check_pretraining()
    paths = written.paths()
    if paths is None:
        return None
    settings = builder.settings(written.applied(components, tasks, paths), sources)
    fusion, modalities, loss = (components[a][1] for a in ("fusion", "modalities", "loss"))
    if fusion is None or modalities is None or loss is None or settings is None:
        return None
    configuration = _configuration(modalities, axes.mark, builder)
    if configuration is None:
        return None
    shown = written.shown(components, tasks, paths)
    if settings.pretrain is None:
        # Without pre-training its loss and tasks are not part of the row.
        shown |= {"loss": "", TASKS: ""}
    return Row(
        label=axes.label or ", ".join(shown[a] for a in axes.values if shown[a]),
        axes=shown,
        published=axes.published,
        fusion=fusion,
        modalities=modalities,
        configuration=configuration,
        settings=settings,
    )


Components = Mapping[str, tuple[Document, ComponentRef | None]]
"""The component on each of AXES as written; with None where it is at fault, and said so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """A row as written, and the sections that it changes."""

    axes: Axes
    sections: Document
    builder: Builder
    bundles: Bundles
    named: Mapping[str, str]
    """The row's value on each of the suite's own axes."""
    bundled: Mapping[str, Document]
    """What these values stand for, by path."""

    @classmethod
    def of(cls, axes: Axes, sections: Document, builder: Builder, bundles: Bundles) -> "_Written":
        """A row with the values of the suite's own axes that only ``defaults`` gives."""
        defaults = _mapping(sections.data.get("defaults"))
        missing = [axis for axis in bundles if axis not in axes.values and axis in defaults]
        values = {axis: sections.part(("defaults", axis)) for axis in missing}
        named, bundled = expand({**axes.values, **values}, bundles, builder.problems)
        return cls(
            axes=axes,
            sections=sections,
            builder=builder,
            bundles=bundles,
            named=named,
            bundled=bundled,
        )

    @property
    def given(self) -> dict[str, Document]:
        """What the row gives by path, the suite's own axes resolved."""
        own = {k: v for k, v in self.axes.values.items() if k not in self.bundles}
        return {**own, **self.bundled}

    @property
    def pretrains(self) -> bool:
        """Whether the suite has pre-training."""
        return isinstance(self.sections.data.get("pretrain"), Mapping)

    def components(self) -> Components | None:
        """The components on the axes; None where one is missing."""
        found = {}
        for axis, family in AXES.items():
            value = self._value(axis)
            if value is None:
                return None
            value = normal_component(value, axis, self.builder.problems)
            found[axis] = value, self.builder.component(value, axis, family)
        return found

    def tasks(self) -> Document | None:
        """Pre-training's tasks; None where there were problems."""
        tasks = self._value(TASKS)
        if tasks is not None and not isinstance(tasks.data, list):
            text = f"tasks: must be a list, got {tasks.data!r}"
            self.builder.problems.add(tasks.mark(()), text)
            return None
        return tasks

    def check_pretraining(self) -> None:
        """Note where loss or tasks stand in the wrong place."""
        for name in ("loss", TASKS):
            if name in _mapping(self.sections.data.get("pretrain")):
                self.builder.problems.add(
                    self.sections.mark(("pretrain", name)),
                    f"pretrain.{name}: is an axis; give it in rows, grid or defaults",
                )
            if not self.pretrains and name in self.given:
                self.builder.problems.add(
                    self.given[name].mark(()),
                    f"{name}: belongs to pre-training, and this suite has none (pretrain is null)",
                )

    def paths(self) -> Mapping[str, tuple[Location, Document]] | None:
        """Single settings by dotted path, each with its location in the sections.

        What is within something comes after what is around it. None where a path is unknown.
        """
        found = {}
        for path, value in sorted(self.given.items(), key=lambda item: item[0].count(".")):
            if path in AXES or path == TASKS:
                continue
            at = option_location(tuple(path.split(".")))
            if at[0] not in SECTIONS or len(at) < 2:
                allowed = [*AXES, TASKS, *self.bundles, *(f"{s}.…" for s in SECTIONS)]
                mark = value.mark(()) if path in self.bundled else self.axes.mark
                text = f"{path}: {unknown('axis', path, allowed)}"
                self.builder.problems.add(mark, text)
                return None
            found[path] = at, normal(_UNDER.set(at, value), self.builder.problems).part(at)
        return found

    def applied(
        self,
        components: Components,
        tasks: Document,
        paths: Mapping[str, tuple[Location, Document]],
    ) -> Document:
        """The sections as the row changes them."""
        doc = self.sections
        if self.pretrains:
            written, loss = components["loss"]
            doc = doc.set(("pretrain", "loss"), _complete(loss, written))
            doc = doc.set(("pretrain", TASKS), tasks)
        for at, value in paths.values():
            doc = doc.set(at, value)
        return doc

    def shown(
        self, components: Components, tasks: Document, paths: Iterable[str]
    ) -> dict[str, str]:
        """The row's value on each axis, as tables show it."""
        values = self.axes.values
        shown = {axis: _component_text(written.data) for axis, (written, _) in components.items()}
        shown[TASKS] = "+".join(map(str, tasks.data))
        shown |= {path: _text(values[path].data) for path in paths if path in values}
        return shown | {axis: self.named.get(axis, "") for axis in self.bundles}

    def _value(self, axis: str) -> Document | None:
        """What the row or ``defaults`` gives on an axis; None: neither does."""
        return self.given.get(axis) or _default(
            axis, self.axes, self.sections, self.builder.problems
        )


def _complete(ref: ComponentRef | None, value: Document) -> Document:
    """A component with all its options; an empty one where it was at fault, and said so."""
    ref = ref or ComponentRef(name="")
    return Document({"name": ref.name, "options": dict(ref.options)}, value.marks)


def _default(axis: str, axes: Axes, sections: Document, problems: Problems) -> Document | None:
    if axis in _mapping(sections.data.get("defaults")):
        return sections.part(("defaults", axis))
    problems.add(axes.mark, f"{axis}: given neither by the row or grid nor by defaults")
    return None


def _configuration(
    ref: ComponentRef, mark: Mark, builder: Builder
) -> ModalityConfiguration | None:
    component = builder.registry.get("modalities", ref.name)
    try:
        made: ModalityConfiguration = options.make(component, ref.options)
    except ValueError as error:
        builder.problems.add(mark, f"modalities.{ref.name}: {error}")
        return None
    return made


def _component_text(data: Mapping[str, Any]) -> str:
    """A component as tables name it: with the options that the suite gives."""
    given = ", ".join(f"{k}={_text(v)}" for k, v in data["options"].items())
    return f"{data['name']}({given})" if given else str(data["name"])


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
