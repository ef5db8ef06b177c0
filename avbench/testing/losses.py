"""The contract of a loss strategy."""

import io
import math
from itertools import count as counting
from typing import Any

import torch
from torch import nn

from avbench.core.registry import Component
from avbench.core.types import Modality, View, ViewLoss
from avbench.testing.findings import Check, Finding, common_checks, run_checks
from avbench.training.contracts import LossContext, LossStrategy, Objective, ProbeCurve

STREAMS: tuple[tuple[Modality, ...], ...] = (
    ("audio",),
    ("audio", "video"),
    ("video", "text"),
    ("audio", "video", "text"),
)
STEPS = 100


def check_loss(component: Component, options: Any = None) -> list[Finding]:
    """Check a loss strategy on several sets of streams.

    Args:
        component: a registered loss strategy.
        options: an instance of its config; None: its defaults.
    """
    checks = common_checks(component, options)
    for streams in STREAMS:
        checks += _Subject(component, options, streams).checks()
    return run_checks(checks)


class _Subject:
    """A loss strategy under test over one set of streams, and its checks."""

    def __init__(self, component: Component, options: Any, streams: tuple[Modality, ...]) -> None:
        self.component, self.options, self.streams = component, options, streams

    def checks(self) -> list[Check]:
        """Return every check of the contract on these streams."""
        stated = {
            self.views: "the joint view first, then views of its streams, none twice",
            self.finite: "a finite scalar total, five steps in a row",
            self.pure: "combine leaves the state as it is, and observe logs finite numbers",
            self.weights: "the weight of each view that counts in the log, all finite",
            self.gradients: "a gradient on the loss of every view that has a weight",
            self.probes: "super-epochs within the run, clips held out for them, finite logs",
            self.state: "a state dict of plain values that restores the strategy",
            self.modulation: "gradients of the encoders that stay finite and keep their shapes",
        }
        where = "+".join(self.streams)
        return [
            Check(name=f"{run.__name__} [{where}]", expected=expected, run=run)
            for run, expected in stated.items()
        ]

    def build(self) -> LossStrategy:
        options = self.component.config() if self.options is None else self.options
        made: LossStrategy = self.component.build(options, LossContext(streams=self.streams))
        return made

    def views(self) -> str | None:
        views = self.build().views()
        if not views or views[0] != frozenset(self.streams):
            return f"{[sorted(v) for v in views]}"
        if len(set(views)) != len(views) or not all(v and v <= views[0] for v in views):
            return f"{[sorted(v) for v in views]}"
        return None

    def finite(self) -> str | None:
        strategy = self.build()
        for step in range(5):
            total = _stepped(strategy, step).total
            if total.dim() or not torch.isfinite(total):
                return f"{total} at step {step}"
        return None

    def pure(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        for name, value in strategy.observe(losses).items():
            if not math.isfinite(value):
                return f"{name} = {value} in the log"
        if not _same(strategy.combine(losses), strategy.combine(losses)):
            return "another objective at the second call of combine"
        return None

    def weights(self) -> str | None:
        strategy = self.build()
        weights = _stepped(strategy, 0).weights
        odd = [sorted(v) for v, w in weights.items() if not math.isfinite(w)]
        odd += [sorted(v) for v in weights if v not in strategy.views()]
        return f"weights {dict(weights)}" if odd or not weights else None

    def gradients(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        strategy.observe(losses)
        objective = strategy.combine(losses)
        objective.total.backward()  # type: ignore[no-untyped-call]
        for view, weight in objective.weights.items():
            gradient = losses[view].nats.grad
            if weight and (gradient is None or not gradient.isfinite() or not gradient):
                return f"{gradient} on {sorted(view)} of weight {weight:.3g}"
        return None

    def probes(self) -> str | None:
        strategy = self.build()
        schedule = strategy.probe_at(STEPS)
        for start, length in schedule.items():
            if not (0 <= start < STEPS and length >= 1):
                return f"a super-epoch of {length} steps at {start} of {STEPS}"
        if schedule and not 0 < strategy.held_out < 1:
            return f"held_out = {strategy.held_out} with {len(schedule)} super-epochs"
        for length in schedule.values():
            log = strategy.reestimate(_Probe(), length)
            odd = [name for name, value in log.items() if not math.isfinite(value)]
            if odd:
                return f"{odd[0]} = {log[odd[0]]}"
        return None

    def state(self) -> str | None:
        strategy = self.build()
        for length in list(strategy.probe_at(STEPS).values())[:1]:
            strategy.reestimate(_Probe(), length)
        for step in range(3):
            _stepped(strategy, step)
        buffer = io.BytesIO()
        torch.save(strategy.state_dict(), buffer)
        buffer.seek(0)
        restored = self.build()
        restored.load_state_dict(torch.load(buffer, weights_only=True))
        for step in range(3, 6):
            was, is_ = (_stepped(s, step) for s in (strategy, restored))
            if not _same(was, is_):
                return f"total {is_.total.item():.6g} instead of {was.total.item():.6g}"
        return None

    def modulation(self) -> str | None:
        strategy = self.build()
        encoders = {
            m: [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2))]
            for m in self.streams
        }
        for p in (p for parameters in encoders.values() for p in parameters):
            p.grad = torch.randn_like(p)
        _stepped(strategy, 0)
        strategy.modulate(encoders)
        for m, parameters in encoders.items():
            for p in parameters:
                if p.grad is None or p.grad.shape != p.shape or not p.grad.isfinite().all():
                    return f"{p.grad} on {m}"
        return None


def _stepped(strategy: LossStrategy, step: int) -> Objective:
    """Call a strategy as a step of a single micro-batch does."""
    losses = _losses(strategy, step)
    strategy.observe(losses)
    return strategy.combine(losses)


def _losses(strategy: LossStrategy, step: int) -> dict[View, ViewLoss]:
    """Return plausible losses: each modality alone is worse than all together, by its own gap."""
    losses = {}
    for i, view in enumerate(strategy.views()):
        nats = torch.tensor(2.0 + 0.3 * i - 0.1 * step, requires_grad=True)
        losses[view] = ViewLoss(nats=nats, token_probability=torch.exp(-nats.detach()), tokens=50)
    return losses


class _Probe:
    """A probe that returns plausible curves and trains nothing."""

    def __init__(self) -> None:
        self.calls = counting(1)

    def __call__(self, view: View, steps: int) -> ProbeCurve:
        """Return a curve, a little different at each call."""
        del view, steps
        i = next(self.calls)
        return ProbeCurve(
            train_before=2.0, train_after=2.0 - 0.2 * i, held_before=2.1, held_after=2.1 - 0.1 * i
        )


def _same(a: Objective, b: Objective) -> bool:
    return a.total.item() == b.total.item() and dict(a.weights) == dict(b.weights)
