"""Reads a suite: from YAML to a complete and checked ``Suite``.

It checks the suite's own fields, then its sections, and the options of every component against
the ``config`` that its plugin registered. All problems are raised at once, one per line:
``file:line: field: what is wrong, the value got, what is allowed, the nearest match``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from avbench.config import strict_yaml
from avbench.config.axes import read_axes
from avbench.config.builder import SECTIONS, Builder
from avbench.config.claims import Claim, check_claims
from avbench.config.components import AXES
from avbench.config.components import normal as normal_sections
from avbench.config.data_file import DataSource, embedded_sources, file_sources, with_weights
from avbench.config.overrides import EMBEDDED, Overrides
from avbench.config.published_figures import PublishedFigure, read_published
from avbench.config.rows import (
    NOT_AXES,
    TASKS,
    Combination,
    Row,
    additional,
    combinations,
    make_row,
)
from avbench.config.shipped import find_preset, find_suite, published, published_names
from avbench.config.showing import UNTRAINED, CaptionSettings, RelevanceSettings, Show
from avbench.config.strict_yaml import Document, Mark, Problems
from avbench.core.columns import AFTER, ALTERED, BEFORE
from avbench.core.errors import SuiteError, unknown
from avbench.core.numbers import SEED, Number, shown
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
INTERVALS: tuple[str, ...] = get_args(Intervals)
"""See ``avbench.evaluation.statistics``."""

PLACE = ("dataset", "metric")
"""The columns of a published table that say what a figure is of."""

PRINTED = ("flops_g", "params_m")
"""The costs that the paper prints; a row's ``published`` maps them to quantities of a table."""

FIGURE = "value"
"""The column of a published table that holds the figures; rows choose by the other columns."""


SEEDS = Number(unit="seeds", least=1, most=1000)
"""Of the number of seeds; each of them is a ``SEED``."""

LONGEST = 80
"""Characters of a suite's name, which names a folder."""

TRIALS = 100_000
"""Rows times seeds, at most."""

