"""Captions from files of audio and image captioning sets, without their media.

csv
    a column ``caption`` (AudioCaps), or ``caption_1``, ``caption_2``, … (Clotho)
JSON
    ``{"annotations": [{"caption": …}]}`` (COCO as released), ``{"images": [{"sentences":
    [{"raw": …}]}]}`` (Karpathy's splits of it), ``{id: [captions]}``, or a list of objects with
    ``caption`` or ``captions``
JSON lines
    such objects, one a line (``.jsonl``)
"""

import re
from collections.abc import Iterator
from pathlib import Path

from avbench.core.errors import DataError
from avbench.data.annotations.strict_json import (
    MalformedError,
    Node,
    missing,
    open_csv,
    open_json,
    open_lines,
)

COLUMN = "caption"
COLUMNS = re.compile(rf"{COLUMN}(_\d+)?")


def captions_of(path: Path) -> list[str]:
    """Read all captions of a file, in its order; blank ones are empty.

    Raises:
        DataError: the file is missing, malformed, of another form or without a caption.
    """
    suffixes = path.suffixes[-2:]
    if ".csv" in suffixes:
        found = list(_of_csv(path))
    elif ".jsonl" in suffixes:
        found = [text for line in open_lines(path) for text in _of_object(line)]
    else:
        found = list(_of_json(open_json(path)))
    if not any(found):
        raise DataError(f"{path}: holds no caption")
    return found


def _of_csv(path: Path) -> Iterator[str]:
    for row in open_csv(path, ()):
        names = [name for name in row.value if COLUMNS.fullmatch(name)]
        if not names:
            raise DataError(f"{path}: {missing('column', COLUMN, row.value)}")
        yield from (row[name].caption() for name in names)


def _of_json(top: Node) -> Iterator[str]:
    if isinstance(top.value, list):
        for entry in top.items():
            yield from _of_object(entry)
    elif "annotations" in top:
        for entry in top["annotations"].items():
            yield entry["caption"].caption()
    elif "images" in top:
        for image in top["images"].items():
            yield from (sentence["raw"].caption() for sentence in image["sentences"].items())
    else:
        for _, texts in top.fields():
            yield from (text.caption() for text in texts.items())


def _of_object(entry: Node) -> Iterator[str]:
    if "captions" in entry:
        yield from (text.caption() for text in entry["captions"].items())
    elif "caption" in entry:
        yield entry["caption"].caption()
    else:
        held = entry.value if isinstance(entry.value, dict) else {}
        raise MalformedError(entry.place, missing("field", COLUMN, held))
