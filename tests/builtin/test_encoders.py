"""The encoders: geometry, faithfulness to the networks that they wrap, and their weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from avbench.api import Batch, DataError, Encoder, EncoderContext, InputSpec, TransformerLayer
from avbench.core.registry import load

REGISTRY = load()
INPUT = InputSpec(frames=4, size=32, mel_frames=16, mel_bins=8, speech_tokens=6)
CONTEXT = EncoderContext(D=24, input=INPUT, vocabulary=30, pad=0)


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


# ------------------------------------------------------------------ layout of pictures


PICTURES: dict[str, tuple[int, dict[str, Any], tuple[int, int, int]]] = {
    "timm_frames": (128, {"name": "test_resnet", "grid": 2}, (4, 2, 2)),
    "video_swin": (
        32,
        {"embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2), "patch_size": (2, 4, 4),
         "window_size": (1, 2, 2), "stochastic_depth_prob": 0.0},
        (2, 4, 4),
    ),
}  # fmt: skip
"""Size of the frames, options, and the layout."""


@pytest.mark.parametrize("name", PICTURES)
def test_tokens_of_a_picture_lie_as_their_layout_says(name: str) -> None:
    """A spot in a corner of the last frame moves the token there the most."""
    size, options, layout = PICTURES[name]
    spec = replace(INPUT, size=size)
    encoder, given = build(name, replace(CONTEXT, input=spec), **options), batch(spec)
    assert encoder.layout == layout
    before = encoder(given).values
    first, last = slice(size // 16, size // 5), slice(-size // 5, -size // 16)
    for rows, columns, place in ((first, last, (-1, 0, -1)), (last, first, (-1, -1, 0))):
        video = given.video.clone()
        video[:, -1, :, rows, columns] = 255 - video[:, -1, :, rows, columns]
        moved = (encoder(replace(given, video=video)).values - before).abs().sum((0, 2))
        wanted = torch.arange(encoder.n_tokens).view(layout)[place]
        assert int(moved.argmax()) == int(wanted)


def test_encoders_of_other_streams_have_no_layout() -> None:
    assert build("audio_transformer", layers=1, heads=4, pool=1).layout is None
    assert build("bert", layers=1, heads=4).layout is None


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


BERT: dict[str, Any] = {"layers": 1, "heads": 2, "width": 12, "ratio": 2}
"""The geometry of ``saved_bert``."""


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
    model = saved_bert(tmp_path, positions=9, head=head)
    encoder: Any = build("bert", pretrained=str(tmp_path), **BERT)
    given = batch()
    bert = model.bert if head else model
    hidden = bert(input_ids=given.text, attention_mask=torch.ones_like(given.text))[0]
    torch.testing.assert_close(encoder(given).values, encoder.project(hidden))
    assert encoder.started_from == f"{tmp_path.name} (local folder)"
    # Without the weights it is built the same, so that trained ones can be loaded.
    scratch = {name: t.shape for name, t in build("bert", **BERT).state_dict().items()}
    assert {name: t.shape for name, t in encoder.state_dict().items()} == scratch


def test_bert_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of the hub's local cache, as after a download; a revision is another snapshot."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--some--bert"
    models = {}
    for name, positions in (("main", 6), ("v1", 8)):
        commit = ("a" if name == "main" else "b") * 40
        models[name] = saved_bert(kept / "snapshots" / commit, positions=positions)
        (kept / "refs").mkdir(exist_ok=True)
        (kept / "refs" / name).write_text(commit)
    for revision, model in ((None, models["main"]), ("v1", models["v1"])):
        encoder: Any = build("bert", pretrained="some/bert", revision=revision, **BERT)
        ours = encoder.model.embeddings.position_embeddings.weight
        theirs = model.bert.embeddings.position_embeddings.weight
        assert torch.equal(ours, theirs[:6])
        said = f"some/bert (Hugging Face{', v1' if revision else ''})"
        assert encoder.started_from == said
    with pytest.raises(DataError) as caught:
        build("bert", pretrained="some/other", **BERT)
    assert "bert: weights 'some/other' do not load: " in str(caught.value)
    assert "Allowed: a local folder with config.json" in str(caught.value)


def test_bert_options_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"revision is of pretrained, which is not set; got v1"):
        build("bert", revision="v1")


def test_bert_weights_that_do_not_fit(tmp_path: Path) -> None:
    saved_bert(tmp_path / "words", vocabulary=31)
    with pytest.raises(DataError, match=r"know 31 tokens, the tokenizer has 30"):
        build("bert", pretrained=str(tmp_path / "words"), **BERT)
    saved_bert(tmp_path / "short", positions=5)
    with pytest.raises(DataError, match=r"know 5 positions, speech_tokens is 6"):
        build("bert", pretrained=str(tmp_path / "short"), **BERT)
    saved_bert(tmp_path / "fits")
    with pytest.raises(DataError) as caught:
        build("bert", pretrained=str(tmp_path / "fits"))
    assert str(caught.value).endswith(
        "fits' have layers 1, the options say 12; heads 2, the options say 12; width 12, the "
        "options say 24; ratio 2, the options say 4: give the encoder theirs"
    )
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
        build("bert", pretrained=str(tmp_path), **BERT)
    assert f"missing: {name}" in str(caught.value)
    assert "surplus: encoder.layer.7.output.dense.bias" in str(caught.value)


def test_bert_weights_of_another_shape_than_their_config_says(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    saved_bert(tmp_path, head=False)
    state = load_file(tmp_path / "model.safetensors")
    name = "encoder.layer.0.output.dense.bias"
    state[name] = torch.zeros(13)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError) as caught:
        build("bert", pretrained=str(tmp_path), **BERT)
    assert str(caught.value) == (
        f"bert: weights '{tmp_path}' do not fit; mis-shaped: {name} (got (13,), wanted (12,))"
    )


class Code:
    """Return the call that unpickling would make."""

    def __reduce__(self) -> Any:
        return print, ("it ran",)


DAMAGED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "cut": ("model.safetensors", lambda f: f.write_bytes(f.read_bytes()[:300]), "SafetensorError"),
    "empty": ("model.safetensors", lambda f: f.write_bytes(b""), "SafetensorError: "),
    "emptied": ("pytorch_model.bin", lambda f: f.write_bytes(b""), "EOFError"),
    "cut in two": ("pytorch_model.bin", lambda f: f.write_bytes(f.read_bytes()[:300]), "RuntimeE"),
    "a pointer": (
        "pytorch_model.bin",
        lambda f: f.write_text("version https://git-lfs.github.com/spec/v1"),
        "it does not hold plain tensors alone: Unsupported operand 118\n",
    ),
    "code": (
        "pytorch_model.bin",
        lambda f: torch.save({"a": Code()}, f),
        "it does not hold plain tensors alone: Unsupported global: GLOBAL print was not an "
        "allowed global by default.\n",
    ),
    "a list": ("pytorch_model.bin", lambda f: torch.save([1, 2], f), "TypeError: "),
    "settings cut": ("config.json", lambda f: f.write_text("{"), "OSError: "),
    "settings of a list": ("config.json", lambda f: f.write_text("[]"), "TypeError: "),
    "settings of words": ("config.json", lambda f: f.write_text('{"hidden_size": "x"}'), "Strict"),
}


def put_into(folder: Path, name: str, damage: Callable[[Path], object]) -> Path:
    """The file of a saved model, damaged; of torch's format where its name says so."""
    from safetensors.torch import load_file

    if name == "pytorch_model.bin":
        whole = folder / "model.safetensors"
        torch.save(load_file(whole), folder / name)
        whole.unlink()
    damage(folder / name)
    return folder / name


