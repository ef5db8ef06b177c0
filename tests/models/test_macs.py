"""Costs: against the closed form, against PyTorch's own counter, and never silently too small."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from avbench_plugins.fusions.cross import cross_macs
from avbench_plugins.fusions.global_ import global_macs
from avbench_plugins.fusions.local_global_cross import local_global_cross_macs
from avbench_plugins.fusions.local_global_merged import local_global_merged_macs
from avbench_plugins.fusions.merged import merged_macs
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from avbench.api import Batch, EncoderContext, FusionContext, InputSpec, LossContext, Tokens
from avbench.core.components import ComponentRef
from avbench.core.job import Job
from avbench.core.options import plain
from avbench.core.registry import load
from avbench.models.closed_form import transformer_layer_macs
from avbench.models.layers import TransformerLayer
from avbench.models.macs import Adapter, CountError, count
from avbench.models.settings import ModelSettings
from avbench.training import profile as cost
from avbench.training.contracts import SLICE_BATCHES
from avbench.training.costs import probes
from avbench.training.settings import TrainSettings

REGISTRY = load()
D, HEADS, STREAMS = 48, 4, {"audio": 16, "video": 49}


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


# ------------------------------------------------------------------ closed form


def test_closed_form_is_the_papers_geometry() -> None:
    """GMACs of three layers over 64 audio and 392 video tokens at D = 768."""
    a, v = 64, 392
    gmacs = {
        "cross": cross_macs(768, (a, v)),
        "merged": merged_macs(768, (a, v)),
        "global": global_macs(768, (a, v)),
        "local-global merged": local_global_merged_macs(768, (a, v)),
    }
    assert {k: round(n / 1e9, 2) for k, n in gmacs.items()} == {
        "cross": 9.91,
        "merged": 10.64,
        "global": 10.46,
        "local-global merged": 21.10,
    }
    assert transformer_layer_macs(768, 100, 100) == 12 * 768**2 * 100 + 2 * 100**2 * 768


@pytest.mark.parametrize(("queries", "keys"), [(20, 20), (7, 31)])
def test_a_layer_costs_what_the_closed_form_says(queries: int, keys: int) -> None:
    layer = TransformerLayer(D, HEADS, dropout=0.1)
    x, y = torch.randn(2, queries, D), torch.randn(2, keys, D)
    counted = count(layer, x, x if queries == keys else y)
    assert counted.macs == 2 * transformer_layer_macs(D, queries, keys)
    assert sum(counted.operators.values()) == counted.macs


def fusion_macs(name: str, **options: Any) -> int:
    component = REGISTRY.get("fusions", name)
    context = FusionContext(streams=tuple(STREAMS), D=D, heads=HEADS, layers=3)
    fusion = component.build(component.config(**options), context)
    kind = torch.zeros(D)

    def call(*values: Tensor) -> Tensor:
        tokens = {
            m: Tokens(values=v, type_embedding=kind) for m, v in zip(STREAMS, values, strict=True)
        }
        return fusion(tokens).values

    given = (torch.randn(1, n, D) for n in STREAMS.values())
    return count(Adapter({"fusion": fusion}, call), *given).macs


@pytest.mark.parametrize("name", ["merged", "cross"])
def test_local_fusions_agree_with_the_closed_form(name: str) -> None:
    closed = {"merged": merged_macs, "cross": cross_macs}[name](D, tuple(STREAMS.values()))
    assert fusion_macs(name) == pytest.approx(closed, rel=1e-3)


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["global", "local_global_merged", "local_global_cross"])
def test_global_fusions_agree_with_the_closed_form(name: str, tokens: int, shared: bool) -> None:
    closed = {
        "global": global_macs,
        "local_global_merged": local_global_merged_macs,
        "local_global_cross": local_global_cross_macs,
    }[name](D, tuple(STREAMS.values()), global_tokens=tokens)
    counted = fusion_macs(name, global_tokens=tokens, shared=shared)
    assert counted == pytest.approx(closed, rel=1e-3)


# ------------------------------------------------------------------ encoders


def encoder_macs(name: str, spec: InputSpec, /, **options: Any) -> tuple[Any, Any, Any]:
    component = REGISTRY.get("encoders", name)
    context = EncoderContext(D=D, input=spec, vocabulary=50, pad=0)
    encoder = component.build(component.config(**options), context).eval()

    def call(video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
        batch = Batch(
            video=video,
            audio=audio,
            text=text,
            captions=torch.ones(1, 2, dtype=torch.long),
            clip=torch.zeros(1, dtype=torch.long),
            ids=("one",),
        )
        return encoder(batch).values

    given = (
        torch.zeros(1, spec.frames, 3, spec.size, spec.size, dtype=torch.uint8),
        torch.zeros(1, spec.mel_frames, spec.mel_bins),
        torch.ones(1, spec.speech_tokens, dtype=torch.long),
    )
    return count(Adapter({"encoder": encoder}, call), *given), call, given


SMALL = InputSpec(frames=4, size=64, mel_frames=32, mel_bins=8, speech_tokens=12)


def test_bert_costs_what_the_closed_form_says() -> None:
    counted, _, _ = encoder_macs("bert", SMALL, layers=3, heads=4)
    assert counted.macs == 3 * transformer_layer_macs(D, 12, 12)


def test_audio_costs_what_the_closed_form_says() -> None:
    counted, _, _ = encoder_macs("audio_transformer", SMALL, layers=3, heads=4)
    assert counted.macs == 32 * 8 * D + 3 * transformer_layer_macs(D, 32, 32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "video_swin",
            {"embed_dim": 16, "depths": (1, 2), "num_heads": (1, 2), "window_size": (2, 4, 4)},
        ),
        ("audio_transformer", {"layers": 2, "heads": 4}),
        ("bert", {"layers": 2, "heads": 4}),
        ("timm_frames", {"name": "test_resnet"}),
        ("timm_frames", {"name": "test_vit"}),
        ("timm_frames", {"name": "test_efficientnet"}),
    ],
)
def test_encoders_agree_with_torchs_counter(name: str, options: dict[str, Any]) -> None:
    """torch counts attention only where it falls apart into matrix products, so make it."""
    counted, call, given = encoder_macs(name, SMALL, **options)
    with FlopCounterMode(display=False) as theirs, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        call(*given)
    assert 2 * counted.macs == theirs.get_total_flops()


@pytest.mark.slow
def test_swin_b_costs_what_torchvision_publishes() -> None:
    from torchvision.models.video import Swin3D_B_Weights

    counted, _, _ = encoder_macs("video_swin", InputSpec())
    published = Swin3D_B_Weights.KINETICS400_V1.meta["_ops"]
    assert counted.modules["encoder.backbone"] / 1e9 == pytest.approx(published, rel=1e-3)


# ------------------------------------------------------------------ what may go uncounted


@pytest.mark.parametrize("mask", [None, torch.ones(20, 20, dtype=torch.bool)])
@pytest.mark.parametrize("weights", [False, True])
def test_torchs_attention_is_counted_in_full_with_its_fast_path_off(
    mask: Tensor | None, weights: bool
) -> None:
    attention = nn.MultiheadAttention(D, HEADS, batch_first=True).eval()
    call = Function(lambda x: attention(x, x, x, attn_mask=mask, need_weights=weights)[0])
    call.attention = attention
    with torch.no_grad():
        assert count(call, torch.randn(2, 20, D)).macs == 2 * (4 * 20 * D**2 + 2 * 20**2 * D)


def test_torchs_encoder_layer_is_counted_in_full() -> None:
    layer = nn.TransformerEncoderLayer(D, HEADS, 4 * D, batch_first=True).eval()
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        assert count(layer, torch.randn(2, 20, D)).macs == 2 * transformer_layer_macs(D, 20, 20)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("function", "shapes", "macs"),
    [
        (lambda x, y: x @ y, [(3, 4), (5, 4, 6)], 5 * 3 * 4 * 6),
        (lambda x, y: x @ y, [(5, 3, 4), (4,)], 5 * 3 * 4),
        (lambda x, y: torch.einsum("bhqd,bhkd->bhqk", x, y), [(2, 3, 4, 5), (2, 3, 6, 5)], 720),
        (lambda x, y, z: torch.baddbmm(x, y, z), [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 120),
        (lambda x, y: torch.conv1d(x, y), [(2, 3, 10), (4, 3, 3)], 2 * 4 * 8 * 3 * 3),
        (
            lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True),
            [(2, 3, 6, 5), (2, 3, 6, 5), (2, 3, 6, 7)],
            2 * 3 * 6 * 6 * (5 + 7),
        ),
    ],
)
def test_products_in_every_form(function: Any, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert count(Function(function), *(torch.randn(s) for s in shapes)).macs == macs


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: torch.cdist(x, x), "aten::cdist"),
        (lambda x: torch.linalg.inv(x), "aten::linalg_inv"),
        (lambda x: torch.fft.fft(x).real, "aten::fft_fft"),
    ],
)
def test_an_uncounted_operator_is_an_error(function: Any, operator: str) -> None:
    with pytest.raises(CountError, match=f"Function: no handler counts {re.escape(operator)}"):
        count(Function(function), torch.randn(2, 4, 4))


def test_an_autograd_function_is_an_error() -> None:
    """A custom Function, whose inside the trace does not show."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x @ x

    with pytest.raises(CountError, match="prim::PythonOp"):
        count(Function(Product.apply), torch.randn(4, 4))


