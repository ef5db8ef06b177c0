"""Other ways to 16 frames and the log-mel spectrogram of a clip, each by a library of its own.

Each is told which frames to give (which frames there are is found out by ours, which needs time
for it, and by torchcodec), and which tracks. All have one thread.

So that output is equal, the sound that a library decodes is mixed and resampled by libswresample,
as ours is: other resamplers give another spectrogram (log bins differ by up to 10), and their
speed would be that of another result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av  # before torchcodec: its FFmpeg is shared
import numpy as np
import pytest
import torch
from torch import Tensor

from avbench.core.types import InputSpec
from avbench.data.media.audio import BLOCK, MIXING
from avbench.data.media.clip import read_clip
from avbench.data.media.container import origin
from avbench.data.media.sampling import Timeline, uniform
from avbench.data.media.spectrogram import fit, log_mel

SETTLED = 0.1
"""Seconds of sound after a clip's end, so that the filter does not meet its end."""

SPEC = InputSpec()
"""The paper's: 16 frames of 224 × 224 pixels, 256 × 64 bins."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """A clip as one way of reading gives it."""

    frames: Tensor
    """(16, 3, 224, 224)."""
    mel: Tensor
    """(256, 64)."""


@dataclass(frozen=True, kw_only=True)
class BenchClip:
    """A clip, and what its readers are told of it."""

    path: Path
    start: float | None
    end: float
    indices: tuple[int, ...]
    """Of the chosen frames, in the file."""
    size: tuple[int, int]
    """Width and height of a frame whose short side is 224."""
    times: tuple[float, ...]
    """When the chosen frames come on, seconds from the file's start."""
    streams: tuple[int, int]
    """Picture and sound, by their place in the file."""
    rate: int
    """Hz of the sound in the file."""
    late: float
    """When its first sample comes, seconds from the file's start."""

    @classmethod
    def find(cls, path: Path, start: float | None, end: float) -> "BenchClip":
        """Learn what readers are told."""
        whole = read_clip(path, InputSpec(size=8), lambda _: [0])
        part = read_clip(path, InputSpec(size=8), sixteen, start=start, end=end)
        place = {time: i for i, time in enumerate(whole.timeline.times)}
        with av.open(str(path)) as file:
            picture, sound = file.streams.video[0], file.streams.audio[0]
            scale = SPEC.size / min(picture.width, picture.height)
            first = next(file.decode(sound)).time or 0.0
            return cls(
                path=path,
                start=start,
                end=end,
                indices=tuple(place[part.timeline.times[i]] for i in part.chosen),
                times=tuple(part.timeline.times[i] for i in part.chosen),
                rate=sound.rate,
                late=first - origin(file),
                size=(round(picture.width * scale), round(picture.height * scale)),
                streams=(picture.index, sound.index),
            )


def sixteen(timeline: Timeline) -> list[int]:
    return uniform(timeline, SPEC.frames)


def resampled(raw: np.ndarray, clip: BenchClip) -> Tensor:
    """The clip's sound as ours is mixed and resampled, out of a track (C, S) from its start on."""
    form = "fltp", "mono" if len(raw) == 1 else "stereo", clip.rate
    part = np.ascontiguousarray(raw[:, : round((clip.end + SETTLED) * clip.rate)], np.float32)
    resampler = av.AudioResampler("fltp", "mono", SPEC.sample_rate, options=MIXING)
    found = []
    for first in range(0, part.shape[1], BLOCK):
        block = np.ascontiguousarray(part[:, first : first + BLOCK])
        frame = av.AudioFrame.from_ndarray(block, *form[:2])
        frame.sample_rate = clip.rate
        found += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    found += [out.to_ndarray()[0] for out in resampler.resample(None)]
    # Placed as ours is: where it starts late it starts with zeros.
    late = round(clip.late * SPEC.sample_rate)
    whole = np.concatenate([np.zeros(max(late, 0), np.float32), *found])[max(-late, 0) :]
    low, high = (round(t * SPEC.sample_rate) for t in (clip.start or 0.0, clip.end))
    return torch.from_numpy(whole[low:high].copy())


def by_pyav(clip: BenchClip) -> np.ndarray:
    """The first track (C, S), up to the clip's end."""
    blocks = []
    with av.open(str(clip.path)) as file:
        for frame in file.decode(audio=0):
            blocks.append(frame.to_ndarray())
            if frame.time is not None and frame.time > clip.end + 2 * SETTLED:
                break
    return np.concatenate(blocks, axis=1)


def mel_of(sound: Tensor) -> Tensor:
    return fit(log_mel(sound, SPEC), SPEC)


def centre(frames: Tensor) -> Tensor:
    """The middle square of (N, 3, H, W)."""
    height, width = frames.shape[-2:]
    top, left = (height - SPEC.size) // 2, (width - SPEC.size) // 2
    return frames[..., top : top + SPEC.size, left : left + SPEC.size]


def ours(clip: BenchClip) -> Read:
    """As the prepare stage and ``read: raw`` read clips."""
    read = read_clip(clip.path, SPEC, sixteen, start=clip.start, end=clip.end)
    return Read(frames=read.frames, mel=mel_of(read.sound))


