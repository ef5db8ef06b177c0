"""What a plan knows of a dataset's annotations from the last time that they were read.

Planning reads them so that bad files are told before any work. The verdict is kept in the user's
cache while the files and the reader's code and options stay as they are: the annotations of
HowTo100M take minutes to read.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avbench.core.digest import settled, stamp
from avbench.core.job import read_json, remember
from avbench.core.options import canonical, plain
from avbench.core.paths import cache
from avbench.data.contracts import Dataset, Defect


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What reading a split's annotations gave."""

    clips: int
    defects: tuple[Defect, ...]


def examine(dataset: Dataset, split: str, who: Sequence[Any]) -> Verdict:
    """Read a split's annotations, unless that was done before and nothing has changed.

    Args:
        dataset: the reader.
        split: which split.
        who: what tells this reader from others: its name, options, code.

    Raises:
        DataError: the annotations are missing or malformed; that is looked at anew each time.
    """
    files = dataset.files()
    stamps = {str(path.absolute()): stamp(path) for path in files}
    name = canonical([who, split, sorted(stamps)])
    key = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    known = cache() / "annotations" / f"{key}.json"
    if stamps:
        try:
            kept = read_json(known)
            if kept["files"] == stamps:
                defects = tuple(Defect(**defect) for defect in kept["defects"])
                return Verdict(clips=kept["clips"], defects=defects)
        except (OSError, json.JSONDecodeError, KeyError, TypeError):
            pass  # absent, or of another version
    clips, met = 0, []
    for item in dataset.iterate(split):
        if isinstance(item, Defect):
            met.append(item)
        else:
            clips += 1
    found = Verdict(clips=clips, defects=tuple(met))
    if stamps and settled(*files):
        kept = {"files": stamps, "clips": found.clips, "defects": plain(found.defects)}
        remember(known, kept)
    return found
