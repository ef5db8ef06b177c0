"""Builds the settings of a suite's sections, and notes every problem with its line."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from avbench.config.components import AXES
from avbench.config.strict_yaml import Document, Problems
from avbench.core import options
from avbench.core.components import ComponentRef
from avbench.core.errors import UnknownNameError, unknown
from avbench.core.numbers import shown
from avbench.core.options import Location
from avbench.core.registry import SINGULAR, Registry
from avbench.core.types import InputSpec
from avbench.data.settings import VocabularySettings, WorldSettings
from avbench.evaluation.settings import EvaluateSettings
from avbench.models.settings import ComputeSettings, DecodeSettings, ModelSettings
from avbench.training.settings import TrainSettings

T = TypeVar("T")
_PLAIN_SECTIONS = ("world", "input", "model", "decode", "evaluate", "compute")

SECTIONS = (
    "world",
    "input",
    "model",
    "vocabulary",
    "pretrain",
    "finetune",
    "decode",
    "evaluate",
    "compute",
)
"""The sections, whose fields a preset may give and a dotted axis may change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One training of a row, and the dataset that it learns from."""

    dataset: str
    train: TrainSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All settings of one row."""

    world: WorldSettings
    input: InputSpec
    model: ModelSettings
    vocabulary: VocabularySettings
    vocabulary_datasets: tuple[str, ...]
    """The datasets whose training captions the tokenizer learns from."""
    pretrain: Training | None
    finetune: tuple[Training, ...]
    decode: DecodeSettings
    evaluate: EvaluateSettings
    compute: ComputeSettings


def _training_datasets(
    pretrain: Training | None, finetune: tuple[Training, ...]
) -> tuple[str, ...]:
    """Return the datasets of pre-training and fine-tuning, each once."""
    first = (pretrain.dataset,) if pretrain else ()
    return tuple(dict.fromkeys([*first, *(t.dataset for t in finetune)]))