class TorchCodec:
    """torchcodec for both: resized by its filter graph, resampled by FFmpeg; our spectrogram."""

    name = "torchcodec"

    def __init__(self) -> None:
        import_or_skip("torchcodec")
        try:
            from torchcodec import transforms
            from torchcodec.decoders import AudioDecoder, VideoDecoder
        except RuntimeError as error:
            why = str(error).splitlines()[0]
            pytest.skip(f"{why} (`make bench` lends it PyAV's FFmpeg)")
        self._video, self._audio, self._resize = VideoDecoder, AudioDecoder, transforms.Resize

    def picture(self, clip: BenchClip) -> Any:
        width, height = clip.size
        decoder = self._video(
            str(clip.path),
            stream_index=clip.streams[0],
            num_ffmpeg_threads=1,
            seek_mode="exact",
            transforms=[self._resize((height, width))],
        )
        return decoder.get_frames_at(list(clip.indices))

    def sound(self, clip: BenchClip) -> Tensor:
        decoder = self._audio(
            str(clip.path), stream_index=clip.streams[1], sample_rate=SPEC.sample_rate
        )
        samples: Tensor = decoder.get_samples_played_in_range(clip.start or 0.0, clip.end).data
        return samples

    def __call__(self, clip: BenchClip) -> Read:
        frames = self.picture(clip).data
        return Read(frames=centre(frames), mel=mel_of(self.sound(clip).mean(0)))


class Decord:
    """decord for the picture, PyAV for the sound: decord's differs, and is NaN of three files."""

    name = "decord and PyAV"

    def __init__(self) -> None:
        self._decord = import_or_skip("decord")

    def times(self, clip: BenchClip) -> list[float]:
        """The times of the frames that it gives, in seconds."""
        stamps = self._decord.VideoReader(str(clip.path)).get_frame_timestamp(list(clip.indices))
        return [float(t) for t in stamps[:, 0]]

    def __call__(self, clip: BenchClip) -> Read:
        width, height = clip.size
        reader = self._decord.VideoReader(
            str(clip.path), width=width, height=height, num_threads=1
        )
        frames = torch.from_numpy(reader.get_batch(list(clip.indices)).asnumpy())
        return Read(
            frames=centre(frames.permute(0, 3, 1, 2)), mel=mel_of(resampled(by_pyav(clip), clip))
        )


class OpenCV:
    """OpenCV for the picture (grabbing all frames, as its seeking is not exact)."""

    def __init__(self) -> None:
        self._cv = import_or_skip("cv2")
        self._cv.setNumThreads(1)

    def times(self, clip: BenchClip) -> list[float]:
        """The times of the frames that it gives, in seconds."""
        cv, found = self._cv, {}
        file = cv.VideoCapture(str(clip.path), cv.CAP_FFMPEG, [cv.CAP_PROP_N_THREADS, 1])
        for place in range(clip.indices[-1] + 1):
            file.grab()
            found[place] = file.get(cv.CAP_PROP_POS_MSEC) / 1e3
        file.release()
        return [found[place] for place in clip.indices]

    def frames(self, clip: BenchClip) -> Tensor:
        cv = self._cv
        file = cv.VideoCapture(str(clip.path), cv.CAP_FFMPEG, [cv.CAP_PROP_N_THREADS, 1])
        found, wanted = {}, set(clip.indices)
        for place in range(clip.indices[-1] + 1):
            if not file.grab():
                break
            if place in wanted:
                picture = cv.cvtColor(file.retrieve()[1], cv.COLOR_BGR2RGB)
                found[place] = cv.resize(picture, clip.size, interpolation=cv.INTER_AREA)
        file.release()
        rows: Sequence[Any] = [found[place] for place in clip.indices]
        return centre(torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2))


class OpenCVTorchaudio(OpenCV):
    """Sound by torchaudio: ``load`` (torchcodec inside)."""

    name = "OpenCV and torchaudio"

    def __init__(self) -> None:
        super().__init__()
        TorchCodec()  # torchaudio.load needs it
        import torchaudio

        self._torchaudio = torchaudio

    def __call__(self, clip: BenchClip) -> Read:
        sound, _ = self._torchaudio.load(str(clip.path))
        return Read(frames=self.frames(clip), mel=mel_of(resampled(sound.numpy(), clip)))


class OpenCVLibrosa(OpenCV):
    """Sound by PyAV, librosa's spectrogram as ours is defined."""

    name = "OpenCV and librosa"

    def __init__(self) -> None:
        super().__init__()
        self._librosa = import_or_skip("librosa")

    def __call__(self, clip: BenchClip) -> Read:
        small = resampled(by_pyav(clip), clip).numpy()
        mel = self._librosa.feature.melspectrogram(
            y=small,
            sr=SPEC.sample_rate,
            n_fft=SPEC.n_fft,
            hop_length=SPEC.hop,
            n_mels=SPEC.mel_bins,
            power=1.0,
            htk=True,
            norm=None,
        )
        log = torch.from_numpy(np.log(mel + SPEC.log_floor).T.astype(np.float32))
        return Read(frames=self.frames(clip), mel=fit(log, SPEC))


def import_or_skip(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[bench]'")
