"""Decoding a part of a split into the arrays of the prepared split; runs in worker processes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.core.job import read_json, write_json
from avbench.core.types import InputSpec
from avbench.data.media import sampling
from avbench.data.media.clip import read_clip
from avbench.data.media.container import CLIP_SECONDS, MediaError
from avbench.data.media.sampling import Timeline
from avbench.data.media.spectrogram import log_mel, shorten
from avbench.data.prepared.crash_guard import Journal, Outcome, guarded
from avbench.data.prepared.split import FRAMES, MELS, Entry, Read, entry_to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a clip is to be read."""

    media: Path
    start: float | None
    end: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some neighbouring clips of a split."""

    directory: Path
    """The prepare stage's folder; its arrays exist already."""
    result: Path
    """Where the outcomes are written when all are known."""
    first: int
    """Row of the first clip."""
    sources: Sequence[Source]
    input: InputSpec
    read: Read
    seconds: float = CLIP_SECONDS
    """Processor time that a clip may take."""

    @property
    def journal(self) -> Path:
        """What is written while it is worked on, see ``crash_guard``."""
        return self.result.with_suffix(".journal")

    @property
    def clips(self) -> int:
        """How many they are."""
        return len(self.sources)

    @property
    def done(self) -> bool:
        """Whether all outcomes are known."""
        return self.result.exists()

    def named(self) -> str:
        """Its media, for an error."""
        return ", ".join(sorted({source.media.name for source in self.sources}))

    def work(self) -> list[Outcome]:
        """Decode the clips, unless that was done before.

        Returns:
            For each clip ``{"entry": …}``, or ``{"lost": reason, "detail": …}``.
        """
        if self.done:
            known: list[Outcome] = read_json(self.result)
            return known
        outcomes = []
        with Journal(self.journal) as journal:
            for place, source in enumerate(self.sources):
                task = partial(decode_one, self, place)
                outcomes.append(
                    guarded(journal, self.first + place, task, source.media, self.seconds)
                )
        write_json(self.result, outcomes)
        journal.done()
        return outcomes


def decode_one(part: Part, place: int) -> Outcome:
    """Decode one clip of a part into the arrays."""
    if part.read == "raw":
        return _outcome(part, place, None)
    frames = os.open(part.directory / FRAMES, os.O_WRONLY)
    mels = os.open(part.directory / MELS, os.O_WRONLY)
    try:
        return _outcome(part, place, (frames, mels))
    finally:
        os.close(frames)
        os.close(mels)


def stored_frames(timeline: Timeline, most: int) -> list[int]:
    """The frames to keep of a clip: all, or those at the centres of ``most`` equal segments.

    Where ``most`` is an odd multiple of the model's frames, these hold the very frames that
    uniform sampling takes from the whole clip.
    """
    if len(timeline.times) <= most:
        return list(range(len(timeline.times)))
    return sorted(set(sampling.uniform(timeline, most)))


def _outcome(part: Part, place: int, files: tuple[int, int] | None) -> Outcome:
    source, spec, row = part.sources[place], part.input, part.first + place
    try:
        clip = read_clip(
            source.media,
            spec,
            lambda timeline: stored_frames(timeline, spec.store_frames),
            start=source.start,
            end=source.end,
            seconds=part.seconds,
        )
    except MediaError as error:
        return error.outcome
    mel = shorten(log_mel(clip.sound, spec), spec.mel_frames).contiguous().numpy()
    if files is not None:
        frames = clip.frames.numpy()
        _write(files[0], frames, row * spec.store_frames * frames[0].nbytes)
        _write(files[1], mel, row * spec.mel_frames * spec.mel_bins * mel.itemsize)
    whole = clip.timeline
    entry = Entry(
        row=row,
        timeline=Timeline(tuple(whole.times[i] for i in clip.chosen), whole.start, whole.end),
        mel_frames=len(mel),
        sound=clip.state,
        notes=clip.notes,
    )
    return {"entry": entry_to_json(entry)}


def _write(file: int, values: NDArray[np.uint8] | NDArray[np.float32], offset: int) -> None:
    """Write all of an array at a place of a file."""
    data = memoryview(values.tobytes())
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
