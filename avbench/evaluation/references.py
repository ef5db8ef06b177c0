"""References of captions: clip by clip, or video by video."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from avbench.core.errors import DataError
from avbench.core.types import Clip
from avbench.data.annotations.paragraphs import in_time
from avbench.evaluation.contracts import References


@runtime_checkable
class Annotated(Protocol):
    """The part of a prepared split that scoring reads."""

    @property
    def clips(self) -> Sequence[Clip]:
        """The prepared clips, without lost ones."""

    @property
    def protocol(self) -> str:
        """``coco`` or ``paragraph``."""

    @property
    def paragraphs(self) -> Mapping[str, tuple[str, ...]]:
        """Video → references, for the paragraph protocol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """References and items of one level: clips, or whole videos whose captions are joined."""

    references: References
    videos: Mapping[str, str]
    """Item id → video."""
    members: Mapping[str, tuple[str, ...]]
    """Item id → its clips in temporal order."""

    def join(self, captions: Mapping[str, str]) -> dict[str, str]:
        """Return one text for each item: a clip's caption, or a video's, joined by ``. ``.

        A video without clips has the empty caption.
        """
        return {
            item: ". ".join(captions[clip] for clip in clips)
            for item, clips in self.members.items()
        }


def by_clip(split: Annotated) -> Level:
    """Return references clip by clip."""
    return Level(
        references=References(
            captions={clip.id: clip.captions for clip in split.clips},
            slots={clip.id: clip.slots for clip in split.clips if clip.slots},
        ),
        videos={clip.id: clip.video for clip in split.clips},
        members={clip.id: (clip.id,) for clip in split.clips},
    )


def by_protocol(split: Annotated) -> Level:
    """Return references by the split's protocol: clip by clip, or video by video.

    The paragraph protocol needs every video of the split, so a video without prepared clips has
    the empty caption. The other protocol leaves lost clips out.

    Raises:
        DataError: the protocol is unknown, or a video has no reference.
    """
    if split.protocol == "coco":
        return by_clip(split)
    if split.protocol != "paragraph":
        raise DataError(f"protocol must be coco or paragraph, got '{split.protocol}'")
    of_video: dict[str, list[Clip]] = {}
    for clip in split.clips:
        of_video.setdefault(clip.video, []).append(clip)
    for video, clips in of_video.items():
        of_video[video], _ = in_time(clips, [_times(clip) for clip in clips])
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


def _times(clip: Clip) -> tuple[float, float] | None:
    if clip.start is None:
        return None
    return clip.start, math.inf if clip.end is None else clip.end
