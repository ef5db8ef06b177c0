"""Strict reading of annotation files: every error names the file, the field and the value.

``open_json`` returns a ``Node``: a value with its place. A reader descends from it and asks for
the fields of the format; a missing field or another type is a ``MalformedError``. Files may be
compressed by gzip (``.gz``).
"""

import csv
import difflib
import gzip
import itertools
import json
import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.numbers import DIGITS, shown
from avbench.core.visible import brief

LARGEST = sys.float_info.max
"""The largest number accepted; JSON can write larger integers."""

LONGEST_ID = 200
"""Characters of an id, at most; file systems have names of 255 bytes."""

TOO_DEEP = "arrays and objects nest too deep"

DAMAGED = (OSError, EOFError, UnicodeDecodeError, zlib.error)
"""Errors of reading a file that cannot be read, decompressed or decoded."""

MOST = 12
"""Names that an error lists."""

csv.field_size_limit(2**31 - 1)  # a cell may be as long as a text in JSON


class MalformedError(DataError):
    """Something in a file that does not follow the format, with its ``place`` and ``problem``.

    Within a single clip's entry, a reader may lose that clip instead of failing.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value, or a field of a csv file, with its place."""

    file: Path
    at: str
    """The path to it, e.g. ``database.xHr8X2Wpmno.annotations[3]``; empty for the top level."""
    value: Any

    @property
    def place(self) -> str:
        """The file and the path in it, for messages."""
        return f"{self.file}: {self.at}" if self.at else f"{self.file}"

    def wrong(self, allowed: str, hint: str = "") -> MalformedError:
        """Return the error for a value that is not allowed."""
        got = brief(json.dumps(self.value, ensure_ascii=False))
        problem = f"must be {allowed}, got {kind(self.value)} {got}{hint}"
        return MalformedError(self.place, problem)

    def __getitem__(self, key: str) -> "Node":
        """Return a field of an object.

        Raises:
            DataError: this is no object, or it has no such field.
        """
        if not isinstance(self.value, dict):
            raise self.wrong(f"an object with the field '{key}'")
        if key not in self.value:
            raise MalformedError(self.place, missing("field", key, self.value))
        return Node(self.file, self._below(key), self.value[key])

    def _below(self, key: str) -> str:
        return f"{self.at}.{brief(key)}" if self.at else brief(key)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def fields(self) -> Iterator[tuple[str, "Node"]]:
        """Yield the fields of an object, in the file's order."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        for key, value in self.value.items():
            yield key, Node(self.file, self._below(key), value)

    def items(self, length: int | None = None) -> list["Node"]:
        """Return the items of an array, of a given length if one is given."""
        if not isinstance(self.value, list):
            raise self.wrong("an array")
        if length is not None and len(self.value) != length:
            raise self.wrong(f"an array of {length} items")
        return [Node(self.file, f"{self.at}[{i}]", v) for i, v in enumerate(self.value)]

    def text(self) -> str:
        """Return a text of at least one word, with white space as single blanks.

        A line break in a caption would shift the lines of the tools that score it.
        """
        found = self.string()
        if not found:
            raise self.wrong("a text that is not empty")
        return found

    def string(self) -> str:
        """Return a text that may be empty, with white space as single blanks."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return " ".join(self.value.split())

    def caption(self) -> str:
        """Return a caption as ``string``; null is a blank one."""
        return "" if self.value is None else self.string()

    def strings(self, length: int | None = None) -> list[str]:
        """Return an array of texts; as ``string`` of each of ``items``, but faster."""
        values = self.value
        if isinstance(values, list) and (length is None or len(values) == length):
            try:
                return [" ".join(v.split()) for v in values]
            except AttributeError:
                pass  # the slow way names the item
        return [item.string() for item in self.items(length)]

    def numbers(self, length: int | None = None) -> list[float]:
        """Return an array of numbers; as ``number`` of each of ``items``, but faster."""
        values = self.value
        if isinstance(values, list) and (length is None or len(values) == length):
            kinds = set(map(type, values))
            # If all are at least 0 and their sum is at most LARGEST, so is each.
            if kinds <= {int, float} and min(values, default=0) >= 0 and sum(values) <= LARGEST:
                return list(map(float, values))
        return [item.number() for item in self.items(length)]

    def seconds(self) -> float:
        """Return a number of seconds, 0 or more; csv files hold it as text."""
        if not isinstance(self.value, str):
            return self.number()
        try:
            found = float(self.value)
        except ValueError:
            found = math.nan
        if not (math.isfinite(found) and found >= 0):
            raise self.wrong("a number, 0 or more")
        return found

    def id(self) -> str:
        """Return an id: a text that is not empty and can be part of a file name."""
        if not isinstance(self.value, str):
            raise self.wrong("an id (a text)")
        return checked_id(self.value, self.place)

    def real(self) -> float:
        """Return a finite number of any sign."""
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not abs(self.value) <= LARGEST:
            raise self.wrong("a number")
        return float(self.value)

    def number(self) -> float:
        """Return a finite number, 0 or more."""
        number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not number or not 0 <= self.value <= LARGEST:
            raise self.wrong("a number, 0 or more")
        return float(self.value)

    def integer(self) -> int:
        """Return a whole number, 0 or more."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self.wrong("a whole number, 0 or more")
        return self.value

    def choice(self, allowed: Sequence[str]) -> str:
        """Return a text that is one of some."""
        if not isinstance(self.value, str) or self.value not in allowed:
            raise self.wrong(f"one of {', '.join(allowed)}")
        return self.value

    def interval(self) -> tuple[float, float]:
        """Return a pair [start, end] in seconds, the end not before the start."""
        start, end = (n.number() for n in self.items(2))
        if end < start:
            raise self.wrong("[start, end] with the end not before the start")
        return start, end


def missing(what: str, name: str, held: Iterable[str]) -> str:
    """Return the message for a missing field or column, with the nearest existing one.

    >>> missing("field", "database", ["databse"])
    "the field 'database' is missing; is 'databse' meant? It has: databse"
    """
    names = list(held)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"; is '{brief(near[0])}' meant?" if near else "."
    return f"the {what} '{name}' is missing{hint} It has: {listed(names) or '(none)'}"


def listed(names: Iterable[str]) -> str:
    """Return the first ``MOST`` of some names from a file, for a message."""
    return ", ".join(map(brief, itertools.islice(names, MOST)))


def kind(value: Any) -> str:
    """Return the JSON name of a value's type."""
    names = {dict: "object", list: "array", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def checked_id(text: str, where: str) -> str:
    """Return an id from a file unless it could lead out of the media folder.

    Raises:
        DataError: the id is empty, too long for a file's name, or holds a separator or a control
            character.
    """
    if len(text) > LONGEST_ID:
        problem = f"must be an id of at most {LONGEST_ID} characters, got {len(text)}"
        raise MalformedError(where, f"{problem}: {shown(text)}")
    if not text or text in (".", "..") or any(c in "/\\" or not c.isprintable() for c in text):
        raise MalformedError(
            where, f"must be an id without separators or control characters, got {shown(text)}"
        )
    return text


def open_json(path: Path) -> Node:
    """Read a JSON file.

    Raises:
        DataError: it is missing, no JSON (with line and column), or gives a key twice.
    """
    return Node(path, "", _parse(read_text(path), path))


def open_lines(path: Path) -> list[Node]:
    """Read a file of one JSON value a line; empty lines are skipped.

    Raises:
        DataError: as for ``open_json``.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [Node(path, f"line {n}", _parse(text, path, n)) for n, text in lines if text.strip()]


def open_words(path: Path) -> list[Node]:
    """Read a text file: each line that is not blank as an array of its words.

    Raises:
        DataError: it is missing or not in UTF-8.
    """
    lines = enumerate(read_text(path).split("\n"), start=1)
    return [Node(path, f"line {n}", text.split()) for n, text in lines if text.strip()]


def open_csv(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[Node]:
    """Yield the rows of a csv file with a header as objects of texts; the first is ``row 2``.

    Args:
        path: the file.
        columns: columns that must exist; others may.
        delimiter: delimiter of the fields.

    Raises:
        DataError: the file is missing, no csv, lacks a column or names one twice;
            MalformedError: a row's length differs from the header's.
    """
    with open_text_file(path) as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        head: list[str] | None = None
        number = 1
        while True:
            try:
                row = next(lines)
            except StopIteration:
                break
            except csv.Error as error:
                raise DataError(f"{path}: row {number}: not csv: {error}") from None
            except DAMAGED as error:
                raise unreadable(path, error) from error
            if head is None:
                head = [name.strip() for name in row]
                named = [name for name in head if name]
                twice = next((name for name in named if named.count(name) > 1), None)
                if twice is not None:
                    places = [i for i, name in enumerate(head, start=1) if name == twice]
                    times = f"{len(places)} times (as {listed(map(str, places))})"
                    problem = f"the column '{brief(twice)}' is given {times}"
                    raise DataError(f"{path}: row {number}: {problem}; each needs its own name")
                for column in columns:
                    if column not in head:
                        raise DataError(f"{path}: {missing('column', column, head)}")
            elif row:
                if len(row) != len(head):
                    problem = f"must have {len(head)} cells as the head has, got {len(row)}"
                    raise MalformedError(f"{path}: row {number}", problem)
                yield Node(path, f"row {number}", dict(zip(head, row, strict=True)))
            number += 1
        if head is None:
            raise DataError(f"{path}: is empty; must have a row of columns' names")


class RefusedError(ValueError):
    """A value of valid JSON that is not accepted: a key twice, or a number of many digits."""


def whole(digits: str) -> int:
    """Return a whole number; a hook for JSON decoders.

    Raises:
        RefusedError: it has more than ``DIGITS`` characters.
    """
    if len(digits) > DIGITS:
        raise RefusedError(
            f"a number must have at most {DIGITS} characters, got {len(digits)}: {digits[:20]}…"
        )
    return int(digits)


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of its fields; a hook for JSON decoders.

    Raises:
        RefusedError: a key occurs twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RefusedError(f"the key '{brief(key)}' is given twice in one object")
            seen.add(key)
    return found


def open_text_file(path: Path) -> TextIOWrapper:
    """Open a text file; ``.gz`` is decompressed."""
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a file that cannot be opened, decompressed or decoded."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file")
    if isinstance(error, UnicodeDecodeError):
        return DataError(f"{path}: not in UTF-8: {error}")
    if isinstance(error, zlib.error | EOFError | gzip.BadGzipFile):
        return DataError(f"{path}: not gzip, or damaged: {error}")
    return DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: it is missing or not in UTF-8.
    """
    with open_text_file(path) as file:
        try:
            return file.read()
        except DAMAGED as error:
            raise unreadable(path, error) from error


def first_line(path: Path) -> str:
    """Read the first line of a text file.

    Raises:
        DataError: as for ``read_text``.
    """
    with open_text_file(path) as file:
        try:
            return file.readline()
        except DAMAGED as error:
            raise unreadable(path, error) from error


def _parse(text: str, path: Path, line: int | None = None) -> Any:
    where = f"{path}: line {line}" if line else f"{path}"
    try:
        value = json.loads(text, object_pairs_hook=unique_fields, parse_int=whole)
        if "\\ud" in text or "\\uD" in text:
            check_unicode(value)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if line else f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{where}: not JSON at {at}: {error.msg}") from None
    except RefusedError as error:
        raise DataError(f"{where}: {error}") from None
    except RecursionError:
        raise DataError(f"{where}: {TOO_DEEP}") from None
    return value


def check_unicode(value: Any) -> None:
    """Check that a value's texts have no half of a surrogate pair, which no file can hold.

    Raises:
        RefusedError: one has.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise RefusedError(f"a text holds half of a surrogate pair, \\u{code:04x}") from None
