"""A clip of any media file, as the model reads it at test time.

It gives what the prepare stage and ``PreparedSplit`` give of the same clip, to the bit; nothing
is written.
"""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float32, UInt8
from torch import Tensor

from avbench.core.types import InputSpec, SoundState
from avbench.data.media.clip import read_clip
from avbench.data.media.sampling import Timeline
from avbench.data.media.spectrogram import fit, log_mel
from avbench.data.prepared.part import stored_frames
from avbench.data.prepared.split import Read, chooser


@dataclass(frozen=True, kw_only=True, slots=True)
class SingleClip:
    """The inputs of one clip, and what decoding met."""

    frames: UInt8[Tensor, "T 3 H W"]
    mel: Float32[Tensor, "F M"]
    sound: SoundState
    notes: tuple[str, ...]
    """What was wrong with the file and did not make the clip unusable."""


def read_single(
    path: Path,
    spec: InputSpec,
    *,
    read: Read,
    start: float | None = None,
    end: float | None = None,
) -> SingleClip:
    """Read a clip for testing: uniform frames, its spectrogram at the model's length.

    Args:
        path: the media file; any container, with or without sound.
        spec: geometry of the inputs.
        read: ``stored``: uniform among the frames that preparation would keep; ``raw``: among
            all. These differ by a frame's place where ``store_frames`` is no odd multiple of
            ``frames``.
        start: seconds from the file's own start; None: its beginning.
        end: seconds; None: its end.

    Raises:
        MediaError: no frame can be had; the message says why.
    """
    choose = chooser(spec.frames, None)

    def pick(timeline: Timeline) -> list[int]:
        if read == "raw":
            return list(choose(timeline))
        kept = stored_frames(timeline, spec.store_frames)
        times = tuple(timeline.times[i] for i in kept)
        return [kept[i] for i in choose(Timeline(times, timeline.start, timeline.end))]

    clip = read_clip(path, spec, pick, start=start, end=end)
    return SingleClip(
        frames=clip.frames,
        mel=fit(log_mel(clip.sound, spec), spec),
        sound=clip.state,
        notes=clip.notes,
    )
