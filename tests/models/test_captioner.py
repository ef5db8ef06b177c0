"""The captioner: views share the encoders' work and equal separate passes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from avbench.api import Batch
from avbench.core.components import ComponentRef
from avbench.core.errors import SuiteError
from avbench.core.registry import Registry, load
from avbench.core.types import InputSpec
from avbench.models.captioner import Captioner, build_captioner
from avbench.models.settings import ModelSettings

INPUT = InputSpec(frames=4, size=32, mel_frames=32, caption_tokens=10)
SWIN = {
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "patch_size": [2, 8, 8],
    "window_size": [2, 2, 2],
}
ENCODERS = {
    "video": ComponentRef(name="video_swin", options=SWIN),
    "audio": ComponentRef(name="audio_transformer", options={"layers": 1, "heads": 2}),
}
AV, A, V = frozenset({"audio", "video"}), frozenset({"audio"}), frozenset({"video"})


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def captioner(registry: Registry, **changes) -> Captioner:
    settings = {"D": 16, "heads": 2, "cross_layers": 2, "decoder_layers": 1, "dropout": 0.0}
    names = {"fusion": "merged", "modalities": "V+A"} | {
        k: changes.pop(k) for k in ("fusion", "modalities") if k in changes
    }
    torch.manual_seed(0)
    return build_captioner(
        ModelSettings(**{"encoders": ENCODERS, **settings, **changes}),
        INPUT,
        20,
        ComponentRef(name=names["fusion"]),
        ComponentRef(name=names["modalities"]),
        registry,
    ).eval()


def taught(model: Captioner, batch: Batch, views) -> torch.Tensor:
    return model.teach(model.encode(batch), batch, views)


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    captions = torch.randint(4, 20, (5, 7), generator=draw)
    captions[1, 4:] = 0
    return Batch(
        video=torch.randint(0, 256, (3, 4, 3, 32, 32), generator=draw).to(torch.uint8),
        audio=torch.randn(3, 32, 64, generator=draw),
        text=torch.zeros(3, 1, dtype=torch.long),
        captions=captions,
        clip=torch.tensor([0, 0, 1, 2, 2]),
        ids=("x", "y", "z"),
    )


def test_views_in_one_pass_equal_views_one_by_one(registry, batch) -> None:
    model = captioner(registry)
    together = taught(model, batch, [AV, A, V]).chunk(3)
    for view, logits in zip((AV, A, V), together, strict=True):
        torch.testing.assert_close(logits, taught(model, batch, [view]))


def test_a_zeroed_stream_is_zeros_before_position_and_type_and_its_input_does_not_matter(
    registry, batch
) -> None:
    model = captioner(registry)
    encoded = model.encode(batch)
    zeros = {**encoded, "video": type(encoded["video"])(values=0 * encoded["video"].values)}
    torch.testing.assert_close(model.teach(encoded, batch, [A]), model.teach(zeros, batch, [AV]))


@pytest.mark.parametrize("zeroing", ["zeros", "mask"])
@pytest.mark.parametrize("fusion", ["merged", "cross", "global", "local_global_cross"])
def test_without_any_stream_no_input_matters(registry, batch, fusion, zeroing) -> None:
    model = captioner(registry, fusion=fusion, zeroing=zeroing)
    nothing = frozenset[str]()
    fused = model.fuse(model.encode(batch), [nothing]).values
    other = model.fuse(
        model.encode(replace(batch, audio=batch.audio + 1, video=batch.video // 2)), [nothing]
    ).values
    assert fused.isfinite().all()
    torch.testing.assert_close(fused, other)
    torch.testing.assert_close(fused[0], fused[1])
    assert taught(model, batch, [nothing]).isfinite().all()


def test_masking_a_stream_is_another_model_than_zeroing_it(registry, batch) -> None:
    zeroed, masked = captioner(registry), captioner(registry, zeroing="mask")
    masked.load_state_dict(zeroed.state_dict())
    assert not torch.allclose(taught(zeroed, batch, [A]), taught(masked, batch, [A]), atol=1e-4)
    torch.testing.assert_close(taught(zeroed, batch, [AV]), taught(masked, batch, [AV]))
    assert taught(masked, batch, [A]).isfinite().all()


@pytest.mark.parametrize("views", [[A], [AV, A]])
@pytest.mark.parametrize(
    "fusion", ["merged", "cross", "global", "local_global_merged", "local_global_cross"]
)
def test_what_a_masked_stream_holds_does_not_matter(registry, batch, fusion, views) -> None:
    """Neither its input nor the positions that stand in its place, which zeros let through.

    Global tokens are the fusion's own: they stay, with the stream's type embedding.
    """
    for zeroing in ("mask", "zeros"):
        model = captioner(registry, fusion=fusion, zeroing=zeroing)
        before = taught(model, batch, views).chunk(len(views))[-1]
        with torch.no_grad():
            model.embedding.positions["video"].normal_()
        other = replace(batch, video=255 - batch.video)
        after = taught(model, other, views).chunk(len(views))[-1]
        if zeroing == "mask":
            torch.testing.assert_close(after, before)
        else:
            assert not torch.allclose(after, before, atol=1e-4)


def test_the_loss_is_the_mean_over_real_target_tokens(registry, batch) -> None:
    model = captioner(registry)
    loss = model.losses(model.encode(batch), batch, [AV])[AV]
    logits = taught(model, batch, [AV])
    terms = []
    for row in range(5):
        for position in range(1, 7):
            target = int(batch.captions[row, position])
            if target:
                terms.append(-logits[row, position - 1].log_softmax(-1)[target])
    assert loss.tokens == len(terms) == 27
    torch.testing.assert_close(loss.nats, torch.stack(terms).mean())
    torch.testing.assert_close(
        loss.token_probability, torch.stack([(-t).exp() for t in terms]).mean().detach()
    )


def test_two_captions_of_one_clip_read_the_same_context(registry, batch) -> None:
    model = captioner(registry)
    twice = taught(model, batch, [AV])
    alone = taught(
        model,
        Batch(
            video=batch.video[:1],
            audio=batch.audio[:1],
            text=batch.text[:1],
            captions=batch.captions[1:2],
            clip=torch.tensor([0]),
            ids=("x",),
        ),
        [AV],
    )
    torch.testing.assert_close(twice[1:2], alone)


def test_captions_do_not_see_the_future(registry, batch) -> None:
    model = captioner(registry)
    changed = batch.captions.clone()
    changed[:, 5] = 7
    later = Batch(
        video=batch.video,
        audio=batch.audio,
        text=batch.text,
        captions=changed,
        clip=batch.clip,
        ids=batch.ids,
    )
    torch.testing.assert_close(
        taught(model, batch, [AV])[:, :5], taught(model, later, [AV])[:, :5]
    )


def test_the_configurations_a_and_v_encode_one_stream_only(registry, batch) -> None:
    for name, kept in (("A", "audio"), ("V", "video")):
        model = captioner(registry, modalities=name)
        assert list(model.encoders) == [kept]
        assert model.joint == {kept}
        assert taught(model, batch, [model.joint]).isfinite().all()


def test_every_parameter_gets_a_gradient(registry, batch) -> None:
    model = captioner(registry, fusion="local_global_merged").train()
    losses = model.losses(model.encode(batch), batch, [AV, A, V])
    functional.softplus(sum(loss.nats for loss in losses.values())).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modalities": "V+T"},
            r"model.encoders: no encoder for 'text', which modalities 'V\+T' needs; "
            r"there are: audio, video|model.encoders: no encoder for 'text', which modalities "
            r"'V\+T' needs; there are: video, audio",
        ),
        (
            {"encoders": {**ENCODERS, "audio": ENCODERS["video"]}},
            "model.encoders.audio: encoder 'video_swin' reads 'video'",
        ),
        ({"fusion": "merge"}, "unknown fusion 'merge'; did you mean 'merged'?"),
    ],
)
def test_what_cannot_be_built_is_said(registry, changes, message) -> None:
    from avbench.core.errors import AvbenchError

    assert issubclass(SuiteError, AvbenchError)
    with pytest.raises(AvbenchError, match=message):
        captioner(registry, **changes)
