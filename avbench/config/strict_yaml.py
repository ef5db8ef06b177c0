"""A strict YAML reader that keeps the line of each value; only ``avbench.config`` uses it.

PyYAML reads ``1e-4`` as text, ``on`` as true and ``10:30`` as 630, and lets a repeated key win.
Here a number is a number, only ``true`` and ``false`` are booleans, and a repeated key is an
error that names both lines. A hostile file is refused in bounded time and memory.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from avbench.core.errors import SuiteError
from avbench.core.numbers import DIGITS, shown
from avbench.core.options import Location
from avbench.core.visible import brief, visible

LARGEST = 1 << 20
"""Bytes of a file, at most."""

MOST = 20_000
"""Values of a file, at most, with every alias written out."""

DEEPEST = 40
"""Mappings and lists within each other, at most."""

NAME = 200
"""Characters of a field's name, at most."""

FILES_READ: set[Path] = set()
"""All files read so far; the plan cache depends on their contents."""


@dataclass(frozen=True, order=True, slots=True)
class Mark:
    """A line of a file, counted from 1; line 0 means the whole file or a command-line option."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(slots=True)
class Problems:
    """Collects problems without repetition, to raise all of them at once."""

    found: dict[str, Mark] = field(default_factory=dict)

    def add(self, mark: Mark, text: str) -> None:
        """Add a problem: ``field: what is wrong, the value got, what is allowed``."""
        self.found.setdefault(f"{mark}: {visible(text)}", mark)

    def check(self) -> None:
        """Raise an error if there are problems.

        Raises:
            SuiteError: one line per problem, in the order of files and lines.
        """
        if self.found:
            files = {mark.file: i for i, mark in reversed(list(enumerate(self.found.values())))}
            lines = sorted(self.found, key=lambda t: (files[self.found[t].file], self.found[t]))
            raise SuiteError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data with the line of each part."""

    data: Any
    marks: Mapping[Location, Mark]

    def mark(self, location: Location) -> Mark:
        """Return the line of a value, or of the innermost part around it that has one."""
        while location not in self.marks and location:
            location = location[:-1]
        return self.marks[location]

    def get(self, location: Location) -> Any:
        """Return the value at a location, or None."""
        value = self.data
        for part in location:
            if isinstance(part, str) and isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(part, int) and isinstance(value, list) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def part(self, location: Location) -> "Document":
        """Return the document below a location."""
        n = len(location)
        marks = {k[n:]: v for k, v in self.marks.items() if k[:n] == location}
        marks.setdefault((), self.mark(location))
        return Document(self.get(location), marks)

    def set(self, location: Location, value: "Document") -> "Document":
        """Return a copy with another value at a location; missing mappings are created."""
        n = len(location)
        marks = {k: v for k, v in self.marks.items() if k[:n] != location}
        marks |= {location + k: v for k, v in value.marks.items()}
        return Document(_set_at(self.data, location, value.data), marks)

    def over(self, base: "Document") -> "Document":
        """Override another document's values by this one's, mapping by mapping.

        A mapping that names another component than ``base`` replaces it whole, since options of
        one component mean nothing to another. ``steps`` and ``epochs`` exclude each other, so
        the one given here replaces the other.
        """
        data, marks = _merge(base.data, self.data, base.marks, self.marks, ())
        return Document(data, marks)


def load(path: Path) -> Document:
    """Read a YAML file with a mapping at its top.

    Raises:
        SuiteError: the file cannot be read, is invalid YAML, repeats a key, is no mapping, holds
            a number that is not finite, or exceeds the bounds of this module.
    """
    name = _display_path(path)
    FILES_READ.add(path.resolve())
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{name}: cannot be read: {error}") from error
    if len(raw) > LARGEST:
        raise SuiteError(f"{name}: must have at most {LARGEST:,} bytes, got more")
    return _read(text, name)


