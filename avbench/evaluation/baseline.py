"""Stage ``baseline``: the most frequent training caption for every clip.

A model must beat it before its captions can be said to depend on the clip.
"""

import json
from collections import Counter
from typing import Any

from avbench.core.errors import DataError
from avbench.core.job import Job
from avbench.data.prepared.clips import PreparedClips
from avbench.evaluation.predictions import PREDICTIONS


def run(job: Job) -> dict[str, Any]:
    """Write ``predictions.jsonl``; ties go to the alphabetically first caption.

    Raises:
        DataError: the training split has no captions.
    """
    counts = Counter(
        caption
        for clip in PreparedClips.open(job.parents["train"]).clips
        for caption in clip.captions
    )
    if not counts:
        raise DataError(f"baseline: {job.parents['train']}: the training split has no captions")
    caption, times = min(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    clips = PreparedClips.open(job.parents["data"]).clips
    lines = (json.dumps({"id": c.id, "caption": caption}, ensure_ascii=False) for c in clips)
    (job.directory / PREDICTIONS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"clips": len(clips), "caption": caption, "times": times, "of": counts.total()}
