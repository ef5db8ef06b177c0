"""Cache of the summary of a split's annotations, for planning.

Planning reads the annotations, so that bad files fail before any work. The summary stays in the
user's cache while the files and the reader's code and options are unchanged, because the
annotations of HowTo100M take minutes to read.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from avbench.core.digest import settled, stamp
from avbench.core.job import read_json, remember
from avbench.core.options import canonical, plain
from avbench.core.paths import cache
from avbench.data.annotations.clip_counts import ClipCounts, Tally
from avbench.data.contracts import Dataset, Defect


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSummary:
    """The clips in a split's annotations, and their defects."""

    counts: ClipCounts
    followed: ClipCounts
    """Those that another clip of the video follows, whose caption PNC predicts."""
    defects: tuple[Defect, ...]


def examine(dataset: Dataset, split: str, who: Sequence[Any]) -> SplitSummary:
    """Summarise a split's annotations, from the cache if nothing has changed.

    Args:
        dataset: the reader.
        split: name of the split.
        who: identity of the reader: name, options, code.

    Raises:
        DataError: the annotations are missing or malformed; such results are not cached.
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
                return SplitSummary(
                    counts=ClipCounts(**kept["counts"]),
                    followed=ClipCounts(**kept["followed"]),
                    defects=defects,
                )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # absent, or of another version
    found = summarise(dataset, split)
    if stamps and settled(*files):
        remember(known, {"files": stamps, **plain(found)})
    return found


def summarise(dataset: Dataset, split: str) -> SplitSummary:
    """Read and summarise a split's annotations.

    Raises:
        DataError: the annotations are missing or malformed.
    """
    every, followed, defects = Tally(), Tally(), list[Defect]()
    for item in dataset.iterate(split):
        if isinstance(item, Defect):
            defects.append(item)
            continue
        every.add(item)
        if item.next_caption is not None:
            followed.add(item)
    return SplitSummary(counts=every.counts(), followed=followed.counts(), defects=tuple(defects))
