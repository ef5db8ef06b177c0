"""The fusions against Eq. 7-12, written out here from the paper in float64.

The reference below shares nothing with the plugins but their weights: attention is an explicit
softmax over heads, every stream is a plain tensor, every equation a line or two.
"""

import re
from itertools import chain, combinations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from avbench.api import (
    AvbenchError,
    Fusion,
    FusionContext,
    Tokens,
    TransformerLayer,
    attention_maps,
)
from avbench.core import options
from avbench.core.registry import load

REGISTRY = load()
D, HEADS, LAYERS, B = 16, 4, 2, 3
LENGTHS = {"audio": 5, "video": 7, "text": 4}
AV = ("audio", "video")
AVT = ("audio", "video", "text")
PAIRS = [AV, ("video", "text"), ("audio", "text")]
STREAMS = {
    "merged": [("video",), ("audio",), ("text",), *PAIRS, AVT],
    "cross": PAIRS,
    "global": PAIRS,
    "local_global_merged": PAIRS,
    "local_global_cross": PAIRS,
    "global_va_merged_vt": [AVT],
}
GLOBAL = [name for name in STREAMS if "global" in name]
CASES = [(name, streams) for name, sets in STREAMS.items() for streams in sets]


def build(name: str, streams: tuple[str, ...], **options: object) -> Fusion:
    component = REGISTRY.get("fusions", name)
    context = FusionContext(streams=streams, D=D, heads=HEADS, layers=LAYERS)
    torch.manual_seed(0)
    fusion: Fusion = component.build(component.config(**options), context).double().eval()
    with torch.no_grad():
        # Biases and norms start at 0 and 1; random ones show whether they are used.
        for p in fusion.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return fusion


def inputs(streams: tuple[str, ...], *, padded: bool = False) -> dict[str, Tokens]:
    torch.manual_seed(1)
    given = {}
    for i, m in enumerate(streams):
        n = LENGTHS[m]
        keep = torch.arange(n)[None] < torch.tensor([n, 2 + i, 1])[:, None]
        given[m] = Tokens(
            values=torch.randn(B, n, D, dtype=torch.float64),
            keep=keep if padded else None,
            type_embedding=torch.randn(D, dtype=torch.float64),
        )
    return given


# ------------------------------------------------------------------ the equations


def transformer(
    t: TransformerLayer, x: Tensor, y: Tensor, keep: Tensor, norm: str, maps: list[Tensor]
) -> Tensor:
    """T(X, Y), Eq. 7 and 8, with residuals; ``norm`` says where LayerNorm stands.

    Adds softmax(Q·Kᵀ/√d) of every head to ``maps``.
    """

    def normed(layer: torch.nn.LayerNorm, z: Tensor) -> Tensor:
        mean, var = z.mean(-1, keepdim=True), z.var(-1, unbiased=False, keepdim=True)
        return (z - mean) / (var + layer.eps).sqrt() * layer.weight + layer.bias

    def attention(q_in: Tensor, kv_in: Tensor) -> Tensor:
        a = t.attention
        q = q_in @ a.query.weight.T + a.query.bias
        k, v = (
            kv_in @ w.T + b
            for w, b in zip(a.key_value.weight.chunk(2), a.key_value.bias.chunk(2), strict=True)
        )
        d, heads, weights = D // HEADS, [], []
        for h in range(HEADS):
            part = slice(h * d, (h + 1) * d)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / d**0.5
            scores = scores.masked_fill(~keep[:, None], float("-inf"))
            weights.append(scores.softmax(-1))
            heads.append(weights[-1] @ v[..., part])
        maps.append(torch.stack(weights, 1))
        return torch.cat(heads, -1) @ a.out.weight.T + a.out.bias

    def block(z: Tensor) -> Tensor:
        up, _, down, _ = t.feed_forward
        return functional.gelu(z @ up.weight.T + up.bias) @ down.weight.T + down.bias

    n1, n2 = t.norm_attention, t.norm_feed_forward
    if norm == "pre":
        x = x + attention(normed(n1, x), normed(n1, y))
        return x + block(normed(n2, x))
    x = normed(n1, x + attention(x, y))
    return normed(n2, x + block(x))


