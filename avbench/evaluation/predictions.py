"""The file of captions that a model, or the baseline, gives to the clips of a split."""

import json
from collections.abc import Sequence
from pathlib import Path

from avbench.core.errors import DataError
from avbench.core.job import as_written
from avbench.core.types import Clip
from avbench.core.visible import brief

PREDICTIONS = "predictions.jsonl"


def read_predictions(path: Path, clips: Sequence[Clip]) -> dict[str, str]:
    """Captions by clip id, in the clips' order.

    Raises:
        DataError: a line is malformed, or an id is missing, surplus or there twice; names the
            first, with its line.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    wanted = {clip.id for clip in clips}
    found: dict[str, str] = {}
    with as_written(path):
        text = path.read_text(encoding="utf-8")
    # Not splitlines(): a caption may hold U+2028 or the like, which JSON leaves as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            entry = json.loads(line)
            clip, caption = entry["id"], entry["caption"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f'{where}: expected {{"id": …, "caption": …}}, got {line[:80]!r}'
            ) from None
        if not isinstance(clip, str) or not isinstance(caption, str):
            raise DataError(f"{where}: id and caption must be texts, got {line[:80]!r}")
        if clip in found:
            raise DataError(f"{where}: id '{brief(clip)}' is there twice")
        if clip not in wanted:
            raise DataError(f"{where}: id '{brief(clip)}' is no clip of the split")
        found[clip] = caption
    missing = [clip.id for clip in clips if clip.id not in found]
    if missing:
        raise DataError(f"{path}: {len(missing)} clips have no caption, the first '{missing[0]}'")
    return {clip.id: found[clip.id] for clip in clips}
