"""Video Swin: the same function as torchvision's and the authors' code, and its weights."""

import copy
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

from avbench.api import Batch, DataError, EncoderContext, InputSpec
from avbench.builtin.encoders import _attention, _layers, _swin, _swin_weights
from avbench.builtin.encoders._bias import RelativePositions
from avbench.builtin.encoders._swin import Swin
from avbench.builtin.encoders._windows import relative_positions, table_rows
from avbench.builtin.encoders.video_swin import VideoSwin, VideoSwinOptions
from avbench.models.kernels import onednn

INPUT = InputSpec(frames=4, size=32)
CONTEXT = EncoderContext(D=24, input=INPUT, vocabulary=30, pad=0)
SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "depths": (1, 2),
    "num_heads": (1, 2),
    "window_size": (2, 4, 4),
}
GEOMETRIES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "tiny preset": (
        {
            "patch_size": (2, 8, 8),
            "embed_dim": 32,
            "depths": (2, 2),
            "num_heads": (1, 2),
            "window_size": (4, 4, 4),
        },
        (3, 8, 3, 64, 64),
    ),
    "pixels and map padded": (
        {"embed_dim": 16, "depths": (2, 2, 2), "num_heads": (2, 2, 4), "window_size": (2, 7, 7)},
        (2, 6, 3, 57, 70),
    ),
    "window longer than the map": (
        {"embed_dim": 16, "depths": (1, 3), "num_heads": (1, 2), "window_size": (8, 7, 7)},
        (1, 5, 3, 36, 36),
    ),
    "padded and shifted along all axes": (
        {"embed_dim": 16, "depths": (2, 2), "num_heads": (1, 2), "window_size": (4, 3, 5)},
        (2, 22, 3, 52, 44),
    ),
    "odd depths, windows of one": (
        {"embed_dim": 16, "depths": (3, 1, 1), "num_heads": (1, 2, 4), "window_size": (1, 4, 1)},
        (2, 4, 3, 32, 32),
    ),
}


def build(spec: InputSpec = INPUT, /, **options: Any) -> VideoSwin:
    torch.manual_seed(0)
    return VideoSwin(VideoSwinOptions(**options), replace(CONTEXT, input=spec)).eval()


def batch(spec: InputSpec = INPUT, clips: int = 2) -> Batch:
    torch.manual_seed(1)
    return Batch(
        video=torch.randint(0, 256, (clips, spec.frames, 3, spec.size, spec.size)).to(torch.uint8),
        audio=torch.zeros(clips, 1, 1),
        text=torch.zeros(clips, 1, dtype=torch.long),
        captions=torch.ones(clips, 4, dtype=torch.long),
        clip=torch.arange(clips),
        ids=tuple(map(str, range(clips))),
    )


def torchvisions(**options: Any) -> Any:
    """torchvision's network with weights that make every part of it matter."""
    given = {"patch_size": (2, 4, 4), "stochastic_depth_prob": 0.0} | options
    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    torch.manual_seed(7)
    network = SwinTransformer3d(num_classes=5, **listed).eval()
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.add_(torch.randn_like(p) * (0.5 if "table" in name else 0.03))
    return network


def features(network: Any, frames: Tensor) -> Tensor:
    return network.norm(network.features(network.patch_embed(frames.transpose(1, 2))))


def pair(tmp_path: Path, **options: Any) -> tuple[Any, Swin]:
    theirs = torchvisions(**{k: v for k, v in options.items() if k != "checkpoint"})
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    given = {"stochastic_depth_prob": 0.0} | options
    return theirs, build(weights=str(tmp_path / "theirs.pth"), **given).backbone


