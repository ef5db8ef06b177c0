"""The encoders: geometry, faithfulness to the networks that they wrap, and their weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from avbench.api import Batch, DataError, Encoder, EncoderContext, InputSpec, TransformerLayer
from avbench.registry import load

REGISTRY = load()
INPUT = InputSpec(frames=4, size=32, mel_frames=16, mel_bins=8, speech_tokens=6)
CONTEXT = EncoderContext(D=24, input=INPUT, vocabulary=30, pad=0)
SWIN: dict[str, Any] = {
    "embed_dim": 16,
    "depths": (1, 2),
    "num_heads": (1, 2),
    "window_size": (2, 4, 4),
}


def build(name: str, context: EncoderContext = CONTEXT, /, **options: Any) -> Encoder:
    component = REGISTRY.get("encoders", name)
    torch.manual_seed(0)
    encoder: Encoder = component.build(component.config(**options), context)
    return encoder.eval()


def batch(spec: InputSpec = INPUT, clips: int = 2) -> Batch:
    torch.manual_seed(1)
    return Batch(
        video=torch.randint(0, 256, (clips, spec.frames, 3, spec.size, spec.size)).to(torch.uint8),
        audio=torch.randn(clips, spec.mel_frames, spec.mel_bins),
        text=torch.randint(1, 30, (clips, spec.speech_tokens)),
        captions=torch.ones(clips, 4, dtype=torch.long),
        clip=torch.arange(clips),
        ids=tuple(map(str, range(clips))),
    )


def swin_of_torchvision(**options: Any) -> nn.Module:
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    listed = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    torch.manual_seed(7)
    return SwinTransformer3d(patch_size=[2, 4, 4], num_classes=5, **listed).eval()


# ------------------------------------------------------------------ Video Swin


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
        "video_swin",
        replace(CONTEXT, input=spec),
        patch_size=patch,
        embed_dim=8,
        depths=depths,
        num_heads=(1,) * len(depths),
    )
    assert encoder.n_tokens == tokens
    assert encoder(batch(spec, 1)).values.shape == (1, tokens, 24)


def test_swin_is_torchvisions_on_normalised_frames(tmp_path: Path) -> None:
    """With torchvision's weights, the mean token before the last layer is its pooled feature."""
    theirs = swin_of_torchvision(**SWIN)
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    encoder = build("video_swin", weights=str(tmp_path / "swin.pth"), **SWIN)
    given = batch()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    frames = (given.video / 255 - mean[:, None, None]) / std[:, None, None]
    expected = theirs(frames.transpose(1, 2))
    ours: Any = encoder
    pooled = ours.features(ours.normalise(given.video)).mean((1, 2, 3))
    got = nn.functional.linear(pooled, theirs.head.weight, theirs.head.bias)
    torch.testing.assert_close(got, expected)
    assert encoder.started_from == str(tmp_path / "swin.pth")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_swin_loads_what_it_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own.{suffix}"
    one = build("video_swin", **SWIN)
    with torch.no_grad():
        for p in one.parameters():
            p.add_(torch.randn_like(p))
    state = {k: v.contiguous() for k, v in one.state_dict().items()}
    if suffix == "pt":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    two = build("video_swin", weights=str(path), **SWIN)
    given = batch()
    assert torch.equal(one(given).values, two(given).values)


