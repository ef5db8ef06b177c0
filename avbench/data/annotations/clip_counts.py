"""Counts of clips that say how long a training takes, before any clip is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from avbench.core.types import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipCounts:
    """Numbers of some clips."""

    videos: int
    clips: int
    captions: int

    @classmethod
    def of(cls, clips: Iterable[Clip]) -> "ClipCounts":
        """Count clips."""
        tally = Tally()
        for clip in clips:
            tally.add(clip)
        return tally.counts()

    def without(self, share: float) -> "ClipCounts":
        """Return the counts without a share of the videos, of average numbers of clips."""
        if not self.videos:
            return self
        left = self.videos - videos_apart(self.videos, share)
        clips, captions = (round(n * left / self.videos) for n in (self.clips, self.captions))
        return ClipCounts(videos=left, clips=clips, captions=captions)


@dataclass(slots=True)
class Tally:
    """Counts clips one by one, of a corpus that does not fit in memory."""

    _videos: set[str] = field(default_factory=set)
    _clips: int = 0
    _captions: int = 0

    def add(self, clip: Clip) -> None:
        """Count a clip."""
        self._videos.add(clip.video)
        self._clips += 1
        self._captions += len(clip.captions)

    def counts(self) -> ClipCounts:
        """Return the counts of the clips so far."""
        return ClipCounts(videos=len(self._videos), clips=self._clips, captions=self._captions)


def videos_apart(videos: int, share: float) -> int:
    """Return the videos that a share keeps out of training: at least one, and one is left."""
    return min(max(1, round(share * videos)), videos - 1)
