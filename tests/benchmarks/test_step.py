"""Step time of the tiny preset, plain and MBP, and what of it encoders, fusion and decoder take.

    make bench

Ratios within one run are what counts; nothing here asserts a time.
"""

import pytest
import torch

from avbench.api import Batch, LossContext
from avbench.registry import load
from avbench.settings import ComponentRef, DecodeSettings
from avbench.suite import read_suite

B = 30


@pytest.fixture(scope="module")
def tiny():
    registry = load()
    return registry, read_suite("quickstart", registry).rows[0].settings


def made(tiny, fusion: str):
    from avbench.model import build_captioner

    registry, suite = tiny
    torch.manual_seed(0)
    model = build_captioner(
        suite.model,
        suite.input,
        suite.vocabulary.size,
        ComponentRef(name=fusion),
        ComponentRef(name="V+A"),
        registry,
    )
    spec = suite.input
    batch = Batch(
        video=torch.randint(0, 256, (B, spec.frames, 3, spec.size, spec.size)).to(torch.uint8),
        audio=torch.randn(B, spec.mel_frames, spec.mel_bins),
        text=torch.zeros(B, 1, dtype=torch.long),
        captions=torch.randint(6, suite.vocabulary.size, (2 * B, 14)),
        clip=torch.arange(B).repeat_interleave(2),
        ids=tuple(map(str, range(B))),
    )
    return registry, model, batch


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("loss", ["plain", "mbp"])
@pytest.mark.parametrize("fusion", ["merged", "local_global_merged"])
@pytest.mark.benchmark(group="training step, tiny, 30 clips, PCC and PNC")
def test_training_step(benchmark, tiny, fusion: str, loss: str) -> None:
    registry, model, batch = made(tiny, fusion)
    component = registry.get("losses", loss)
    strategy = component.build(
        component.config(), LossContext(streams=model.configuration.encoded)
    )

    def step() -> None:
        losses = model.losses(model.encode(batch), batch, strategy.views())
        strategy.combine(losses).total.backward()

    benchmark.pedantic(step, rounds=5, warmup_rounds=2)


@pytest.mark.parametrize("part", ["video", "audio", "fusion", "decoder"])
@pytest.mark.benchmark(group="forward and backward of a part, local_global_merged, joint view")
def test_part(benchmark, tiny, part: str) -> None:
    _, model, batch = made(tiny, "local_global_merged")
    encoded = {
        m: type(t)(values=t.values.detach().requires_grad_(), keep=t.keep)
        for m, t in model.encode(batch).items()
    }
    fused = model.fuse(encoded, [model.joint])
    fused = type(fused)(values=fused.values.detach().requires_grad_(), keep=fused.keep)

    def decode() -> torch.Tensor:
        memory = model.decoder.remember(fused, batch.clip)
        return model.decoder(batch.captions[:, :-1], memory)[0]

    run = {
        "video": lambda: model.encoders["video"](batch).values,
        "audio": lambda: model.encoders["audio"](batch).values,
        "fusion": lambda: model.fuse(encoded, [model.joint]).values,
        "decoder": decode,
    }[part]
    benchmark.pedantic(lambda: run().sum().backward(), rounds=5, warmup_rounds=2)


@pytest.mark.benchmark(group="captions of 30 clips, tiny, beam 5")
def test_beam_search(benchmark, tiny) -> None:
    from avbench.beam import beam_search

    _, model, batch = made(tiny, "local_global_merged")
    model.eval()
    with torch.inference_mode():
        fused = model.fuse(model.encode(batch), [model.joint])
        benchmark.pedantic(
            lambda: beam_search(
                model.decoder, fused, bos=2, eos=4, length=24,
                beam=DecodeSettings().beam, length_penalty=1.0,
            ),
            rounds=3,
        )  # fmt: skip
