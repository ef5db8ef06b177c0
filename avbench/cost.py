"""What a combination costs: MACs and FLOPs of a caption, parameters, and MACs of its training.

Conventions, for one clip:

- ``macs_g``: every encoded stream's encoder, the fusion and the decoder, once; the decoder under
  teacher forcing over ``caption_tokens`` − 1 positions. FLOPs are 2 × MACs.
- ``train_macs_g``: a training step's MACs over its clips. A backward pass counts twice its
  forward pass, so a step is 3 × (encoders + fusion and decoder in every view of the loss, with a
  caption a task); what the loss's probes spend is spread over the steps of the run.
- Left out: element-wise work (see ``avbench.macs``), the optimiser, and measurements for the log.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avbench.closed_form import (
    cross_macs,
    global_macs,
    local_global_cross_macs,
    local_global_merged_macs,
    merged_macs,
    transformer_layer_macs,
)
from avbench.contracts import SLICE_BATCHES, LossContext, LossStrategy, ProbeCurve
from avbench.macs import Adapter, CostError, Count, count
from avbench.model import Captioner, build_captioner
from avbench.options import build
from avbench.registry import Registry
from avbench.settings import ComponentRef, InputSpec, ModelSettings, TrainSettings
from avbench.stage import Job
from avbench.types import Batch, Modality, Tokens, View

GIGA, MEGA = 1e9, 1e6
NOMINAL_STEPS = 100_000
"""Length of a run that is given in epochs: its data, and so its steps, are not known here. Only
probes that are not a fixed share of the run depend on it."""
STAND_IN = ProbeCurve(train_before=2.0, train_after=1.0, held_before=2.1, held_after=1.5)
"""What the recording probe answers; only how often it is asked matters."""


def run(job: Job) -> dict[str, Any]:
    """The profile stage.

    Returns:
        ``macs_g``, ``flops_g``, ``params_m``, ``train_macs_g`` (None without pre-training), and
        ``parts``: MACs (G) and parameters (M) of each encoder, the fusion and the decoder.
    """
    spec = job.spec
    inputs = build(InputSpec, spec["input"])
    captioner = build_captioner(
        build(ModelSettings, spec["model"]),
        inputs,
        spec["vocabulary"],
        build(ComponentRef, spec["fusion"]),
        build(ComponentRef, spec["modalities"]),
        job.registry,
    )
    profile = Profile(captioner, inputs)
    parts = profile.parts()
    macs = sum(parts.values())
    train = None
    if spec["train"] is not None:
        settings = build(TrainSettings, spec["train"])
        train = profile.training(settings, strategy(settings, captioner, job.registry)) / GIGA
    sizes = parameters(captioner)
    return {
        "macs_g": macs / GIGA,
        "flops_g": 2 * macs / GIGA,
        "params_m": sum(sizes.values()) / MEGA,
        "train_macs_g": train,
        "parts": {
            "macs_g": {name: n / GIGA for name, n in parts.items()},
            "params_m": {name: n / MEGA for name, n in sizes.items()},
        },
    }


def strategy(settings: TrainSettings, captioner: Captioner, registry: Registry) -> LossStrategy:
    """The loss strategy of a training stage."""
    component = registry.get("losses", settings.loss.name)
    context = LossContext(streams=captioner.configuration.encoded)
    made: LossStrategy = component.build(build(component.config, settings.loss.options), context)
    return made


def parameters(captioner: Captioner) -> dict[str, int]:
    """Parameters by part, each counted once."""
    seen: set[int] = set()

    def fresh(module: nn.Module) -> int:
        new = {id(p): p.numel() for p in module.parameters() if id(p) not in seen}
        seen.update(new)
        return sum(new.values())

    sizes = {f"encoder {m}": fresh(e) for m, e in captioner.encoders.items()}
    sizes["fusion"] = fresh(captioner.fusion)
    sizes["decoder"] = fresh(captioner.decoder)
    sizes["embedding"] = fresh(captioner)
    return sizes


class Profile:
    """The MACs of a captioner's parts, for one clip."""

    def __init__(self, captioner: Captioner, inputs: InputSpec) -> None:
        self.captioner = captioner
        self.inputs = inputs
        self._taught: dict[tuple[tuple[View, ...], int], Count] = {}
        self.encoders: dict[Modality, int] = {
            m: self._encoder(m).macs for m in captioner.configuration.encoded
        }

    def parts(self) -> dict[str, int]:
        """MACs of each encoder, of the fusion and of the decoder, one view and one caption."""
        taught = self.teach([self.captioner.joint], 1)
        split = {part: taught.modules[f"captioner.{part}"] for part in ("fusion", "decoder")}
        return {f"encoder {m}": n for m, n in self.encoders.items()} | split

    def teach(self, views: Sequence[View], captions: int) -> Count:
        """The forward pass from encoded tokens to logits: every view, ``captions`` a clip."""
        key = tuple(views), captions
        if key not in self._taught:
            self._taught[key] = self._teach(*key)
        return self._taught[key]

    def training(self, settings: TrainSettings, strategy: LossStrategy) -> float:
        """MACs of one clip's part in a training step, probes included."""
        captions, encoders = len(settings.tasks), sum(self.encoders.values())
        step = 3 * (encoders + self.teach(strategy.views(), captions).macs)
        steps = settings.steps or NOMINAL_STEPS
        probed = 0
        for view, length in probes(strategy, steps):
            alone = self.teach([view], captions).macs
            # A probe encodes every stream; only those of its view lead back.
            trained = encoders + 2 * sum(self.encoders[m] for m in view) + 3 * alone
            # Two slices, before and after, forward only.
            measured = 4 * SLICE_BATCHES * (encoders + alone)
            probed += length * trained + measured
        return step + probed / steps

    def _teach(self, views: tuple[View, ...], captions: int) -> Count:
        streams = self.captioner.configuration.encoded
        batch = self._batch(captions)

        def call(*values: Tensor) -> Tensor:
            encoded = {m: Tokens(values=v) for m, v in zip(streams, values, strict=True)}
            return self.captioner.teach(encoded, batch, views)

        adapter = Adapter({"captioner": self.captioner}, call)
        shapes = {m: p.shape for m, p in self.captioner.embedding.positions.items()}
        return count(adapter, *(torch.zeros(1, *shapes[m]) for m in streams))

    def _encoder(self, modality: Modality) -> Count:
        encoder = self.captioner.encoders[modality]
        example = self._batch(1)

        def call(video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
            batch = Batch(
                video=video,
                audio=audio,
                text=text,
                captions=example.captions,
                clip=example.clip,
                ids=example.ids,
            )
            tokens: Tokens = encoder(batch)
            return tokens.values

        inputs = (example.video, example.audio, example.text)
        return count(Adapter({"encoder": encoder}, call), *inputs)

    def _batch(self, captions: int) -> Batch:
        """One clip of the right shapes, with no padding in its text."""
        i = self.inputs
        return Batch(
            video=torch.zeros(1, i.frames, 3, i.size, i.size, dtype=torch.uint8),
            audio=torch.zeros(1, i.mel_frames, i.mel_bins),
            text=torch.ones(1, i.speech_tokens, dtype=torch.long),
            captions=torch.ones(captions, i.caption_tokens, dtype=torch.long),
            clip=torch.zeros(captions, dtype=torch.long),
            ids=("profile",),
        )


def probes(strategy: LossStrategy, steps: int) -> list[tuple[View, int]]:
    """Every probe that a strategy would ask for in a run: its view and its length in steps.

    The strategy is asked, not guessed at: it is given a probe that only writes down the calls.
    """
    asked: list[tuple[View, int]] = []

    def recording(view: View, steps: int) -> ProbeCurve:
        asked.append((view, steps))
        return STAND_IN

    for _, length in sorted(strategy.probe_at(steps).items()):
        strategy.reestimate(recording, length)
    return asked


__all__ = [
    "CostError",
    "Count",
    "Profile",
    "count",
    "cross_macs",
    "global_macs",
    "local_global_cross_macs",
    "local_global_merged_macs",
    "merged_macs",
    "parameters",
    "probes",
    "run",
    "strategy",
    "transformer_layer_macs",
]
