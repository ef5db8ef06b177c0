"""Local-global cross fusion: cross fusion and global cross fusion, averaged layer by layer."""

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
)

from ._layers import (
    CrossLayer,
    FusedOutput,
    GlobalLayer,
    GlobalOptions,
    GlobalTokens,
    average,
    raise_refusal,
    refuse_unless,
    sites_of,
)
from .cross import cross_macs
from .global_ import global_macs


def local_global_cross_macs(
    D: int, streams: Sequence[int], *, layers: int = 3, global_tokens: int = 1
) -> int:
    """Return the MACs of local-global cross fusion (Eq. 12)."""
    global_branch = global_macs(D, streams, layers=layers, global_tokens=global_tokens)
    return global_branch + cross_macs(D, streams, layers=layers)


@final
class LocalGlobalCrossFusion(Fusion):
    """Local-global cross fusion: φᵐ ← (φᵐ of global cross + φᵐ of cross fusion) / 2 (Eq. 12).

    The global tokens come from the global branch and are dropped after the last layer.

    Args:
        options: see ``GlobalOptions``.
        context: the model's geometry, with two streams.

    Raises:
        ValueError: the streams are not two.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Sec. 3.3.4.
        Beside the paper: pre-norm layers and a final LayerNorm (see ``_layers``).
    """

    def __init__(self, options: GlobalOptions, context: FusionContext) -> None:
        super().__init__()
        raise_refusal(self.refuses(context.streams))
        streams, depth = context.streams, range(context.layers)
        self.global_tokens = GlobalTokens(streams, context.D, options)
        self.global_layers = nn.ModuleList(GlobalLayer(streams, context, options) for _ in depth)
        self.local_layers = nn.ModuleList(
            CrossLayer(streams, context, options.norm) for _ in depth
        )
        self.output = FusedOutput(context, options.norm)
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Refuse all but two streams: Eq. 11 has no other form."""
        return refuse_unless(2, streams, "local-global cross fusion", "Eq. 11 and 12")

    @classmethod
    def closed_form(
        cls, options: GlobalOptions, context: FusionContext, tokens: Mapping[Modality, int]
    ) -> int:
        """Return the MACs of both branches; a shared layer still runs for each stream."""
        return local_global_cross_macs(
            context.D,
            [tokens[m] for m in context.streams],
            layers=context.layers,
            global_tokens=options.global_tokens,
        )

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams to (B, sum of N_m, D)."""
        global_tokens = self.global_tokens(tokens)
        for global_layer, local_layer in zip(self.global_layers, self.local_layers, strict=True):
            global_branch, global_tokens = global_layer(tokens, global_tokens)
            local_branch = local_layer(tokens)
            tokens = {m: average(global_branch[m], local_branch[m]) for m in tokens}
        fused: Tokens = self.output(tokens)
        return fused

    def sites(self) -> Sequence[AttentionSite]:
        """Return every layer's attention, global and local."""
        return sites_of(self.global_layers, self.local_layers)


@hookimpl
def register_fusions(register: Register) -> None:
    """Register local-global cross fusion."""
    register(
        "local_global_cross",
        LocalGlobalCrossFusion,
        config=GlobalOptions,
        source="Shen et al. 2023, Eq. 10, 11 and 12",
    )