OWN_FOLDERS = frozenset(("stages", "relevance"))
"""Folders of a results folder that no suite may be named after; case does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSettings:
    """Contents and layout of a suite's tables; they change no result."""

    metrics: tuple[str, ...] = ("bleu4", "meteor", "rougeL", "cider")
    """Names of the scores to show, in order."""
    corner: str = ""
    """Header of the column with the rows' names."""
    delta_to: str | None = None
    """Label of the row that the other rows are compared with."""
    delta_metrics: tuple[str, ...] = ("cider",)
    """Scores whose differences to ``delta_to`` are shown."""
    costs: tuple[Cost, ...] = ()
    """Cost columns; a row's ``published`` selects the paper's figures beside them."""
    base: Mapping[str, str] = field(default_factory=dict)
    """Base of ``flops_base_…``: the row that differs only on these axes, e.g. ``fusion:
    merged``."""
    parts: tuple[str, ...] = ()
    """Labels of rows for a second table with the cost of each part of the model."""
    most_frequent: bool = False
    """Add a row that always gives the training set's most frequent caption."""
    use_metrics: tuple[str, ...] = ("cider",)
    """Scores shown under each alteration of the streams in ``evaluate``."""
    shapley_score: str = "cider"
    """Score that ``evaluate.shapley`` divides among the modalities."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Additional rows with a score's reference values: label to the suffix of the scores' names,
    e.g. ``Guessing: chance`` shows ``<score>_chance`` under ``<score>``."""
    intervals: Intervals = "none"
    """Show 95 % intervals instead of standard deviations, and mark significant differences to
    ``delta_to``: over ``seeds``, about the methods, or over ``videos``, about these models."""
    published: str | None = None
    """The paper's figures of the suite's rows: the name of a file in
    ``avbench/config/published``."""
    apart: bool = False
    """One table for each dataset, with the rows that have figures there, in place of one table."""


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
    """Sources of the datasets, by key."""
    axes: tuple[str, ...]
    """The axes on which rows may differ, in order."""
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    table: TableSettings
    notes: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    """Expected differences between rows; they enter no stage."""
    published: tuple[PublishedFigure, ...] = ()
    """Published figures by row; those of no row make rows of their own."""
    show: tuple[Show, ...] = ("table",)
    """Its reports."""
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    relevance: RelevanceSettings = field(default_factory=RelevanceSettings)


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteFields:
    """The fields of a suite file; SECTIONS are checked separately."""

    name: str
    title: str = ""
    preset: str = "tiny"
    data: str = EMBEDDED
    seeds: int | list[int] = field(default_factory=lambda: [0])
    defaults: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] | None = None
    grid: dict[str, list[Any]] | None = None
    axes: dict[str, Any] = field(default_factory=dict)
    """The suite's own axes; see ``avbench.config.axes``."""
    show: tuple[Show, ...] = ("table",)
    """The reports that ``avbench run`` and ``avbench report`` write."""
    table: TableSettings = field(default_factory=TableSettings)
    captions: CaptionSettings = field(default_factory=CaptionSettings)
    """Clips of the report ``captions``."""
    relevance: RelevanceSettings = field(default_factory=RelevanceSettings)
    """Captions and words of the report ``relevance``."""
    notes: tuple[str, ...] = ()
    published: str | list[str] = field(default_factory=list)
    """Published figures by row: a CSV file of yours (label, dataset, metric, value, source, and
    note if you like), or one of the paper's tables of systems; or several of them."""
    claims: tuple[Claim, ...] = ()
    """Expected differences between rows; see ``avbench.config.claims``."""

    def __post_init__(self) -> None:
        if not self.name.replace("-", "_").isidentifier():
            raise ValueError(
                "name must be letters, digits, '-' and '_', as it names a folder; "
                f"got '{self.name}'"
            )
        if self.name.casefold() in OWN_FOLDERS:
            names = ", ".join(sorted(OWN_FOLDERS))
            raise ValueError(
                f"name must not be one of {names}, which are folders of every results folder; "
                f"got '{self.name}'"
            )
        if len(self.name) > LONGEST:
            raise ValueError(f"name must have at most {LONGEST} characters, got {len(self.name)}")
        if not self.show or len(set(self.show)) < len(self.show):
            raise ValueError(f"show must name each report once, got {list(self.show)}")
        untrained = UNTRAINED.issuperset(self.show)
        if (self.rows is None) == (self.grid is None) and (self.rows or not untrained):
            raise ValueError("give either rows or grid, got " + ("both" if self.rows else "none"))
        if self.rows == [] or self.grid == {} or any(v == [] for v in (self.grid or {}).values()):
            raise ValueError("rows and grid, and each axis of a grid, must not be empty")


def read_suite(ref: str, registry: Registry, overrides: Overrides | None = None) -> Suite:
    """Read and check a suite.

    Args:
        ref: a predefined suite's name, or the path of a file.
        registry: the components that the suite may name.
        overrides: changes from the command line.

    Raises:
        SuiteError: the suite has problems; the message has one line for each.
    """
    overrides = overrides or Overrides()
    problems = Problems()
    path = find_suite(ref)
    doc = strict_yaml.load(path)
    _check_fields(doc, {*SuiteFields.__dataclass_fields__, *SECTIONS}, problems)
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
    chosen: list[Combination] = []
    if skeleton.rows is not None or skeleton.grid is not None:
        chosen = combinations(doc, TRIALS // max(1, len(seeds)), problems)
        chosen += additional(overrides.additional, chosen[0], registry, problems)
    bundles = read_axes(doc, _reserved_names(), problems) if skeleton.axes else {}
    for source in (doc, preset):
        for key in source.data.get("defaults") or {}:
            if key not in (allowed := [*AXES, TASKS, *bundles]):
                mark = source.mark(("defaults", key))
                problems.add(mark, f"defaults.{key}: {unknown('axis', key, allowed)}")
    rows = [make_row(c, sections, sources, builder, bundles) for c in chosen]
    _check_table(skeleton.table, rows, doc, problems)
    _check_alterations(skeleton.table, rows, doc, problems)
    _check_claims(skeleton, rows, doc, problems)
    figures = _published_figures(skeleton, rows, path, doc, problems)
    problems.check()
    made = _select_rows([row for row in rows if row is not None], overrides.only)
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
        published=figures,
        show=skeleton.show,
        captions=skeleton.captions,
        relevance=skeleton.relevance,
    )