def test_an_einsum_of_three_is_an_error() -> None:
    x = torch.randn(3, 3)
    with pytest.raises(CountError, match=r"einsum 'ab,bc,cd->ad' is not counted"):
        count(Function(lambda x: torch.einsum("ab,bc,cd->ad", x, x, x)), x)


def test_xformers_attention_is_counted_like_any_other() -> None:
    """Its kernels need CUDA; a stand-in under the same name and layout leads to the handler."""
    library = torch.library.Library("xformers", "FRAGMENT")
    name = "efficient_attention_forward_cutlass"
    library.define(f"{name}(Tensor query, Tensor key, Tensor value) -> Tensor")
    library.impl(name, lambda q, k, v: q + 0 * v.sum(), "CPU")
    operator = getattr(torch.ops.xformers, name)
    batch, heads, d, queries, keys = 2, 3, 8, 10, 12
    q, k = torch.randn(batch, queries, heads, d), torch.randn(batch, keys, heads, d)
    assert count(Function(operator), q, k, k).macs == 2 * batch * heads * queries * keys * d
    with pytest.raises(CountError, match="packed sequences"):
        count(Function(operator), q[0, :, 0], k[0, :, 0], k[0, :, 0])


def test_a_module_that_completes_itself_when_it_first_runs_is_counted() -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.made = nn.ModuleDict()

        def forward(self, x: Tensor) -> Tensor:
            if "layer" not in self.made:
                self.made["layer"] = nn.Linear(4, 8)
            return self.made["layer"](x)

    assert count(Lazy(), torch.zeros(3, 4)).macs == 3 * 4 * 8