@pytest.mark.parametrize("case", DAMAGED)
def test_bert_weights_that_are_damaged_or_code(tmp_path: Path, capsys, case: str) -> None:
    name, damage, why = DAMAGED[case]
    saved_bert(tmp_path, head=False)
    file = put_into(tmp_path, name, damage)
    with pytest.raises(DataError) as caught:
        build("bert", pretrained=str(tmp_path), **BERT)
    assert str(caught.value).startswith(f"bert: weights '{file}' do not load: {why}")
    assert "weights_only" not in str(caught.value)
    assert "it ran" not in capsys.readouterr().out


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
    assert encoder.started_from == "resnet.pth (timm's layout)"


def timm_hub(folder: Path, owner_name: str, architecture: str, monkeypatch, **config: Any) -> Any:
    """A model in the hub's local cache, as timm pushes it there."""
    import timm
    from timm.models import save_for_hf

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    kept = folder / f"models--{owner_name.replace('/', '--')}"
    torch.manual_seed(6)
    model = timm.create_model(architecture, pretrained=False).eval()
    model.pretrained_cfg |= config
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("c" * 40)
    save_for_hf(model, kept / "snapshots" / ("c" * 40), safe_serialization=True)
    return model


def test_timm_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = timm_hub(tmp_path, "some/resnet", "test_resnet", monkeypatch)
    encoder: Any = build("timm_frames", name="test_resnet", pretrained="hf-hub:some/resnet")
    ours, state = encoder.backbone.state_dict(), theirs.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.items())
    assert encoder.started_from == "hf-hub:some/resnet (timm)"
    with pytest.raises(DataError, match=r"'hf-hub:some/resnet' are of test_resnet, name is 'te"):
        build("timm_frames", name="test_vit", pretrained="hf-hub:some/resnet")
    with pytest.raises(DataError, match=r"weights 'hf-hub:some/none' do not load: "):
        build("timm_frames", name="test_resnet", pretrained="hf-hub:some/none")