def preset_sections(name: str, problems: Problems) -> Document:
    """Return the sections of a predefined preset, with components in their normal form."""
    return normal_sections(_sections(strict_yaml.load(find_preset(name, Path()))), problems)


def _check_fields(doc: Document, allowed: set[str], problems: Problems) -> None:
    for key in doc.data:
        if key not in allowed:
            problems.add(doc.mark((key,)), f"{key}: {unknown('field', key, allowed)}")


def _sections(doc: Document) -> Document:
    return Document({k: doc.data[k] for k in (*SECTIONS, "defaults") if k in doc.data}, doc.marks)


def _preset(name: str, suite: Path, doc: Document, problems: Problems) -> Document:
    """Read the preset, whose values a suite's own fields override."""
    try:
        preset = strict_yaml.load(find_preset(name, suite.parent))
    except SuiteError as error:
        raise SuiteError(f"{doc.mark(('preset',))}: preset: {error}") from error
    _check_fields(preset, {*SECTIONS, "defaults", "seeds"}, problems)
    return preset


def _sources(
    written: str, asked: str | None, suite: Path, doc: Document, builder: Builder
) -> tuple[Mapping[str, DataSource], str]:
    """Return the available datasets, and ``embedded`` or the path of the data file."""
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
    """Return the seeds: those of a list, or 0 to n − 1 for a number n."""
    value: Any = own if "seeds" in doc.data else preset.data.get("seeds", [0])
    mark = doc.mark(("seeds",)) if "seeds" in doc.data else preset.mark(("seeds",))
    if asked is not None:
        mark = Mark("--seeds", 0)
        text = f"[{asked}]" if "," in asked else asked
        value = strict_yaml.literal(text, "--seeds").data
    fault = seeds_fault(value)
    if fault is not None:
        problems.add(mark, f"seeds: {fault}")
        return ()
    return tuple(range(value)) if isinstance(value, int) else tuple(value)


def seeds_fault(value: Any) -> str | None:
    """Return what is wrong with the seeds of a suite, or None."""
    if type(value) is int:
        return SEEDS.fault(value)
    if not isinstance(value, list) or not value or any(type(s) is not int for s in value):
        return f"must be a number of seeds or a list of seeds, got {shown(value)}"
    fault = SEEDS.fault(len(value))
    if fault is not None:
        return fault
    if len(set(value)) < len(value):
        return f"must differ from each other, got {shown(value)}"
    return next((fault for s in value if (fault := SEED.fault(s)) is not None), None)


def _reserved_names() -> frozenset[str]:
    """Return the names that a suite's own axis must not have: other axes, columns of tables."""
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
            problems.add(doc.mark(("rows", i)), f"label: two rows have the label '{label}'")
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
    else:
        _check_published(table.published, doc, problems)
    known = {axis for row in rows if row is not None for axis in row.axes}
    for axis in table.base:
        if known and axis not in known:
            mark = doc.mark(("table", "base", axis))
            problems.add(mark, f"table.base: {unknown('axis', axis, known)}")


def _check_alterations(
    table: TableSettings, rows: Sequence[Row | None], doc: Document, problems: Problems
) -> None:
    """Check that streams to alter have encoders, and that the table has the Shapley score."""
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
        return  # problems of rows are reported first
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


