"""Files of captions from other tools: JSON lines, coco-caption's JSON, csv.

JSON lines
    ``{"id": …, "caption": …}``; references ``{"id": …, "captions": […]}``, or ``caption``, an id
    once for each.
VALUE's lines
    ``{"vid_name": …, "descs": [{"desc": …}, …]}``; in results ``video_id`` and one ``desc``.
coco-caption, results
    ``[{"image_id": …, "caption": …}, …]``; in references an id once for each.
coco-caption, annotations
    ``{"annotations": [{"image_id": …, "caption": …}, …]}``, the same.
by id
    ``{id: caption}``, ``{id: [caption, …]}``; or, as paragraphs of the sentences joined by blanks,
    ActivityNet-Captions' ``{video: {"sentences": […], …}}`` and its evaluation's
    ``{"results": {video: [{"sentence": …, …}, …]}}``.
csv with a head
    columns ``id`` and ``caption``; in references an id once for each, or columns ``caption_1``,
    ``caption_2``, …

A file that ends with ``.csv`` is csv; the form of any other follows from its first value. Ids are
texts or whole numbers (7 and "7" are one id). A caption may be empty; its line breaks count as
blanks. Files may be compressed by gzip (``.gz``).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.core.errors import DataError
from avbench.data.annotations.strict_json import (
    MalformedError,
    Node,
    open_csv,
    open_json,
    open_lines,
)

NUMBERED = re.compile(r"caption_\d+")
LINE = frozenset({"id", "caption", "captions", "descs"})
"""Fields that identify an object as a line of JSON lines."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """The captions of one line or object."""

    place: str
    id: str
    captions: tuple[str, ...]
    whole: bool
    """These are all captions of the id, so it must not come again."""


def read_hypotheses(path: Path) -> dict[str, str]:
    """Read one caption for each id.

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
    """Read one or more captions for each id, in the file's order.

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
    if isinstance(whole.value, dict) and "annotations" not in whole:
        if "results" in whole:
            whole = whole["results"]
        return (_of_field(id_, node, references=references) for id_, node in whole.fields())
    if isinstance(whole.value, dict):
        whole = whole["annotations"]
    return (
        _Entry(node.place, _id(node["image_id"]), (node["caption"].string(),), whole=False)
        for node in whole.items()
    )


def _lines(path: Path) -> list[Node] | None:
    """Read the lines of a file of JSON lines; None if it is one JSON document."""
    try:
        lines = open_lines(path)
    except DataError as of_line:
        # Some line is no JSON, so the file may be one document of several lines.
        try:
            open_json(path)
        except DataError as of_whole:
            raise (of_whole if ".json" in path.suffixes[-2:] else of_line) from None
        return None
    if len(lines) == 1:
        value = lines[0].value
        said = isinstance(value, dict) and (not value or not LINE.isdisjoint(value))
        if isinstance(value, list) or (isinstance(value, dict) and not said):
            return None
    return lines


def _of_field(id_: str, node: Node, *, references: bool) -> _Entry:
    """Read a field of an object whose keys are ids."""
    value = node.value
    if isinstance(value, str):
        captions: tuple[str, ...] = (node.string(),)
    elif isinstance(value, dict) and "sentences" in value:
        captions = (" ".join(node["sentences"].strings()),)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        captions = (" ".join(item["sentence"].string() for item in node.items()),)
    elif isinstance(value, list) and value and (references or len(value) == 1):
        captions = tuple(node.strings())
    else:
        several = ", an array of captions" if references else ""
        raise node.wrong(f"a caption{several}, or a video's sentences")
    return _Entry(node.place, id_, captions, whole=True)


def _of_line(line: Node, *, references: bool) -> _Entry:
    if "descs" in line:
        id_ = _id(line["vid_name" if "vid_name" in line else "video_id"])
        descs = line["descs"].items(None if references else 1)
        if not descs:
            raise line["descs"].wrong("an array of one or more captions")
        return _Entry(line.place, id_, tuple(d["desc"].string() for d in descs), whole=True)
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
