"""A first look at a suite that needs no plugin, and so neither torch nor its seconds.

A file that is no YAML, or has a number out of bounds in one of its sections, is refused within a
fraction of a second. Everything else is left to ``avbench.config.suite``, which reports all
problems at once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from avbench.config import strict_yaml
from avbench.config.strict_yaml import Document, Problems
from avbench.core import options
from avbench.core.input_spec import InputSpec
from avbench.core.numbers import FAULT
from avbench.data.settings import VocabularySettings, WorldSettings
from avbench.evaluation.settings import EvaluateSettings
from avbench.models.settings import ComputeSettings, DecodeSettings, ModelSettings
from avbench.training.settings import TrainSettings

SETTINGS: Mapping[str, type] = {
    "world": WorldSettings,
    "input": InputSpec,
    "model": ModelSettings,
    "vocabulary": VocabularySettings,
    "pretrain": TrainSettings,
    "finetune": TrainSettings,
    "decode": DecodeSettings,
    "evaluate": EvaluateSettings,
    "compute": ComputeSettings,
}
"""The settings of each section of a suite."""


def precheck(file: Path) -> None:
    """Read a suite, and check the numbers of its sections and rows.

    Raises:
        SuiteError: the file is no YAML, or a number is out of its bounds.
    """
    doc = strict_yaml.load(file)
    problems = Problems()
    for name, part, section in _parts(doc):
        if not isinstance(part.data, Mapping):
            continue
        try:
            options.build(SETTINGS[section], part.data)
        except options.ValidationError as error:
            faulty = {e["loc"][1:] for e in error.errors() if e["type"] == FAULT}
            for at, text in options.located(error, SETTINGS[section], name):
                if at in faulty:
                    problems.add(part.mark(at), text)
    problems.check()


def _parts(doc: Document) -> Iterator[tuple[str, Document, str]]:
    """Yield the sections of a suite and what rows change in them: name, settings, section."""
    for section in SETTINGS:
        yield section, doc.part((section,)), section
    each = doc.get(("finetune", "per_dataset"))
    for key in each if isinstance(each, Mapping) else ():
        own = ("finetune", "per_dataset", key)
        yield ".".join(own), doc.part(own), "finetune"
    for at in _changes(doc):
        section, _, field = str(at[-1] if isinstance(at[-1], str) else at[-2]).partition(".")
        if section in SETTINGS and field:
            value = doc.part(at)
            marks = {(), *value.marks}
            moved = {(field, *k): value.mark(k) for k in marks} | {(): value.mark(())}
            yield section, Document({field: value.data}, moved), section


def _changes(doc: Document) -> Iterator[options.Location]:
    """Yield the places of all values that rows, grids, defaults and axes give."""
    rows, grid, axes = (doc.get((name,)) for name in ("rows", "grid", "axes"))
    for i, row in enumerate(rows if isinstance(rows, list) else ()):
        yield from (("rows", i, key) for key in (row if isinstance(row, Mapping) else ()))
    for axis, values in grid.items() if isinstance(grid, Mapping) else ():
        yield from (("grid", axis, i) for i in range(len(_sized(values))))
    for axis, values in axes.items() if isinstance(axes, Mapping) else ():
        for name in values if isinstance(values, Mapping) else ():
            bundle = values[name]
            yield from (
                ("axes", axis, name, key)
                for key in (bundle if isinstance(bundle, Mapping) else ())
            )


def _sized(values: Any) -> list[Any]:
    return values if isinstance(values, list) else []
