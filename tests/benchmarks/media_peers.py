"""Other ways to 16 frames and the log-mel spectrogram of a clip, each by a library of its own.

Each is told which frames to give (which frames there are is found out by ours, which needs time
for it, and by torchcodec), and which tracks. All have one thread.
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

from avbench.media.decode import read_clip
from avbench.media.sampling import Timeline, uniform
from avbench.media.spectrogram import fit, log_mel
from avbench.types import InputSpec

SPEC = InputSpec()
"""The paper's: 16 frames of 224 × 224 pixels, 256 × 64 bins."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What a way gives of a clip."""

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
    streams: tuple[int, int]
    """Picture and sound, by their place in the file."""

    @classmethod
    def find(cls, path: Path, start: float | None, end: float) -> "BenchClip":
        """Learn what readers are told."""
        whole = read_clip(path, InputSpec(size=8), lambda _: [0])
        part = read_clip(path, InputSpec(size=8), sixteen, start=start, end=end)
        place = {time: i for i, time in enumerate(whole.timeline.times)}
        with av.open(str(path)) as file:
            picture, sound = file.streams.video[0], file.streams.audio[0]
            scale = SPEC.size / min(picture.width, picture.height)
            return cls(
                path=path,
                start=start,
                end=end,
                indices=tuple(place[part.timeline.times[i]] for i in part.chosen),
                size=(round(picture.width * scale), round(picture.height * scale)),
                streams=(picture.index, sound.index),
            )


def sixteen(timeline: Timeline) -> list[int]:
    return uniform(timeline, SPEC.frames)


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
    """decord for both: its own resampler and mixing, of the whole file; our spectrogram."""

    name = "decord"

    def __init__(self) -> None:
        self._decord = import_or_skip("decord")

    def __call__(self, clip: BenchClip) -> Read:
        width, height = clip.size
        reader = self._decord.VideoReader(
            str(clip.path), width=width, height=height, num_threads=1
        )
        frames = torch.from_numpy(reader.get_batch(list(clip.indices)).asnumpy())
        rate = SPEC.sample_rate
        sound = self._decord.AudioReader(str(clip.path), sample_rate=rate, mono=True)
        part = sound[round((clip.start or 0.0) * rate) : round(clip.end * rate)].asnumpy()
        return Read(
            frames=centre(frames.permute(0, 3, 1, 2)), mel=mel_of(torch.from_numpy(part[0]))
        )


class OpenCV:
    """OpenCV for the picture (grabbing all frames, as its seeking is not exact)."""

    def __init__(self) -> None:
        self._cv = import_or_skip("cv2")
        self._cv.setNumThreads(1)

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
    """Sound by torchaudio: ``load`` (torchcodec inside), its resampler, our spectrogram."""

    name = "OpenCV and torchaudio"

    def __init__(self) -> None:
        super().__init__()
        TorchCodec()  # torchaudio.load needs it
        import torchaudio

        self._torchaudio = torchaudio

    def __call__(self, clip: BenchClip) -> Read:
        sound, rate = self._torchaudio.load(str(clip.path))
        start = round((clip.start or 0.0) * rate)
        part = sound[:, start : round(clip.end * rate)].mean(0)
        small = self._torchaudio.functional.resample(part, rate, SPEC.sample_rate)
        return Read(frames=self.frames(clip), mel=mel_of(small))


class OpenCVLibrosa(OpenCV):
    """Sound by PyAV, then librosa's resampler and spectrogram, as ours is defined."""

    name = "OpenCV and librosa"

    def __init__(self) -> None:
        super().__init__()
        import_or_skip("soxr")
        self._librosa = import_or_skip("librosa")

    def __call__(self, clip: BenchClip) -> Read:
        blocks, rate = [], 0
        with av.open(str(clip.path)) as file:
            for frame in file.decode(audio=0):
                rate = frame.sample_rate
                blocks.append(frame.to_ndarray())
                if frame.time is not None and frame.time > clip.end:
                    break
        start = round((clip.start or 0.0) * rate)
        sound = np.concatenate(blocks, axis=1).mean(0)[start : round(clip.end * rate)]
        small = self._librosa.resample(sound, orig_sr=rate, target_sr=SPEC.sample_rate)
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