class Reference:
    """The equations over plain tensors: φ and its keep by modality."""

    def __init__(self, fusion: Fusion, tokens: dict[str, Tokens], norm: str, shared: bool) -> None:
        self.fusion, self.norm, self.shared = fusion, norm, shared
        self.maps: list[Tensor] = []
        self.phi = {m: t.values for m, t in tokens.items()}
        self.keep = {
            m: torch.ones(t.values.shape[:2], dtype=torch.bool) if t.keep is None else t.keep
            for m, t in tokens.items()
        }

    def merged(self, t: TransformerLayer, a: str, *rest: str) -> dict[str, Tensor]:
        names = (a, *rest)
        x = torch.cat([self.phi[m] for m in names], 1)
        keep = torch.cat([self.keep[m] for m in names], 1)
        fused = transformer(t, x, x, keep, self.norm, self.maps)
        return dict(zip(names, fused.split([LENGTHS[m] for m in names], 1), strict=True))

    def cross(self, ts: torch.nn.ModuleDict, a: str, v: str) -> dict[str, Tensor]:
        phi_a, phi_v = self.phi[a], self.phi[v]
        return {
            a: transformer(ts[a], phi_a, phi_v, self.keep[v], self.norm, self.maps),
            v: transformer(ts[v], phi_v, phi_a, self.keep[a], self.norm, self.maps),
        }

    def wide(
        self, ts: torch.nn.ModuleDict, g: dict[str, Tensor], a: str, v: str
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        out, g_out = {}, {}
        for own, other in ((a, v), (v, a)):
            t = ts["shared" if self.shared else own]
            x = torch.cat([self.phi[own], g[own]], 1)
            y = torch.cat([self.phi[own], g[other]], 1)
            always = torch.ones(B, g[own].shape[1], dtype=torch.bool)
            keep = torch.cat([self.keep[own], always], 1)
            fused = transformer(t, x, y, keep, self.norm, self.maps)
            out[own], g_out[own] = fused[:, : LENGTHS[own]], fused[:, LENGTHS[own] :]
        return out, g_out

    def run(self, name: str, streams: tuple[str, ...], g: dict[str, Tensor]) -> Tensor:
        f = self.fusion
        for i in range(LAYERS):
            if name == "merged":
                self.phi = self.merged(f.layers[i].transformer, *streams)
            elif name == "cross":
                self.phi = self.cross(f.layers[i].transformers, *streams)
            elif name == "global":
                self.phi, g = self.wide(f.layers[i].transformers, g, *streams)
            elif name == "global_va_merged_vt":
                wide, g = self.wide(f.global_layers[i].transformers, g, "audio", "video")
                near = self.merged(f.local_layers[i].transformer, "video", "text")
                video = (wide["video"] + near["video"]) / 2
                self.phi = {"audio": wide["audio"], "video": video, "text": near["text"]}
            else:
                wide, g = self.wide(f.global_layers[i].transformers, g, *streams)
                near = (
                    self.merged(f.local_layers[i].transformer, *streams)
                    if name == "local_global_merged"
                    else self.cross(f.local_layers[i].transformers, *streams)
                )
                self.phi = {m: (wide[m] + near[m]) / 2 for m in streams}
        fused = torch.cat([self.phi[m] for m in streams], 1)
        if self.norm == "post":
            return fused
        last = f.output.norm
        return functional.layer_norm(fused, (D,), last.weight, last.bias, last.eps)


def reference(
    fusion: Fusion,
    name: str,
    tokens: dict[str, Tokens],
    *,
    norm: str = "pre",
    shared: bool = False,
    embedding: str = "type",
) -> Tensor:
    return reference_with_maps(
        fusion, name, tokens, norm=norm, shared=shared, embedding=embedding
    )[0]


def reference_with_maps(
    fusion: Fusion,
    name: str,
    tokens: dict[str, Tokens],
    *,
    norm: str = "pre",
    shared: bool = False,
    embedding: str = "type",
) -> tuple[Tensor, list[Tensor]]:
    g = {}
    if name in GLOBAL:
        for m, learnt in fusion.global_tokens.values.items():
            start = learnt + tokens[m].type_embedding if embedding == "type" else learnt
            g[m] = start.expand(B, -1, -1)
    run = Reference(fusion, tokens, norm, shared)
    return run.run(name, tuple(tokens), g), run.maps


# ------------------------------------------------------------------ the tests


def test_every_set_of_streams_that_a_fusion_accepts_is_tested() -> None:
    every = chain.from_iterable(combinations(LENGTHS, n) for n in (1, 2, 3))
    for streams in every:
        for name, tested in STREAMS.items():
            refused = REGISTRY.get("fusions", name).build.refuses(streams) is not None
            assert refused == (set(streams) not in [set(t) for t in tested]), (name, streams)
    assert {*STREAMS} == {*REGISTRY.names("fusions")}


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("name", "streams"), CASES)
def test_equals_its_equation(name: str, streams: tuple[str, ...], padded: bool, norm: str) -> None:
    fusion, tokens = build(name, streams, norm=norm), inputs(streams, padded=padded)
    expected = reference(fusion, name, tokens, norm=norm)
    got = fusion(tokens)
    torch.testing.assert_close(got.values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", GLOBAL)
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("embedding", ["type", "none"])
@pytest.mark.parametrize("count", [1, 3])
def test_global_options_equal_the_equation(
    name: str, count: int, embedding: str, shared: bool
) -> None:
    streams = STREAMS[name][0]
    options = {"global_tokens": count, "shared": shared, "global_embedding": embedding}
    fusion, tokens = build(name, streams, **options), inputs(streams, padded=True)
    expected = reference(fusion, name, tokens, shared=shared, embedding=embedding)
    torch.testing.assert_close(fusion(tokens).values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "streams"), CASES)