def timm_folder(folder: Path, architecture: str, safe: bool, **config: Any) -> Any:
    """A model as timm saves it on a disk."""
    import timm
    from timm.models import save_for_hf

    torch.manual_seed(6)
    model = timm.create_model(architecture, pretrained=False).eval()
    model.pretrained_cfg |= config
    save_for_hf(model, folder, safe_serialization=safe)
    return model


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timm_from_a_local_folder(tmp_path: Path, name: str, safe: bool) -> None:
    state = timm_folder(tmp_path / "mine", name, safe).state_dict()
    context = replace(CONTEXT, input=replace(INPUT, size=160))  # as test_vit was made for
    encoder: Any = build("timm_frames", context, name=name, pretrained=str(tmp_path / "mine"))
    assert all(torch.equal(t, state[key]) for key, t in encoder.backbone.state_dict().items())
    assert encoder.started_from == "mine (local folder)"


def test_timm_folders_that_do_not_fit(tmp_path: Path) -> None:
    timm_folder(tmp_path, "test_resnet", safe=True)
    with pytest.raises(DataError) as caught:
        build("timm_frames", name="test_vit", pretrained=str(tmp_path))
    assert str(caught.value) == (
        f"timm_frames: weights '{tmp_path}' are of test_resnet, name is 'test_vit'"
    )
    timm_folder(tmp_path / "grey", "test_resnet", safe=True, mean=(0.1, 0.1, 0.1))
    with pytest.raises(DataError, match=r"grey' expect frames of mean \(0.1, 0.1, 0.1\) and"):
        build("timm_frames", name="test_resnet", pretrained=str(tmp_path / "grey"))


DAMAGED_TIMM: dict[str, tuple[str, Callable[[Path], object], str]] = {
    **{k: DAMAGED[k] for k in ("cut", "emptied", "code")},
    "no settings": ("config.json", lambda f: f.unlink(), "FileNotFoundError: "),
    "settings of nothing": ("config.json", lambda f: f.write_text("{}"), "KeyError: 'architectu"),
    "tensors missing": (
        "pytorch_model.bin",
        lambda f: torch.save({"conv1.weight": torch.ones(3)}, f),
        "RuntimeError: Error(s) in loading state_dict for ResNet:\n\tMissing key(s)",
    ),
}


@pytest.mark.parametrize("case", DAMAGED_TIMM)
def test_timm_folders_that_are_damaged_or_code(tmp_path: Path, capsys, case: str) -> None:
    name, damage, why = DAMAGED_TIMM[case]
    timm_folder(tmp_path, "test_resnet", safe=True)
    put_into(tmp_path, name, damage)
    with pytest.raises(DataError) as caught:
        build("timm_frames", name="test_resnet", pretrained=str(tmp_path))
    assert str(caught.value).startswith(f"timm_frames: weights '{tmp_path}' do not load: {why}")
    assert "it ran" not in capsys.readouterr().out


def test_timm_weights_for_other_frames_are_refused(tmp_path: Path, monkeypatch) -> None:
    timm_hub(tmp_path, "some/grey", "test_resnet", monkeypatch, mean=(0.1, 0.1, 0.1))
    with pytest.raises(DataError, match=r"expect frames of mean \(0.1, 0.1, 0.1\) and"):
        build("timm_frames", name="test_resnet", pretrained="hf-hub:some/grey")


def test_timm_lists_the_tags_of_published_weights() -> None:
    with pytest.raises(DataError) as caught:
        build("timm_frames", name="test_resnet", pretrained="r160")
    assert str(caught.value) == (
        "timm_frames: there is no file r160, and unknown tag of test_resnet 'r160'; did you mean "
        "'r160_in1k'? Allowed: r160_in1k"
    )


def test_timm_does_not_know_every_name() -> None:
    with pytest.raises(DataError, match=r"unknown timm model 'resnet1'; did you mean 'resnet1"):
        build("timm_frames", name="resnet1")


def test_frozen_statistics_make_no_clip_depend_on_its_batch() -> None:
    for batch_norm, frozen in (("frozen", True), ("batch", False)):
        encoder: Any = build("timm_frames", name="test_resnet", batch_norm=batch_norm).train()
        norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert norms
        assert all(m.training != frozen for m in norms)
        assert all(m.weight.requires_grad for m in norms)
        assert encoder.project.training
