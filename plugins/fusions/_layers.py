"""The layers of the fusions of Sec. 3.3, one class per equation.

The paper leaves these open, and they are the same for all fusions, so that their rows compare.
Layers are pre-norm with residuals. One LayerNorm then closes the fused output (``FusedOutput``),
as in every pre-norm stack. With ``norm="post"`` there is none, as each layer ends with one. All
streams of a layer are updated at once, from the values before the layer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from avbench.api import (
    Attention,
    AttentionSite,
    Block,
    FusionContext,
    Modality,
    Norm,
    Number,
    Tokens,
    TransformerLayer,
    join,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalOptions:
    """Options of the fusions without global tokens."""

    norm: Norm = "pre"
    """Position of the normalisation in a layer; Eq. 8 shows none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalOptions:
    """Options of the fusions with global tokens."""

    norm: Norm = "pre"
    """Position of the normalisation in a layer; Eq. 8 shows none."""
    global_tokens: Annotated[int, Number(unit="tokens", least=1, most=4096)] = 1
    """Global tokens per modality; the paper says a few."""
    shared: bool = False
    """One global layer for all modalities; Eq. 11 writes one for each."""
    global_embedding: Literal["type", "none"] = "type"
    """Added to the learnt global tokens: their modality's type embedding, or nothing."""


def refuse_unless(
    count: int, streams: tuple[Modality, ...], name: str, equation: str
) -> str | None:
    """Return a reason to refuse these streams unless there are ``count``; None: accept them."""
    if len(streams) == count:
        return None
    got = ", ".join(streams) or "none"
    return f"{name} is defined for {count} streams ({equation}), got {len(streams)}: {got}"


def raise_refusal(refusal: str | None) -> None:
    """Raise the reason that ``refuses`` returned, if any.

    Raises:
        ValueError: there is a refusal.
    """
    if refusal is not None:
        raise ValueError(refusal)


def transformer(context: FusionContext, norm: Norm) -> TransformerLayer:
    """Make T(X, Y) of Eq. 8 in the model's geometry."""
    return TransformerLayer(context.D, context.heads, dropout=context.dropout, norm=norm)


def block(stream: Modality) -> Block:
    """Return a stream's tokens as a block of a sequence."""
    return "tokens", stream


def attention_of(layer: nn.Module) -> Attention:
    """Return the attention of a Transformer layer, taken from a container of modules."""
    if not isinstance(layer, TransformerLayer):
        raise TypeError(f"expected a TransformerLayer, got {type(layer).__name__}")
    return layer.attention


def sites_of(*branches: Iterable[nn.Module]) -> list[AttentionSite]:
    """Return the sites of stacks of layers that run side by side, layer by layer."""
    return [
        site
        for i, layers in enumerate(zip(*branches, strict=True))
        for layer in layers
        for site in layer.sites(i)
    ]


class MergedLayer(nn.Module):
    """[φᵃ; φᵛ] ← T([φᵃ; φᵛ], [φᵃ; φᵛ]) (Eq. 9), for any number of streams."""

    def __init__(self, streams: tuple[Modality, ...], context: FusionContext, norm: Norm) -> None:
        super().__init__()
        self.streams = streams
        self.transformer = transformer(context, norm)

    def forward(self, tokens: Mapping[Modality, Tokens]) -> dict[Modality, Tokens]:
        """Update every stream."""
        merged = join([tokens[m] for m in self.streams])
        fused = self.transformer(merged.values, merged.values, merged.keep)
        parts = fused.split([tokens[m].values.shape[1] for m in self.streams], dim=1)
        return {
            m: replace(tokens[m], values=values)
            for m, values in zip(self.streams, parts, strict=True)
        }

    def sites(self, layer: int) -> list[AttentionSite]:
        """Return one site: every stream reads every stream."""
        blocks = tuple(block(m) for m in self.streams)
        module = self.transformer.attention
        return [
            AttentionSite(module=module, layer=layer, branch="local", queries=blocks, keys=blocks)
        ]


