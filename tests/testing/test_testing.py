"""The contract checks find what is wrong: each is shown a component with one fault."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from avbench.api import (
    Batch,
    Encoder,
    EncoderContext,
    Fusion,
    FusionContext,
    LossContext,
    LossStrategy,
    Metric,
    ModalityConfiguration,
    Objective,
    Probe,
    References,
    Score,
    Tokens,
    View,
    ViewLoss,
    join,
)
from avbench.testing import check
from tests.testing.subject import Fault, component, failed


class Sum(Fusion):
    """Streams plus the mean of all kept tokens.

    Source: this test.
    """

    def __init__(self, options: Fault, context: FusionContext) -> None:
        super().__init__()
        self.fault = options.fault
        self.streams = context.streams
        self.layer = nn.Linear(context.D, context.D)
        self.unused = nn.Linear(1, 1) if self.fault == "parameters" else None
        self.hidden = torch.randn(context.D)
        self.calls = 0

    @classmethod
    def refuses(cls, streams: tuple[str, ...]) -> str | None:
        return None if len(streams) > 1 else "needs two streams"

    @classmethod
    def closed_form(
        cls, options: Fault, context: FusionContext, tokens: Mapping[str, int]
    ) -> int | None:
        if options.fault in ("inputs", "countable"):
            return None
        n = sum(tokens.values()) + (options.fault == "closed_form")
        return n * context.D**2

    def forward(self, tokens: Mapping[str, Tokens]) -> Tokens:
        order = reversed(self.streams) if self.fault == "shape" else self.streams
        fused = join([tokens[m] for m in order])
        values = fused.values
        keep = torch.ones_like(values[..., 0]) if fused.keep is None else fused.keep.float()
        if self.fault == "padding":
            keep = torch.ones_like(keep)
        total = keep.sum(1, keepdim=True).clamp(min=1)
        if self.fault == "zeroed":
            values = torch.cat([t.values / t.values.norm() for t in tokens.values()], dim=1)
        mean = (values * keep[..., None]).sum(1, keepdim=True) / total[..., None]
        out = self.layer(values + mean)
        if self.fault == "inputs":
            out = out * 0 + self.layer(torch.ones_like(values))
        if self.fault == "deterministic":
            self.calls += 1
            out = out + self.calls
        if self.fault == "permutation":
            out = out + torch.arange(len(out))[:, None, None]
        if self.fault == "state":
            out = out + self.hidden
        if self.fault == "countable":
            out = out + torch.cdist(out, out).sum(-1, keepdim=True)
        return Tokens(values=out, keep=fused.keep)


FUSION_FAULTS = ["shape", "zeroed", "padding", "parameters", "inputs", "deterministic"]
FUSION_FAULTS += ["permutation", "state", "countable", "closed_form"]


@pytest.mark.parametrize("fault", FUSION_FAULTS)
def test_a_fault_of_a_fusion_is_found(fault: str) -> None:
    assert failed("fusions", Sum, "") == set()
    assert fault in failed("fusions", Sum, fault)


def test_a_fusion_that_crashes_instead_of_refusing_is_found() -> None:
    class Crashing(Sum):
        """Source: this test."""

        @classmethod
        def refuses(cls, streams: tuple[str, ...]) -> str | None:
            raise KeyError("audio")

    found = check(component("fusions", Crashing))
    refuses = next(f for f in found if f.check == "refuses")
    assert not refuses.ok
    assert refuses.got == "KeyError: 'audio'"
    assert refuses.expected == "a reason or None for any streams, and None for some"


def test_a_missing_source_is_found() -> None:
    class Undocumented(Sum):
        """Says nothing of where it comes from."""

    assert failed("fusions", Undocumented, "") == {"source"}


class Weighted(LossStrategy):
    """Weighted sum.

    Source: this test.
    """

    def __init__(self, options: Fault, context: LossContext) -> None:
        self.fault = options.fault
        joint = frozenset(context.streams)
        single = tuple(frozenset({m}) for m in context.streams if len(context.streams) > 1)
        self._views = (*single, joint) if self.fault == "views" else (joint, *single)
        self.steps = 0
        self.held_out = 0.0 if self.fault == "probes" else 0.1

    def views(self) -> tuple[View, ...]:
        return self._views

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:
        self.steps += 1
        return {}

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        self.steps += self.fault == "pure"
        terms = [loss.nats * self.steps for loss in losses.values()]
        if self.fault == "gradients":
            terms[0] = terms[0].detach() * 1 + 0 * terms[0]
        total = sum(terms[1:], start=terms[0])
        if self.fault == "finite":
            total = total / 0
        weights = {} if self.fault == "weights" else dict.fromkeys(losses, 1.0 * self.steps)
        return Objective(total=total, weights=weights)

    def modulate(self, encoders: Mapping[str, Sequence[nn.Parameter]]) -> None:
        if self.fault == "modulation":
            for parameters in encoders.values():
                parameters[0].grad = None

    def probe_at(self, steps: int) -> Mapping[int, int]:
        return {0: steps // 2}

    def reestimate(self, probe: Probe, steps: int) -> Mapping[str, float]:
        return {"G": probe(self._views[0], steps).held_after}

    def state_dict(self) -> dict[str, int]:
        return {} if self.fault == "state" else {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.steps = state.get("steps", 0)


@pytest.mark.parametrize(
    "fault", ["views", "finite", "pure", "weights", "gradients", "probes", "state", "modulation"]
)
def test_a_fault_of_a_loss_is_found(fault: str) -> None:
    assert failed("losses", Weighted, "") == set()
    assert fault in failed("losses", Weighted, fault)


class Bands(Encoder):
    """Spectrogram frames to tokens.

    Source: this test.
    """

    modality = "audio"

    def __init__(self, options: Fault, context: EncoderContext) -> None:
        super().__init__()
        self.fault = options.fault
        self.n_tokens = context.input.mel_frames + (self.fault == "shape")
        self.layer = nn.Linear(context.input.mel_bins, context.D)
        self.unused = nn.Linear(1, 1) if self.fault == "parameters" else None
        self.calls = 0
        self.hidden = torch.randn(context.D)

    @classmethod
    def closed_form(cls, options: Fault, context: EncoderContext) -> int | None:
        if options.fault == "countable":
            return None
        size = context.input.mel_frames * context.input.mel_bins * context.D
        return size + size // 100 * (options.fault == "closed_form")

    def forward(self, batch: Batch) -> Tokens:
        values: Tensor = self.layer(batch.audio)
        if self.fault == "field":
            values = values + batch.text.sum()
        if self.fault == "deterministic":
            self.calls += 1
            values = values + self.calls
        if self.fault == "permutation":
            values = values + torch.arange(len(values))[:, None, None]
        if self.fault == "state":
            values = values + self.hidden
        if self.fault == "countable":
            values = values + torch.cdist(values, values).sum(-1, keepdim=True)
        return Tokens(values=values)


@pytest.mark.parametrize(
    "fault",
    [
        *("shape", "field", "parameters", "deterministic", "permutation", "state"),
        *("countable", "closed_form"),
    ],
)
def test_a_fault_of_an_encoder_is_found(fault: str) -> None:
    assert failed("encoders", Bands, "") == set()
    assert fault in failed("encoders", Bands, fault)


@pytest.mark.parametrize(
    ("streams", "found"),
    [
        (("audio", "video"), set()),
        (("audio", "smell"), {"streams", "order"}),
        (("video", "audio"), {"order"}),
        (("video", "video"), {"order"}),
    ],
)
def test_a_fault_of_a_modality_configuration_is_found(
    streams: tuple[str, ...], found: set[str]
) -> None:
    def build(_options: object) -> ModalityConfiguration:
        """Source: this test."""
        return ModalityConfiguration(streams=streams)

    assert failed("modalities", build, "") == found


class Overlap(Metric):
    """Share of a reference's words that a hypothesis has.

    Source: this test.
    """

    def __init__(self, options: Fault) -> None:
        self.fault = options.fault

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        return [[self._score(h, references, i)] for i, h in enumerate(hypotheses)]

    def _score(self, hypotheses: Mapping[str, str], references: References, i: int) -> Score:
        items = {}
        ids = list(references.captions)
        for place, (id_, captions) in enumerate(references.captions.items()):
            said = hypotheses[ids[0]] if self.fault == "order" else hypotheses[id_]
            words, wanted = set(said.split()), set(captions[0].split())
            if self.fault == "empty" and not words:
                items[id_] = float("nan")
                continue
            items[id_] = len(words & wanted) / len(wanted)
            if self.fault == "order":
                items[id_] *= place
        value = sum(items.values()) / len(items)
        score = Score(
            name="overlap",
            value=-value
            if self.fault == "right"
            else value + (i if self.fault == "batched" else 0),
            unit="%",
            signature="" if self.fault == "applies" else "overlap|version:1",
            per_item=items,
        )
        return replace(score, per_item={"nobody": 1.0}) if self.fault == "items" else score


@pytest.mark.parametrize("fault", ["right", "applies", "order", "empty", "batched", "items"])
def test_a_fault_of_a_metric_is_found(fault: str) -> None:
    assert failed("metrics", Overlap, "") == set()
    assert fault in failed("metrics", Overlap, fault)
