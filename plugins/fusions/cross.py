"""Cross fusion: each stream attends to the other."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import nn

from avbench.api import (
    AttentionSite,
    Fusion,
    FusionContext,
    Modality,
    Register,
    Tokens,
    hookimpl,
    initialise,
    transformer_layer_macs,
)

from ._layers import (
    CrossLayer,
    FusedOutput,
    LocalOptions,
    raise_refusal,
    refuse_unless,
    sites_of,
)


def cross_macs(D: int, streams: Sequence[int], *, layers: int = 3) -> int:
    """Return the MACs of cross fusion of two streams (Eq. 10)."""
    a, v = streams
    return layers * (transformer_layer_macs(D, a, v) + transformer_layer_macs(D, v, a))


@final
class CrossFusion(Fusion):
    """Cross fusion: φᵃ ← Tᵃ(φᵃ, φᵛ); φᵛ ← Tᵛ(φᵛ, φᵃ) (Eq. 10).

    Args:
        options: see ``LocalOptions``.
        context: the model's geometry, with two streams.

    Raises:
        ValueError: the streams are not two.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Sec. 3.3.2.
        Beside the paper: pre-norm layers and a final LayerNorm (see ``_layers``).
    """

    def __init__(self, options: LocalOptions, context: FusionContext) -> None:
        super().__init__()
        raise_refusal(self.refuses(context.streams))
        self.layers = nn.ModuleList(
            CrossLayer(context.streams, context, options.norm) for _ in range(context.layers)
        )
        self.output = FusedOutput(context, options.norm)
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Refuse all but two streams: the equation has no other form."""
        return refuse_unless(2, streams, "cross fusion", "Eq. 10")

    @classmethod
    def closed_form(
        cls,
        options: LocalOptions,  # noqa: ARG003
        context: FusionContext,
        tokens: Mapping[Modality, int],
    ) -> int:
        """Return the MACs of one layer per stream, which reads the other, times the layers."""
        streams = [tokens[m] for m in context.streams]
        return cross_macs(context.D, streams, layers=context.layers)

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams to (B, sum of N_m, D)."""
        for layer in self.layers:
            tokens = layer(tokens)
        fused: Tokens = self.output(tokens)
        return fused

    def sites(self) -> Sequence[AttentionSite]:
        """Return every layer's attention."""
        return sites_of(self.layers)


@hookimpl
def register_fusions(register: Register) -> None:
    """Register cross fusion."""
    register("cross", CrossFusion, config=LocalOptions, source="Shen et al. 2023, Eq. 10")
