"""Precision, attention backend and compilation change rounding, and nothing else."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from avbench.config.suite import read_suite
from avbench.core.components import ComponentRef
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.core.registry import Registry, load
from avbench.core.types import Batch, InputSpec
from avbench.models.captioner import Captioner, build_captioner
from avbench.models.compute import backends, compile_parts, place
from avbench.models.settings import ComputeSettings, ModelSettings
from avbench.models.weights import WEIGHTS
from avbench.runner.planning.planner import make_plan
from avbench.training import loss_log
from avbench.training import stage as train
from avbench.training.contracts import LossContext
from tests.records import TINY_WORLD

INPUT = InputSpec(frames=4, size=32, mel_frames=32, caption_tokens=10)
SWIN = {
    "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2],
    "patch_size": [2, 8, 8], "window_size": [2, 2, 2], "stochastic_depth_prob": 0.0,
}  # fmt: skip
MODEL = ModelSettings(
    D=32, heads=2, cross_layers=2, decoder_layers=1, dropout=0.0,
    encoders={
        "video": ComponentRef(name="video_swin", options=SWIN),
        "audio": ComponentRef(
            name="audio_transformer", options={"layers": 1, "heads": 2, "dropout": 0.0}
        ),
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def made(registry: Registry, **compute) -> Captioner:
    torch.manual_seed(0)
    names = [ComponentRef(name=n) for n in ("local_global_merged", "V+A")]
    captioner = build_captioner(MODEL, INPUT, 50, *names, registry)
    return place(captioner, ComputeSettings(**compute), torch.device("cpu"))


def batch(seed: int) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return Batch(
        video=torch.randint(0, 256, (4, 4, 3, 32, 32), generator=draw).to(torch.uint8),
        audio=torch.randn(4, 32, 64, generator=draw),
        text=torch.zeros(4, 1, dtype=torch.long),
        captions=torch.randint(4, 50, (4, 8), generator=draw),
        clip=torch.arange(4),
        ids=tuple("abcd"),
    )


def trained(captioner: Captioner, registry: Registry, steps: int = 30) -> list[float]:
    """The joint losses of some MBP steps over three batches.

    By plain gradient descent: Adam would make full steps of the rounding in gradients that are
    zero, those of the keys' biases.
    """
    component = registry.get("losses", "mbp")
    strategy = component.build(component.config(), LossContext(streams=("video", "audio")))
    descent = torch.optim.SGD(captioner.parameters(), lr=0.03)
    losses = []
    for step in range(steps):
        given = batch(step % 3)
        found = captioner.losses(captioner.encode(given), given, strategy.views())
        descent.zero_grad()
        strategy.observe(found)
        strategy.combine(found).total.backward()
        descent.step()
        losses.append(found[captioner.joint].nats.item())
    return losses


def test_bf16_learns_as_fp32_does(registry) -> None:
    exact = trained(made(registry), registry)
    rounded = trained(made(registry, precision="bf16"), registry)
    assert exact[-1] < 0.9 * exact[0]
    assert rounded != exact
    torch.testing.assert_close(torch.tensor(rounded), torch.tensor(exact), rtol=1e-2, atol=0)


def test_bf16_keeps_weights_losses_and_gradients_in_fp32(registry) -> None:
    captioner = made(registry, precision="bf16")
    given = batch(0)
    encoded = captioner.encode(given)
    loss = captioner.losses(encoded, given, [captioner.joint])[captioner.joint]
    loss.nats.backward()
    assert encoded["video"].values.dtype is torch.bfloat16
    assert loss.nats.dtype is torch.float32
    assert {p.grad.dtype for p in captioner.parameters() if p.grad is not None} == {torch.float32}


def test_backends_train_alike_and_say_what_ran(registry) -> None:
    chosen, explicit = made(registry, attention="auto"), made(registry, attention="reference")
    assert backends(chosen) == ["windows (video)"]  # whatever is set
    ours, theirs = trained(chosen, registry), trained(explicit, registry)
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=1e-4, atol=0)
    assert backends(chosen) == ["sdpa", "windows (video)"]
    assert backends(explicit) == ["reference", "windows (video)"]


SUITE = (
    """
name: s
rows: [{label: one}]
defaults: {fusion: local_global_merged, loss: mbp, modalities: V+A, tasks: [pcc]}
vocabulary: {size: 300}
compute: {precision: bf16, attention: reference}
pretrain: {dataset: howto100m, steps: 6, batch: 6, measure_every: 1}
finetune: {datasets: [vatex], steps: 1}
"""
    + TINY_WORLD
)


def without_dropout(value: Any) -> Any:
    """Settings of a model that draws nothing: compiled graphs draw other numbers."""
    if not isinstance(value, dict):
        return value
    drops = ("dropout", "stochastic_depth_prob")
    return {k: 0.0 if k in drops else without_dropout(v) for k, v in value.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_suites_settings_reach_the_record(
    narrated, tmp_path, registry, captured_without_code
) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    plan = make_plan(read_suite(str(tmp_path / "s.yaml"), registry), registry)
    (stage,) = (s for s in plan.stages.values() if s.kind == "pretrain")
    settings = {
        "set": stage.spec["compute"],
        "plain": plain(ComputeSettings()),
        "compiled": plain(ComputeSettings(compile=True)),
    }
    found, weights, losses = {}, {}, {}
    for name, compute in settings.items():
        spec = {**without_dropout(stage.spec), "compute": compute}
        (tmp_path / name).mkdir()
        found[name] = train.run(
            Job(
                kind=stage.kind,
                id=stage.id,
                spec=spec,
                directory=tmp_path / name,
                parents=narrated,
            )
        )
        weights[name] = load_file(tmp_path / name / WEIGHTS)
        logged = loss_log.read(tmp_path / name)
        losses[name] = {(step, log): v for step, log, v in logged if log.startswith("L")}
    assert found["set"]["attention"] == ["reference", "windows (video)"]
    assert found["plain"]["attention"] == ["sdpa", "windows (video)"]
    # The same training but for bf16's rounding, which shows.
    assert found["set"]["loss"] != found["plain"]["loss"]
    assert found["set"]["loss"] == pytest.approx(found["plain"]["loss"], rel=0.1)
    assert {step for step, _ in losses["plain"]} == set(range(6))
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-4)
    loss = pytest.approx(found["plain"]["loss"], rel=1e-4)
    assert found["compiled"] == {**found["plain"], "loss": loss}
    # Adam makes a full step, of 3e-4, of the rounding in gradients that are zero.
    torch.testing.assert_close(weights["compiled"], weights["plain"], rtol=0, atol=1e-3)
    assert captured_without_code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_parts_run_code_of_inductor(monkeypatch) -> None:
    """Equal outputs and gradients, from kernels that were compiled."""
    torch.manual_seed(0)
    part = nn.Sequential(nn.Linear(8, 8), nn.GELU())
    given = torch.randn(4, 8)
    expected = torch.autograd.grad(part(given).sum(), list(part.parameters()))
    monkeypatch.setattr(torch._inductor.config, "force_disable_caches", True)
    torch._dynamo.reset()
    before = torch._inductor.metrics.generated_kernel_count
    compile_parts([part], ComputeSettings(compile=True))
    compiled = torch.autograd.grad(part(given).sum(), list(part.parameters()))
    assert torch._inductor.metrics.generated_kernel_count > before
    torch.testing.assert_close(compiled, expected)
