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
    ActivityNet-Captions' ``{video: {"sentences": […], "timestamps": [[start, end], …]}}`` and its
    evaluation's ``{"results": {video: [{"sentence": …, "timestamp": [start, end]}, …]}}``. The
    sentences of a video are sorted by time if all have one; otherwise the file's order counts.
csv with a head
    columns ``id`` and ``caption``; in references an id once for each, or columns ``caption_1``,
    ``caption_2``, …

A file that ends with ``.csv`` is csv; the form of any other follows from its first value. Ids are
texts or whole numbers (7, 7.0 and "7" are one id). A caption may be empty; its line breaks count
as blanks. Files may be compressed by gzip (``.gz``).

Ids may belong to groups, e.g. clips to videos: by a field of these files, or by a file of its own
(``read_groups``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from avbench.core.errors import DataError
from avbench.core.visible import brief
from avbench.data.annotations.paragraphs import in_time
from avbench.data.annotations.strict_json import (
    MalformedError,
    Node,
    listed,
    open_csv,
    open_json,
    open_lines,
)

NUMBERED = re.compile(r"caption_\d+")
LINE = frozenset({"id", "caption", "captions", "descs"})
"""Fields that identify an object as a line of JSON lines."""

TIMES = ("timestamp", "timestamps", "segment")
"""Names of the field that holds the start and end of a sentence."""

GROUPS = ("group", "video")
"""Names of the field that a file of groups needs if it has several beside the id."""

T = TypeVar("T")


class Captions(dict[str, T], Generic[T]):
    """The captions of a file by id, in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: set[str] = set()
        """The orders of sentences joined to paragraphs: by their ``start``, as in the ``file``."""
        self.groups: dict[str, str] = {}
        """The group of each id, if a field was named."""

    def note(self, entry: "_Entry") -> None:
        """Keep the order of an entry's sentences, and the group of its id.

        Raises:
            MalformedError: the id has another group already.
        """
        if entry.order is not None:
            self.orders.add(entry.order)
        if entry.group is not None:
            _add_group(self.groups, entry.id, entry.group)


@dataclass(frozen=True, slots=True)
class _Entry:
    """The captions of one line or object."""

    node: Node
    id: str
    captions: tuple[str, ...]
    whole: bool
    """These are all captions of the id, so it must not come again."""
    group: Node | None = None
    order: str | None = None
    """The order of the sentences joined to the caption; None: nothing was joined."""

    @property
    def place(self) -> str:
        return self.node.place


def read_hypotheses(path: Path) -> Captions[str]:
    """Read one caption for each id.

    Raises:
        DataError: the file is missing, malformed or empty, or gives an id twice; names the place.
    """
    found = Captions[str]()
    for entry in _entries(path, references=False):
        if entry.id in found:
            raise MalformedError(entry.place, f"id '{brief(entry.id)}' has a caption already")
        (found[entry.id],) = entry.captions
        found.note(entry)
    if not found:
        raise DataError(f"{path}: holds no caption")
    return found


def read_references(path: Path, group: str | None = None) -> Captions[tuple[str, ...]]:
    """Read one or more captions for each id, in the file's order.

    Args:
        path: the file.
        group: the field that holds the group of an id; None: there is none.

    Raises:
        DataError: the file is missing, malformed or empty, an id has no caption, a list of
            captions comes twice, or an id has no group or two; names the place.
    """
    found = Captions[tuple[str, ...]]()
    for entry in _entries(path, references=True, group=group):
        if entry.whole and entry.id in found:
            raise MalformedError(entry.place, f"id '{brief(entry.id)}' has references already")
        found[entry.id] = (*found.get(entry.id, ()), *entry.captions)
        found.note(entry)
    if not found:
        raise DataError(f"{path}: holds no caption")
    return found


def read_groups(path: Path) -> dict[str, str]:
    """Read the group of each id from a file of its own.

    Forms: ``{id: group}``; JSON lines or csv with ``id`` and one other field, or with ``group`` or
    ``video`` among several.

    Raises:
        DataError: the file is missing, malformed or empty, or an id has two groups; names the
            place.
    """
    found: dict[str, str] = {}
    lines: Sequence[Node] | Iterator[Node] | None
    lines = open_csv(path, ("id",)) if _is_csv(path) else _lines(path)
    if lines is None:
        for id_, node in open_json(path).fields():
            _add_group(found, _key(id_, node), node)
    else:
        for line in lines:
            _add_group(found, _id(line["id"]), line[_group_field(line)])
    if not found:
        raise DataError(f"{path}: holds no group")
    return found


def _add_group(groups: dict[str, str], id_: str, node: Node) -> None:
    group = _id(node, "a group")
    if groups.setdefault(id_, group) != group:
        held = brief(groups[id_])
        problem = f"id '{brief(id_)}' has the group '{held}' already, got '{brief(group)}'"
        raise MalformedError(node.place, problem)


def _group_field(line: Node) -> str:
    others = [name for name, _ in line.fields() if name != "id"]
    named = [name for name in GROUPS if name in others]
    if len(others) != 1 and not named:
        raise MalformedError(
            line.place, f"needs a field 'group' beside 'id', got {listed(others) or 'none'}"
        )
    return named[0] if named else others[0]


def _is_csv(path: Path) -> bool:
    return ".csv" in path.suffixes[-2:]


def _entries(path: Path, *, references: bool, group: str | None = None) -> Iterator[_Entry]:
    if _is_csv(path):
        yield from _of_csv(path, references=references, group=group)
        return
    lines = _lines(path)
    if lines is not None:
        for line in lines:
            yield _of_line(line, references=references, group=group)
        return
    whole = open_json(path)
    if isinstance(whole.value, dict) and "annotations" not in whole:
        if "results" in whole:
            whole = whole["results"]
        for id_, node in whole.fields():
            yield _of_field(_key(id_, node), node, references=references, group=group)
        return
    of_image: Mapping[str, Node] = {}
    if isinstance(whole.value, dict):
        if group is not None and "images" in whole:
            of_image = {_id(image["id"]): image for image in whole["images"].items()}
        whole = whole["annotations"]
    for node in whole.items():
        id_ = _id(node["image_id"])
        held = node if group is None or group in node else of_image.get(id_, node)
        captions = (node["caption"].string(),)
        yield _Entry(node, id_, captions, whole=False, group=_group(held, group))


def _group(node: Node, name: str | None) -> Node | None:
    return None if name is None else node[name]


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


def _of_field(id_: str, node: Node, *, references: bool, group: str | None) -> _Entry:
    """Read a field of an object whose keys are ids."""
    value, order = node.value, None
    if isinstance(value, str):
        captions: tuple[str, ...] = (node.string(),)
    elif isinstance(value, dict) and "sentences" in value:
        sentences = node["sentences"].strings()
        name = next((name for name in TIMES if name in node), None)
        given = node[name].items(len(sentences)) if name is not None else []
        text, order = _paragraph(sentences, given or [None] * len(sentences))
        captions = (text,)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        items = node.items()
        sentences = [item["sentence"].string() for item in items]
        names = [next((name for name in TIMES if name in item), None) for item in items]
        times = [None if n is None else item[n] for item, n in zip(items, names, strict=True)]
        text, order = _paragraph(sentences, times)
        captions = (text,)
    elif isinstance(value, list) and value and (references or len(value) == 1):
        captions = tuple(node.strings())
    else:
        several = ", an array of captions" if references else ""
        raise node.wrong(f"a caption{several}, or a video's sentences")
    return _Entry(node, id_, captions, whole=True, group=_group(node, group), order=order)


def _paragraph(sentences: Sequence[str], times: Sequence[Node | None]) -> tuple[str, str | None]:
    """Join a video's sentences; also return their order, or None if there are not several."""
    ordered, sorted_ = in_time(sentences, [_interval(time) for time in times])
    order = "start" if sorted_ else "file"
    return " ".join(filter(None, ordered)), order if len(sentences) > 1 else None


def _interval(node: Node | None) -> tuple[float, float] | None:
    """Return the start and end of a sentence, in this order; None if it has none."""
    if node is None or node.value is None:
        return None
    low, high = sorted(bound.real() for bound in node.items(2))
    return low, high


def _of_line(line: Node, *, references: bool, group: str | None) -> _Entry:
    of_group = _group(line, group)
    if "descs" in line:
        id_ = _id(line["vid_name" if "vid_name" in line else "video_id"])
        descs = line["descs"].items(None if references else 1)
        if not descs:
            raise line["descs"].wrong("an array of one or more captions")
        texts = tuple(d["desc"].string() for d in descs)
        return _Entry(line, id_, texts, whole=True, group=of_group)
    id_ = _id(line["id"])
    if references and "caption" in line and "captions" in line:
        raise MalformedError(line.place, "has both fields, 'caption' and 'captions'; give one")
    if not references or ("caption" in line and "captions" not in line):
        one = (line["caption"].string(),)
        return _Entry(line, id_, one, whole=not references, group=of_group)
    captions = tuple(caption.string() for caption in line["captions"].items())
    if not captions:
        raise line["captions"].wrong("an array of one or more captions")
    return _Entry(line, id_, captions, whole=True, group=of_group)


def _of_csv(path: Path, *, references: bool, group: str | None) -> Iterator[_Entry]:
    numbered: Sequence[str] | None = None
    for row in open_csv(path, ("id", *([group] if group else []))):
        of_group = _group(row, group)
        if numbered is None:
            numbered = [name for name in row.value if NUMBERED.fullmatch(name)]
        if references and numbered and "caption" in row:
            named = listed(f"'{name}'" for name in numbered)
            raise MalformedError(row.place, f"has both columns, 'caption' and {named}; give one")
        if not references or not numbered:
            one = (row["caption"].string(),)
            yield _Entry(row, _id(row["id"]), one, whole=not references, group=of_group)
            continue
        captions = tuple(text for name in numbered if (text := row[name].string()))
        if not captions:
            raise MalformedError(row.place, "has no caption in any column caption_…")
        yield _Entry(row, _id(row["id"]), captions, whole=True, group=of_group)


def _key(id_: str, node: Node) -> str:
    """Return the id that is the key of a value; it must not be empty."""
    if not id_:
        raise MalformedError(node.place, "an id must not be empty")
    return id_


def _id(node: Node, what: str = "an id") -> str:
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if not isinstance(value, str) or not value:
        raise node.wrong(f"{what}: a text that is not empty, or a whole number")
    return value