def literal(text: str, file: str) -> Document:
    """Read a value as a file would give it, e.g. from the command line.

    Raises:
        SuiteError: as for ``load``.
    """
    found = _read(f"value: {text}", file, lines=False)
    if set(found.data) != {"value"}:
        raise SuiteError(f"{file}: must be one value, got {shown(text)}")
    return found.part(("value",))


def _read(text: str, name: str, *, lines: bool = True) -> Document:
    """Read a text with a mapping at its top; without ``lines`` errors name the file alone."""
    problems = Problems()
    marks: dict[Location, Mark] = {(): Mark(name, int(lines))}

    def mark(line: int) -> Mark:
        return Mark(name, line + 1 if lines else 0)

    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        data = _Reader(mark, problems, marks).plain(node, (), ())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        problem = f"the character U+{code:04X} is not allowed"
        raise SuiteError(f"{mark(line)}: invalid YAML: {problem}") from error
    except yaml.MarkedYAMLError as error:
        place = mark(error.problem_mark.line) if error.problem_mark else Mark(name, 0)
        raise SuiteError(f"{place}: invalid YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise SuiteError(f"{name}: invalid YAML: {error}") from error
    if not isinstance(data, dict):
        problems.add(mark(0), f"must be a mapping of fields, got {shown(data)}")
    problems.check()
    return Document(data, marks)


def constant(value: Any, mark: Mark) -> Document:
    """Return a document of a value that stands in no file."""
    return Document(value, {(): mark})


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema, without tags, and with bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; it must have no tag, and lie within ``DEEPEST`` and ``MOST``."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._nodes += 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._refuse(event, f"tags are not allowed, got '{tag}'")
        if self._nodes > MOST:
            self._refuse(event, f"there must be at most {MOST:,} values")
        if self._depth > DEEPEST:
            self._refuse(event, f"values must nest at most {DEEPEST} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, event: Any, problem: str) -> None:
        raise yaml.composer.ComposerError(None, None, problem, event.start_mark)


_NUMBERS = "+-.0123456789"
_Loader.yaml_implicit_resolvers = {}
_RESOLVERS: Iterable[tuple[str, str, str]] = (
    ("null", r"~|null|", "~n\0"),
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)", _NUMBERS),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9]*)(?:[eE][-+]?[0-9]+)?", _NUMBERS),
    ("float", r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+", _NUMBERS),
    ("float", r"[-+]?\.inf|\.nan", _NUMBERS),
)
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}",
        re.compile(rf"^(?:{_pattern})$"),
        ["" if c == "\0" else c for c in _first],
    )


