"""Training steps on made-up batches, at the geometry of a preset, for benchmarks and GPU tests."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.components import ComponentRef
from avbench.core.registry import load
from avbench.core.types import Batch, InputSpec, View, ViewLoss
from avbench.data.loader import to
from avbench.data.settings import Task
from avbench.models.captioner import Captioner
from avbench.models.compute import place
from avbench.models.settings import ComputeSettings, ModelSettings
from avbench.models.weights import Architecture
from avbench.training.contracts import LossStrategy, build_loss
from avbench.training.engine import Engine
from avbench.training.probe import optimiser
from avbench.training.profile import Profile
from avbench.training.settings import TrainSettings

TASKS: tuple[Task, ...] = ("pcc", "pnc")
FP32 = ComputeSettings()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model and a batch; every clip has a current and a next caption of full length."""

    name: str
    architecture: Architecture
    captioner: Captioner
    batch: Batch

    @property
    def clips(self) -> int:
        return len(self.batch.ids)

    def strategy(self, loss: str) -> LossStrategy:
        return build_loss(ComponentRef(name=loss), self.captioner.configuration.encoded, load())

    @cached_property
    def profile(self) -> Profile:
        return Profile(self.captioner, self.architecture.input)

    def macs(self, loss: str) -> float:
        """Multiply-accumulates of a step, as the cost columns of a table give them."""
        return self.clips * self.profile.training(
            self.strategy(loss), captions=len(TASKS), steps=1
        )

    def moved(self) -> float:
        """Bytes that a step in fp32 moves at least, activations not counted.

        Weights are read forward and backward, gradients written and read; Adam reads and writes
        weights and two moments.
        """
        weights = sum(p.numel() for p in self.captioner.parameters())
        return 4 * weights * (2 + 2 + 6) + self.batch.video.numel() + 4 * self.batch.audio.numel()


def settings(loss: str, **changed: Any) -> TrainSettings:
    """Of a run of one step, for what a step needs to know."""
    return TrainSettings(loss=ComponentRef(name=loss), tasks=TASKS, steps=1, **changed)


def without_chance(model: ModelSettings) -> ModelSettings:
    """The same network without dropout and stochastic depth."""
    off: dict[str, Mapping[str, Any]] = {
        "video": {"stochastic_depth_prob": 0.0},
        "audio": {"dropout": 0.0},
    }
    encoders = {
        m: replace(ref, options={**ref.options, **off.get(m, {})})
        for m, ref in model.encoders.items()
    }
    return replace(model, dropout=0.0, encoders=encoders)


def make_case(preset: str, fusion: str, clips: int, *, chance: bool = True, seed: int = 0) -> Case:
    """A captioner of a preset with fresh weights, and a batch.

    Args:
        preset: whose geometry.
        fusion: by name.
        clips: in the batch.
        chance: with dropout and stochastic depth.
        seed: of weights and batch.
    """
    registry = load()
    found = read_suite("table3", registry, Overrides(preset=preset)).rows[0].settings
    model = found.model if chance else without_chance(found.model)
    architecture = Architecture(
        model=model,
        input=found.input,
        fusion=ComponentRef(name=fusion),
        modalities=ComponentRef(name="V+A"),
        vocabulary=found.vocabulary.size,
    )
    torch.manual_seed(seed)
    return Case(
        name=f"{preset}, {fusion}, {clips} clip{'s' * (clips != 1)}",
        architecture=architecture,
        captioner=architecture.build(registry),
        batch=made_up(found.input, found.vocabulary.size, clips),
    )


def made_up(spec: InputSpec, vocabulary: int, clips: int) -> Batch:
    """A batch of noise with two captions a clip."""
    return Batch(
        video=torch.randint(0, 256, (clips, spec.frames, 3, spec.size, spec.size)).byte(),
        audio=torch.randn(clips, spec.mel_frames, spec.mel_bins),
        text=torch.zeros(clips, 1, dtype=torch.long),
        captions=torch.randint(6, vocabulary, (2 * clips, spec.caption_tokens)),
        clip=torch.arange(clips).repeat_interleave(2),
        ids=tuple(map(str, range(clips))),
    )


class Step:
    """The trainer's step on a batch: losses, gradients, clipping, optimiser.

    Args:
        given: the captioner (it is trained) and the batch.
        loss: the strategy by name.
        naive: run the whole model once for every view, with equal results.
        device: where.
        compute: precision and attention backend.
    """

    def __init__(
        self,
        given: Case,
        loss: str,
        *,
        naive: bool = False,
        device: torch.device | None = None,
        compute: ComputeSettings = FP32,
    ) -> None:
        self.naive = naive
        self.strategy = given.strategy(loss)
        self.engine = Engine(device or torch.device("cpu"))
        self.captioner = place(given.captioner, compute, self.engine.device)
        self.batch = to(given.batch, self.engine.device)
        self.module, self.optimiser = self.engine.set_up(
            self.captioner, lambda captioner: optimiser(captioner, settings(loss))
        )

    def weigh(self, losses: Mapping[View, ViewLoss]) -> Tensor:
        """The objective."""
        return self.strategy.combine(losses).total

    def losses(self) -> dict[View, ViewLoss]:
        """The losses; their gradients are left in the parameters."""
        views = self.strategy.views()
        self.optimiser.zero_grad(set_to_none=True)
        if not self.naive:
            return self.engine.backward(
                self.module, [self.batch], views, self.weigh, observe=self.strategy.observe
            )
        found: dict[View, ViewLoss] = {}
        for view in views:
            found |= self.captioner(self.batch, [view])
        self.strategy.observe(found)
        self.weigh(found).backward()  # type: ignore[no-untyped-call]
        return found

    def __call__(self) -> dict[View, float]:
        """One step; the losses before it."""
        self.captioner.train()
        losses = self.losses()
        self.engine.clip(self.module, self.optimiser, 1.0)
        self.optimiser.step()
        return {view: loss.nats.item() for view, loss in losses.items()}