def test_counting_leaves_the_module_as_it_was() -> None:
    layer = TransformerLayer(D, HEADS)
    layer.train()
    layer.feed_forward.eval()
    count(layer, torch.randn(1, 3, D), torch.randn(1, 3, D))
    assert layer.training
    assert layer.attention.training
    assert not layer.feed_forward.training


# ------------------------------------------------------------------ the profile stage


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options)


TINY = ModelSettings(
    D=D,
    heads=HEADS,
    cross_layers=2,
    decoder_layers=2,
    encoders={
        "video": ref(
            "video_swin", embed_dim=8, depths=[1, 1], num_heads=[1, 1], window_size=[2, 4, 4]
        ),
        "audio": ref("audio_transformer", layers=1, heads=4),
        "text": ref("bert", layers=1, heads=4),
    },
)
TINY_INPUT = InputSpec(
    frames=4, size=32, mel_frames=32, mel_bins=8, speech_tokens=6, caption_tokens=9
)
V = 100
N = {"audio": 8, "video": 2 * 4 * 4, "text": 6}


def profile(
    modalities: str, loss: str | None = None, *, fusion: str = "merged", **train: Any
) -> dict[str, Any]:
    settings = TrainSettings(loss=ref(loss), **train) if loss else None
    spec = {
        "model": plain(TINY),
        "input": plain(TINY_INPUT),
        "fusion": plain(ref(fusion)),
        "modalities": plain(ref(modalities)),
        "train": plain(settings) if settings else None,
        "vocabulary": V,
    }
    return cost.run(Job(kind="profile", id="x", spec=spec, directory=Path(".")))


def decoder_macs(memory: int, captions: int = 1) -> int:
    """Two layers over 8 positions; a clip's captions share the projections of its memory."""
    n = TINY_INPUT.caption_tokens - 1
    layer = transformer_layer_macs(D, n, n) + 2 * n * D**2 + 2 * n * memory * D
    return captions * (2 * layer + n * D * V) + 2 * 2 * memory * D**2


