"""Converts plain data (from YAML or JSON) to frozen dataclasses and back."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args, runtime_checkable

from pydantic import ConfigDict, TypeAdapter, ValidationError

from avbench.core.errors import unknown
from avbench.core.numbers import FAULT, shown

T = TypeVar("T")


Location = tuple[str | int, ...]
"""Location of a value in plain data: keys and indices from the root."""


def problems(error: ValidationError, cls: type, where: str) -> list[str]:
    """Return a validation error as lines: field, fault, given value, nearest name."""
    return [text for _, text in located(error, cls, where)]


def located(
    error: ValidationError,
    cls: type,
    where: str,
    rank: Callable[[Location], int] = lambda _: 0,
) -> list[tuple[Location, str]]:
    """Return a validation error as lines, each with the location of the faulty value.

    A rule between the fields of a dataclass is located at a field that its message names: the
    first of those whose location has the lowest ``rank``.
    """
    found = []
    for e in error.errors():
        at: Location = e["loc"][1:]  # without the place in the tuple of ``_adapter``
        path = ".".join([where, *(str(part) for part in at)]).strip(".")
        if e["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            parent = path.rpartition(".")[0] or where
            allowed = _fields_at(cls, at[:-1])
            text = f"{parent}: {unknown('field', str(at[-1]), allowed)}"
        elif e["type"] == "missing":
            text = f"{path}: is missing"
        elif e["type"] == FAULT:
            text = f"{path}: {e['msg']}"
        elif e["type"] == "finite_number":
            text = f"{path}: must be finite, got {shown(e['input'])}"
        elif e["type"] == "value_error":
            rule = e["msg"].removeprefix("Value error, ")
            text = f"{path}: {rule}"
            named = [f for f in _fields_at(cls, at) if re.search(rf"\b{f}\b", rule)]
            places = [(*at, f) for f in sorted(named, key=rule.index)]
            at = min(places, key=rank, default=at)
        else:
            text = f"{path}: {e['msg']}, got {shown(e['input'])}"
        found.append((at, text))
    return found


def build(cls: type[T], data: Any, *, where: str = "") -> T:
    """Make an instance of a dataclass from plain data; unknown fields are refused.

    Every number must be finite and within its declared bounds (``avbench.core.numbers``).

    Raises:
        ValidationError: see ``problems`` for its wording.
    """
    (built,) = _adapter(cls).validate_python(  # type: ignore[arg-type]  # a class is hashable
        (data,), extra="forbid", context={"where": where}
    )
    made: T = built
    return made


@runtime_checkable
class Buildable(Protocol):
    """The part of a registered component that builds it."""

    @property
    def config(self) -> type:
        """The dataclass of its options."""

    @property
    def build(self) -> Callable[..., Any]:
        """Makes it from options and context."""


def make(component: Buildable, given: Any, *context: Any, where: str = "") -> Any:
    """Build a component from plain options, and from its family's context.

    Raises:
        ValidationError: the options do not fit its config.
    """
    return component.build(build(component.config, given, where=where), *context)


@functools.cache
def _adapter(cls: Any) -> Any:
    """Return the validator of a dataclass; each is made once, as that takes milliseconds.

    The dataclass is the only item of a tuple, because it takes its configuration from the type
    that holds it.
    """
    return TypeAdapter(tuple[cls], config=ConfigDict(allow_inf_nan=False))


_AS_IT_IS = frozenset((str, int, float, bool, type(None)))
"""Types whose values are JSON's own."""


def plain(value: Any) -> Any:
    """Return settings as JSON values: dataclasses, mappings, sets, paths and enums resolved."""
    if type(value) in _AS_IT_IS:  # most values, and plans ask for hundreds of thousands
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(plain(v) for v in value)
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return value


def canonical(value: Any) -> str:
    """Return canonical JSON, for hashing and comparing."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _fields_at(cls: Any, loc: tuple[int | str, ...]) -> list[str]:
    """Return the fields of the dataclass at a location inside ``cls``."""
    for part in loc:
        if isinstance(part, int):  # into a tuple or list
            cls = next((a for a in get_args(cls) if dataclasses.is_dataclass(a)), cls)
            continue
        if not dataclasses.is_dataclass(cls):
            break
        types = {f.name: f.type for f in dataclasses.fields(cls)}
        if part in types:
            cls = types[part]
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


__all__ = ["ValidationError", "build", "canonical", "located", "plain", "problems"]
