"""Captions of a batch: the search is the settings', in the captioner's precision."""

import pytest
import torch

from avbench.core.components import ComponentRef
from avbench.core.options import build
from avbench.core.registry import load
from avbench.core.types import Batch, InputSpec
from avbench.data.tokenizer import Vocabulary
from avbench.models import generation
from avbench.models.captioner import Captioner, build_captioner
from avbench.models.settings import DecodeSettings, ModelSettings

INPUT = InputSpec(frames=4, size=32, mel_frames=32, caption_tokens=8)
MODEL = ModelSettings(
    D=32,
    heads=2,
    cross_layers=1,
    decoder_layers=1,
    encoders={
        "audio": ComponentRef(name="audio_transformer", options={"layers": 1, "heads": 2}),
        "video": ComponentRef(
            name="video_swin",
            options={
                "embed_dim": 16,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "patch_size": [2, 8, 8],
            },
        ),
    },
)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.train(["a red ball rolls to the left", "someone says hello"], 60)


@pytest.fixture
def captioner() -> Captioner:
    torch.manual_seed(0)
    names = [ComponentRef(name=name) for name in ("merged", "V+A")]
    made = build_captioner(MODEL, INPUT, 60, *names, load())
    made.decoder.words.weight.data.mul_(30)  # so that clips differ
    return made.eval()


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    return Batch(
        video=torch.randint(0, 256, (6, 4, 3, 32, 32), generator=draw).to(torch.uint8),
        audio=3 * torch.randn(6, 32, 64, generator=draw),
        text=torch.zeros(6, 1, dtype=torch.long),
        captions=torch.ones(6, 2, dtype=torch.long),
        clip=torch.arange(6),
        ids=tuple("abcdef"),
    )


@torch.inference_mode()
def said(captioner, vocabulary, batch, **settings) -> list[tuple[str, float]]:
    return generation.captions(
        captioner,
        vocabulary,
        batch,
        build(DecodeSettings, settings),
        view=captioner.joint,
        length=INPUT.caption_tokens,
    )


def test_the_search_is_as_the_settings_say(captioner, vocabulary, batch, monkeypatch) -> None:
    asked = []
    search = generation.beam_search

    def spy(*args, **options):
        asked.append(options)
        return search(*args, **options)

    monkeypatch.setattr(generation, "beam_search", spy)
    said(captioner, vocabulary, batch)
    said(captioner, vocabulary, batch, beam=2, length_penalty=0.5, early_stopping="never")
    fixed = {"bos": vocabulary.bos["pcc"], "eos": vocabulary.eos, "length": 8}
    assert asked == [
        {**fixed, "beam": 5, "length_penalty": 1.0, "early_stopping": False},
        {**fixed, "beam": 2, "length_penalty": 0.5, "early_stopping": "never"},
    ]


def test_the_decoder_decodes_in_the_captioners_precision(captioner, vocabulary, batch) -> None:
    types = []
    captioner.decoder.layers[0].feed_forward[0].register_forward_hook(
        lambda _, __, given: types.append(given.dtype)
    )
    exact = said(captioner, vocabulary, batch)
    assert set(types) == {torch.float32}
    types.clear()
    captioner.precision = "bf16"
    rounded = said(captioner, vocabulary, batch)
    assert set(types) == {torch.bfloat16}
    for (_, score), (_, close) in zip(exact, rounded, strict=True):
        assert close == pytest.approx(score, rel=0.2, abs=0.1)


def test_a_setting_that_the_search_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="early_stopping"):
        build(DecodeSettings, {"early_stopping": "soon"})
