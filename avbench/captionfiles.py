"""Files of captions, as other tools write them: JSON lines, coco-caption's JSON, csv.

JSON lines
    ``{"id": …, "caption": …}``; references ``{"id": …, "captions": […]}``, or ``caption``, an id
    once for each.
coco-caption, results
    ``[{"image_id": …, "caption": …}, …]``; in references an id once for each.
coco-caption, annotations
    ``{"annotations": [{"image_id": …, "caption": …}, …]}``, the same.
csv with a head
    columns ``id`` and ``caption``; in references an id once for each, or columns ``caption_1``,
    ``caption_2``, …

A file that ends with ``.csv`` is csv; in any other the first value tells. Ids are texts or whole
numbers (7 and "7" are one id). A caption may be empty; line breaks in it count as blanks. Files
may be packed by gzip (``.gz``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.errors import DataError
from avbench.media.annotations import MalformedError, Node, open_csv, open_json, open_lines

NUMBERED = re.compile(r"caption_\d+")


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one line or object says."""

    place: str
    id: str
    captions: tuple[str, ...]
    whole: bool
    """Whether these are all of the id's captions, so that it may not come again."""


def read_hypotheses(path: Path) -> dict[str, str]:
    """One caption an id.

    Raises:
        DataError: the file is missing, malformed or empty, or gives an id twice; names the place.
    """
    found: dict[str, str] = {}
    for entry in _entries(path, references=False):
        if entry.id in found:
            raise MalformedError(entry.place, f"id '{entry.id}' has a caption already")
        (found[entry.id],) = entry.captions
    if not found:
        raise DataError(f"{path}: holds no caption")
    return found


def read_references(path: Path) -> dict[str, tuple[str, ...]]:
    """One or more captions an id, in the file's order.

    Raises:
        DataError: the file is missing, malformed or empty, an id has no caption, or a list of
            captions comes twice; names the place.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in _entries(path, references=True):
        if entry.whole and entry.id in found:
            raise MalformedError(entry.place, f"id '{entry.id}' has references already")
        found[entry.id] = (*found.get(entry.id, ()), *entry.captions)
    if not found:
        raise DataError(f"{path}: holds no caption")
    return found


def _entries(path: Path, *, references: bool) -> Iterator[_Entry]:
    if ".csv" in path.suffixes[-2:]:
        return _of_csv(path, references=references)
    lines = _lines(path)
    if lines is not None:
        return (_of_line(line, references=references) for line in lines)
    whole = open_json(path)
    if isinstance(whole.value, dict):
        whole = whole["annotations"]
    return (
        _Entry(node.place, _id(node["image_id"]), (node["caption"].string(),), whole=False)
        for node in whole.items()
    )


def _lines(path: Path) -> list[Node] | None:
    """The lines of a file of JSON lines; None where it is one JSON document."""
    try:
        lines = open_lines(path)
    except DataError as of_line:
        # Not each line is JSON: it may be one document over several lines.
        try:
            open_json(path)
        except DataError as of_whole:
            raise (of_whole if ".json" in path.suffixes[-2:] else of_line) from None
        return None
    if len(lines) == 1:
        value = lines[0].value
        if isinstance(value, list) or (isinstance(value, dict) and "annotations" in value):
            return None
    return lines


def _of_line(line: Node, *, references: bool) -> _Entry:
    id_ = _id(line["id"])
    if references and "caption" in line and "captions" in line:
        raise MalformedError(line.place, "has both fields, 'caption' and 'captions'; give one")
    if not references or ("caption" in line and "captions" not in line):
        return _Entry(line.place, id_, (line["caption"].string(),), whole=not references)
    captions = tuple(caption.string() for caption in line["captions"].items())
    if not captions:
        raise line["captions"].wrong("an array of one or more captions")
    return _Entry(line.place, id_, captions, whole=True)


def _of_csv(path: Path, *, references: bool) -> Iterator[_Entry]:
    numbered: Sequence[str] | None = None
    for row in open_csv(path, ("id",)):
        if numbered is None:
            numbered = [name for name in row.value if NUMBERED.fullmatch(name)]
        if references and numbered and "caption" in row:
            named = ", ".join(f"'{name}'" for name in numbered)
            raise MalformedError(row.place, f"has both columns, 'caption' and {named}; give one")
        if not references or not numbered:
            one = (row["caption"].string(),)
            yield _Entry(row.place, _id(row["id"]), one, whole=not references)
            continue
        captions = tuple(text for name in numbered if (text := row[name].string()))
        if not captions:
            raise MalformedError(row.place, "has no caption in any column caption_…")
        yield _Entry(row.place, _id(row["id"]), captions, whole=True)


def _id(node: Node) -> str:
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise node.wrong("an id: a text that is not empty, or a whole number")
    return value
