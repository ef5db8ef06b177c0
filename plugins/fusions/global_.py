"""Global cross fusion: streams exchange information through a few global tokens."""

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
    GlobalLayer,
    GlobalOptions,
    GlobalTokens,
    raise_refusal,
    refuse_unless,
    sites_of,
)


def global_macs(D: int, streams: Sequence[int], *, layers: int = 3, global_tokens: int = 1) -> int:
    """Return the MACs of global cross fusion (Eq. 11), the same for shared layers."""
    a, v = streams
    each = (transformer_layer_macs(D, n + global_tokens, n + global_tokens) for n in (a, v))
    return layers * sum(each)


@final
class GlobalCrossFusion(Fusion):
    """Global cross fusion (Eq. 11).

    [φᵃ; Gᵃ] ← Tᵃ([φᵃ; Gᵃ], [φᵃ; Gᵛ]); [φᵛ; Gᵛ] ← Tᵛ([φᵛ; Gᵛ], [φᵛ; Gᵃ]). The global tokens are
    dropped after the last layer: the decoder reads [φᵃ; φᵛ].

    Args:
        options: see ``GlobalOptions``.
        context: the model's geometry, with two streams.

    Raises:
        ValueError: the streams are not two.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Sec. 3.3.3.
        Beside the paper: pre-norm layers and a final LayerNorm (see ``_layers``).
    """

    def __init__(self, options: GlobalOptions, context: FusionContext) -> None:
        super().__init__()
        raise_refusal(self.refuses(context.streams))
        self.global_tokens = GlobalTokens(context.streams, context.D, options)
        self.layers = nn.ModuleList(
            GlobalLayer(context.streams, context, options) for _ in range(context.layers)
        )
        self.output = FusedOutput(context, options.norm)
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Refuse all but two streams: the equation has no other form."""
        return refuse_unless(2, streams, "global cross fusion", "Eq. 11")

    @classmethod
    def closed_form(
        cls, options: GlobalOptions, context: FusionContext, tokens: Mapping[Modality, int]
    ) -> int:
        """Return the MACs of one layer per stream and its global tokens, times the layers."""
        return global_macs(
            context.D,
            [tokens[m] for m in context.streams],
            layers=context.layers,
            global_tokens=options.global_tokens,
        )

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams to (B, sum of N_m, D)."""
        global_tokens = self.global_tokens(tokens)
        for layer in self.layers:
            tokens, global_tokens = layer(tokens, global_tokens)
        fused: Tokens = self.output(tokens)
        return fused

    def sites(self) -> Sequence[AttentionSite]:
        """Return every layer's attention."""
        return sites_of(self.layers)


@hookimpl
def register_fusions(register: Register) -> None:
    """Register global cross fusion."""
    register("global", GlobalCrossFusion, config=GlobalOptions, source="Shen et al. 2023, Eq. 11")