def test_zeroed_streams_equal_the_equation(name: str, streams: tuple[str, ...]) -> None:
    """A zeroed stream comes as its embeddings alone, and takes part like any other."""
    fusion = build(name, streams)
    subsets = chain.from_iterable(combinations(streams, n) for n in range(len(streams)))
    for zeroed in subsets:
        tokens = inputs(streams)
        for m in zeroed:
            embedding = tokens[m].type_embedding
            assert embedding is not None
            same = embedding.expand(B, LENGTHS[m], D)
            tokens[m] = Tokens(values=same, type_embedding=embedding)
        expected = reference(fusion, name, tokens)
        torch.testing.assert_close(fusion(tokens).values, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "streams"), [c for c in CASES if len(c[1]) > 1])
def test_a_stream_that_is_all_padding_leaves_values_and_gradients_finite(
    name: str, streams: tuple[str, ...]
) -> None:
    fusion, tokens = build(name, streams), inputs(streams)
    tokens[streams[0]] = Tokens(
        values=tokens[streams[0]].values,
        keep=torch.zeros(B, LENGTHS[streams[0]], dtype=torch.bool),
        type_embedding=tokens[streams[0]].type_embedding,
    )
    fused = fusion(tokens)
    fused.values.sum().backward()
    assert fused.values.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in fusion.parameters())


@pytest.mark.parametrize(
    ("name", "streams", "reason"),
    [
        ("merged", (), "merged fusion needs at least 1 stream (Eq. 9), got none"),
        ("cross", ("video",), "cross fusion is defined for 2 streams (Eq. 10), got 1: video"),
        (
            "global",
            AVT,
            "global cross fusion is defined for 2 streams (Eq. 11), got 3: audio, video, text",
        ),
        (
            "global_va_merged_vt",
            AV,
            "global V+A with merged V+T is defined for the streams audio, video, text "
            "(Sec. 4.3), got audio, video",
        ),
    ],
)
def test_refuses_with_a_reason(name: str, streams: tuple[str, ...], reason: str) -> None:
    component = REGISTRY.get("fusions", name)
    assert component.build.refuses(streams) == reason  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"got") as caught:
        build(name, streams)
    assert str(caught.value) == reason


def test_global_tokens_start_from_a_narrow_gaussian() -> None:
    component = REGISTRY.get("fusions", "global")
    context = FusionContext(streams=AV, D=768, heads=12, layers=1)
    torch.manual_seed(0)
    fusion = component.build(component.config(global_tokens=16), context)
    for values in fusion.global_tokens.values.values():
        assert values.shape == (16, 768)
        assert values.std().item() == pytest.approx(0.02, rel=0.03)
        assert abs(values.mean().item()) < 1e-3
        assert values.requires_grad


