"""Attention rollout against a reference in float64 numpy, for every fusion and set of streams.

The reference shares only the maps with the module: it writes each layer's whole graph as one
matrix, branch by branch, from the equations' own words.
"""

import re
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from avbench.api import AvbenchError, Block, Fusion, FusionContext, Tokens, attention_maps
from avbench.core.registry import load
from avbench.models.rollout import Rollout, rollouts

REGISTRY = load()
D, HEADS, LAYERS, B = 16, 4, 3, 3
LENGTHS = {"audio": 5, "video": 7, "text": 4}
AV = ("audio", "video")
SETS = [s for n in (1, 2, 3) for s in combinations(LENGTHS, n)]


def fusions() -> list[tuple[str, tuple[str, ...]]]:
    """Every registered fusion with every set of streams that it accepts."""
    return [
        (name, streams)
        for name in REGISTRY.names("fusions")
        for streams in SETS
        if REGISTRY.get("fusions", name).build.refuses(streams) is None
    ]


CASES = fusions()


def build(name: str, streams: tuple[str, ...], layers: int = LAYERS, **options: object) -> Fusion:
    component = REGISTRY.get("fusions", name)
    context = FusionContext(streams=streams, D=D, heads=HEADS, layers=layers)
    torch.manual_seed(0)
    fusion: Fusion = component.build(component.config(**options), context).double().eval()
    with torch.no_grad():
        for p in fusion.parameters():
            p.add_(0.3 * torch.randn_like(p))
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


# ------------------------------------------------------------------ the reference

Matrix = NDArray[np.float64]
Node = tuple[str, str, int]


def named(blocks: Mapping[Block, slice]) -> list[Node]:
    """Every token of a sequence, in order."""
    return [(kind, m, i) for (kind, m), at in blocks.items() for i in range(at.stop - at.start)]


def reference(
    fusion: Fusion, tokens: dict[str, Tokens], branch: str | None
) -> tuple[list[Node], Matrix]:
    """Return the names of the graph's nodes, and the rollout from the last layer to the first.

    A node is a token with its block. Every branch of a layer is a matrix over all nodes, with
    rows of the identity for those that it leaves alone.
    """
    _, maps = attention_maps(fusion, tokens)
    nodes = [("tokens", m, i) for m in tokens for i in range(LENGTHS[m])]
    for map_ in maps:
        nodes += [node for node in named(map_.queries) if node not in nodes]
    index = {node: i for i, node in enumerate(nodes)}
    result = np.zeros((B, len(nodes), len(nodes)))
    for b in range(B):
        product = np.eye(len(nodes))
        for layer in range(LAYERS):
            mixtures, counts = np.zeros_like(product), np.zeros(len(nodes))
            for name in ("global", "local"):
                if branch not in (None, name):
                    continue
                for map_ in maps:
                    if (map_.layer, map_.branch) != (layer, name):
                        continue
                    weights = map_.weights[b].numpy().sum(0) / HEADS
                    rows, columns = named(map_.queries), named(map_.keys)
                    for q, row in enumerate(rows):
                        line = np.zeros(len(nodes))
                        line[index[row]] = 1.0
                        for k, column in enumerate(columns):
                            line[index[column]] += weights[q, k]
                        mixtures[index[row]] += line / line.sum()
                        counts[index[row]] += 1
            for i in range(len(nodes)):
                if counts[i]:
                    mixtures[i] /= counts[i]
                else:
                    mixtures[i, i] = 1.0
            product = mixtures @ product
        result[b] = product
    for m, stream in tokens.items():
        if stream.keep is not None:
            for b, i in (~stream.keep).nonzero().tolist():
                at = index["tokens", m, i]
                result[b, at, :] = result[b, :, at] = 0.0
    return nodes, result


def in_the_order_of(nodes: list[Node], found: Rollout) -> Matrix:
    """A rollout's weights with rows and columns as the reference has them."""
    places = [found.blocks[kind, m].start + i for kind, m, i in nodes]
    return found.weights.numpy()[:, places][:, :, places]


# ------------------------------------------------------------------ every fusion


def test_every_fusion_is_among_the_cases() -> None:
    assert {name for name, _ in CASES} == {*REGISTRY.names("fusions")}
    assert {streams for _, streams in CASES} >= {("video",), AV, ("audio", "video", "text")}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("name", "streams"), CASES)
