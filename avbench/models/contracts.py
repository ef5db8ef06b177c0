"""The abstract classes of encoders and fusions, and what the host hands to each.

Every class here is abstract or a value; every class that implements one is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from avbench.core.types import Batch, InputSpec, Modality, Tokens
from avbench.models.attention_maps import AttentionSite


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderContext:
    """What the model's geometry fixes for an encoder."""

    D: int
    """Width of the tokens that the encoder must give."""
    input: InputSpec
    vocabulary: int
    """Size of the tokenizer's vocabulary (text encoders)."""
    pad: int
    """Id of the padding token (text encoders)."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Marks the option of an encoder that says which weights it starts from.

    ``weights: Annotated[str | None, InitialWeights()] = None``. Its text is the path of a local
    file or folder, whose contents then count and not its place, or a name of published weights.
    With None the encoder starts from scratch; its parameters must have the same names and
    shapes then, for what has been trained is loaded into an encoder built without them.
    """

    named: Callable[[str], bool] | None = None
    """Whether a text that is no local file names published weights; None: none are known."""
    also: tuple[str, ...] = ()
    """Options that only say more of these weights, e.g. their revision; cleared with them."""
    words: Callable[[Path], Path | None] | None = None
    """Of weights that know words by their ids, which a suite must then use: gives the file of
    the vocabulary beside local ones, or None where there is none. None: they know no words."""


class Encoder(nn.Module, ABC):
    """One modality's input to tokens of width D."""

    modality: Modality
    """The modality whose input it reads."""
    n_tokens: int
    """N: tokens per clip; a zeroed stream has as many."""
    started_from: str = "scratch"
    """What the weights were before training, for the tables."""
    own_attention: str | None = None
    """What computes its attention where it is not ``avbench.api.Attention``, for the record."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tokens:
        """Encode the modality's field of a batch.

        Returns:
            Tokens (B, n_tokens, D); ``keep`` is False only for padding.
        """

    @classmethod
    def closed_form(cls, options: Any, context: EncoderContext) -> int | None:  # noqa: ARG003
        """Its MACs for one clip by a formula, to hold the count against; None: there is none."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionContext:
    """What the model's geometry fixes for a fusion."""

    streams: tuple[Modality, ...]
    """The streams that come in, in the order of the fused output."""
    D: int
    heads: int
    layers: int
    dropout: float = 0.0


class Fusion(nn.Module, ABC):
    """The cross-modal encoder's layers.

    The host has added position and token-type embeddings; a zeroed stream comes as zeros plus
    these embeddings and is attended to like any other (Sec. 3.2).
    """

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:  # noqa: ARG003
        """Why this fusion is undefined for these streams, or None; a refused cell is skipped."""
        return None

    @classmethod
    def closed_form(
        cls,
        options: Any,  # noqa: ARG003
        context: FusionContext,  # noqa: ARG003
        tokens: Mapping[Modality, int],  # noqa: ARG003
    ) -> int | None:
        """Its MACs for one clip by a formula, to hold the count against; None: there is none.

        Args:
            options: an instance of its config.
            context: the model's geometry.
            tokens: the number of tokens of each stream.
        """
        return None

    @abstractmethod
    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams.

        Args:
            tokens: one entry a stream of the context, (B, N_m, D) each.

        Returns:
            The streams' tokens, concatenated in the order of the context: (B, sum of N_m, D).
        """

    def sites(self) -> Sequence[AttentionSite]:
        """Where it attends, in the order in which it runs, for attention maps; none: no maps."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModalityConfiguration:
    """Which streams enter the cross-modal encoder, and which of them as zeros."""

    streams: tuple[Modality, ...]
    """All streams, in the order of the fused output."""
    zeroed: frozenset[Modality] = frozenset()
    """Streams that are not encoded: zeros stand for their tokens."""

    def __post_init__(self) -> None:
        if not self.zeroed < set(self.streams):
            raise ValueError(
                f"zeroed must be a proper subset of streams {self.streams}, "
                f"got {sorted(self.zeroed)}"
            )

    @property
    def encoded(self) -> tuple[Modality, ...]:
        """The streams that are encoded."""
        return tuple(m for m in self.streams if m not in self.zeroed)
