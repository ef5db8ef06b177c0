"""The names that a plugin may import from avbench."""

from avbench.core.versions import check_versions

check_versions()  # before torch and all else, which a wrong version may break

from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.core.numbers import Number
from avbench.core.types import (
    Batch,
    Clip,
    InputSpec,
    Modality,
    Slot,
    SoundState,
    Tokens,
    View,
    ViewLoss,
)
from avbench.data.contracts import Dataset, Defect
from avbench.evaluation.contracts import Metric, References, Score
from avbench.hookspecs import Register, hookimpl
from avbench.models.attention_maps import AttentionMap, AttentionSite, Block, attention_maps
from avbench.models.closed_form import transformer_layer_macs
from avbench.models.contracts import (
    Encoder,
    EncoderContext,
    Fusion,
    FusionContext,
    InitialWeights,
    ModalityConfiguration,
)
from avbench.models.kernels.onednn import linear, packed, portable
from avbench.models.layers import (
    Attention,
    Linear,
    Norm,
    TransformerLayer,
    feed_forward,
    initialise,
    join,
)
from avbench.training.contracts import LossContext, LossStrategy, Objective, Probe, ProbeCurve

__all__ = [
    "Attention",
    "AttentionMap",
    "AttentionSite",
    "AvbenchError",
    "Batch",
    "Block",
    "Clip",
    "DataError",
    "Dataset",
    "Defect",
    "Encoder",
    "EncoderContext",
    "Fusion",
    "FusionContext",
    "InitialWeights",
    "InputSpec",
    "Linear",
    "LossContext",
    "LossStrategy",
    "Metric",
    "Modality",
    "ModalityConfiguration",
    "Norm",
    "Number",
    "Objective",
    "Probe",
    "ProbeCurve",
    "References",
    "Register",
    "Score",
    "Slot",
    "SoundState",
    "Tokens",
    "TransformerLayer",
    "View",
    "ViewLoss",
    "attention_maps",
    "feed_forward",
    "hookimpl",
    "initialise",
    "join",
    "linear",
    "packed",
    "portable",
    "transformer_layer_macs",
    "unknown",
]