def test_weights_that_do_not_fit_are_listed_and_none_is_loaded(tmp_path: Path) -> None:
    state = swin_of_torchvision(**SWIN).state_dict()
    del state["norm.weight"]
    state["norm.bias"] = torch.zeros(3)
    state["extra.bias"] = torch.zeros(3)
    path = tmp_path / "broken.pth"
    torch.save(state, path)
    encoder: Any = build("video_swin", **SWIN)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    with pytest.raises(DataError) as caught:
        encoder.load(str(path))
    assert str(caught.value) == (
        f"weights: {path} does not fit SwinTransformer3d; missing: norm.weight; "
        "surplus: extra.bias; mis-shaped: norm.bias (got (3,), wanted (32,))"
    )
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert encoder.started_from == "scratch"


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
        build("video_swin", weights=str(path), **SWIN)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_heads": (1,)}, r"one entry a stage, got \[2, 2, 18, 2\] and \[1\]"),
        ({"embed_dim": 30}, r"num_heads\[0\]=4 must divide the stage's 30 channels"),
        ({"depths": (1,), "num_heads": (1,)}, r"at least 2 blocks, got \[1\]"),
        ({"stochastic_depth_prob": 1.5}, r"must be in \[0, 1\), got 1.5"),
    ],
)
def test_swin_options_that_cannot_be(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        REGISTRY.get("encoders", "video_swin").config(**options)


# ------------------------------------------------------------------ audio Transformer


def test_audio_pools_neighbouring_tokens_after_the_layers() -> None:
    full = build("audio_transformer", layers=1, heads=4, pool=1)
    pooled = build("audio_transformer", layers=1, heads=4, pool=4)
    pooled.load_state_dict(full.state_dict())
    given = batch()
    expected = full(given).values.reshape(2, 4, 4, 24).mean(2)
    assert (full.n_tokens, pooled.n_tokens) == (16, 4)
    torch.testing.assert_close(pooled(given).values, expected)


def test_audio_by_hand() -> None:
    """Linear over standardised patches, positions, one layer, norm, pooling, linear."""
    encoder: Any = build(
        "audio_transformer", layers=1, heads=2, width=12, patch_frames=2, pool=2, mean=1.0, std=2.0
    )
    given = batch()
    x = torch.stack([given.audio[:, 0::2], given.audio[:, 1::2]], 2).flatten(2)
    x = (x - 1.0) / 2.0 @ encoder.embed.weight.T + encoder.embed.bias + encoder.positions
    layer: TransformerLayer = encoder.layers[0]
    x = encoder.final_norm(layer(x, x))
    expected = encoder.project((x[:, 0::2] + x[:, 1::2]) / 2)
    assert encoder.n_tokens == 4
    torch.testing.assert_close(encoder(given).values, expected)


def test_audio_frames_must_divide() -> None:
    with pytest.raises(ValueError, match=r"must divide mel_frames, got 3·4 and 16"):
        build("audio_transformer", layers=1, heads=4, patch_frames=3)


def test_audio_of_the_paper_has_64_tokens_in_both_readings() -> None:
    context = replace(CONTEXT, input=InputSpec())
    small = {"layers": 1, "heads": 4}
    assert build("audio_transformer", context, **small).n_tokens == 64
    assert build("audio_transformer", context, patch_frames=4, pool=1, **small).n_tokens == 64


# ------------------------------------------------------------------ BERT


def test_bert_hides_padding_and_survives_a_clip_without_speech() -> None:
    encoder = build("bert", layers=2, heads=4)
    given = batch()
    text = given.text.clone()
    text[0, 3:] = 0
    text[1] = 0
    tokens = encoder(replace(given, text=text))
    assert tokens.keep is not None
    assert tokens.keep.tolist() == [[True] * 3 + [False] * 3, [False] * 6]
    assert tokens.values.isfinite().all()
    tokens.values.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    short = encoder(replace(given, text=given.text[:, :3]))
    torch.testing.assert_close(tokens.values[0, :3], short.values[0])


def saved_bert(
    folder: Path, *, vocabulary: int = 30, positions: int = 6, head: bool = True
) -> Any:
    from transformers import BertConfig, BertForMaskedLM, BertModel

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=positions,
    )
    torch.manual_seed(3)
    model = BertForMaskedLM(config) if head else BertModel(config)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("head", [False, True])
def test_bert_from_a_local_folder(tmp_path: Path, head: bool) -> None:
    model = saved_bert(tmp_path, head=head)
    encoder: Any = build("bert", pretrained=str(tmp_path))
    given = batch()
    bert = model.bert if head else model
    hidden = bert(input_ids=given.text, attention_mask=torch.ones_like(given.text))[0]
    torch.testing.assert_close(encoder(given).values, encoder.project(hidden))
    assert encoder.started_from == str(tmp_path)


def test_bert_weights_that_do_not_fit(tmp_path: Path) -> None:
    saved_bert(tmp_path / "words", vocabulary=31)
    with pytest.raises(DataError, match=r"know 31 tokens, the tokenizer has 30"):
        build("bert", pretrained=str(tmp_path / "words"))
    saved_bert(tmp_path / "short", positions=5)
    with pytest.raises(DataError, match=r"know 5 positions, speech_tokens is 6"):
        build("bert", pretrained=str(tmp_path / "short"))
    with pytest.raises(DataError, match=r"bert: weights '.*none' do not load"):
        build("bert", pretrained=str(tmp_path / "none"))


def test_bert_weights_that_are_not_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    saved_bert(tmp_path, head=False)
    state = load_file(tmp_path / "model.safetensors")
    name = "encoder.layer.0.output.dense.bias"
    del state[name]
    state["encoder.layer.7.output.dense.bias"] = torch.zeros(12)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError) as caught:
        build("bert", pretrained=str(tmp_path))
    assert f"missing: {name}" in str(caught.value)
    assert "surplus: encoder.layer.7.output.dense.bias" in str(caught.value)


# ------------------------------------------------------------------ timm per frame


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
@pytest.mark.parametrize("grid", [1, 2])
def test_timm_gives_tokens_per_frame(name: str, grid: int) -> None:
    encoder = build("timm_frames", name=name, grid=grid)
    tokens = encoder(batch()).values
    assert encoder.n_tokens == 4 * grid**2
    assert tokens.shape == (2, 4 * grid**2, 24)


def test_timm_is_timms_on_normalised_frames_from_a_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(5)
    theirs = timm.create_model("test_resnet", pretrained=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    encoder: Any = build(
        "timm_frames", name="test_resnet", pretrained=str(tmp_path / "resnet.pth")
    )
    given = batch()
    config = theirs.pretrained_cfg
    mean, std = (torch.tensor(config[k])[:, None, None] for k in ("mean", "std"))
    frames = ((given.video / 255 - mean) / std).flatten(0, 1)
    pooled = theirs.forward_head(theirs.forward_features(frames), pre_logits=True)
    expected = encoder.project(pooled).unflatten(0, (2, 4)) + encoder.positions[:, 0]
    torch.testing.assert_close(encoder(given).values, expected)
    assert encoder.started_from == str(tmp_path / "resnet.pth")


def test_timm_does_not_know_every_name() -> None:
    with pytest.raises(DataError, match=r"unknown timm model 'resnet1'; did you mean 'resnet1"):
        build("timm_frames", name="resnet1")
