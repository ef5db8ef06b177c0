"""The geometry of the model's input; settings are read without torch, so it has its own module."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from avbench.core.numbers import Number

Downsample = Literal["area", "linear"]
"""Ways of down-sampling a spectrogram along time, see ``InputSpec.downsample``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """The geometry of the model's input. Every field changes results and is hashed."""

    frames: Annotated[int, Number(unit="frames", least=1, most=4096, source="Sec. 4.2")] = 16
    """Video frames per clip (paper: 16)."""
    size: Annotated[int, Number(unit="pixels", least=1, most=4096, source="Sec. 4.2")] = 224
    """Height and width of a frame, pixels (paper: 224)."""
    store_frames: Annotated[int, Number(unit="frames", least=1, most=4096)] = 48
    """Frames per clip that the prepare stage stores; training samples among them."""
    sample_rate: Annotated[int, Number(unit="Hz", least=1000, most=384000, source="App. A")] = (
        22_050
    )
    """Hz (paper: 22,050)."""
    n_fft: Annotated[int, Number(unit="samples", least=2, most=65536, source="App. A")] = 1536
    """Samples per spectrogram frame (paper: 1536)."""
    hop: Annotated[int, Number(unit="samples", least=1, most=65536, source="App. A")] = 588
    """Samples between spectrogram frames (paper: 588)."""
    mel_bins: Annotated[int, Number(unit="filters", least=1, most=4096, source="App. A")] = 64
    """Mel filters (paper: 64)."""
    mel_frames: Annotated[int, Number(unit="frames", least=1, most=100000, source="App. A")] = 256
    """Spectrogram frames; shorter is zero-padded, longer down-sampled (paper: 256)."""
    downsample: Downsample = "area"
    """Down-sampling of longer spectrograms: ``area`` averages all frames that fall into each new
    one; ``linear`` interpolates between two frames and skips the others. The paper does not say
    how."""
    log_floor: Annotated[float, Number(unit="amplitude", above=0, most=1)] = 1e-5
    """Added to the amplitude inside the logarithm (the paper gives none)."""
    time_mask: Annotated[int, Number(unit="frames", least=0, most=100000, source="App. A")] = 128
    """SpecAugment's longest time mask, frames. The paper's text says 32, probably swapped."""
    frequency_mask: Annotated[int, Number(unit="bins", least=0, most=4096, source="App. A")] = 32
    """SpecAugment's widest frequency mask, bins. The paper's text says 128 of 64 bins."""
    caption_tokens: Annotated[int, Number(unit="tokens", least=2, most=4096)] = 32
    """Longest caption, tokens, with BOS and EOS."""
    speech_tokens: Annotated[int, Number(unit="tokens", least=1, most=4096)] = 64
    """Longest ASR text, tokens."""

    def __post_init__(self) -> None:
        if self.hop > self.n_fft:
            raise ValueError(
                f"hop must be at most n_fft, or sound is left out; got {self.hop} and {self.n_fft}"
            )
        if self.mel_bins > self.n_fft // 2 + 1:
            raise ValueError(
                f"mel_bins must be at most n_fft / 2 + 1, got {self.mel_bins} and {self.n_fft}"
            )

    def stored(self) -> dict[str, Any]:
        """Return the fields that prepared clips depend on, as plain data."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _READ_LATER}


_READ_LATER = frozenset(
    ("frames", "time_mask", "frequency_mask", "caption_tokens", "speech_tokens")
)
"""Fields of ``InputSpec`` that say what training and generation take of prepared clips."""