def test_a_rollout_is_the_product_over_the_whole_graph(
    name: str, streams: tuple[str, ...], padded: bool
) -> None:
    fusion, tokens = build(name, streams), inputs(streams, padded=padded)
    found = rollouts(fusion, tokens)
    assert {*found.branches} == {site.branch for site in fusion.sites()}
    for branch, one in [(None, found.together), *found.branches.items()]:
        nodes, expected = reference(fusion, tokens, branch)
        got = in_the_order_of(nodes, one)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "streams"), CASES)
def test_rows_sum_to_one_and_padding_gets_nothing(name: str, streams: tuple[str, ...]) -> None:
    fusion, tokens = build(name, streams), inputs(streams, padded=True)
    found = rollouts(fusion, tokens)
    for one in (found.together, *found.branches.values()):
        assert (one.weights >= 0).all()
        sums = one.weights.sum(-1)
        for (kind, m), at in one.blocks.items():
            keep = tokens[m].keep if kind == "tokens" else None
            wanted = torch.ones_like(sums[:, at]) if keep is None else keep.double()
            torch.testing.assert_close(sums[:, at], wanted, rtol=0, atol=1e-12)
            if keep is not None:
                hidden = one.weights[:, :, at].transpose(1, 2)[~keep]
                assert hidden.numel()
                assert not hidden.any()


# ------------------------------------------------------------------ by hand


def test_one_layer_of_merged_fusion_is_half_the_mean_map_and_half_the_token() -> None:
    fusion, tokens = build("merged", AV, layers=1), inputs(AV)
    _, (map_,) = attention_maps(fusion, tokens)
    found = rollouts(fusion, tokens).together
    mean = map_.weights.mean(1)
    torch.testing.assert_close(found.weights, (mean + torch.eye(12)) / 2, rtol=0, atol=1e-15)
    assert found.between("audio", "video").shape == (B, 5, 7)
    assert torch.equal(found.between("audio", "video"), found.weights[:, :5, 5:])


def test_global_tokens_carry_the_picture_to_the_sound_in_the_second_layer() -> None:
    shallow, deep = (
        rollouts(build("global", AV, layers=n), inputs(AV)).branches["global"] for n in (1, 2)
    )
    assert not shallow.between("audio", "video").any()
    assert shallow.part(("global", "video"), ("tokens", "video")).any()
    assert (deep.between("audio", "video") > 0).all()


def test_together_a_stream_of_both_branches_gets_their_mean() -> None:
    found = rollouts(build("local_global_merged", AV, layers=1), inputs(AV))
    sound = found.together.blocks["tokens", "audio"]
    each = torch.stack([one.weights[:, sound] for one in found.branches.values()])
    torch.testing.assert_close(found.together.weights[:, sound], each.mean(0), rtol=0, atol=1e-15)


def test_a_branch_leaves_alone_what_it_does_not_update() -> None:
    streams = ("audio", "video", "text")
    local = rollouts(build("global_va_merged_vt", streams), inputs(streams)).branches["local"]
    kept = local.part(("tokens", "audio"), ("tokens", "audio"))
    assert torch.equal(kept, torch.eye(5, dtype=torch.float64).expand(B, 5, 5))
    assert not local.between("audio", "video").any()


def test_a_token_that_may_read_nothing_keeps_itself() -> None:
    tokens = inputs(AV)
    hidden = torch.zeros(B, LENGTHS["video"], dtype=torch.bool)
    tokens["video"] = Tokens(values=tokens["video"].values, keep=hidden)
    found = rollouts(build("cross", AV), tokens).together
    kept = torch.eye(5, dtype=torch.float64).expand(B, 5, 5)
    assert torch.equal(found.between("audio", "audio"), kept)
    assert not found.between("video", "video").any()


def test_a_fusion_without_sites_has_no_rollout() -> None:
    class Silent(type(build("merged", AV))):  # type: ignore[misc]
        def sites(self):
            return ()

    context = FusionContext(streams=AV, D=D, heads=HEADS, layers=1)
    fusion = Silent(REGISTRY.get("fusions", "merged").config(), context).double()
    with pytest.raises(AvbenchError, match=re.escape("Silent names no attention sites")):
        rollouts(fusion, inputs(AV))
