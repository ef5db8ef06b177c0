"""Prepared clips of a split: written once by the prepare stage, then only read.

A folder holds::

    split.json     settings of the preparation: protocol, input; and counts
    clips.jsonl    one usable clip a line, with the results of decoding
    lost.jsonl     one lost clip a line, with its reason
    paragraphs.json
    frames.u8      (clips, store_frames, 3, size, size) uint8, if stored
    mels.f32       (clips, mel_frames, mel_bins) float32, if stored

Both arrays have a fixed place for each clip, so that processes can write in parallel. A part that
a short or lost clip leaves unwritten is a hole in the file and takes no disk. Spectrograms are
float32, not float16: they take a tenth of the frames' size even at 64 pixels, and stay exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch import Tensor

from avbench.core.errors import DataError
from avbench.core.options import build, plain
from avbench.core.types import InputSpec, SoundState
from avbench.data.media import sampling
from avbench.data.media.audio import read_sound
from avbench.data.media.sampling import Timeline
from avbench.data.media.spectrogram import fit, log_mel
from avbench.data.media.video import Pick, read_frames
from avbench.data.prepared.clips import PreparedClips

FRAMES, MELS = "frames.u8", "mels.f32"

Read = Literal["stored", "raw"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Result of decoding a usable clip."""

    row: int
    """The clip's place in the arrays: its place among all clips, the lost ones included."""
    timeline: Timeline
    """The stored frames; all frames of the clip where there are no more than store_frames."""
    mel_frames: int
    """Stored frames of the spectrogram."""
    sound: SoundState
    notes: tuple[str, ...]


class PreparedSplit(PreparedClips):
    """The usable clips of a split with their frames and sound.

    Other processes can receive it; they open the files anew.

    Attributes:
        entries: the results of decoding, in the order of ``clips``.
        input: the geometry that the clips were prepared for, in the fields that
            ``InputSpec.stored`` names.
        read: ``stored``, or ``raw``: decoded on demand.
    """

    entries: tuple[Entry, ...]
    input: InputSpec
    read: Read

    @classmethod
    def open(cls, directory: Path) -> "PreparedSplit":
        """Open the prepare stage's folder, as ``PreparedClips.open``."""
        return cls(directory)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.directory,)

    def _read_results(self, split: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
        self.entries = tuple(map(_entry, lines))
        self.input = build(InputSpec, split["input"])
        self.read = split["read"]
        self._rows: int = split["rows"]

    @cached_property
    def sound(self) -> Mapping[str, SoundState]:
        """State of each usable clip's sound, by clip id, for scores by subset.

        It includes clips without sound only if the dataset's policy uses them.
        """
        return {c.id: e.sound for c, e in zip(self.clips, self.entries, strict=True)}

    def frames(
        self, index: int, spec: InputSpec, generator: torch.Generator | None = None
    ) -> UInt8[Tensor, "T 3 H W"]:
        """Return ``spec.frames`` frames of a clip.

        Args:
            index: index into ``clips``.
            spec: number of frames and their size, which must be the prepared size.
            generator: draws the frames of a training sample; None: uniform, as in testing.

        Raises:
            DataError: the size differs, or (raw) the file can no longer be decoded.
        """
        self._check(spec)
        pick = chooser(spec.frames, generator)
        entry = self.entries[index]
        if self.read == "raw":
            clip = self.clips[index]
            picture = read_frames(
                clip.media, start=clip.start, end=clip.end, size=spec.size, pick=pick
            )
            return torch.from_numpy(picture.frames)
        return torch.from_numpy(self._frames[entry.row, np.array(pick(entry.timeline))])

    def mel(self, index: int) -> Float32[Tensor, "F M"]:
        """Return the log-mel spectrogram of a clip at the model's length, not augmented.

        Clips whose sound is absent or undecodable give padding, see ``spectrogram``.
        """
        entry = self.entries[index]
        if self.read == "raw":
            clip = self.clips[index]
            sound = read_sound(
                clip.media, start=clip.start, end=clip.end, rate=self.input.sample_rate
            )
            return fit(log_mel(torch.from_numpy(sound.samples), self.input), self.input)
        mel = np.array(self._mels[entry.row, : entry.mel_frames])
        return fit(torch.from_numpy(mel), self.input)

    def _check(self, spec: InputSpec) -> None:
        if spec.size != self.input.size:
            raise DataError(
                f"{self.directory}: input.size is {spec.size}, the clips were prepared at "
                f"{self.input.size}"
            )

    @cached_property
    def _frames(self) -> NDArray[np.uint8]:
        return np.memmap(
            self.directory / FRAMES,
            dtype=np.uint8,
            mode="r",
            shape=frames_shape(self._rows, self.input),
        )

    @cached_property
    def _mels(self) -> NDArray[np.float32]:
        return np.memmap(
            self.directory / MELS,
            dtype=np.float32,
            mode="r",
            shape=(self._rows, self.input.mel_frames, self.input.mel_bins),
        )


def chooser(frames: int, generator: torch.Generator | None) -> Pick:
    """Return the choice of a sample's frames: random in equal segments, or uniform."""
    if generator is None:
        return lambda timeline: sampling.uniform(timeline, frames)
    state = generator.get_state()

    def pick(timeline: Timeline) -> list[int]:
        # A damaged file is chosen from twice, first by its packets; both choices draw equally.
        generator.set_state(state)
        return sampling.random_in_segments(timeline, frames, generator)

    return pick


def frames_shape(clips: int, spec: InputSpec) -> tuple[int, int, int, int, int]:
    """Return the shape of the array of stored frames."""
    return clips, spec.store_frames, 3, spec.size, spec.size


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Return the result of decoding as plain data."""
    data: dict[str, Any] = plain(entry)
    return data


def _entry(data: Mapping[str, Any]) -> Entry:
    timeline = data["timeline"]
    return Entry(
        row=data["row"],
        timeline=Timeline(tuple(timeline["times"]), timeline["start"], timeline["end"]),
        mel_frames=data["mel_frames"],
        sound=SoundState(data["sound"]),
        notes=tuple(data["notes"]),
    )
