"""Decoding clips to learn whether they can be used, as preparation would; nothing is kept."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from avbench.core.types import Clip, InputSpec
from avbench.data.prepared.crash_guard import Outcome
from avbench.data.prepared.part import Part, Source
from avbench.data.prepared.pool import Crew

PART = 32
"""Clips that one process decodes one after the other."""


def try_clips(clips: Sequence[Clip], *, seconds: float, workers: int) -> list[Outcome]:
    """What decoding each clip comes to, see ``guard``; it is done in other processes.

    Args:
        clips: which.
        seconds: of processor time that each may take.
        workers: processes.
    """
    if not clips:
        return []
    with TemporaryDirectory() as folder, Crew[list[Outcome]](workers, apart=True) as crew:
        parts = [
            Part(
                directory=Path(folder),
                result=Path(folder) / f"{first:08d}.json",
                first=first,
                sources=[
                    Source(media=c.media, start=c.start, end=c.end)
                    for c in clips[first : first + PART]
                ],
                input=InputSpec(size=16),
                read="raw",
                seconds=seconds,
            )
            for first in range(0, len(clips), PART)
        ]
        return [o for outcomes in crew.map(parts, lambda _: None) for o in outcomes]
