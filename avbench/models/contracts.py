"""The abstract classes of encoders and fusions, and the values that the host hands to each.

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
    """The model's geometry, as far as an encoder needs it."""

    D: int
    """Width of the tokens that the encoder returns."""
    input: InputSpec
    vocabulary: int
    """Size of the tokenizer's vocabulary (text encoders)."""
    pad: int
    """Id of the padding token (text encoders)."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Marks the option of an encoder that names its initial weights.

    ``weights: Annotated[str | None, InitialWeights()] = None``. Its text is the path of a local
    file or folder, whose contents then count and not its path, or a name of published weights.
    With None the encoder starts from scratch. Its parameters must have the same names and shapes
    then, because trained weights are loaded into an encoder built without initial ones.
    """

    named: Callable[[str], bool] | None = None
    """Returns True if a text names published weights; None: no names are known."""
    also: tuple[str, ...] = ()
    """Further options of these weights, e.g. their revision; cleared with them."""
    words: Callable[[Path], Path | None] | None = None
    """For weights over a vocabulary, which the suite must then use: returns the vocabulary's file
    beside local weights, or None if there is none. None: the weights are not over words."""


class Encoder(nn.Module, ABC):
    """One modality's input to tokens of width D."""

    modality: Modality
    """The modality whose input it reads."""
    n_tokens: int
    """N: tokens per clip; a zeroed stream has the same number."""
    layout: tuple[int, int, int] | None = None
    """Tokens along time, rows and columns of the picture, in this order; None: no picture."""
    started_from: str = "scratch"
    """The weights before training, for the tables."""
    own_attention: str | None = None
    """The attention it uses instead of ``avbench.api.Attention``, for the record."""

    @abstractmethod
    def forward(self, batch: Batch) -> Tokens:
        """Encode the modality's field of a batch.

        Returns:
            Tokens (B, n_tokens, D); ``keep`` is False only for padding.
        """

    @classmethod
    def closed_form(cls, options: Any, context: EncoderContext) -> int | None:  # noqa: ARG003
        """Return its MACs for one clip by a formula, to check the count; None: no formula."""
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionContext:
    """The model's geometry, as far as a fusion needs it."""

    streams: tuple[Modality, ...]
    """The input streams, in the order of the fused output."""
    D: int
    heads: int
    layers: int
    dropout: float = 0.0


class Fusion(nn.Module, ABC):
    """The cross-modal encoder's layers.

    The host has added position and token-type embeddings. A zeroed stream arrives as zeros plus
    these embeddings and is attended to like any other (Sec. 3.2).
    """

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:  # noqa: ARG003
        """Return a reason to refuse these streams, or None; a refused cell is skipped."""
        return None

    @classmethod
    def closed_form(
        cls,
        options: Any,  # noqa: ARG003
        context: FusionContext,  # noqa: ARG003
        tokens: Mapping[Modality, int],  # noqa: ARG003
    ) -> int | None:
        """Return its MACs for one clip by a formula, to check the count; None: no formula.

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
            tokens: one entry per stream of the context, (B, N_m, D) each.

        Returns:
            The streams' tokens, concatenated in the order of the context: (B, sum of N_m, D).
        """

    def sites(self) -> Sequence[AttentionSite]:
        """Return its uses of attention in the order they run; none: it has no attention maps."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModalityConfiguration:
    """The streams that enter the cross-modal encoder, and those that enter as zeros."""

    streams: tuple[Modality, ...]
    """All streams, in the order of the fused output."""
    zeroed: frozenset[Modality] = frozenset()
    """Streams that are not encoded: zeros replace their tokens."""

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
