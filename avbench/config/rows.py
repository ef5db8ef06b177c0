"""The rows of a suite, listed or from the combinations of a grid, each with all its settings."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from avbench.config import strict_yaml
from avbench.config.axes import Bundles, expand
from avbench.config.builder import SECTIONS, Builder, Settings
from avbench.config.components import AXES, normal, normal_component, option_location
from avbench.config.data_file import DataSource
from avbench.config.strict_yaml import Document, Mark, Problems
from avbench.core import options
from avbench.core.components import ComponentRef
from avbench.core.errors import unknown
from avbench.core.numbers import shown
from avbench.core.options import Location
from avbench.core.registry import Registry
from avbench.evaluation.perturbation import Alteration
from avbench.models.contracts import ModalityConfiguration

_EMPTY = Document({}, {(): Mark("", 0)})

TASKS = "tasks"
"""The axis of pre-training's tasks. The other axes of a row are AXES, dotted paths of settings,
and the axes that the suite defines (``avbench.config.axes``)."""

NOT_AXES = ("label", "short", "published")
"""Fields of a row that are not axes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a suite: a combination with all its settings, before seeds."""

    label: str
    axes: Mapping[str, str]
    """The row's value on each axis, as tables show it."""
    short: str
    """The row's name in tables with little room; empty: it follows from the labels."""
    published: Mapping[str, Any]
    """The paper's figures that belong to this row: column to value."""
    fusion: ComponentRef
    modalities: ComponentRef
    configuration: ModalityConfiguration
    settings: Settings

    @property
    def alterations(self) -> tuple[Alteration, ...]:
        """Alterations of its streams, each with captions of its own."""
        return self.settings.evaluate.alterations(self.configuration.encoded)


@dataclass(frozen=True, slots=True)
class Combination:
    """The values of a row on its axes, as written, with their lines."""

    label: str | None
    short: str
    published: Mapping[str, Any]
    values: Mapping[str, Document]
    mark: Mark


def combinations(doc: Document, most: int, problems: Problems) -> list[Combination]:
    """Return the rows as listed, or all combinations of the grid's values; at most ``most``.

    Raises:
        SuiteError: there are more, or no row could be read.
    """
    where = "rows" if doc.data.get("rows") is not None else "grid"
    asked = doc.data[where]
    count = len(asked) if where == "rows" else math.prod(map(len, asked.values()))
    if count > most:
        problems.add(
            doc.mark((where,)),
            f"{where}: there must be at most {most:,} rows of each seed, got {count:,}",
        )
        problems.check()
    if doc.data.get("rows") is not None:
        made = []
        for i, row in enumerate(doc.data["rows"]):
            label, published = row.get("label"), row.get("published", {})
            short = row.get("short", "")
            if not isinstance(label, str | None) or not isinstance(published, dict):
                problems.add(
                    doc.mark(("rows", i)),
                    f"rows.{i}: label must be text and published "
                    f"a mapping, got {shown(label)} and {shown(published)}",
                )
                continue
            if not isinstance(short, str):
                text = f"rows.{i}.short: must be text, got {shown(short)}"
                problems.add(doc.mark(("rows", i, "short")), text)
                continue
            axes = {k: doc.part(("rows", i, k)) for k in row if k not in NOT_AXES}
            made.append(Combination(label, short, published, axes, doc.mark(("rows", i))))
        if not made:
            problems.check()
        return made
    grid = doc.data["grid"]
    values = [
        [(axis, doc.part(("grid", axis, i))) for i in range(len(choices))]
        for axis, choices in grid.items()
    ]
    return [
        Combination(None, "", {}, dict(chosen), doc.mark(("grid",)))
        for chosen in itertools.product(*values)
    ]


def additional(
    asked: Sequence[str], first: Combination, registry: Registry, problems: Problems
) -> list[Combination]:
    """Return, for each component that ``--with`` names, the first row with this component."""
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
            text = f"'{name}' names several components; give one of {ways}"
            problems.add(mark, text if axes else unknown("component", name, every))
            continue
        value = strict_yaml.constant(name, mark)
        made.append(Combination(name, "", {}, {**first.values, axes[0]: value}, mark))
    return made


def make_row(
    combination: Combination,
    sections: Document,
    sources: Mapping[str, DataSource],
    builder: Builder,
    bundles: Bundles,
) -> Row | None:
    """Apply a combination to the sections and build the row; None if there are problems."""
    written = _WrittenRow.of(combination, sections, builder, bundles)
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
    configuration = _configuration(modalities, combination.mark, builder)
    if configuration is None:
        return None
    if not _check_widths(configuration, settings, combination.mark, builder):
        return None
    texts = written.texts(components, tasks, paths)
    if settings.pretrain is None:
        # Loss and tasks belong to pre-training, which this row does not have.
        texts |= {"loss": "", TASKS: ""}
    return Row(
        label=combination.label or ", ".join(texts[a] for a in combination.values if texts[a]),
        axes=texts,
        short=combination.short,
        published=combination.published,
        fusion=fusion,
        modalities=modalities,
        configuration=configuration,
        settings=settings,
    )


