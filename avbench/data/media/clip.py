"""A clip of a media file: its frames and its sound."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from avbench.core.types import InputSpec, SoundState
from avbench.data.media.audio import read_sound
from avbench.data.media.container import CLIP_SECONDS, Allowance
from avbench.data.media.sampling import Timeline
from avbench.data.media.tar_members import facts_of
from avbench.data.media.video import Pick, read_frames


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedClip:
    """What a clip gave."""

    frames: UInt8[Tensor, "T 3 H W"]
    """The chosen frames."""
    chosen: tuple[int, ...]
    """Index of each frame in the timeline."""
    timeline: Timeline
    """All frames of the clip, in seconds from the file's own start."""
    sound: Float32[Tensor, " S"]
    """Mono at the input's sample rate; empty where the state is ABSENT or UNDECODABLE."""
    state: SoundState
    notes: tuple[str, ...]
    """What was wrong with the file and did not make the clip unusable."""


def read_clip(
    path: Path,
    spec: InputSpec,
    pick: Pick,
    *,
    start: float | None = None,
    end: float | None = None,
    threads: int = 1,
    seconds: float = CLIP_SECONDS,
) -> DecodedClip:
    """Decode a clip; see ``video`` and ``audio`` for how.

    Args:
        path: the media file.
        spec: size of the frames and rate of the sound.
        pick: chooses among the clip's frames.
        start: seconds from the file's own start; None: its beginning.
        end: seconds; None: its end.
        threads: of each decoder.
        seconds: processor time that it may take, see ``Allowance``.

    Raises:
        MediaError: no frame can be had, or it takes too long; the message says why.
    """
    allowance = Allowance(seconds)
    picture = read_frames(
        path,
        start=start,
        end=end,
        size=spec.size,
        pick=pick,
        threads=threads,
        allowance=allowance,
    )
    sound = read_sound(
        path,
        start=start,
        end=end,
        rate=spec.sample_rate,
        threads=threads,
        allowance=allowance,
    )
    facts = facts_of(path)
    return DecodedClip(
        frames=torch.from_numpy(picture.frames),
        chosen=picture.chosen,
        timeline=picture.timeline,
        sound=torch.from_numpy(sound.samples),
        # A re-encoded clip no longer shows what its source was like.
        state=facts.sound if facts else sound.state,
        notes=facts.notes if facts else picture.notes + sound.notes,
    )
