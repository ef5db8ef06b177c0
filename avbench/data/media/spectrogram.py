"""Log-mel spectrograms, their fixed length, and SpecAugment.

    mel = log(A + floor),  A = 64 mel filters over |STFT|, frames of 1536, hop 588

The magnitude (power 1) is filtered, as the paper says *amplitude*. Frames are centred, with
zeros beyond the sound's ends, so that any sound of one sample or more has a frame. Filters are
torchaudio's defaults (HTK scale, 0 Hz to half the rate, no area normalisation), the window is
Hann's.

Source: the paper, App. A; SpecAugment (Park et al., 2019), https://arxiv.org/abs/1904.08779.
Open in the paper: what a padded frame holds. Here padding is a frame of *zero amplitude*, that
is log(floor), as a pause at the end of the sound would be; the literal alternative, the number 0
after the logarithm, is the level of loud sound. A clip without sound is padding throughout, so
the model cannot tell it from silence.
"""

import math
from functools import lru_cache

import torch
import torchaudio.functional
import torchaudio.transforms
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import interpolate

from avbench.core.types import InputSpec


def padding(spec: InputSpec) -> float:
    """The value of a padded bin: the logarithm of zero amplitude plus the floor."""
    return math.log(spec.log_floor)


def log_mel(sound: Float32[Tensor, " S"], spec: InputSpec) -> Float32[Tensor, "F M"]:
    """The log-mel spectrogram of mono sound at ``spec.sample_rate``, at its own length.

    Returns:
        1 + S // hop frames; none where there are no samples.
    """
    if sound.numel() == 0:
        return torch.empty(0, spec.mel_bins)
    transform = _transform(spec.sample_rate, spec.n_fft, spec.hop, spec.mel_bins)
    amplitude: Tensor = transform(sound)
    return torch.log(amplitude + spec.log_floor).T.contiguous()


def shorten(mel: Float32[Tensor, "F M"], frames: int) -> Float32[Tensor, "G M"]:
    """Down-sample a spectrogram of more than ``frames`` frames, linearly along time."""
    if len(mel) <= frames:
        return mel
    return interpolate(mel.T[None], size=frames, mode="linear", align_corners=False)[0].T


def fit(mel: Float32[Tensor, "F M"], spec: InputSpec) -> Float32[Tensor, "G M"]:
    """Bring a spectrogram to ``spec.mel_frames``: pad a shorter, down-sample a longer."""
    mel = shorten(mel, spec.mel_frames)
    fitted = torch.full((spec.mel_frames, spec.mel_bins), padding(spec))
    fitted[: len(mel)] = mel
    return fitted


def spec_augment(
    mel: Float32[Tensor, "F M"], spec: InputSpec, generator: torch.Generator
) -> Float32[Tensor, "F M"]:
    """Mask one stretch of time and one band of frequency with the spectrogram's mean.

    The mean, because the paper of SpecAugment masks with zero after centring. A mask wider than
    the axis (the literal 128 of 64 bins) is cut to the axis. Differs from torchaudio's transforms
    in nothing but that the draws come from ``generator``: torchaudio draws from the global one,
    which is seeded here and then put back.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    mean = float(mel.mean())
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which seeds GPUs too, and without any takes ten times as long.
        torch.default_generator.manual_seed(seed)
        for axis, widest in ((0, spec.time_mask), (1, spec.frequency_mask)):
            widest = min(widest, mel.shape[axis])
            mel = torchaudio.functional.mask_along_axis(mel, widest, mean, axis)
    return mel


@lru_cache(maxsize=4)
def _transform(
    sample_rate: int, n_fft: int, hop: int, bins: int
) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=n_fft, hop_length=hop, n_mels=bins, power=1.0, pad_mode="constant"
    )
