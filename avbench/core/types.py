"""The values that flow through avbench, as frozen dataclasses with their shapes.

Axes: B clips in a batch, T video frames, H W pixels, F spectrogram frames, M mel bins,
N tokens, D model width, L caption length in tokens, V vocabulary size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from avbench.core.input_spec import InputSpec as InputSpec

Modality = str
"""``"audio"``, ``"video"`` or ``"text"``; a plugin may add another."""

View = frozenset[Modality]
"""The streams that a forward pass keeps; the others are zeroed at the cross-modal encoder."""


class SoundState(StrEnum):
    """The state of a clip's sound; four different facts that are never merged."""

    PRESENT = "present"
    ABSENT = "absent"
    """The file has no sound track."""
    SILENT = "silent"
    """There is a sound track, and every sample of the clip is (nearly) zero."""
    UNDECODABLE = "undecodable"
    """There is a sound track that cannot be decoded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """One fact that a caption should state, with the modalities that show it."""

    value: str
    """The word that a correct caption contains, e.g. ``red``."""
    choices: tuple[str, ...]
    """All values of this slot in the dataset; chance is one over their number."""
    evidence: frozenset[Modality]
    """The modalities that show the value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One clip of a dataset, as its annotations describe it; the media are not opened."""

    id: str
    """Unique within the dataset."""
    video: str
    """The video that the clip is cut from: a split never divides the clips of one video."""
    media: Path
    """The local media file; it may turn out to be missing or damaged."""
    captions: tuple[str, ...]
    """Training targets, or references."""
    start: float | None = None
    """Seconds into the file; None: the whole file."""
    end: float | None = None
    """Seconds into the file; None: the whole file."""
    next_caption: str | None = None
    """The caption of the next clip in the same video (PNC); None: there is none."""
    speech: str | None = None
    """ASR text of the clip, the input of the text stream."""
    slots: Mapping[str, Slot] = field(default_factory=dict)
    """Known evidence (embedded world only)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The model's input: B clips and, in training, their target captions.

    Attributes:
        video: frames as decoded, 0 to 255; normalised on the device by the encoder.
        audio: log-mel spectrogram.
        text: ids of the ASR text, padded to ``InputSpec.speech_tokens``.
        captions: ids, one row a caption: BOS1 or BOS2, the words, EOS, padding.
        clip: the row of ``video``/``audio``/``text`` that each caption belongs to. PCC and PNC
            of one clip are two rows here and one row there.
        ids: the clips' ids.
    """

    video: UInt8[Tensor, "B T 3 H W"]
    audio: Float[Tensor, "B F M"]
    text: Int[Tensor, "B L_t"]
    captions: Int[Tensor, "C L"]
    clip: Int[Tensor, " C"]
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """A stream's tokens.

    Attributes:
        values: the embeddings.
        keep: True where a token is real; False for padding, which no attention may read.
            None: all are real, and attention needs no mask.
        type_embedding: the stream's learnt token-type vector, set once position and type
            embeddings have been added; for fusions that add tokens.
    """

    values: Float[Tensor, "B N D"]
    keep: Bool[Tensor, "B N"] | None = None
    type_embedding: Float[Tensor, " D"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewLoss:
    """The teacher-forced result of one view over a batch.

    Attributes:
        nats: mean cross entropy per target token, PCC and PNC averaged by tokens. If a step is
            divided among processes or micro-batches, the divisor is the mean number of tokens
            of a process, so that the parts add up to the whole step's loss.
        token_probability: mean probability of the target tokens, without gradient; with the same
            divisor.
        tokens: number of target tokens.
    """

    nats: Float[Tensor, ""]
    token_probability: Float[Tensor, ""]
    tokens: int
