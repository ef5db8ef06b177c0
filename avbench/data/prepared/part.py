"""Decoding of a part of a split into the prepared arrays; runs in worker processes."""

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
from avbench.data.prepared.crash_guard import Journal, decode_guarded
from avbench.data.prepared.lost import ClipResult
from avbench.data.prepared.split import FRAMES, MELS, Entry, Read, entry_to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """File and interval of a clip; seconds, None: to the file's end on that side."""

    media: Path
    start: float | None
    end: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some neighbouring clips of a split."""

    directory: Path
    """The prepare stage's folder; its arrays exist already."""
    result: Path
    """File of the clips' results, written once all are decoded."""
    first: int
    """Row of the first clip."""
    sources: Sequence[Source]
    input: InputSpec
    read: Read
    seconds: float = CLIP_SECONDS
    """Processor time that a clip may take."""

    @property
    def journal(self) -> Path:
        """The journal, which exists while the part is decoded, see ``crash_guard``."""
        return self.result.with_suffix(".journal")

    @property
    def clips(self) -> int:
        """The number of clips."""
        return len(self.sources)

    @property
    def done(self) -> bool:
        """True if all clips have been decoded."""
        return self.result.exists()

    def label(self) -> str:
        """Return the names of its media, for an error."""
        return ", ".join(sorted({source.media.name for source in self.sources}))

    def work(self) -> list[ClipResult]:
        """Decode the clips, or read the results of an earlier run."""
        if self.done:
            known: list[ClipResult] = read_json(self.result)
            return known
        results = []
        with Journal(self.journal) as journal:
            for place, source in enumerate(self.sources):
                task = partial(decode_one, self, place)
                results.append(
                    decode_guarded(journal, self.first + place, task, source.media, self.seconds)
                )
        write_json(self.result, results)
        journal.remove()
        return results


def decode_one(part: Part, place: int) -> ClipResult:
    """Decode one clip of a part into the arrays; ``raw`` writes no arrays."""
    if part.read == "raw":
        return _decode(part, place, None)
    frames = os.open(part.directory / FRAMES, os.O_WRONLY)
    mels = os.open(part.directory / MELS, os.O_WRONLY)
    try:
        return _decode(part, place, (frames, mels))
    finally:
        os.close(frames)
        os.close(mels)


def stored_frames(timeline: Timeline, most: int) -> list[int]:
    """Return the frames to keep: all, or those at the centres of ``most`` equal segments.

    If ``most`` is an odd multiple of the model's frames, they include the frames that uniform
    sampling takes from the whole clip.
    """
    if len(timeline.times) <= most:
        return list(range(len(timeline.times)))
    return sorted(set(sampling.uniform(timeline, most)))


def _decode(part: Part, place: int, files: tuple[int, int] | None) -> ClipResult:
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
        return error.as_result()
    mel = shorten(log_mel(clip.sound, spec), spec.mel_frames, spec.downsample)
    if files is not None:
        frames = clip.frames.numpy()
        _write(files[0], frames, row * spec.store_frames * frames[0].nbytes)
        values = mel.contiguous().numpy()
        _write(files[1], values, row * spec.mel_frames * spec.mel_bins * values.itemsize)
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
    """Write an array to a file at an offset, bytes."""
    data = memoryview(values.tobytes())
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