@dataclass(slots=True)
class Builder:
    """Builds settings from documents. Equal sections are built, and reported, once."""

    registry: Registry
    problems: Problems
    preset: str = ""
    """The preset's file. Its settings for datasets that this suite lacks are unused, not wrong."""
    cache: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def section(self, cls: type[T], doc: Document, name: str) -> T | None:
        """Build a settings dataclass from plain data; None if there are problems."""
        key = (cls, name, json.dumps(doc.data, sort_keys=True))
        if key not in self.cache:
            self.cache[key] = self._section(cls, doc, name)
        made: T | None = self.cache[key]
        return made

    def _section(self, cls: type[T], doc: Document, name: str) -> T | None:
        try:
            made = options.build(cls, doc.data, where=name)
        except options.ValidationError as error:
            for at, line in options.located(error, cls, name, self._rank(doc)):
                self.problems.add(doc.mark(at), line)
            return None
        ok = True
        for at, text in _coercions(doc.data, options.plain(made), ()):
            self.problems.add(doc.mark(at), ".".join(map(str, (name, *at))) + f": {text}")
            ok = False
        return made if ok else None

    def _rank(self, doc: Document) -> Callable[[Location], int]:
        """Return a key by which what the suite says comes before what its preset says."""
        return lambda at: int(doc.mark(at).file == self.preset)

    def component(self, doc: Document, name: str, family: str) -> ComponentRef | None:
        """Build a component with all its options; None if there are problems."""
        key = (family, name, json.dumps(doc.data, sort_keys=True))
        if key not in self.cache:
            self.cache[key] = self._component(doc, name, family)
        made: ComponentRef | None = self.cache[key]
        return made

    def _component(self, doc: Document, name: str, family: str) -> ComponentRef | None:
        asked = doc.data.get("name")
        if not isinstance(asked, str):
            allowed = ", ".join(self.registry.names(family))
            self.problems.add(
                doc.mark(("name",)),
                f"{name}: no {SINGULAR[family]} is named, got {shown(asked)}. Allowed: {allowed}",
            )
            return None
        try:
            component = self.registry.get(family, asked)
        except UnknownNameError as error:
            self.problems.add(doc.mark(("name",)), f"{name}: {error}")
            return None
        made = self.section(component.config, doc.part(("options",)), f"{name}.{asked}")
        return ComponentRef(name=asked, options=options.plain(made)) if made is not None else None

    def components(self, doc: Document, at: Location, name: str, family: str) -> Document:
        """Check the component at a location; return the document with all of its options."""
        ref = self.component(doc.part(at), name, family)
        plain = {"name": ref.name, "options": dict(ref.options)} if ref else _NO_COMPONENT
        return doc.set(at, Document(plain, doc.part(at).marks))

    def settings(self, doc: Document, tables: Mapping[str, Any]) -> Settings | None:
        """Build all sections of one row; None if there are problems.

        Args:
            doc: the merged sections, with components in normal form, and ``pretrain.loss`` and
                ``pretrain.tasks`` set.
            tables: the available datasets, by key.
        """
        made: dict[str, Any] = {}
        for name in SECTIONS:
            key = ("section", name, json.dumps(doc.data.get(name), sort_keys=True))
            if key not in self.cache:
                self.cache[key] = self._named_section(name, doc.part((name,)), tables)
            made[name] = self.cache[key]
        if any(value is None for value in made.values()):
            return None
        vocabulary, asked = made["vocabulary"]
        if made["decode"].beam > vocabulary.size:
            self.problems.add(
                doc.mark(("decode", "beam")),
                "decode.beam: must be at most the tokens of vocabulary.size, got "
                f"{made['decode'].beam} and {vocabulary.size}",
            )
            return None
        pretrain, finetune = made["pretrain"][0], made["finetune"]
        return Settings(
            **{name: made[name] for name in _PLAIN_SECTIONS},
            pretrain=pretrain,
            finetune=finetune,
            vocabulary=vocabulary,
            vocabulary_datasets=asked or _training_datasets(pretrain, finetune),
        )

    def _named_section(self, name: str, doc: Document, tables: Mapping[str, Any]) -> Any:
        if doc.data is None:
            # An absent section takes its defaults; absent pre-training and fine-tuning do not run.
            absent = {"pretrain": (None,), "finetune": ()}
            if name in absent:
                return absent[name]
            doc = Document({}, doc.marks)
        if not isinstance(doc.data, Mapping):
            self.problems.add(doc.mark(()), f"{name}: must be a mapping, got {shown(doc.data)}")
            return None
        match name:
            case "world":
                return self.section(WorldSettings, doc, name)
            case "input":
                return self.section(InputSpec, doc, name)
            case "decode":
                return self.section(DecodeSettings, doc, name)
            case "compute":
                return self.section(ComputeSettings, doc, name)
            case "model":
                for key in _mapping(doc.data.get("encoders")):
                    at = ("encoders", key)
                    doc = self.components(doc, at, f"model.encoders.{key}", "encoders")
                return self.section(ModelSettings, doc, name)
            case "evaluate":
                metrics = doc.data.get("metrics")
                for i in range(len(metrics) if isinstance(metrics, list) else 0):
                    doc = self.components(doc, ("metrics", i), f"evaluate.metrics.{i}", "metrics")
                return self.section(EvaluateSettings, doc, name)
            case "vocabulary":
                keys = self._dataset_keys(doc, "datasets", name, tables)
                made = self.section(VocabularySettings, _without(doc, "datasets"), name)
                return None if made is None or keys is None else (made, keys)
            case "pretrain":
                keys = self._dataset_keys(doc, "dataset", name, tables)
                train = self._train(_without(doc, "dataset"), name)
                if keys is None or train is None:
                    return None
                return (Training(dataset=keys[0], train=train),)
        return self._finetune(doc, tables)

    def _finetune(self, doc: Document, tables: Mapping[str, Any]) -> tuple[Training, ...] | None:
        """Build one training per dataset; ``per_dataset`` overrides the section's settings."""
        keys = self._dataset_keys(doc, "datasets", "finetune", tables)
        shared = _without(doc, "datasets", "per_dataset")
        each = _mapping(doc.data.get("per_dataset"))
        for key in each:
            mark = doc.mark(("per_dataset", key))
            if key not in tables and mark.file != self.preset:
                self.problems.add(mark, f"finetune.per_dataset: {unknown('dataset', key, tables)}")
        made = []
        for key in keys or ():
            own = doc.part(("per_dataset", key)) if key in each else shared
            name = f"finetune.per_dataset.{key}" if key in each else "finetune"
            train = self._train(own.over(shared) if key in each else shared, name)
            if train is None:
                return None
            made.append(Training(dataset=key, train=train))
        return None if keys is None else tuple(made)

    def _train(self, doc: Document, name: str) -> TrainSettings | None:
        if "loss" in doc.data and name != "pretrain":  # pre-training's loss is an axis
            doc = self.components(doc, ("loss",), f"{name}.loss", "losses")
        return self.section(TrainSettings, doc, name)

    def _dataset_keys(
        self, doc: Document, field: str, section: str, tables: Mapping[str, Any]
    ) -> tuple[str, ...] | None:
        """Return the keys of datasets that a field names; None if one of them is wrong."""
        value = doc.data.get(field)
        if value is None and field == "datasets":
            return ()
        keys = [value] if field == "dataset" else value
        if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys):
            what = "a dataset's key" if field == "dataset" else "a list of datasets' keys"
            self.problems.add(
                doc.mark((field,)), f"{section}.{field}: must be {what}, got {shown(value)}"
            )
            return None
        ok = True
        for i, key in enumerate(keys):
            if key not in tables or key in keys[:i]:
                problem = "given twice: " + key if key in keys[:i] else ""
                text = problem or unknown("dataset", key, tables)
                self.problems.add(doc.mark((field, i)), f"{section}.{field}: {text}")
                ok = False
        return tuple(keys) if ok else None


_NO_COMPONENT = {"name": "", "options": {}}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _without(doc: Document, *keys: str) -> Document:
    return Document({k: v for k, v in doc.data.items() if k not in keys}, doc.marks)


def _coercions(raw: Any, value: Any, at: Location) -> Iterator[tuple[Location, str]]:
    """Yield the values whose type validation has changed, e.g. from text to a number."""
    if isinstance(raw, Mapping) and isinstance(value, Mapping):
        for key in raw.keys() & value.keys():
            yield from _coercions(raw[key], value[key], (*at, key))
    elif isinstance(raw, list) and isinstance(value, list) and len(raw) == len(value):
        for i, (r, v) in enumerate(zip(raw, value, strict=True)):
            yield from _coercions(r, v, (*at, i))
    elif isinstance(raw, bool) != isinstance(value, bool) or (
        isinstance(raw, str) and isinstance(value, int | float)
    ):
        kind = "true or false" if isinstance(value, bool) else "a number"
        if isinstance(value, int | float):
            yield at, f"must be {kind}, got {shown(raw)}"


__all__ = ["AXES", "SECTIONS", "Builder", "Settings", "Training"]