def close(got: Tensor, expected: Tensor, within: float = 1e-5) -> None:
    """Equal to a share of the expected values' scale."""
    assert got.shape == expected.shape
    error = (got - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
    assert error <= within, f"differs by {error:.1e} of the scale"


def gradients(theirs: Any, ours: Swin) -> dict[str, tuple[Tensor, Tensor]]:
    """Theirs and ours by our names; none is missing."""
    named = {
        _swin_weights._torchvisions(n): p.grad
        for n, p in ours.named_parameters()
        if p.grad is not None
    }
    given = {n: p.grad for n, p in theirs.named_parameters() if not n.startswith("head.")}
    assert named.keys() == given.keys()
    return {n: (given[n], named[n]) for n in given}


# ------------------------------------------------------------------ the same function


@pytest.mark.parametrize("name", GEOMETRIES)
def test_features_are_torchvisions(tmp_path: Path, name: str) -> None:
    options, shape = GEOMETRIES[name]
    theirs, ours = pair(tmp_path, **options)
    frames = torch.randn(shape)
    with torch.no_grad():
        expected = features(theirs, frames)
        close(ours(frames), expected)
        close(ours(frames[:1]), expected[:1])
    with torch.inference_mode():
        close(ours(frames), expected)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_graphs_and_other_devices_take_public_operators_to_the_same_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    options, shape = GEOMETRIES[name]
    theirs, ours = pair(tmp_path, **options)
    for module in (_attention, _layers, onednn, _swin):
        monkeypatch.setattr(module, "portable", lambda _: True)
    frames = torch.randn(shape)
    with torch.no_grad():
        close(ours(frames), features(theirs, frames))


@pytest.mark.parametrize("name", GEOMETRIES)
def test_other_devices_train_by_public_operators_to_the_same_gradients(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    options, shape = GEOMETRIES[name]
    network = build(**{"stochastic_depth_prob": 0.0, **options}).train().backbone
    with torch.no_grad():  # so that every part of it matters
        for n, p in network.named_parameters():
            p.add_(torch.randn_like(p) * (0.5 if "table" in n else 0.03))
    frames, found = torch.randn(shape), {}
    fused, calls = _attention._fused, []
    monkeypatch.setattr(_attention, "_fused", lambda *a: (calls.append(1), fused(*a))[1])
    for cached in (True, False):
        monkeypatch.setattr(_attention, "in_cache", lambda _, cached=cached: cached)
        network.zero_grad()
        features_ = network(frames)
        features_.square().sum().backward()
        assert bool(calls) is not cached
        found[cached] = [features_, *(p.grad for p in network.parameters())]
    for wanted, got in zip(found[True], found[False], strict=True):
        assert wanted is not None
        assert got is not None
        close(got, wanted, within=2e-5)


@pytest.mark.parametrize("drop", [0.0, 0.5])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients_are_torchvisions(tmp_path: Path, name: str, drop: float) -> None:
    """In training, stochastic depth drawn from the same random state."""
    options, shape = GEOMETRIES[name]
    theirs, ours = pair(tmp_path, stochastic_depth_prob=drop, **options)
    theirs.train()
    ours.train()
    given = [torch.randn(shape).requires_grad_() for _ in range(2)]
    given[1].data = given[0].data.clone()
    torch.manual_seed(3)
    expected = features(theirs, given[0])
    torch.manual_seed(3)
    got = ours(given[1])
    close(got, expected)
    towards = torch.randn_like(expected)
    expected.backward(towards)
    got.backward(towards)
    assert given[0].grad is not None
    assert given[1].grad is not None
    close(given[1].grad, given[0].grad)
    for wanted, found in gradients(theirs, ours).values():
        close(found, wanted, within=2e-5)


@pytest.mark.parametrize("piece", [1, 40_000])
def test_pieces_of_any_size_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """One window and one head at a time, or a few; the test above had all at once."""
    options, shape = GEOMETRIES["tiny preset"]
    theirs, ours = pair(tmp_path, **options)
    monkeypatch.setattr(_attention, "PIECE", piece)
    monkeypatch.setattr(_swin, "HIDDEN", 10 * piece)
    frames = torch.randn(shape)
    with torch.no_grad():
        close(ours(frames), features(theirs, frames))
    ours(frames).square().sum().backward()
    features(theirs, frames).square().sum().backward()
    for wanted, found in gradients(theirs, ours).values():
        close(found, wanted, within=2e-5)


def test_bf16_is_as_close_to_fp32_as_torchvisions(tmp_path: Path) -> None:
    options, shape = GEOMETRIES["tiny preset"]
    theirs, ours = pair(tmp_path, **options)
    frames = torch.randn(shape)
    exact = features(theirs, frames)
    with torch.autocast("cpu", torch.bfloat16):
        got, given = ours(frames), features(theirs, frames)
        with torch.no_grad():
            quick = ours(frames)
    assert got.dtype == quick.dtype == torch.bfloat16
    allowed = 1.2 * (given - exact).norm()
    assert (got - exact).norm() <= allowed
    assert (quick - exact).norm() <= allowed
    towards = torch.randn_like(exact)
    exact.backward(towards)
    wanted = [p.grad for n, p in theirs.named_parameters() if not n.startswith("head.")]
    theirs.zero_grad()
    given.backward(towards.bfloat16())
    got.backward(towards.bfloat16())
    norm = torch.stack([g.norm() for g in wanted]).norm()
    each = gradients(theirs, ours).values()
    off = [
        torch.stack([(pick[i] - g).norm() for pick, g in zip(each, wanted, strict=True)]).norm()
        for i in range(2)
    ]
    assert off[1] <= 1.2 * off[0] <= 0.2 * norm


def test_cast_weights_follow_every_change(tmp_path: Path) -> None:
    """Inference in bf16 keeps cast copies: not those of an optimiser's last step or file."""
    _, ours = pair(tmp_path, **SMALL)
    frames = torch.randn(1, 4, 3, 32, 32)

    def run(network: nn.Module) -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            features: Tensor = network(frames)
            return features

    before = run(ours)
    twin = copy.deepcopy(ours)
    with torch.autocast("cpu", torch.bfloat16):
        ours(frames).float().square().mean().backward()
    torch.optim.SGD(ours.parameters(), lr=1.0).step()
    after = run(ours)
    assert not torch.equal(after, before)
    assert torch.equal(run(twin), before)
    twin.load_state_dict(ours.state_dict())
    assert torch.equal(run(twin), after)
    for p in ours.parameters():
        p.data = p.data * 0.9
    for p in twin.parameters():
        p.data.mul_(0.9)
    assert not torch.equal(run(ours), after)
    assert torch.equal(run(twin.eval()), run(ours))


@pytest.mark.parametrize("name", ["tiny preset", "pixels and map padded"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_clips_have_no_features(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    options, (_, *shape) = GEOMETRIES[name]
    _, ours = pair(tmp_path, **options)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        trained = ours(torch.randn(0, *shape))
        with torch.no_grad():
            assert ours(torch.randn(0, *shape)).shape == trained.shape
            assert ours(torch.randn(1, *shape)).shape[1:] == trained.shape[1:]
    assert len(trained) == 0


def kept_bytes(network: Swin, frames: Tensor) -> tuple[int, Tensor]:
    """Bytes of distinct tensors that a forward pass keeps for the backward one, and its loss."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        if not isinstance(t, nn.Parameter):
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    network.zero_grad()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = network(frames).square().sum()
    size = sum(kept.values())
    loss.backward()
    return size, loss.detach()


def test_checkpointing_keeps_less_for_the_same_gradients(tmp_path: Path) -> None:
    options, shape = GEOMETRIES["tiny preset"]
    drop = {"stochastic_depth_prob": 0.5}
    networks = [pair(tmp_path, checkpoint=c, **drop, **options)[1].train() for c in (False, True)]
    frames = torch.randn(shape)
    (all_, loss), (few, same) = (kept_bytes(n, frames) for n in networks)
    assert torch.equal(loss, same)
    for p, q in zip(*(n.parameters() for n in networks), strict=True):
        assert torch.equal(p.grad, q.grad)
    assert few < all_ / 3


def test_geometry_is_computed_once_for_a_size(tmp_path: Path) -> None:
    _, ours = pair(tmp_path, **SMALL)
    (first,) = ours.geometries.values()
    ours(torch.randn(2, 4, 3, 32, 32))
    assert list(ours.geometries.values()) == [first]
    ours(torch.randn(1, 4, 3, 48, 48))
    assert list(ours.geometries) == ["2x8x8", "2x12x12"]
    assert not any("geometries" in name for name in ours.state_dict())
    assert {b.device for b in ours.to("meta").buffers()} == {torch.device("meta")}


def test_training_may_follow_inference(tmp_path: Path) -> None:
    """Of a size that was first seen in inference mode."""
    _, ours = pair(tmp_path, **SMALL)
    frames = torch.randn(1, 4, 3, 48, 48)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        ours(frames)
    ours.train()(frames).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        ours(frames).sum().backward()


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_bf16_attention_survives_scores_of_any_size(scale: float) -> None:
    """Large ones overflow without softmax's shift by the maximum; it is then made with it."""
    torch.manual_seed(0)
    qkv = scale * torch.randn(1, 2, 8, 12).bfloat16()
    masks = _attention.Masks(
        values=torch.full((1, 8, 8), -100.0).triu(1).bfloat16(), pattern=(-1, 0)
    )
    table, positions = torch.randn(27, 2), RelativePositions((2, 2, 2), 8)
    bias = positions.bias(table, torch.bfloat16)
    given = [qkv.clone().requires_grad_(), qkv.float().requires_grad_()]
    got, expected = (_attention.attend(x, table, positions, masks) for x in given)
    _, _, sums = _attention._forward(qkv, len(bias), bias.__getitem__, masks)
    assert (sums is None) == (scale > 1)
    torch.testing.assert_close(got.float(), expected, rtol=0.03, atol=0.03 * scale)
    towards = torch.randn_like(expected)
    got.backward(towards.bfloat16())
    expected.backward(towards)
    assert given[0].grad is not None
    assert given[1].grad is not None
    # Where attention is all on one token, the gradients of queries and keys are mere rounding.
    sound = slice(None) if scale == 1 else slice(8, None)
    wanted = given[1].grad[..., sound]
    assert (given[0].grad[..., sound] - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize("window", [(8, 7, 7), (1, 3, 2), (4, 1, 1), (3, 2, 5)])
def test_biases_are_those_of_all_pairs(window: tuple[int, int, int]) -> None:
    """Also of windows that a map cuts short, within a frame or between two."""
    table = torch.randn(table_rows(window), 3)
    whole = relative_positions(window)
    frame = window[1] * window[2]
    for n in {len(whole), len(whole) - 1, frame, frame + 1, 1} & set(range(len(whole) + 1)):
        positions = RelativePositions(window, n)
        rows = whole[:n, :n].flatten()
        assert torch.equal(positions.index, rows)
        bias = table[rows].T.view(3, n, n)
        assert torch.equal(positions.bias(table, torch.float32), bias)
        assert torch.equal(positions.bias(table, torch.bfloat16), bias.bfloat16())


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize(
    ("frames", "size", "patch", "depths", "tokens"),
    [
        (16, 224, (2, 4, 4), (1, 1, 1, 1), 8 * 7 * 7),
        (8, 64, (2, 8, 8), (1, 1, 2), 4 * 2 * 2),
        (5, 36, (2, 4, 4), (1, 1), 3 * 5 * 5),
    ],
)
def test_swin_tells_its_tokens(
    frames: int, size: int, patch: tuple[int, int, int], depths: tuple[int, ...], tokens: int
) -> None:
    spec = InputSpec(frames=frames, size=size)
    encoder = build(
        spec, patch_size=patch, embed_dim=8, depths=depths, num_heads=(1,) * len(depths)
    )
    assert encoder.n_tokens == tokens
    assert encoder(batch(spec, 1)).values.shape == (1, tokens, 24)


def test_tokens_are_mapped_features_of_normalised_frames(tmp_path: Path) -> None:
    theirs = torchvisions(**SMALL)
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    encoder = build(weights=str(tmp_path / "swin.pth"), **SMALL)
    given = batch()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    frames = (given.video / 255 - mean[:, None, None]) / std[:, None, None]
    expected = encoder.project(features(theirs, frames).flatten(1, 3))
    torch.testing.assert_close(encoder(given).values, expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_heads": (1,)}, r"one entry a stage, got \[2, 2, 18, 2\] and \[1\]"),
        ({"embed_dim": 30}, r"num_heads\[0\]=4 must divide the stage's 30 channels"),
        ({"depths": (1,), "num_heads": (1,)}, r"at least 2 blocks, got \[1\]"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VideoSwinOptions(**options)


# ------------------------------------------------------------------ weights


def authors_state(names: dict[str, list[int]], window: tuple[int, int, int]) -> dict[str, Tensor]:
    """A checkpoint by the golden features' recipe, in the layout of the authors' releases."""
    index = SwinTransformer3d([2, 4, 4], 8, [1, 1], [1, 1], list(window)).features[0][0].attn
    state = {}
    for name, shape in names.items():
        if name.endswith("relative_position_index"):
            state[f"backbone.{name}"] = index.relative_position_index
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        w = torch.randn(shape, generator=generator)
        ones = len(shape) == 1 and name.endswith("weight")
        state[f"backbone.{name}"] = 1 + 0.1 * w if ones else 0.02 * w
    return state | {"cls_head.fc_cls.weight": torch.zeros(600, 1024)}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fast", "portable", "training", "training elsewhere"])
def test_golden_features_of_the_authors_code(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = test_data / "videoswin"
    names = json.loads((folder / "names_shapes.json").read_text())
    assert len(names) == 351
    path = tmp_path / "swin_base_patch244_window877_kinetics600_22k.pth"
    torch.save({"meta": {"epoch": 30}, "state_dict": authors_state(names, (8, 7, 7))}, path)
    encoder = build(InputSpec(), weights=str(path))
    assert encoder.started_from == f"{path.name} (authors' layout)"
    frames = torch.randn(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(7))
    golden = torch.from_numpy(np.load(folder / "features.npy")).permute(1, 2, 3, 0)
    if way in ("portable", "training elsewhere"):
        for module in (_attention, _layers, onednn, _swin):
            monkeypatch.setattr(module, "portable", lambda _: True)
        monkeypatch.setattr(_attention, "in_cache", lambda _: False)
    with torch.set_grad_enabled(way.startswith("training")):
        got = encoder.features(frames.transpose(1, 2))[0]
    assert got.requires_grad is way.startswith("training")
    got = got.detach()
    torch.testing.assert_close(got, golden, rtol=0, atol=1e-4)


def authors_names(network: Swin, window: tuple[int, int, int]) -> dict[str, list[int]]:
    names = {name: list(t.shape) for name, t in network.state_dict().items()}
    volume = window[0] * window[1] * window[2]
    indices = {
        name.replace("bias_table", "index"): [volume, volume] for name in names if "table" in name
    }
    return names | indices


def authors_file(path: Path, window: tuple[int, int, int], **options: Any) -> Path:
    network = build(window_size=window, **options).backbone
    state = authors_state(authors_names(network, window), window)
    torch.save({"state_dict": state}, path)
    return path


OTHER = {k: v for k, v in SMALL.items() if k != "window_size"}


def test_authors_layout_with_another_numbering_is_refused(tmp_path: Path) -> None:
    path = authors_file(tmp_path / "k400.pth", (2, 4, 4), **OTHER)
    state = torch.load(path)["state_dict"]
    name = "backbone.layers.0.blocks.0.attn.relative_position_index"
    state[name] = state[name].T.clone()
    torch.save({"state_dict": state}, path)
    with pytest.raises(DataError) as caught:
        build(weights=str(path), **SMALL)
    assert str(caught.value) == f"weights: {path} numbers relative positions otherwise: {name}"


def test_tables_of_another_window_are_refused(tmp_path: Path) -> None:
    path = authors_file(tmp_path / "sthv2.pth", (4, 4, 4), **OTHER)
    with pytest.raises(DataError) as caught:
        build(weights=str(path), **SMALL)
    assert str(caught.value) == (
        f"weights: {path} has bias tables of windows of 4×4×4, the options say window_size 2×4×4 "
        "(backbone.layers.0.blocks.0.attn.relative_position_bias_table: 343 rows, not 147). "
        "Set window_size to [4, 4, 4], or resize_tables to true"
    )


def test_tables_for_a_shorter_window_are_exact(tmp_path: Path) -> None:
    """On a map as short as the short window, both windows are the same network."""
    path = authors_file(tmp_path / "sthv2.pth", (4, 4, 4), **OTHER)
    long = build(weights=str(path), window_size=(4, 4, 4), **OTHER)
    short = build(weights=str(path), resize_tables=True, **SMALL)
    assert short.started_from == "sthv2.pth (authors' layout, bias tables of 4×4×4 resized)"
    frames = torch.randn(1, 4, 3, 32, 32)
    torch.testing.assert_close(short.features(frames), long.features(frames))


def test_tables_for_a_longer_window_are_stretched(tmp_path: Path) -> None:
    """Linear along time: no difference and the largest keep their bias, between is the mean."""
    path = authors_file(tmp_path / "k400.pth", (2, 4, 4), **OTHER)
    wide: Any = build(weights=str(path), resize_tables=True, window_size=(3, 4, 4), **OTHER)
    name = "layers.0.blocks.0.attn.relative_position_bias_table"
    given = torch.load(path)["state_dict"][f"backbone.{name}"].view(3, 49, 1)
    got = wide.backbone.state_dict()[name].view(5, 49, 1)
    torch.testing.assert_close(got[::2], given)
    torch.testing.assert_close(got[1::2], (given[1:] + given[:-1]) / 2)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_it_loads_what_it_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own.{suffix}"
    one = build(**SMALL)
    with torch.no_grad():
        for p in one.parameters():
            p.add_(torch.randn_like(p))
    state = {k: v.contiguous() for k, v in one.state_dict().items()}
    if suffix == "pt":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    two = build(weights=str(path), **SMALL)
    assert two.started_from == f"own.{suffix} (avbench's layout)"
    given = batch()
    assert torch.equal(one(given).values, two(given).values)


@pytest.mark.parametrize("prefix", ["", "torchvision:"])
def test_torchvisions_published_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Through torchvision's own download, whose transfer alone is replaced by a local file."""
    wanted: dict[str, Any] = {
        "embed_dim": 96,
        "depths": (2, 2, 6, 2),
        "num_heads": (3, 6, 12, 24),
    }
    theirs = torchvisions(window_size=(8, 7, 7), **wanted)
    asked = []

    def transfer(url: str, dst: str, hash_prefix: str | None, progress: bool) -> None:
        asked.append((url, hash_prefix))
        torch.save(theirs.state_dict(), dst)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", transfer)
    name = "Swin3D_T_Weights.KINETICS400_V1"
    encoder = build(weights=prefix + name, **wanted)
    assert asked == [("https://download.pytorch.org/models/swin3d_t-7615ae03.pth", "7615ae03")]
    assert encoder.started_from == f"{name} (torchvision)"
    state, own = theirs.state_dict(), encoder.backbone.state_dict()
    assert all(torch.equal(t, state[_swin_weights._torchvisions(n)]) for n, t in own.items())


def test_published_weights_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def transfer(*_: Any, **__: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", transfer)
    with pytest.raises(DataError) as caught:
        build(weights="Swin3D_B_Weights.KINETICS400_V1", **SMALL)
    assert str(caught.value) == (
        "weights: Swin3D_B_Weights.KINETICS400_V1 is not in torchvision's cache and could not be "
        "downloaded from https://download.pytorch.org/models/swin3d_b_1k-24f7c7c6.pth: no route "
        "to host. Without a network, give the path of that file"
    )


def test_names_that_torchvision_does_not_publish() -> None:
    with pytest.raises(DataError) as caught:
        build(weights="torchvision:Swin3D_B_Weights.KINETICS600_V1", **SMALL)
    assert str(caught.value) == (
        "weights: unknown weights of torchvision 'Swin3D_B_Weights.KINETICS600_V1'; did you mean "
        "'Swin3D_B_Weights.KINETICS400_V1'? Allowed: "
        "Swin3D_B_Weights.KINETICS400_IMAGENET22K_V1, Swin3D_B_Weights.KINETICS400_V1, "
        "Swin3D_S_Weights.KINETICS400_V1, Swin3D_T_Weights.KINETICS400_V1"
    )


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    torch.save({"encoder.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match=r"no layout that video_swin knows; its tensors are enc"):
        build(weights=str(tmp_path / "other.pth"), **SMALL)


@pytest.mark.parametrize("layout", ["torchvision", "authors", "own"])
def test_weights_that_do_not_fit_are_listed_and_none_is_loaded(
    tmp_path: Path, layout: str
) -> None:
    path, encoder = tmp_path / "broken.pth", build(**SMALL)
    if layout == "torchvision":
        state, prefix, what = torchvisions(**SMALL).state_dict(), "", "Swin"
    elif layout == "authors":
        state = torch.load(authors_file(path, (2, 4, 4), **OTHER))["state_dict"]
        prefix, what = "backbone.", "Swin"
    else:
        state, prefix, what = build(**SMALL).state_dict(), "backbone.", "VideoSwin"
    del state[f"{prefix}norm.weight"]
    state[f"{prefix}norm.bias"] = torch.zeros(3)
    state["extra.bias"] = torch.zeros(3)
    torch.save(state, path)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(DataError) as caught:
        encoder.load(str(path))
    assert str(caught.value) == (
        f"weights: {path} does not fit {what}; missing: {prefix}norm.weight; "
        f"surplus: extra.bias; mis-shaped: {prefix}norm.bias (got (3,), wanted (32,))"
    )
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert encoder.started_from == "scratch"


def test_of_many_that_do_not_fit_the_first_are_named(tmp_path: Path) -> None:
    state = build(**SMALL).state_dict() | {f"extra.{i}": torch.zeros(1) for i in range(10)}
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"; surplus: extra.0, .*, extra.7 and 2 more$"):
        build(**SMALL).load(str(tmp_path / "x.pth"))


class Mine:
    """Not a tensor."""


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("none.pth", lambda p: None, "no file"),
        ("code.pth", lambda p: torch.save({"a": Mine()}, p), "does not load as plain tensors"),
        ("text.pth", lambda p: p.write_text("hello"), "does not load as plain tensors"),
        ("list.pth", lambda p: torch.save([torch.zeros(1)], p), "holds no state dict"),
        ("text.safetensors", lambda p: p.write_text("hello"), "is no safetensors file"),
    ],
)
def test_files_that_hold_no_weights(tmp_path: Path, name: str, write: Any, said: str) -> None:
    path = tmp_path / name
    write(path)
    with pytest.raises(DataError, match=said):
        build(weights=str(path), **SMALL)