@dataclass(slots=True)
class _Reader:
    """Turns nodes into plain data, and adds the lines of its parts; aliases are written out."""

    mark: Callable[[int], Mark]
    problems: Problems
    marks: dict[Location, Mark]
    values: int = 0

    def plain(self, node: yaml.Node | None, at: Location, above: tuple[yaml.Node, ...]) -> Any:
        """Return a node as plain data; an empty file is a mapping."""
        if node is None:
            return {}
        here = self.mark(node.start_mark.line)
        self.marks.setdefault(at, here)
        self.values += 1
        if any(node is outer for outer in above):
            self.problems.add(here, "an alias must not contain itself")
            return None
        if self.values > MOST or len(above) > DEEPEST:
            raise yaml.composer.ComposerError(
                None,
                None,
                f"aliases written out, there must be at most {MOST:,} values, {DEEPEST} deep",
                node.start_mark,
            )
        above = (*above, node)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*at, i), above) for i, child in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(node, ".".join(map(str, at)), here)
        data: dict[str, Any] = {}
        for key_node, child in node.value:
            key = self._key(key_node, at)
            if key is None:
                continue
            line = self.mark(key_node.start_mark.line)
            if key in data:
                name = ".".join(map(str, (*at, key)))
                first = self.marks[*at, key].line
                self.problems.add(line, f"{name}: given twice (first on line {first})")
            else:
                self.marks[*at, key] = line
                data[key] = self.plain(child, (*at, key), above)
        return data

    def _key(self, node: yaml.Node, at: Location) -> str | None:
        line = self.mark(node.start_mark.line)
        if not isinstance(node, yaml.ScalarNode):
            what = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
            name = ".".join(map(str, at)) or "the file"
            self.problems.add(line, f"{name}: a field's name must be text, got {what}")
            return None
        key = self._scalar(node, ".".join(map(str, at)) or "a field's name", line)
        if isinstance(key, str):
            if len(key) <= NAME:
                return key
            problem = f"a field's name must have at most {NAME} characters, got {len(key)}"
            self.problems.add(line, f"{'.'.join(map(str, (*at, brief(key))))}: {problem}")
            return None
        if key is None and not node.tag.endswith(":null"):
            return None  # a number that is wrong in itself
        name = ".".join(map(str, (*at, shown(key))))
        self.problems.add(line, f"{name}: a field's name must be text, got {shown(key)}")
        return None

    def _scalar(self, node: yaml.Node, name: str, here: Mark) -> Any:
        """Return a text, boolean, null, or finite number of at most ``DIGITS`` characters."""
        kind, text = node.tag.rpartition(":")[2], node.value
        if kind == "str":
            wrong = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
            if wrong is not None:
                self.problems.add(here, f"{name}: text must not hold U+{ord(wrong):04X}")
            return text
        if kind in ("int", "float"):
            if len(text) > DIGITS:
                problem = f"a number must have at most {DIGITS} characters, got {len(text)}"
                self.problems.add(here, f"{name}: {problem}")
                return None
            digits = text.replace("_", "")
            number: int | float = int(digits) if kind == "int" else float(_POINT.sub("", digits))
            if not math.isfinite(number):
                self.problems.add(here, f"{name}: a number must be finite, got {text}")
                return None
            return number
        return {"null": None, "true": True, "false": False}[text if kind == "bool" else "null"]


_POINT = re.compile(r"\.(?=inf|nan)")
"""The point of ``.inf`` and ``.nan``, which Python writes without it."""


def _set_at(data: Any, location: Location, value: Any) -> Any:
    """Return plain data with another value at a location; only the way to it is copied."""
    if not location:
        return value
    part, rest = location[0], location[1:]
    if isinstance(part, int):
        assert isinstance(data, list), location
        return [_set_at(v, rest, value) if i == part else v for i, v in enumerate(data)]
    inner = dict(data) if isinstance(data, Mapping) else {}
    inner[part] = _set_at(inner.get(part), rest, value)
    return inner


def _merge(
    base: Any,
    over: Any,
    base_marks: Mapping[Location, Mark],
    over_marks: Mapping[Location, Mark],
    at: Location,
) -> tuple[Any, dict[Location, Mark]]:
    named = "name" in over if isinstance(over, Mapping) else False
    if (
        not isinstance(base, Mapping)
        or not isinstance(over, Mapping)
        or (named and base.get("name") != over["name"])
    ):
        n = len(at)
        return over, {k: v for k, v in over_marks.items() if k[:n] == at}
    kept = {k: v for k, v in base.items() if _EXCLUDED_BY.get(k) not in over}
    data: dict[str, Any] = {}
    marks = {at: over_marks.get(at, base_marks.get(at, Mark("", 0)))}
    n = len(at) + 1
    for key in [*kept, *(k for k in over if k not in kept)]:
        below = (*at, key)
        if key not in over:
            data[key] = base[key]
            marks |= {k: v for k, v in base_marks.items() if k[:n] == below}
        else:
            data[key], inner = _merge(base.get(key), over[key], base_marks, over_marks, below)
            marks |= inner
    return data, marks


_EXCLUDED_BY = {"steps": "epochs", "epochs": "steps"}


def _display_path(path: Path) -> str:
    """Return a path relative to the current folder, or absolute if it lies outside."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
