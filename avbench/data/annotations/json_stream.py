"""Reading a JSON object that is too large to be held at once, field by field."""

import json
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from avbench.core.errors import DataError
from avbench.data.annotations.strict_json import (
    Node,
    RepeatedKeyError,
    once,
    opened_text,
    unreadable,
)

SEPARATORS = (" ", "\t", "\n", "\r", ",", ":", "}")
"""What may follow a key or a value in an object."""

STREAMED = 1 << 20
"""Characters that ``stream_fields`` reads at once, at least."""


def stream_fields(path: Path) -> Iterator[tuple[str, Node]]:
    """The fields of the object that a JSON file holds, one after the other.

    As ``open_json(path).fields()``, in the memory of one field, not of the file.

    Raises:
        DataError: as for ``open_json``, but where the file is read that far.
    """
    with opened_text(path) as file:
        yield from _Stream(path, file).fields()


class _Stream:
    """A JSON text of which the part that is being looked at is in memory."""

    def __init__(self, path: Path, file: TextIOWrapper) -> None:
        self._path = path
        self._file = file
        self._text = ""
        self._at = 0
        self._lines = 0
        self._ended = False
        self._decode = json.JSONDecoder(object_pairs_hook=once).raw_decode

    def fields(self) -> Iterator[tuple[str, Node]]:
        if self._next() != "{":
            start = self._text[self._at : self._at + 1]
            if start:
                raise DataError(f"{self._path}: must be an object, but begins with '{start}'")
            raise self._wrong("Expecting value", self._at)
        seen: set[str] = set()
        self._at += 1
        while self._next() != "}":
            if seen:
                self._skip(",")
                self._next()
            key = self._value()
            if not isinstance(key, str):
                raise self._wrong("Expecting property name enclosed in double quotes", self._at)
            if key in seen:
                raise DataError(f"{self._path}: the key '{key}' is given twice in one object")
            seen.add(key)
            self._next()
            self._skip(":")
            self._next()
            yield key, Node(self._path, key, self._value())
        self._at += 1
        if self._next():
            raise self._wrong("Extra data", self._at)

    def _next(self) -> str:
        """The next character that is not blank; nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _skip(self, character: str) -> None:
        if self._text[self._at : self._at + 1] != character:
            raise self._wrong(f"Expecting '{character}' delimiter", self._at)
        self._at += 1

    def _value(self) -> Any:
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # What ends too soon may go on in the file; what is wrong before that is wrong.
                cut = error.pos > len(self._text) - 16 or error.msg.startswith("Unterminated")
                if not cut or not self._more():
                    raise self._wrong(error.msg, error.pos) from None
                continue
            except (RepeatedKeyError, RecursionError) as error:
                raise DataError(f"{self._path}: {error}") from None
            # A number might go on where no separator follows.
            if self._text[end : end + 1] in SEPARATORS or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on; what was passed is forgotten. As much as is held, so that time is linear."""
        if self._ended:
            return False
        self._lines += self._text.count("\n", 0, self._at)
        kept = self._text[self._at :]
        try:
            more = self._file.read(max(STREAMED, len(kept)))
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise unreadable(self._path, error) from error
        self._ended = not more
        self._text, self._at = kept + more, 0
        return bool(more)

    def _wrong(self, message: str, position: int) -> DataError:
        line = self._lines + self._text.count("\n", 0, position) + 1
        return DataError(f"{self._path}: not JSON at line {line}: {message}")
