"""Reads a suite: the one way from YAML to a ``Suite``, complete and checked.

Two passes: the skeleton and the settings; then the options of every component against the
``config`` that its plugin registered. Everything that is wrong is raised at once, a line each:
``file:line: field: what is wrong, the value got, what is allowed, the nearest match``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avbench.config import strict_yaml
from avbench.config.axes import named_axes
from avbench.config.builder import SECTIONS, Builder
from avbench.config.claims import Claim, check_claims
from avbench.config.components import AXES
from avbench.config.components import normal as normal_sections
from avbench.config.data_file import DataSource, embedded_sources, file_sources, with_weights
from avbench.config.overrides import EMBEDDED, Overrides
from avbench.config.rows import NOT_AXES, TASKS, Row, additional, combinations, make_row
from avbench.config.shipped import find_preset, find_suite, published, published_names
from avbench.config.strict_yaml import Document, Mark, Problems
from avbench.core.columns import AFTER, ALTERED, BEFORE
from avbench.core.errors import SuiteError, unknown
from avbench.core.registry import Registry
from avbench.training.names import loss_names

Cost = Literal[
    "macs_g",
    "closed_form_g",
    "flops_g",
    "flops_paper_g",
    "flops_difference",
    "flops_base_g",
    "flops_base_paper_g",
    "flops_base_percent",
    "flops_base_paper_percent",
    "params_m",
    "params_paper_m",
    "params_difference",
    "train_macs_g",
]
"""The cost columns; ``avbench.reports.cost_columns`` makes them."""

Intervals = Literal["none", "seeds", "videos"]
"""See ``avbench.evaluation.statistics``."""

PRINTED = ("flops_g", "params_m")
"""The costs that the paper prints; a row's ``published`` maps them to quantities of its table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSettings:
    """How a suite's table looks; changes no result."""

    metrics: tuple[str, ...] = ("bleu4", "meteor", "rougeL", "cider")
    """The scores shown, by name, in order."""
    delta_to: str | None = None
    """The label of the row that the others' differences are shown to."""
    delta_metrics: tuple[str, ...] = ("cider",)
    """The scores whose differences are shown."""
    costs: tuple[Cost, ...] = ()
    """Cost columns; a row's ``published`` says which of the paper's figures they stand beside."""
    base: Mapping[str, str] = field(default_factory=dict)
    """What ``flops_base_…`` refers to: the row that is the same but for these axes, e.g.
    ``fusion: merged``."""
    parts: tuple[str, ...] = ()
    """The labels of rows of which a second table says what each part of the model costs."""
    most_frequent: bool = False
    """A row that always gives the training set's most frequent caption."""
    use_metrics: tuple[str, ...] = ("cider",)
    """The scores shown under each alteration of the streams that ``evaluate`` asks for."""
    shapley_score: str = "cider"
    """The score that the modalities' Shapley values divide, where ``evaluate.shapley`` asks."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Rows of what a score would be by itself: label to the suffix of the scores' names, e.g.
    ``Guessing: chance`` shows ``<score>_chance`` under ``<score>``."""
    intervals: Intervals = "none"
    """Of 95 % in place of standard deviations, with marks at the differences to ``delta_to`` that
    are significant: over ``seeds``, about the methods, or over ``videos``, about these models."""
    published: str | None = None
    """The paper's figures to show beside ours: the name of a file in
    ``avbench/config/published``."""


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
    claims: tuple[Claim, ...] = ()
    """What it expects of its results; no stage knows of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteFields:
    """The fields of a suite file; SECTIONS are checked apart."""

    name: str
    title: str = ""
    preset: str = "tiny"
    data: str = EMBEDDED
    seeds: int | list[int] = field(default_factory=lambda: [0])
    defaults: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] | None = None
    grid: dict[str, list[Any]] | None = None
    axes: dict[str, Any] = field(default_factory=dict)
    """The suite's own axes, see ``avbench.config.axes``."""
    table: TableSettings = field(default_factory=TableSettings)
    notes: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    """What the suite expects of its rows, see ``avbench.config.claims``."""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "_").isidentifier():
            raise ValueError(
                "name must be letters, digits, '-' and '_', as it names a folder; "
                f"got '{self.name}'"
            )
        if (self.rows is None) == (self.grid is None):
            raise ValueError("give either rows or grid, got " + ("both" if self.rows else "none"))
        if self.rows == [] or self.grid == {} or any(v == [] for v in (self.grid or {}).values()):
            raise ValueError("rows and grid, and each axis of a grid, must not be empty")


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
    doc = strict_yaml.load(path)
    _fields(doc, {*SuiteFields.__dataclass_fields__, *SECTIONS}, problems)
    builder = Builder(registry, problems)
    own = {k: v for k, v in doc.data.items() if k in SuiteFields.__dataclass_fields__}
    skeleton = builder.section(SuiteFields, Document(own, doc.marks), "")
    if skeleton is None:
        problems.check()
    assert skeleton is not None
    preset_name = overrides.preset or skeleton.preset
    preset = _preset(preset_name, path, doc, problems)
    builder.preset = preset.mark(()).file
    sections = normal_sections(_sections(doc), problems).over(
        normal_sections(_sections(preset), problems)
    )
    sources, data = _sources(skeleton.data, overrides.data, path, doc, builder)
    if data != EMBEDDED:
        sections = with_weights(sections, Path(data), builder)
    seeds = _seeds(overrides.seeds, skeleton.seeds, doc, preset, problems)
    written = combinations(doc, problems)
    written += additional(overrides.additional, written[0], registry, problems)
    bundles = named_axes(doc, _taken(), problems) if skeleton.axes else {}
    for source in (doc, preset):
        for key in source.data.get("defaults") or {}:
            if key not in (allowed := [*AXES, TASKS, *bundles]):
                mark = source.mark(("defaults", key))
                problems.add(mark, f"defaults.{key}: {unknown('axis', key, allowed)}")
    rows = [make_row(c, sections, sources, builder, bundles) for c in written]
    _check_table(skeleton.table, rows, doc, problems)
    _check_altered(skeleton.table, rows, doc, problems)
    _check_claims(skeleton, rows, doc, problems)
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
        claims=skeleton.claims,
    )


