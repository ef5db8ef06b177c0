r"""Texts from files as people may safely see them: in terminals, tables and spreadsheets.

A label, an id or a caption may hold control characters of terminals, or marks that reverse the
direction of text. They are shown as escapes, such as ``\x1b`` and ``\u202e``.
"""

import csv
import io
import json
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Unicode's categories of characters that are not printed, or change how others are."""

RUN = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""The beginning of a cell that a spreadsheet runs as a formula."""

NUMERAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*|-[\w-]*")
"""A cell that begins as a formula and is a number, or an id as YouTube gives them: ``-x_Y``."""

WITHIN = re.compile(r"""(?:^|(?<=[,;\t]))[\s"]*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")
"""Places in a line where a spreadsheet may see the beginning of a formula."""


def visible(text: str, keep: str = "") -> str:
    r"""Return a text with hidden characters as escapes, except those of ``keep``.

    >>> visible("\x1b[31mred")
    '\\x1b[31mred'
    >>> visible("naïve 日本")
    'naïve 日本'
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _hidden(c) else _escape(c) for c in text)


def brief(text: str, most: int = 60) -> str:
    r"""Return a text from a file for one line of an error: visible, and of ``most`` characters.

    >>> brief("a\nb"), brief("x" * 100, most=3)
    ('a\\nb', 'xxx…')
    """
    return visible(text if len(text) <= most else f"{text[:most]}…")


def one_line(text: str) -> str:
    """Return a text as one visible line, with white space as single blanks."""
    return visible(" ".join(text.split()))


def json_text(value: Any, *, indent: int | None = 1) -> str:
    """Return JSON whose texts have no hidden characters: they are escaped as JSON does."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if c != "\n" and _hidden(c) else c for c in text)


def as_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet runs: formulas begin with an apostrophe.

    >>> as_cell("=1+1"), as_cell("-0.5")
    ("'=1+1", '-0.5')
    """
    text = visible(text, keep="\n")
    safe = NUMERAL.fullmatch(text) or not RUN.match(text.lstrip("'"))
    return text if safe else f"'{text}"


def of_cell(text: str) -> str:
    """Return the text of which ``as_cell`` made a cell."""
    return text[1:] if text.startswith("'") and RUN.match(text.lstrip("'")) else text


def as_comment(text: str) -> str:
    """Return a text as a line of a csv file that begins with ``#``, and runs in no spreadsheet."""
    return f"# {WITHIN.sub(lambda found: found[0] + chr(39), one_line(text))}\n"


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    """Return rows as comma-separated values that no spreadsheet runs."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(map(as_cell, row) for row in rows)
    return out.getvalue()


def tolerate_output() -> None:
    """Let the output and the errors replace the characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _hidden(character: str) -> bool:
    return not character.isprintable() and unicodedata.category(character) in HIDDEN


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