class CrossLayer(nn.Module):
    """φᵃ ← Tᵃ(φᵃ, φᵛ); φᵛ ← Tᵛ(φᵛ, φᵃ) (Eq. 10)."""

    def __init__(self, streams: tuple[Modality, ...], context: FusionContext, norm: Norm) -> None:
        super().__init__()
        first, second = streams
        self.other = {first: second, second: first}
        self.transformers = nn.ModuleDict({m: transformer(context, norm) for m in streams})

    def forward(self, tokens: Mapping[Modality, Tokens]) -> dict[Modality, Tokens]:
        """Update both streams."""
        updated = {}
        for m, other in self.other.items():
            context = tokens[other]
            values = self.transformers[m](tokens[m].values, context.values, context.keep)
            updated[m] = replace(tokens[m], values=values)
        return updated

    def sites(self, layer: int) -> list[AttentionSite]:
        """Return two sites: each stream reads the other."""
        return [
            AttentionSite(
                module=attention_of(self.transformers[m]),
                layer=layer,
                branch="local",
                queries=(block(m),),
                keys=(block(other),),
            )
            for m, other in self.other.items()
        ]


class GlobalTokens(nn.Module):
    """The global tokens of the first layer: learnt, from N(0, 0.02)."""

    def __init__(self, streams: tuple[Modality, ...], D: int, options: GlobalOptions) -> None:
        super().__init__()
        self.embedding = options.global_embedding
        self.values = nn.ParameterDict(
            {m: nn.Parameter(0.02 * torch.randn(options.global_tokens, D)) for m in streams}
        )

    def forward(self, tokens: Mapping[Modality, Tokens]) -> dict[Modality, Float[Tensor, "B G D"]]:
        """Return each stream's first global tokens, with its type embedding.

        Raises:
            ValueError: the type embedding is wanted and the host gave none.
        """
        initial = {}
        for m, values in self.values.items():
            if self.embedding == "type":
                if tokens[m].type_embedding is None:
                    raise ValueError(
                        f"global_embedding 'type' needs the type embedding of stream '{m}', "
                        "got None; allowed without it: 'none'"
                    )
                values = values + tokens[m].type_embedding
            initial[m] = values.expand(tokens[m].values.shape[0], -1, -1)
        return initial


class GlobalLayer(nn.Module):
    """[φᵃ; Gᵃ] ← Tᵃ([φᵃ; Gᵃ], [φᵃ; Gᵛ]); [φᵛ; Gᵛ] ← Tᵛ([φᵛ; Gᵛ], [φᵛ; Gᵃ]) (Eq. 11)."""

    def __init__(
        self, streams: tuple[Modality, ...], context: FusionContext, options: GlobalOptions
    ) -> None:
        super().__init__()
        first, second = streams
        self.other = {first: second, second: first}
        self.global_tokens = options.global_tokens
        self.key = {m: "shared" if options.shared else m for m in streams}
        self.transformers = nn.ModuleDict(
            {key: transformer(context, options.norm) for key in dict.fromkeys(self.key.values())}
        )

    def forward(
        self,
        tokens: Mapping[Modality, Tokens],
        global_tokens: Mapping[Modality, Float[Tensor, "B G D"]],
    ) -> tuple[dict[Modality, Tokens], dict[Modality, Float[Tensor, "B G D"]]]:
        """Update both streams and their global tokens."""
        updated, updated_global = {}, {}
        for m, other in self.other.items():
            own, sent = global_tokens[m], global_tokens[other]
            query = join([tokens[m], Tokens(values=own)])
            context = join([tokens[m], Tokens(values=sent)])
            fused = self.transformers[self.key[m]](query.values, context.values, context.keep)
            values, updated_global[m] = fused.split(
                [fused.shape[1] - own.shape[1], own.shape[1]], 1
            )
            updated[m] = replace(tokens[m], values=values)
        return updated, updated_global

    def sites(self, layer: int) -> list[AttentionSite]:
        """Return two sites: a stream and its tokens read it and the other's global tokens."""
        return [
            AttentionSite(
                module=attention_of(self.transformers[self.key[m]]),
                layer=layer,
                branch="global",
                queries=(block(m), ("global", m)),
                keys=(block(m), ("global", other)),
                added=self.global_tokens,
            )
            for m, other in self.other.items()
        ]


def average(first: Tokens, second: Tokens) -> Tokens:
    """Return φ ← (φ of one branch + φ of the other) / 2 (Eq. 12)."""
    return replace(first, values=(first.values + second.values) / 2)


class FusedOutput(nn.Module):
    """Concatenates the streams' tokens, and normalises them if the layers are pre-norm."""

    def __init__(self, context: FusionContext, norm: Norm) -> None:
        super().__init__()
        self.streams = context.streams
        self.norm = nn.LayerNorm(context.D) if norm == "pre" else nn.Identity()

    def forward(self, tokens: Mapping[Modality, Tokens]) -> Tokens:
        """Return [φᵃ; φᵛ; …] in the order of the context."""
        fused = join([tokens[m] for m in self.streams])
        return Tokens(values=self.norm(fused.values), keep=fused.keep)
