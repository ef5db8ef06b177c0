"""The settings of the captioner: its geometry, its computation, its captions.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if the
paper gives one. They are part of the specs of stages, and so are hashed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from avbench.core.components import ComponentRef
from avbench.core.numbers import Number

Backend = Literal["auto", "sdpa", "xformers", "reference"]
"""Implementations of attention, see ``avbench.models.kernels.attention``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """The captioner's geometry (Sec. 4.2, App. A)."""

    D: Annotated[int, Number(unit="channels", least=1, most=65536, source="App. A")] = 768
    """Model width."""
    heads: Annotated[int, Number(unit="heads", least=1, most=1024, source="App. A")] = 12
    """Attention heads of the cross-modal encoder and the decoder."""
    cross_layers: Annotated[int, Number(unit="layers", least=1, most=1000, source="App. A")] = 3
    decoder_layers: Annotated[int, Number(unit="layers", least=1, most=1000, source="App. A")] = 3
    dropout: Annotated[float, Number(unit="share", least=0, below=1)] = 0.1
    norm: Literal["pre", "post"] = "pre"
    """Normalisation of the decoder; fusions and encoders have their own (open in Eq. 8)."""
    zeroing: Literal["zeros", "mask"] = "zeros"
    """A zeroed stream is attended to as zeros (Eq. 2), or hidden from attention."""
    encoders: Mapping[str, ComponentRef] = field(default_factory=dict)
    """The encoder of each modality that a row may use."""

    def __post_init__(self) -> None:
        if self.D % self.heads:
            raise ValueError(f"heads must divide D, got D={self.D} and heads={self.heads}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeSettings:
    """Computation of the network in training and generation; results differ in rounding."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: matrix products and attention in bfloat16; weights, optimiser and losses in fp32."""
    attention: Backend = "auto"
    """The implementation of attention in the fusion, the decoder and the encoders built of
    ``avbench.api.Attention`` (audio), see ``avbench.models.kernels.attention``. Video Swin
    (attention in windows with a bias), BERT (sdpa) and timm's backbones have their own and ignore
    this; the record lists the implementations that ran."""
    compile: bool = False
    """Compile encoders, fusion and (in training) decoder by torch.compile, which needs a C++
    compiler on the CPU, Triton on CUDA. Compiled graphs draw another dropout."""


BEAM = Number(unit="hypotheses", least=1, most=1000, source="Sec. 4.2")
BATCH = Number(unit="clips", least=1, most=100_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeSettings:
    """Caption generation (Sec. 4.2)."""

    beam: Annotated[int, BEAM] = 5
    """Beam width (paper: 5)."""
    length_penalty: Annotated[float, Number(unit="power", least=-100, most=100)] = 1.0
    """Hypotheses compare by log probability over length to this power; 0: by log probability."""
    early_stopping: bool | Literal["never"] = False
    """The end of a clip's search, once as many hypotheses as the beam is wide have ended. false:
    when no other looks better at its present length; never: when none can become better; true: at
    once (Hugging Face's meanings)."""
    batch: Annotated[int, BATCH] = 32
    """Clips decoded together; changes nothing but time."""
