"""What captions are scored against: clip by clip, or video by video."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from avbench.core.errors import DataError
from avbench.core.types import Clip
from avbench.evaluation.contracts import References


@runtime_checkable
class Annotated(Protocol):
    """What scoring reads of a prepared split."""

    @property
    def clips(self) -> Sequence[Clip]:
        """The clips that were prepared; lost ones are not among them."""

    @property
    def protocol(self) -> str:
        """``coco`` or ``paragraph``."""

    @property
    def paragraphs(self) -> Mapping[str, tuple[str, ...]]:
        """References per video, for the paragraph protocol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """Whether items are clips or whole videos: which references, and how captions join."""

    references: References
    videos: Mapping[str, str]
    """Item id → video."""
    members: Mapping[str, tuple[str, ...]]
    """Item id → its clips in temporal order."""

    def join(self, captions: Mapping[str, str]) -> dict[str, str]:
        """One text an item: a clip's caption, or the sentences of a video joined by ``. ``.

        A video without clips says nothing: ``""``.
        """
        return {
            item: ". ".join(captions[clip] for clip in clips)
            for item, clips in self.members.items()
        }


def by_clip(split: Annotated) -> Level:
    """Clip by clip."""
    return Level(
        references=References(
            captions={clip.id: clip.captions for clip in split.clips},
            slots={clip.id: clip.slots for clip in split.clips if clip.slots},
        ),
        videos={clip.id: clip.video for clip in split.clips},
        members={clip.id: (clip.id,) for clip in split.clips},
    )


def by_protocol(split: Annotated) -> Level:
    """As the split's protocol says: clip by clip, or video by video.

    The paragraph protocol asks for every video of the split: one of which no clip was prepared
    counts as said nothing about. In the other protocol a lost clip is left out.

    Raises:
        DataError: the protocol is unknown, or a video has no reference.
    """
    if split.protocol == "coco":
        return by_clip(split)
    if split.protocol != "paragraph":
        raise DataError(f"protocol must be coco or paragraph, got '{split.protocol}'")
    of_video: dict[str, list[Clip]] = {}
    for clip in sorted(split.clips, key=lambda c: (c.start or 0.0, c.end or math.inf)):
        of_video.setdefault(clip.video, []).append(clip)
    videos = sorted(of_video.keys() | split.paragraphs.keys())
    bare = next((video for video in videos if not split.paragraphs.get(video)), None)
    if bare is not None:
        raise DataError(f"video '{bare}' has no paragraph reference")
    return Level(
        references=References(
            captions={video: split.paragraphs[video] for video in videos},
            protocol=split.protocol,
        ),
        videos={video: video for video in videos},
        members={v: tuple(clip.id for clip in of_video.get(v, ())) for v in videos},
    )
