"""JSON Schemas of suites, presets and data files, made from the dataclasses that check them.

Editors use them for completion, hints and immediate errors. Checks that need more than one place
of a file (does the dataset exist?) are made by ``avbench plan`` alone.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from avbench.config.builder import SECTIONS, Settings
from avbench.config.collection import SUITES, Collection
from avbench.config.components import AXES, family_at
from avbench.config.data_file import DataFile, DatasetEntry
from avbench.config.rows import NOT_AXES, TASKS
from avbench.config.showing import UNTRAINED
from avbench.config.suite import SuiteFields
from avbench.core.components import ComponentRef
from avbench.core.errors import unknown
from avbench.core.registry import SINGULAR, Component, Registry
from avbench.training.settings import TrainSettings

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TRAINED = {"pretrain", "finetune"}
"""The sections that give the settings and the datasets of a training."""


def schema(what: str, registry: Registry) -> Schema:
    """Return the schema of one kind of document.

    Args:
        what: a key of ``KINDS``.
        registry: the components that documents may name.

    Raises:
        UnknownNameError: the kind is unknown.
    """
    if what not in KINDS:
        from avbench.core.errors import UnknownNameError

        raise UnknownNameError(unknown("schema", what, KINDS))
    made = _Maker(registry)
    return {"$schema": DIALECT, **KINDS[what](made), "$defs": dict(sorted(made.defs.items()))}


class _Maker:
    """Makes schemas of dataclasses; those of components go to ``defs`` and are referenced."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.defs: Schema = {}

    def suite(self) -> Schema:
        """Return the schema of a suite: its own fields, the sections, and rows or a grid."""
        own = self.fields(SuiteFields)
        row = {
            "label": {"type": "string"},
            "short": {"type": "string"},
            "published": {"type": "object"},
            **self._axes(),
        }
        own["rows"] = {"type": "array", "minItems": 1, "items": _object(row, extra=True)}
        lists = {
            name: {"type": "array", "minItems": 1, "items": s} for name, s in self._axes().items()
        }
        own["grid"] = _object(lists, extra={"type": "array", "minItems": 1}) | {"minProperties": 1}
        own["defaults"] = _object(self._axes(), extra=True)
        # Only a suite with axes of its own may use other names than these.
        names = {
            "anyOf": [
                {"enum": [*AXES, TASKS, *NOT_AXES]},
                {"pattern": rf"^({'|'.join(SECTIONS)})\."},
            ]
        }
        known = {
            "rows": {"items": {"propertyNames": names}},
            "grid": {"propertyNames": names},
            "defaults": {"propertyNames": names},
        }
        return {
            "title": "A suite of avbench",
            **_object({**own, **self._sections()}),
            "required": ["name"],
            "oneOf": [
                {"required": ["rows"]},
                {"required": ["grid"]},
                {
                    "required": ["show"],
                    "properties": {
                        "show": {"items": {"enum": sorted(UNTRAINED)}},
                        "rows": False,
                        "grid": False,
                    },
                },
            ],
            "if": {"not": {"required": ["axes"]}},
            "then": {"properties": known},
        }

    def collection(self) -> Schema:
        """Return the schema of a collection of suites."""
        own = _object(self.fields(Collection))
        return {"title": "A collection of suites", **own, "required": ["name", SUITES]}

    def preset(self) -> Schema:
        """Return the schema of a preset: the sections, and defaults of rows and seeds."""
        own = {"defaults": _object(self._axes()), "seeds": self.fields(SuiteFields)["seeds"]}
        return {"title": "A preset of avbench", **_object({**own, **self._sections()})}

    def data(self) -> Schema:
        """Return the schema of a data file: the reader and the folder of each dataset."""
        entry = self.fields(DatasetEntry)
        readers = [c for c in self._registry if c.family == "datasets"]
        for reader in readers:
            options = {k: v for k, v in self._options(reader).items() if k not in entry}
            given = {"reader": True, **entry, **options}
            self.defs[f"datasets/{reader.name}"] = _object(given) | {"description": reader.source}
        choice = self._choice("datasets", readers)
        dataset = {
            "type": "object",
            "required": ["reader", "root"],
            "properties": {"reader": choice},
            "allOf": [
                {
                    "if": {
                        "properties": {
                            "reader": {
                                "anyOf": [
                                    {"const": reader.name},
                                    {
                                        "type": "object",
                                        "properties": {"name": {"const": reader.name}},
                                    },
                                ]
                            }
                        }
                    },
                    "then": {"$ref": f"#/$defs/datasets~1{reader.name}"},
                }
                for reader in readers
            ],
        }
        own = self.fields(DataFile)
        own["datasets"] = {"type": "object", "additionalProperties": dataset}
        return {"title": "A data file of avbench", **_object(own)}

    def fields(self, cls: Any, at: tuple[str, ...] = ()) -> Schema:
        """The fields of a dataclass, none of them required.

        Args:
            cls: the dataclass.
            at: where in a suite its fields stand, which decides which components they may name.
        """
        # A standard dataclass inherits the configuration of the type that holds it.
        held = TypeAdapter(list[cls], config=ConfigDict(use_attribute_docstrings=True))
        whole = held.json_schema()
        made = dict(self._plain(whole["items"], whole["$defs"], at)["properties"])
        # Pydantic reads the docstrings of a class's own fields, not of inherited ones.
        for base in filter(dataclasses.is_dataclass, cls.__mro__[1:]):
            for name, field in self.fields(base, at).items():
                made[name] = {**field, **made[name]}
        return made

    def component(self, family: str) -> Schema:
        """Return the schema of a family's components: a name, or a mapping with options."""
        if family not in self.defs:
            components = [c for c in self._registry if c.family == family]
            for component in components:
                options = self._options(component)
                given = {"name": {"const": component.name}, **options}
                given["options"] = _object(options)
                self.defs[f"{family}/{component.name}"] = _object(given) | {
                    "description": component.source
                }
            self.defs[family] = {
                "description": f"A {SINGULAR[family]}: its name, or a mapping with its options.",
                "anyOf": [
                    self._choice(family, components),
                    {
                        "type": "object",
                        "properties": {"name": {"enum": [c.name for c in components]}},
                        "allOf": [
                            {
                                "if": {
                                    "properties": {"name": {"const": c.name}},
                                    "required": ["name"],
                                },
                                "then": {"$ref": f"#/$defs/{family}~1{c.name}"},
                            }
                            for c in components
                        ],
                    },
                ],
            }
        return {"$ref": f"#/$defs/{family}"}

    def _choice(self, family: str, components: list[Component]) -> Schema:
        names: Schema = {"enum": [c.name for c in components]}
        if family != "datasets":
            return names
        return {"anyOf": [names, {"type": "object", "required": ["name"]}]}

    def _options(self, component: Component) -> Schema:
        return self.fields(component.config)

    def _axes(self) -> Schema:
        axes: Schema = {axis: self.component(family) for axis, family in AXES.items()}
        return {**axes, TASKS: self.fields(TrainSettings)[TASKS]}

    def _sections(self) -> Schema:
        types: Mapping[str, Any] = {f.name: f.type for f in dataclasses.fields(Settings)}
        keys = {"type": "array", "items": {"type": "string"}}
        made: Schema = {}
        for name in SECTIONS:
            cls = TrainSettings if name in TRAINED else types[name]
            held = self.fields(cls, (name,))
            if name == "pretrain":
                # Loss and tasks of pre-training are axes.
                held = {k: v for k, v in held.items() if k not in (*AXES, TASKS)}
                held["dataset"] = {"type": "string"}
            elif name == "finetune":
                each = _object(held)
                held = {**held, "datasets": keys}
                held["per_dataset"] = {"type": "object", "additionalProperties": each}
            elif name == "vocabulary":
                held["datasets"] = keys
            made[name] = _object(held)
            if name in TRAINED:  # null: no such training
                made[name] = {"anyOf": [made[name], {"type": "null"}]}
        return made

    def _plain(self, value: Any, defs: Schema, at: tuple[str, ...]) -> Any:
        """Turn pydantic's schema into a strict one without references, with our components.

        A field without a docstring of its own is described by that of its dataclass.
        """
        if isinstance(value, list):
            return [self._plain(item, defs, at) for item in value]
        if not isinstance(value, dict):
            return value
        ref = value.get("$ref", "").rpartition("/")[2]
        made: Schema = {}
        if ref == ComponentRef.__name__:
            family = family_at(at)
            made = self.component(family) if family else {}
        elif ref:
            made = self._plain(defs[ref], defs, at)
        for key, inner in value.items():
            if key == "properties":
                made[key] = {
                    name: self._plain(field, defs, (*at, name)) for name, field in inner.items()
                }
            elif key in ("additionalProperties", "items", "prefixItems"):
                made[key] = self._plain(inner, defs, (*at, "*"))
            elif key == "default":
                made[key] = inner
            elif key not in ("$ref", "description", "required", "title"):
                made[key] = self._plain(inner, defs, at)
        if made.get("type") == "object" and "properties" in made:
            made["additionalProperties"] = False
        if "description" in value:
            made["description"] = " ".join(value["description"].split())
        return made


def described(cls: type) -> Schema:
    """Return the schema of each field of a dataclass; components are not resolved."""
    return _Maker(Registry()).fields(cls)


def _object(properties: Schema, *, extra: Schema | bool = False) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": extra}


KINDS: Mapping[str, Callable[[_Maker], Schema]] = {
    "suite": _Maker.suite,
    "collection": _Maker.collection,
    "preset": _Maker.preset,
    "data": _Maker.data,
}
"""The kinds of documents that have a schema."""
