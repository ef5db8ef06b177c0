"""Log-mel spectrograms, their fixed length, and SpecAugment.

    mel = log(A + floor),  A = 64 mel filters over |STFT|, frames of 1536, hop 588

The filters act on the magnitude (power 1), because the paper says *amplitude*. Frames are
centred, with zeros beyond the sound's ends, so that any sound of one sample or more has a frame.
Filters are torchaudio's defaults (HTK scale, 0 Hz to half the rate, no area normalisation), with
a Hann window.

Source: the paper, App. A; SpecAugment (Park et al., 2019), https://arxiv.org/abs/1904.08779.
The paper leaves the value of padded frames open. Here padding has *zero amplitude*, that is
log(floor), like a pause at the end of the sound; the literal alternative, the number 0 after the
logarithm, is the level of loud sound. A clip without sound is all padding, so the model cannot
tell it from silence.

Of clips longer than 256 frames (about 6.8 s) the paper says only that they "will be down-sampled
to be 256 frames". Here the logarithms are averaged over each new frame's share of the clip, so
that every sound leaves a trace. Interpolation between neighbouring frames is the alternative. It
skips frames from a factor of two on: a sound of 50 ms in a long clip may leave no trace.
"""

import math
from functools import lru_cache

import torch
import torchaudio.functional
import torchaudio.transforms
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import interpolate, pad

from avbench.core.input_spec import Downsample, InputSpec


def padding(spec: InputSpec) -> float:
    """Return the value of a padded bin: the logarithm of zero amplitude plus the floor."""
    return math.log(spec.log_floor)


def log_mel(sound: Float32[Tensor, " S"], spec: InputSpec) -> Float32[Tensor, "F M"]:
    """Return the log-mel spectrogram of mono sound at ``spec.sample_rate``, at its own length.

    Returns:
        1 + S // hop frames; none without samples.
    """
    if sound.numel() == 0:
        return torch.empty(0, spec.mel_bins)
    transform = _transform(spec.sample_rate, spec.n_fft, spec.hop, spec.mel_bins)
    amplitude: Tensor = transform(sound)
    return torch.log(amplitude + spec.log_floor).T.contiguous()


def shorten(
    mel: Float32[Tensor, "F M"], frames: int, downsample: Downsample = "area"
) -> Float32[Tensor, "G M"]:
    """Down-sample a spectrogram of more than ``frames`` frames along time.

    Args:
        mel: the spectrogram; it is returned unchanged if it is short enough.
        frames: largest number of frames.
        downsample: ``area`` or ``linear``, see ``InputSpec.downsample``. With ``area`` a frame
            that straddles a border counts in both new frames, by its share in each.
    """
    if len(mel) <= frames:
        return mel
    if downsample == "linear":
        return interpolate(mel.T[None], size=frames, mode="linear", align_corners=False)[0].T
    # PyTorch's mode "area" gives straddling frames full weight on both sides: 257 frames would
    # all be blurred. Sums up to the borders, whole frames and a share, weight them exactly.
    borders = torch.linspace(0, len(mel), frames + 1, dtype=torch.float64)
    whole = borders.floor().long()
    sums = pad(mel.double().cumsum(0), (0, 0, 1, 0))
    shares = (borders - whole)[:, None] * pad(mel.double(), (0, 0, 0, 1))[whole]
    return ((sums[whole] + shares).diff(dim=0) * (frames / len(mel))).float()


def fit(mel: Float32[Tensor, "F M"], spec: InputSpec) -> Float32[Tensor, "G M"]:
    """Bring a spectrogram to ``spec.mel_frames``: pad a shorter one, down-sample a longer one."""
    mel = shorten(mel, spec.mel_frames, spec.downsample)
    fitted = torch.full((spec.mel_frames, spec.mel_bins), padding(spec))
    fitted[: len(mel)] = mel
    return fitted


def spec_augment(
    mel: Float32[Tensor, "F M"], spec: InputSpec, generator: torch.Generator
) -> Float32[Tensor, "F M"]:
    """Mask one stretch of time and one band of frequency with the spectrogram's mean.

    The mean, because the paper of SpecAugment masks with zero after centring. A mask wider than
    the axis (the literal 128 of 64 bins) is cut to the axis. Unlike torchaudio's transforms, which
    draw from the global generator, the draws come from ``generator``: it seeds the global one,
    which is then restored.
    """
    seed = int(torch.randint(2**62, (1,), generator=generator))
    mean = float(mel.mean())
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it seeds GPUs too, and without a GPU takes ten times as long.
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