Components = Mapping[str, tuple[Document, ComponentRef | None]]
"""For each of AXES, the component as written and as built; None if it has errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _WrittenRow:
    """A row as written, and the sections that it changes."""

    combination: Combination
    sections: Document
    builder: Builder
    bundles: Bundles
    own_values: Mapping[str, str]
    """The row's value on each of the suite's own axes."""
    own_settings: Mapping[str, Document]
    """The settings that these values stand for, by path."""

    @classmethod
    def of(
        cls, combination: Combination, sections: Document, builder: Builder, bundles: Bundles
    ) -> "_WrittenRow":
        """Return a row with its settings from the suite's own axes.

        ``defaults`` gives the row's values on axes that the row does not name.
        """
        defaults = _mapping(sections.data.get("defaults"))
        values = {
            axis: sections.part(("defaults", axis))
            for axis in bundles
            if axis not in combination.values and axis in defaults
        }
        own_values, own_settings = expand(
            {**combination.values, **values}, bundles, builder.problems
        )
        return cls(
            combination=combination,
            sections=sections,
            builder=builder,
            bundles=bundles,
            own_values=own_values,
            own_settings=own_settings,
        )

    @property
    def given(self) -> dict[str, Document]:
        """The row's values by path, with settings in place of the suite's own axes."""
        values = self.combination.values
        return {k: v for k, v in values.items() if k not in self.bundles} | {**self.own_settings}

    @property
    def pretrains(self) -> bool:
        """True if the suite has pre-training."""
        return isinstance(self.sections.data.get("pretrain"), Mapping)

    def components(self) -> Components | None:
        """Build the components on the axes; None if one is missing."""
        found = {}
        for axis, family in AXES.items():
            value = self._value(axis)
            if value is None:
                return None
            value = normal_component(value, axis, self.builder.problems)
            found[axis] = value, self.builder.component(value, axis, family)
        return found

    def tasks(self) -> Document | None:
        """Return pre-training's tasks; None if there are problems."""
        tasks = self._value(TASKS)
        if tasks is not None and not isinstance(tasks.data, list):
            text = f"tasks: must be a list, got {shown(tasks.data)}"
            self.builder.problems.add(tasks.mark(()), text)
            return None
        return tasks

    def check_pretraining(self) -> None:
        """Check that loss and tasks are given as axes, and only with pre-training."""
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
        """Return single settings by dotted path, each with its location in the sections.

        Outer settings precede those within them. None if a path is unknown.
        """
        found = {}
        for path, value in sorted(self.given.items(), key=lambda item: item[0].count(".")):
            if path in AXES or path == TASKS:
                continue
            at = option_location(tuple(path.split(".")))
            if at[0] not in SECTIONS or len(at) < 2:
                allowed = [*AXES, TASKS, *self.bundles, *(f"{s}.…" for s in SECTIONS)]
                mark = value.mark(()) if path in self.own_settings else self.combination.mark
                text = f"{path}: {unknown('axis', path, allowed)}"
                self.builder.problems.add(mark, text)
                return None
            found[path] = at, normal(_EMPTY.set(at, value), self.builder.problems).part(at)
        return found

    def applied(
        self,
        components: Components,
        tasks: Document,
        paths: Mapping[str, tuple[Location, Document]],
    ) -> Document:
        """Return the sections with the row's changes."""
        doc = self.sections
        if self.pretrains:
            written, loss = components["loss"]
            doc = doc.set(("pretrain", "loss"), _complete(loss, written))
            doc = doc.set(("pretrain", TASKS), tasks)
        for at, value in paths.values():
            doc = doc.set(at, value)
        return doc

    def texts(
        self, components: Components, tasks: Document, paths: Iterable[str]
    ) -> dict[str, str]:
        """Return the row's value on each axis, as tables show it."""
        values = self.combination.values
        texts = {axis: _component_text(written.data) for axis, (written, _) in components.items()}
        texts[TASKS] = "+".join(map(str, tasks.data))
        texts |= {path: _text(values[path].data) for path in paths if path in values}
        return texts | {axis: self.own_values.get(axis, "") for axis in self.bundles}

    def _value(self, axis: str) -> Document | None:
        """Return the value of the row or of ``defaults`` on an axis; None: it is missing."""
        return self.given.get(axis) or _default(
            axis, self.combination, self.sections, self.builder.problems
        )


def _complete(ref: ComponentRef | None, value: Document) -> Document:
    """Return a component with all its options; an empty one if it has errors."""
    ref = ref or ComponentRef(name="")
    return Document({"name": ref.name, "options": dict(ref.options)}, value.marks)


def _default(
    axis: str, combination: Combination, sections: Document, problems: Problems
) -> Document | None:
    if axis in _mapping(sections.data.get("defaults")):
        return sections.part(("defaults", axis))
    problems.add(combination.mark, f"{axis}: missing; give it in rows, grid or defaults")
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


def _check_widths(
    configuration: ModalityConfiguration, settings: Settings, mark: Mark, builder: Builder
) -> bool:
    """Check that the encoders of a row's streams can have the model's width."""
    good = True
    for modality in configuration.streams:
        ref = settings.model.encoders.get(modality)
        if ref is None or not ref.name:
            continue  # the planner skips the row, or the encoder has errors
        own: Any = options.build(builder.registry.get("encoders", ref.name).config, ref.options)
        fault = getattr(own, "width_fault", lambda _: None)(settings.model.D)
        if fault is not None:
            builder.problems.add(mark, f"model.encoders.{modality}.{ref.name}: {fault}")
            good = False
    return good


def _component_text(data: Mapping[str, Any]) -> str:
    """Return a component as tables show it: its name and the options that the suite gives."""
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