def preset_sections(name: str, problems: Problems) -> Document:
    """The sections of a predefined preset, every component in its one form."""
    return normal_sections(_sections(strict_yaml.load(find_preset(name, Path()))), problems)


def _fields(doc: Document, allowed: set[str], problems: Problems) -> None:
    for key in doc.data:
        if key not in allowed:
            problems.add(doc.mark((key,)), f"{key}: {unknown('field', key, allowed)}")


def _sections(doc: Document) -> Document:
    return Document({k: doc.data[k] for k in (*SECTIONS, "defaults") if k in doc.data}, doc.marks)


def _preset(name: str, suite: Path, doc: Document, problems: Problems) -> Document:
    """The defaults under a suite's own fields."""
    try:
        preset = strict_yaml.load(find_preset(name, suite.parent))
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
            strict_yaml.literal(f"[{asked}]" if "," in asked else asked, "--seeds").data,
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


def _taken() -> frozenset[str]:
    """What an axis of a suite's own cannot be called: other axes, columns of long rows."""
    return frozenset({*AXES, TASKS, *NOT_AXES, *SECTIONS, *BEFORE, *AFTER, ALTERED})


def _check_table(
    table: TableSettings,
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
    for i, label in enumerate(table.parts if len(labels) == len(rows) else ()):
        if label not in labels:
            mark = doc.mark(("table", "parts", i))
            problems.add(mark, f"table.parts: {unknown('row', label, labels)}")
    relative = [cost for cost in table.costs if "_base_" in cost]
    if relative and not table.base:
        mark = doc.mark(("table", "costs"))
        problems.add(
            mark, f"table.costs: {relative[0]} needs table.base, e.g. {{fusion: NAME}}, got none"
        )
    if table.published is not None and table.published not in published_names():
        mark = doc.mark(("table", "published"))
        text = unknown("published table", table.published, published_names())
        problems.add(mark, f"table.published: {text}")
    elif table.published is not None:
        _check_quantities(table.published, rows, doc, problems)
    known = {axis for row in rows if row is not None for axis in row.axes}
    for axis in table.base:
        if known and axis not in known:
            mark = doc.mark(("table", "base", axis))
            problems.add(mark, f"table.base: {unknown('axis', axis, known)}")


def _check_altered(
    table: TableSettings, rows: Sequence[Row | None], doc: Document, problems: Problems
) -> None:
    """Whether there are the streams that are altered, and the score that is divided."""
    made = [row.settings for row in rows if row is not None]
    known = {m for settings in made for m in settings.model.encoders}
    for how in ("zeroed", "swapped", "noised"):
        asked = {m: None for settings in made for m in getattr(settings.evaluate, how)}
        for stream in asked:
            if stream not in known:
                text = f"evaluate.{how}: {unknown('stream', stream, known)}"
                problems.add(doc.mark(("evaluate", how)), text)
    scores = dict.fromkeys((*table.metrics, *table.use_metrics))
    if table.shapley_score not in scores and any(s.evaluate.shapley for s in made):
        mark = doc.mark(("table", "shapley_score"))
        text = unknown("score", table.shapley_score, scores)
        problems.add(mark, f"table.shapley_score: {text}")


def _check_claims(
    skeleton: SuiteFields, rows: Sequence[Row | None], doc: Document, problems: Problems
) -> None:
    made = [row for row in rows if row is not None]
    if len(made) < len(rows):
        return  # what is wrong with rows comes first
    table = skeleton.table
    trained = [row.settings for row in made if row.settings.pretrain is not None]
    check_claims(
        skeleton.claims,
        labels={row.label: [a.name for a in row.alterations] for row in made},
        datasets=dict.fromkeys(t.dataset for row in made for t in row.settings.finetune),
        scores=dict.fromkeys((*table.metrics, *table.use_metrics)),
        costs=table.costs,
        losses=loss_names({m: None for s in trained for m in s.model.encoders}) if trained else (),
        doc=doc,
        problems=problems,
    )


def _check_quantities(
    name: str, rows: Sequence[Row | None], doc: Document, problems: Problems
) -> None:
    """Whether rows name the single figures of a published table of costs, where it is one."""
    named = {line["quantity"] for line in published(name) if "quantity" in line}
    for i, row in enumerate(rows if named else ()):
        for cost, quantity in (row.published if row is not None else {}).items():
            where, mark = f"rows.{i}.published", doc.mark(("rows", i, "published", cost))
            if cost not in PRINTED:
                problems.add(mark, f"{where}: {unknown('cost', cost, PRINTED)}")
            elif quantity not in named:
                text = unknown("quantity", str(quantity), named)
                problems.add(mark, f"{where}.{cost}: {text}")


def _only(rows: list[Row], labels: Sequence[str]) -> list[Row]:
    known = [row.label for row in rows]
    wrong = [f"--only: {unknown('row', label, known)}" for label in labels if label not in known]
    if wrong:
        raise SuiteError("\n".join(wrong))
    return [row for row in rows if not labels or row.label in labels]
