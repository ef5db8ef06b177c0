"""The fusion of video, audio and text: global between V and A, merged between V and T."""

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
    FusedOutput,
    GlobalLayer,
    GlobalOptions,
    GlobalTokens,
    MergedLayer,
    average,
    raise_refusal,
    sites_of,
)
from .global_ import global_macs
from .merged import merged_macs

SOUND = ("audio", "video")
SPEECH = ("video", "text")


@final
class GlobalVAMergedVTFusion(Fusion):
    """Global cross fusion of video and audio, merged fusion of video and text (Sec. 4.3).

    φᵃ from Eq. 11, φᵗ from Eq. 9; video takes part in both, and its two updates are averaged as
    in Eq. 12. The paper does not say how the two meet: the average is our reading.

    Args:
        options: see ``GlobalOptions``; they concern the global branch, ``norm`` both.
        context: the model's geometry, with the streams audio, video and text.

    Raises:
        ValueError: the streams are others.

    Source: Exploring the Role of Audio in Video Captioning (Shen et al., 2023), Sec. 4.3.
        Beside the paper: pre-norm layers and a final LayerNorm (see ``_layers``).
    """

    def __init__(self, options: GlobalOptions, context: FusionContext) -> None:
        super().__init__()
        raise_refusal(self.refuses(context.streams))
        depth = range(context.layers)
        self.global_tokens = GlobalTokens(SOUND, context.D, options)
        self.global_layers = nn.ModuleList(GlobalLayer(SOUND, context, options) for _ in depth)
        self.local_layers = nn.ModuleList(
            MergedLayer(SPEECH, context, options.norm) for _ in depth
        )
        self.output = FusedOutput(context, options.norm)
        self.apply(initialise)

    @classmethod
    def refuses(cls, streams: tuple[Modality, ...]) -> str | None:
        """Refuse all streams but audio, video and text: the fusion names its modalities."""
        if set(streams) == {*SOUND, *SPEECH} and len(streams) == 3:
            return None
        got = ", ".join(streams) or "none"
        return (
            "global V+A with merged V+T is defined for the streams audio, video, text "
            f"(Sec. 4.3), got {got}"
        )

    @classmethod
    def closed_form(
        cls, options: GlobalOptions, context: FusionContext, tokens: Mapping[Modality, int]
    ) -> int:
        """Return the MACs of global fusion (sound, picture) and merged fusion (picture, text)."""
        global_branch = global_macs(
            context.D,
            [tokens[m] for m in SOUND],
            layers=context.layers,
            global_tokens=options.global_tokens,
        )
        local_branch = merged_macs(context.D, [tokens[m] for m in SPEECH], layers=context.layers)
        return global_branch + local_branch

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Fuse the streams to (B, sum of N_m, D)."""
        global_tokens = self.global_tokens(tokens)
        for global_layer, local_layer in zip(self.global_layers, self.local_layers, strict=True):
            global_branch, global_tokens = global_layer(tokens, global_tokens)
            local_branch = local_layer(tokens)
            tokens = {
                **global_branch,
                **local_branch,
                "video": average(global_branch["video"], local_branch["video"]),
            }
        fused: Tokens = self.output(tokens)
        return fused

    def sites(self) -> Sequence[AttentionSite]:
        """Return every layer's attention, global and local."""
        return sites_of(self.global_layers, self.local_layers)


@hookimpl
def register_fusions(register: Register) -> None:
    """Register the fusion of video, audio and text."""
    register(
        "global_va_merged_vt",
        GlobalVAMergedVTFusion,
        config=GlobalOptions,
        source="Shen et al. 2023, Sec. 4.3",
    )