def test_a_shared_global_layer_saves_one_transformer_a_layer() -> None:
    sizes = {
        shared: sum(p.numel() for p in build("global", AV, shared=shared).parameters())
        for shared in (False, True)
    }
    one = sum(p.numel() for p in TransformerLayer(D, HEADS).parameters())
    assert sizes[False] - sizes[True] == LAYERS * one


def test_a_missing_type_embedding_is_an_error() -> None:
    tokens = {m: Tokens(values=t.values) for m, t in inputs(AV).items()}
    with pytest.raises(ValueError, match=r"stream 'audio', got None; allowed without it: 'none'"):
        build("global", AV)(tokens)
    assert build("global", AV, global_embedding="none")(tokens).values.shape == (B, 12, D)


def test_global_tokens_must_be_some() -> None:
    with pytest.raises(ValueError, match="must be from 1 to 4,096 tokens, got 0"):
        options.build(REGISTRY.get("fusions", "global").config, {"global_tokens": 0})


# ------------------------------------------------------------------ attention maps


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("name", "streams"), CASES)
def test_maps_are_those_of_the_equation_and_asking_changes_nothing(
    name: str, streams: tuple[str, ...], padded: bool
) -> None:
    fusion, tokens = build(name, streams), inputs(streams, padded=padded)
    _, expected = reference_with_maps(fusion, name, tokens)
    fused, maps = attention_maps(fusion, tokens)
    assert torch.equal(fused.values, fusion(tokens).values)
    assert len(maps) == len(expected)
    for got, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(got.weights, wanted, rtol=0, atol=1e-12)
        torch.testing.assert_close(
            got.weights.sum(-1), torch.ones_like(got.weights[..., 0]), rtol=0, atol=1e-12
        )


def test_maps_keep_the_branches_apart_and_name_their_blocks() -> None:
    fusion = build("local_global_merged", AV, global_tokens=2)
    _, maps = attention_maps(fusion, inputs(AV))
    assert [(m.layer, m.branch) for m in maps] == [
        (0, "global"), (0, "global"), (0, "local"), (1, "global"), (1, "global"), (1, "local")
    ]  # fmt: skip
    sound, picture, local = maps[:3]
    assert sound.queries == {("tokens", "audio"): slice(0, 5), ("global", "audio"): slice(5, 7)}
    assert sound.keys == {("tokens", "audio"): slice(0, 5), ("global", "video"): slice(5, 7)}
    assert list(picture.keys) == [("tokens", "video"), ("global", "audio")]
    assert local.part(("tokens", "audio"), ("tokens", "video")).shape == (B, HEADS, 5, 7)


def test_a_shared_global_layer_gives_a_map_for_each_stream() -> None:
    fusion = build("global", AV, shared=True)
    _, maps = attention_maps(fusion, inputs(AV))
    assert [next(iter(m.queries)) for m in maps] == [
        ("tokens", "audio"), ("tokens", "video"), ("tokens", "audio"), ("tokens", "video")
    ]  # fmt: skip


def test_a_fusion_without_sites_or_with_wrong_ones_is_told() -> None:
    class Silent(type(build("merged", AV))):  # type: ignore[misc]
        def sites(self):
            return ()

    class Wrong(type(build("merged", AV))):  # type: ignore[misc]
        def sites(self):
            return [*super().sites()][:1]

    context = FusionContext(streams=AV, D=D, heads=HEADS, layers=LAYERS)
    options = REGISTRY.get("fusions", "merged").config()
    for cls, said in (
        (Silent, "Silent names no attention sites, so it has no maps; give it a method sites()"),
        (Wrong, "Wrong names 1 attention sites, and 2 ran"),
    ):
        fusion = cls(options, context).double()
        if cls is Wrong:
            # Both layers' attention is one module here, so that both uses are seen.
            fusion.layers[1] = fusion.layers[0]
        with pytest.raises(AvbenchError, match=f"^{re.escape(said)}$"):
            attention_maps(fusion, inputs(AV))
        attention = fusion.layers[0].transformer.attention
        assert attention.captured is None
