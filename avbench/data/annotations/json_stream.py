"""Reading of a JSON object too large for memory, field by field."""

import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.core.visible import brief
from avbench.data.annotations.strict_json import (
    DAMAGED,
    TOO_DEEP,
    Node,
    RefusedError,
    check_unicode,
    open_text_file,
    unique_fields,
    unreadable,
    whole,
)

SEPARATORS = (" ", "\t", "\n", "\r", ",", ":", "}")
"""Characters that may follow a key or a value in an object."""

STREAMED = 1 << 20
"""Characters that ``stream_fields`` reads at once, at least."""


def stream_fields(path: Path) -> Iterator[tuple[str, Node]]:
    """Yield the fields of a JSON file's object, as ``open_json(path).fields()``.

    It holds one field in memory, not the file.

    Raises:
        DataError: as for ``open_json``, when reading reaches the problem.
    """
    with open_text_file(path) as file:
        yield from _Stream(path, file).fields()


class _Stream:
    """A JSON text of which only the current part is in memory."""

    def __init__(self, path: Path, file: TextIOWrapper) -> None:
        self._path = path
        self._file = file
        self._text = ""
        self._at = 0
        self._lines = 0
        self._ended = False
        self._decode = json.JSONDecoder(
            object_pairs_hook=unique_fields, parse_int=whole
        ).raw_decode

    def fields(self) -> Iterator[tuple[str, Node]]:
        if self._next_character() != "{":
            start = self._text[self._at : self._at + 1]
            if start:
                raise DataError(f"{self._path}: must be an object, but begins with '{start}'")
            raise self._error("Expecting value", self._at)
        seen: set[str] = set()
        self._at += 1
        while self._next_character() != "}":
            if seen:
                self._expect(",")
                self._next_character()
            key = self._value()
            if not isinstance(key, str):
                raise self._error("Expecting property name enclosed in double quotes", self._at)
            if key in seen:
                problem = f"the key '{brief(key)}' is given twice in one object"
                raise DataError(f"{self._path}: {problem}")
            seen.add(key)
            self._next_character()
            self._expect(":")
            self._next_character()
            yield key, Node(self._path, brief(key), self._value())
        self._at += 1
        if self._next_character():
            raise self._error("Extra data", self._at)

    def _next_character(self) -> str:
        """Skip blanks, and return the next character, or an empty string at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _expect(self, character: str) -> None:
        if self._text[self._at : self._at + 1] != character:
            raise self._error(f"Expecting '{character}' delimiter", self._at)
        self._at += 1

    def _value(self) -> Any:
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if any(self._text.find(f"\\u{d}", self._at, end) >= 0 for d in "dD"):
                    check_unicode(value)
            except json.JSONDecodeError as error:
                # A value that ends too soon may continue in the file; other errors stand.
                cut = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated")
                if not cut or not self._read_more():
                    raise self._error(error.msg, error.pos) from None
                continue
            except RefusedError as error:
                raise DataError(f"{self._path}: {error}") from None
            except RecursionError:
                raise DataError(f"{self._path}: {TOO_DEEP}") from None
            # Without a separator after it, a number might continue.
            if self._text[end : end + 1] in SEPARATORS or not self._read_more():
                self._at = end
                return value

    def _read_more(self) -> bool:
        """Read on and forget the part before; each read doubles the text, so time is linear."""
        if self._ended:
            return False
        self._lines += self._text.count("\n", 0, self._at)
        kept = self._text[self._at :]
        try:
            more = self._file.read(max(STREAMED, len(kept)))
        except DAMAGED as error:
            raise unreadable(self._path, error) from error
        self._ended = not more
        self._text, self._at = kept + more, 0
        return bool(more)

    def _error(self, message: str, position: int) -> DataError:
        line = self._lines + self._text.count("\n", 0, position) + 1
        return DataError(f"{self._path}: not JSON at line {line}: {message}")