def _published_figures(
    skeleton: SuiteFields,
    rows: Sequence[Row | None],
    path: Path,
    doc: Document,
    problems: Problems,
) -> tuple[PublishedFigure, ...]:
    """Read the suite's published figures; a row has them from one place only."""
    given = skeleton.published
    made = [row for row in rows if row is not None]
    if len(made) < len(rows):
        return ()  # problems of rows are reported first
    figures = read_published(
        [given] if isinstance(given, str) else given,
        path.parent,
        dict.fromkeys(t.dataset for row in made for t in row.settings.finetune),
        skeleton.table.metrics,
        doc,
        problems,
    )
    labels = {figure.label for figure in figures}
    for i, row in enumerate(made):
        if row.published and row.label in labels:
            text = f"published: has figures of row '{row.label}', and so has table.published"
            problems.add(doc.mark(("rows", i)), text)
    return figures


def _check_published(table: str | None, doc: Document, problems: Problems) -> None:
    """Check that each row's ``published`` selects figures of the suite's published table."""
    lines = published(table) if table is not None else []
    quantities = [line["quantity"] for line in lines if "quantity" in line]
    for i, row in enumerate(doc.data.get("rows") or ()):
        chosen = row.get("published") or {}
        if not isinstance(chosen, dict):
            continue  # reported with the row
        where, at = f"rows.{i}.published", ("rows", i, "published")
        if chosen and table is None:
            text = f"needs table.published, got none. Allowed: {', '.join(published_names())}"
            problems.add(doc.mark(at), f"{where}: {text}")
        elif quantities:
            for cost, quantity in chosen.items():
                mark = doc.mark((*at, cost))
                if cost not in PRINTED:
                    problems.add(mark, f"{where}: {unknown('cost', cost, PRINTED)}")
                elif quantity not in quantities:
                    text = unknown("quantity", str(quantity), quantities)
                    problems.add(mark, f"{where}.{cost}: {text}")
        elif chosen and FIGURE in lines[0]:
            for key, text in _unselected(chosen, lines, str(table)):
                problems.add(doc.mark((*at, *key)), ".".join([where, *key]) + f": {text}")
    if lines and FIGURE not in lines[0]:
        text = f"{table} is no table of rows with figures; its columns are {', '.join(lines[0])}"
        problems.add(doc.mark(("table", "published")), f"table.published: {text}")


def _unselected(
    chosen: Mapping[str, Any], lines: Sequence[Mapping[str, str]], table: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield why a row's ``published`` selects no figures: where in it, and the reason."""
    columns = [name for name in lines[0] if name != FIGURE]
    known = {column: dict.fromkeys(line[column] for line in lines) for column in columns}
    wrong = [column for column, value in chosen.items() if str(value) not in known.get(column, {})]
    for column in wrong:
        if column in known:
            yield (column,), unknown("value", str(chosen[column]), known[column])
        else:
            yield (), unknown(f"column of {table}", str(column), columns)
    if wrong:
        return
    held = [line for line in lines if all(line[c] == str(v) for c, v in chosen.items())]
    asked = ", ".join(f"{column} {value}" for column, value in chosen.items())
    if not held:
        yield (), f"no line of {table} has {asked} together"
    places = [(line["dataset"], line["metric"]) for line in held]
    if len(set(places)) < len(places):
        more = ", ".join(column for column in columns if column not in (*chosen, *PLACE))
        yield (), f"several rows of {table} have {asked}; tell them apart by {more}"


def _select_rows(rows: list[Row], labels: Sequence[str]) -> list[Row]:
    """Return the rows with these labels; all if there are none."""
    known = [row.label for row in rows]
    wrong = [f"--only: {unknown('row', label, known)}" for label in labels if label not in known]
    if wrong:
        raise SuiteError("\n".join(wrong))
    return [row for row in rows if not labels or row.label in labels]