def test_profile_adds_up() -> None:
    result = profile("V+A")
    macs, params = result["parts"]["macs_g"], result["parts"]["params_m"]
    assert set(macs) == {"encoder audio", "encoder video", "fusion", "decoder", cost.OUTPUT}
    assert sum(macs.values()) == pytest.approx(result["macs_g"], rel=1e-12)
    assert result["flops_g"] == 2 * result["macs_g"]
    assert result["train_macs_g"] is None
    both = (N["audio"], N["video"])
    assert macs["fusion"] * 1e9 == pytest.approx(merged_macs(D, both, layers=2), rel=1e-9)
    taught = (macs["decoder"] + macs[cost.OUTPUT]) * 1e9
    assert taught == pytest.approx(decoder_macs(sum(both)), rel=1e-9)
    words = (TINY_INPUT.caption_tokens - 1) * D * V
    assert macs[cost.OUTPUT] * 1e9 == pytest.approx(words, rel=1e-9)
    captioner = cost.build_captioner(TINY, TINY_INPUT, V, ref("merged"), ref("V+A"), REGISTRY)
    total = sum(p.numel() for p in captioner.parameters())
    assert result["params_m"] == pytest.approx(total / 1e6, rel=1e-12)
    assert sum(params.values()) == pytest.approx(result["params_m"], rel=1e-12)


def test_a_zeroed_stream_costs_no_encoder_and_the_same_fusion() -> None:
    sound, both = profile("A"), profile("V+A")
    assert "encoder video" not in sound["parts"]["macs_g"]
    assert sound["parts"]["macs_g"]["fusion"] == both["parts"]["macs_g"]["fusion"]
    video = both["parts"]["macs_g"]["encoder video"]
    assert both["macs_g"] - sound["macs_g"] == pytest.approx(video, rel=1e-9)


def test_three_streams() -> None:
    result = profile("V+A+T", "mbp", fusion="global_va_merged_vt", epochs=2.0)
    merged = merged_macs(D, (N["video"], N["text"]), layers=2)
    wide = global_macs(D, (N["audio"], N["video"]), layers=2)
    got = result["parts"]["macs_g"]["fusion"] * 1e9
    assert got == pytest.approx(merged + wide, rel=1e-9)
    assert result["train_macs_g"] > 3 * result["macs_g"]


def taught(views: int, captions: int) -> int:
    memory = N["audio"] + N["video"]
    fused = merged_macs(D, (N["audio"], N["video"]), layers=2)
    return views * (fused + decoder_macs(memory, captions))


def encoded(parts: dict[str, float]) -> float:
    return 1e9 * (parts["encoder audio"] + parts["encoder video"])


@pytest.mark.parametrize(("loss", "views"), [("plain", 1), ("mbp", 3)])
@pytest.mark.parametrize("tasks", [("pcc",), ("pcc", "pnc")])
def test_a_training_step_runs_the_encoders_once_and_the_rest_in_every_view(
    loss: str, views: int, tasks: tuple[str, ...]
) -> None:
    result = profile("V+A", loss, tasks=tasks, steps=10)
    expected = 3 * (encoded(result["parts"]["macs_g"]) + taught(views, len(tasks)))
    assert result["train_macs_g"] * 1e9 == pytest.approx(expected, rel=1e-9)


def test_probes_are_part_of_the_training_cost() -> None:
    """G-Blend in a run of 100 steps: 10 + 18 · 5 steps, each probed on three views."""
    result = profile("V+A", "gblend", steps=100)
    parts = result["parts"]["macs_g"]
    every, alone = encoded(parts), taught(1, 1)
    views = [["audio", "video"], ["audio"], ["video"]]
    probed = 0.0
    for length in [10] + [5] * 18:
        for view in views:
            back = 1e9 * sum(parts[f"encoder {m}"] for m in view)
            probed += length * (every + 2 * back + 3 * alone)
            probed += 4 * SLICE_BATCHES * (every + alone)
    expected = 3 * (every + taught(3, 1)) + probed / 100
    assert result["train_macs_g"] * 1e9 == pytest.approx(expected, rel=1e-9)


def test_probes_are_asked_of_the_strategy() -> None:
    component = REGISTRY.get("losses", "gblend")
    strategy = component.build(component.config(mode="offline"), LossContext(streams=("a", "v")))
    asked = probes(strategy, 200)
    assert [view for view, _ in asked] == [{"a", "v"}, {"a"}, {"v"}]
    assert {length for _, length in asked} == {strategy.probe_at(200)[0]}
    plain_ = REGISTRY.get("losses", "plain")
    assert probes(plain_.build(plain_.config(), LossContext(streams=("a", "v"))), 200) == []


def test_a_run_given_in_epochs_costs_as_a_long_one() -> None:
    in_epochs = profile("V+A", "gblend", epochs=3.0)["train_macs_g"]
    in_steps = profile("V+A", "gblend", steps=cost.NOMINAL_STEPS)["train_macs_g"]
    assert in_epochs == in_steps
    assert math.isfinite(in_epochs)
