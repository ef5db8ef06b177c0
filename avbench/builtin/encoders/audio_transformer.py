"""Audio Transformer: frames of a log-mel spectrogram as a 1-D sequence."""

from dataclasses import dataclass
from typing import Annotated, final

import torch
from torch import nn

from avbench.api import (
    Batch,
    Encoder,
    EncoderContext,
    Linear,
    Norm,
    Number,
    Register,
    Tokens,
    TransformerLayer,
    hookimpl,
    initialise,
)

from ._layers import heads_fault, transformer_encoder_macs


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioTransformerOptions:
    """Options of the audio Transformer; the defaults are the paper's."""

    layers: Annotated[int, Number(unit="layers", least=1, most=1000, source="App. A")] = 12
    heads: Annotated[int, Number(unit="heads", least=1, most=1024, source="App. A")] = 12
    width: Annotated[int, Number(unit="channels", least=1, most=65536)] | None = None
    """Channels of its layers; None: the model's D."""
    dropout: Annotated[float, Number(unit="share", least=0, below=1)] = 0.1
    norm: Norm = "pre"
    patch_frames: Annotated[int, Number(unit="frames", least=1, most=100000, source="App. A")] = 1
    """Spectrogram frames in a token (paper's text: 1; its cost implies 4, see pool)."""
    pool: Annotated[int, Number(unit="tokens", least=1, most=100000, source="App. A")] = 4
    """Neighbouring tokens averaged after the last layer (with patch_frames 4: 1)."""
    mean: Annotated[float, Number(unit="nats", least=-1000, most=1000)] = 0.0
    """Subtracted from the log-mel values, nats. The paper gives none; ten real clips had 0.1."""
    std: Annotated[float, Number(unit="nats", above=0, most=1000)] = 3.0
    """Divisor of the log-mel values after that, nats; ten real clips had 2.8."""

    def __post_init__(self) -> None:
        fault = heads_fault(self.width, self.heads) if self.width is not None else None
        if fault is not None:
            raise ValueError(fault)

    def width_fault(self, D: int) -> str | None:
        """Return why the encoder cannot have the model's width, or None."""
        return heads_fault(self.width or D, self.heads)


@final
class AudioTransformer(Encoder):
    """A Transformer over spectrogram frames in a 1-D layout, then average pooling (App. A).

    Attention includes the padding of short clips, because the paper pads with zeros and names no
    mask.

    Args:
        options: geometry.
        context: the model's geometry; patch_frames·pool must divide its mel_frames.

    Raises:
        ValueError: the spectrogram does not divide into patches and pools.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), App. A.
        Beside the paper: pre-norm layers, a final LayerNorm before pooling, and the constants
        ``mean`` and ``std`` that bring log-mel values to unit scale.
    """

    modality = "audio"

    def __init__(self, options: AudioTransformerOptions, context: EncoderContext) -> None:
        super().__init__()
        frames, stride = context.input.mel_frames, options.patch_frames * options.pool
        if frames % stride:
            raise ValueError(
                f"patch_frames·pool must divide mel_frames, got {options.patch_frames}·"
                f"{options.pool} and {frames}"
            )
        width = options.width or context.D
        tokens = frames // options.patch_frames
        self.mean, self.std = options.mean, options.std
        self.patch_frames, self.pool = options.patch_frames, options.pool
        self.embed = Linear(context.input.mel_bins * options.patch_frames, width)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.dropout = nn.Dropout(options.dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(width, options.heads, dropout=options.dropout, norm=options.norm)
            for _ in range(options.layers)
        )
        self.final_norm = nn.LayerNorm(width) if options.norm == "pre" else nn.Identity()
        self.project = nn.Identity() if width == context.D else Linear(width, context.D)
        self.n_tokens = frames // stride
        self.apply(initialise)

    @classmethod
    def closed_form(cls, options: AudioTransformerOptions, context: EncoderContext) -> int:
        """Return the MACs of the embedding, the layers, and the map of pooled tokens to D."""
        tokens = context.input.mel_frames // options.patch_frames
        return transformer_encoder_macs(
            options.width or context.D,
            tokens,
            layers=options.layers,
            inputs=options.patch_frames * context.input.mel_bins,
            out=context.D,
            out_tokens=tokens // options.pool,
        )

    def forward(self, batch: Batch) -> Tokens:
        """Encode the spectrogram to (B, mel_frames / patch_frames / pool, D)."""
        x = (batch.audio - self.mean) / self.std
        patches = x.reshape(len(x), -1, self.patch_frames * x.shape[2])
        x = self.dropout(self.embed(patches) + self.positions)
        for layer in self.layers:
            x = layer(x, x)
        x = self.final_norm(x)
        if self.pool > 1:
            x = x.reshape(len(x), -1, self.pool, x.shape[2]).mean(2)
        return Tokens(values=self.project(x))


@hookimpl
def register_encoders(register: Register) -> None:
    """Register the audio Transformer."""
    register(
        "audio_transformer",
        AudioTransformer,
        config=AudioTransformerOptions,
        source="Shen et al. 2023, App. A",
    )
