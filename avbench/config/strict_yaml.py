"""A strict YAML reader that keeps the line of each value; only ``avbench.config`` uses it.

PyYAML reads ``1e-4`` as text, ``on`` as true and ``10:30`` as 630, and lets a repeated key win.
Here a number is a number, only ``true`` and ``false`` are booleans, and a repeated key is an
error that names both lines.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from avbench.core.errors import SuiteError

Location = tuple[str | int, ...]
"""Location of a value in a document: keys and indices from the root."""


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
        self.found.setdefault(f"{mark}: {text}", mark)

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
        SuiteError: the file cannot be read, is invalid YAML, repeats a key, or is no mapping.
    """
    name = _display_path(path)
    FILES_READ.add(path.resolve())
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(f"{name}: cannot be read: {error}") from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        problems = Problems()
        marks: dict[Location, Mark] = {(): Mark(name, 1)}
        data = _plain(loader, node, (), marks, name, problems, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SuiteError(f"{Mark(name, line)}: invalid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise SuiteError(f"{name}: invalid YAML: {error}") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        problems.add(Mark(name, 1), f"must be a mapping of fields, got {data!r}")
    problems.check()
    return Document(data, marks)


def literal(text: str, file: str) -> Document:
    """Read a value as a file would give it, e.g. from the command line."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        marks: dict[Location, Mark] = {(): Mark(file, 0)}
        return Document(_plain(loader, node, (), marks, file, Problems(), ()), marks)
    finally:
        loader.dispose()


def constant(value: Any, mark: Mark) -> Document:
    """Return a document of a value that stands in no file."""
    return Document(value, {(): mark})


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""


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


_PLAIN_TAGS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


def _plain(
    loader: _Loader,
    node: yaml.Node | None,
    at: Location,
    marks: dict[Location, Mark],
    file: str,
    problems: Problems,
    above: tuple[yaml.Node, ...],
) -> Any:
    """Return a node as plain data and add the lines of its parts; an empty file is a mapping."""
    if node is None:
        return {}
    here = Mark(file, node.start_mark.line + 1)
    marks.setdefault(at, here)
    if any(node is outer for outer in above):
        problems.add(here, "an alias must not contain itself")
        return None
    above = (*above, node)
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _PLAIN_TAGS:
        problems.add(here, f"tags are not allowed, got '{node.tag}'")
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(loader, child, (*at, i), marks, file, problems, above)
            for i, child in enumerate(node.value)
        ]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)
    data: dict[str, Any] = {}
    for key_node, child in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = Mark(file, key_node.start_mark.line + 1)
        name = ".".join(str(part) for part in (*at, key))
        if not isinstance(key, str):
            problems.add(line, f"{name}: a field's name must be text, got {key!r}")
        elif key in data:
            problems.add(line, f"{name}: given twice (first on line {marks[*at, key].line})")
        else:
            marks[*at, key] = line
            data[key] = _plain(loader, child, (*at, key), marks, file, problems, above)
    return data


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
