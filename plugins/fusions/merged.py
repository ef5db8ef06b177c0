"""Merged fusion: all streams attend to all, in one sequence."""

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
    FusedOutput,
    LocalOptions,
    MergedLayer,
    raise_refusal,
    sites_of,
)


def merged_macs(D: int, streams: Sequence[int], *, layers: int = 3) -> int:
    """Return the MACs of merged fusion (Eq. 9)."""
    n = sum(streams)
    return layers * transformer_layer_macs(D, n, n)


@final
class MergedFusion(Fusion):
    """Merged fusion: [φᵃ; φᵛ] ← T([φᵃ; φᵛ], [φᵃ; φᵛ]) (Eq. 9).

    Defined for one stream (self-attention) and for any number above.

    Args:
        options: see ``LocalOptions``.
        context: the model's geometry.

    Raises:
        ValueError: there is no stream.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Sec. 3.3.2.
        Beside the paper: pre-norm layers and a final LayerNorm (see ``_layers``).
    """

    def __init__(self, options: LocalOptions, context: FusionContext) -> None:
        super().__init__()
        raise_refusal(self.refuses(context.streams))
        self.layers = nn.ModuleList(
            MergedLayer(context.streams, context, options.norm) for _ in range(context.layers)
        )
        self.output = FusedOutput(context, options.norm)
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Refuse to fuse nothing."""
        return None if streams else "merged fusion needs at least 1 stream (Eq. 9), got none"

    @classmethod
    def closed_form(
        cls,
        options: LocalOptions,  # noqa: ARG003
        context: FusionContext,
        tokens: Mapping[Modality, int],
    ) -> int:
        """One layer over all tokens, times the layers."""
        streams = [tokens[m] for m in context.streams]
        return merged_macs(context.D, streams, layers=context.layers)

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
    """Register merged fusion."""
    register("merged", MergedFusion, config=LocalOptions, source="Shen et al. 2023, Eq. 9")
