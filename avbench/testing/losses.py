"""The contract of a loss strategy."""

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import count as counting
from typing import Any

import torch
from torch import nn

from avbench.core.registry import Component
from avbench.core.types import Modality, View, ViewLoss
from avbench.testing.device import DEVICE, away, pretended
from avbench.testing.findings import (
    PLACES,
    Check,
    Finding,
    common_checks,
    on,
    restored_at,
    run_checks,
    seeded,
)
from avbench.testing.sources import sources
from avbench.training.contracts import LossContext, LossStrategy, Objective, ProbeCurve

STREAMS: tuple[tuple[Modality, ...], ...] = (
    ("audio",),
    ("audio", "video"),
    ("video", "text"),
    ("audio", "video", "text"),
)
STEPS = 100
LONG = 200
"""Steps of the long run, and calls that must give the same."""
FALL = 0.5
"""Nats per token by which losses fall where the total must follow."""


def check_loss(component: Component, options: Any = None) -> list[Finding]:
    """Check a loss strategy on several sets of streams.

    Args:
        component: a registered loss strategy.
        options: an instance of its config; None: its defaults.
    """
    checks = common_checks(component, options)
    for streams in STREAMS:
        # What shows only after many steps does not depend on the streams.
        checks += _Subject(component, options, streams).checks(long=streams == STREAMS[-1])
    return run_checks(checks)


class _Subject:
    """A loss strategy under test over one set of streams, and its checks."""

    def __init__(self, component: Component, options: Any, streams: tuple[Modality, ...]) -> None:
        self.component, self.options, self.streams = component, options, streams

    def checks(self, *, long: bool) -> list[Check]:
        """Return every check of the contract on these streams; ``long``: with many steps too."""
        every = [
            Check(
                name="views",
                expected="the joint view first, then views of its streams, none twice, always",
                run=self.views,
            ),
            Check(
                name="finite",
                expected="a finite scalar total, also for equal, tiny and large losses",
                advice="guard divisions, logarithms and exponentials",
                run=self.finite,
                needs=("views",),
            ),
            Check(
                name="unchanged",
                expected="observe and combine leave the losses as they are",
                advice="make new tensors and mappings, e.g. total = total + x, not total += x",
                run=self.unchanged,
                needs=("finite",),
            ),
            Check(
                name="pure",
                expected="combine leaves the state as it is, and observe logs finite numbers",
                advice="change state in observe alone: combine runs for every micro-batch",
                run=self.pure,
                needs=("finite",),
            ),
            Check(
                name="modulation",
                expected="gradients that stay finite and keep their shapes; weights stay",
                advice="scale p.grad where there is one, and leave p itself to the optimiser",
                run=self.modulation,
                needs=("finite",),
            ),
            Check(
                name="random",
                expected="no chance but from torch's generators, whose seed stays",
                advice="draw by torch, not by random, numpy, os.urandom or the clock",
                run=self.random,
                needs=("pure", "modulation"),
            ),
            Check(
                name="gradients",
                expected="a gradient on the loss of every view that has a weight",
                advice="add the losses' own tensors, with no detach(), item() or float()",
                run=self.gradients,
                needs=("finite", "pure"),
            ),
            Check(
                name="direction",
                expected="a total that falls when the losses do, and rises with none that falls",
                advice="give no view a negative weight: the trainer minimises the total",
                run=self.direction,
                needs=("gradients",),
            ),
            Check(
                name="weights",
                expected="each view's weight in the log, finite, as in the total",
                advice="log in Objective.weights the factor of each view's loss in the total",
                run=self.weights,
                needs=("direction",),
            ),
            Check(
                name="observed",
                expected="weights that follow what observe received, not what combine is given",
                advice="decide in observe, and only apply the weights in combine, which sees one "
                "process's and micro-batch's losses",
                run=self.observed,
                needs=("weights",),
            ),
            Check(
                name="dtype",
                expected="a total in the type of the losses",
                advice="multiply by Python's floats, or tensors made by nats.new_tensor(w)",
                run=self.dtype,
                needs=("finite",),
            ),
            Check(
                name="device",
                expected="a total on the device of the losses, gradients on their own",
                advice="make tensors on the losses' device, e.g. nats.new_tensor(w), and noise by "
                "torch.randn_like(p.grad)",
                run=self.device,
                needs=("unchanged", "modulation"),
            ),
            Check(
                name="probes",
                expected="super-epochs within the run, clips held out for them, finite logs",
                run=self.probes,
                needs=("views",),
            ),
            Check(
                name="state",
                expected="a state dict of plain values that restores the strategy",
                advice="return in state_dict everything that observe, modulate or reestimate "
                "changes",
                run=self.state,
                needs=("random", "probes"),
            ),
        ]
        if long:
            every.append(
                Check(
                    name="steps",
                    expected=f"{LONG} steps give the same, saved and restored on the way",
                    advice="return every counter and schedule in state_dict",
                    run=self.steps,
                    needs=("state",),
                )
            )
        return on("+".join(self.streams), every)

    def build(self) -> LossStrategy:
        options = self.component.config() if self.options is None else self.options
        made: LossStrategy = self.component.build(options, LossContext(streams=self.streams))
        return made

    def views(self) -> str | None:
        strategy = self.build()
        views = strategy.views()
        if not views or views[0] != frozenset(self.streams):
            return f"{[sorted(v) for v in views]}"
        if len(set(views)) != len(views) or not all(v and v <= views[0] for v in views):
            return f"{[sorted(v) for v in views]}"
        for call in range(2, LONG):
            if strategy.views() != views:
                return f"other views at call {call}"
        return None

    def finite(self) -> str | None:
        strategy = self.build()
        cases = {f"step {step}": _losses(strategy, step) for step in range(5)}
        cases |= {f"losses of {nats:g} nats": _equal(strategy, nats) for nats in (1e-4, 2.0, 60.0)}
        for name, losses in cases.items():
            strategy.observe(_observed(losses))
            total = strategy.combine(losses).total
            if total.dim() or not torch.isfinite(total):
                return f"{total.tolist()} at {name}"
        return None

    def unchanged(self) -> str | None:
        strategy = self.build()
        for call, form in ((strategy.observe, _observed), (strategy.combine, dict)):
            losses = form(_losses(strategy, 0))
            kept = [(v, loss.nats, loss.nats.item(), loss) for v, loss in losses.items()]
            call(losses)
            same = list(losses) == [v for v, *_ in kept] and all(
                losses[v] is loss and nats.item() == value for v, nats, value, loss in kept
            )
            if not same:
                return f"other losses after {call.__name__}"
        return None

    def pure(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        for name, value in strategy.observe(_observed(losses)).items():
            if not math.isfinite(value):
                return f"{name} = {value} in the log"
        first = strategy.combine(losses)
        for call in range(2, LONG):
            if not _same(strategy.combine(losses), first):
                return f"another objective at call {call} of combine after one of observe"
        return None

    def random(self) -> str | None:
        one, two = self.build(), self.build()
        with sources() as found:
            for step in range(20):
                found.reset(step)
                first = self.trained(one, step)
                found.reset(1000 + step)
                problem = _difference(self.trained(two, step), first)
                if problem:
                    return f"step {step}: {problem}, while losses and torch's seed are equal"
        ends = []
        for seed in (0, 1):
            with seeded(seed):
                self.trained(self.build(), 0, seed=None)
                ends.append(torch.get_rng_state())
        return "a step sets torch's seed" if torch.equal(*ends) else None

    def gradients(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        strategy.observe(_observed(losses))
        objective = strategy.combine(losses)
        objective.total.backward()  # type: ignore[no-untyped-call]
        for view, weight in objective.weights.items():
            gradient = losses[view].nats.grad
            if weight and (gradient is None or not gradient.isfinite() or not gradient):
                return f"{gradient} on {sorted(view)} of weight {weight:.3g}"
        return None

    def direction(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        strategy.observe(_observed(losses))
        before = strategy.combine(losses).total.item()
        after = strategy.combine(_losses(strategy, 0, lower=strategy.views())).total.item()
        if not after < before:
            return (
                f"the total goes from {before:.3g} to {after:.3g} when all losses fall by {FALL}"
            )
        for view in strategy.views():
            risen = strategy.combine(_losses(strategy, 0, lower=[view])).total.item() - before
            if risen > 1e-6:
                return (
                    f"the total rises by {risen:.3g} when the loss of {_name(view)} falls by "
                    f"{FALL}"
                )
        for view, slope in _slopes(strategy, losses).items():
            if slope < 0:
                return f"a gradient of {slope:.3g} on the loss of {_name(view)}"
        return None

    def weights(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        strategy.observe(_observed(losses))
        weights = strategy.combine(losses).weights
        odd = [sorted(v) for v, w in weights.items() if not math.isfinite(w)]
        odd += [sorted(v) for v in weights if v not in strategy.views()]
        if odd or not weights:
            return f"weights {_shown(weights)}"
        for view, slope in _slopes(strategy, losses).items():
            logged = weights.get(view, 0.0)
            if abs(slope - logged) > 1e-4 * max(1.0, abs(slope)):
                return f"{logged:.4g} in the log for {_name(view)}, {slope:.4g} in the total"
        return None

    def observed(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        strategy.observe(_observed(losses))
        first = _slopes(strategy, losses)
        for others in (_losses(strategy, 7), _equal(strategy, 0.5)):
            for view, slope in _slopes(strategy, others).items():
                if abs(slope - first[view]) > 1e-5 * max(1.0, abs(slope)):
                    return (
                        f"the weight of {_name(view)} is {first[view]:.4g} for some losses and "
                        f"{slope:.4g} for others, after the same observe"
                    )
        return None

    def dtype(self) -> str | None:
        strategy = self.build()
        losses = {
            view: replace(loss, nats=loss.nats.double())
            for view, loss in _losses(strategy, 0).items()
        }
        strategy.observe(_observed(losses))
        found = strategy.combine(losses).total.dtype
        return None if found == torch.float64 else f"{found} from losses of torch.float64"

    def device(self) -> str | None:
        strategy = self.build()
        losses = _losses(strategy, 0)
        with pretended():
            there = {
                view: ViewLoss(
                    nats=away(loss.nats),
                    token_probability=away(loss.token_probability),
                    tokens=loss.tokens,
                )
                for view, loss in losses.items()
            }
            strategy.observe(there)
            total = strategy.combine(there).total
            if total.device != DEVICE:
                return f"a total on the {total.device.type}, not with the losses"
            encoders = self.encoders(0)
            moved: dict[Modality, list[Any]] = {}
            for m, parameters in encoders.items():
                moved[m] = [away(p) for p in parameters]
                for p, copied in zip(parameters, moved[m], strict=True):
                    copied.grad = None if p.grad is None else away(p.grad)
            strategy.modulate(moved)
        return None

    def probes(self) -> str | None:
        strategy = self.build()
        schedule = strategy.probe_at(STEPS)
        for start, length in schedule.items():
            if not (0 <= start < STEPS and length >= 1):
                return f"a super-epoch of {length} steps at {start} of {STEPS}"
        if schedule and not 0 < strategy.held_out < 1:
            return f"held_out = {strategy.held_out} with {len(schedule)} super-epochs"
        for start, length in schedule.items():
            log = strategy.reestimate(_Probe(start), length)
            odd = [name for name, value in log.items() if not math.isfinite(value)]
            if odd:
                return f"{odd[0]} = {log[odd[0]]}"
        return None

    def modulation(self) -> str | None:
        strategy, encoders = self.build(), self.encoders(0)
        kept = {m: [p.detach().clone() for p in encoders[m]] for m in encoders}
        losses = _losses(strategy, 0)
        strategy.observe(_observed(losses))
        strategy.combine(losses)
        handed = {m: list(parameters) for m, parameters in encoders.items()}
        strategy.modulate(handed)
        for m, parameters in encoders.items():
            for p, before in zip(parameters, kept[m], strict=True):
                if not torch.equal(p, before):
                    return f"other weights of {m}"
                frozen = p is parameters[-1]
                if frozen and p.grad is not None:
                    return f"a gradient of {m} that there was not"
                if not frozen and (
                    p.grad is None or p.grad.shape != p.shape or not p.grad.isfinite().all()
                ):
                    return f"{p.grad} on {m}"
        return None

    def encoders(self, step: int) -> dict[Modality, list[nn.Parameter]]:
        """Return encoders' parameters: a matrix, a vector, and one without a gradient."""
        generator = torch.Generator().manual_seed(step)
        encoders = {}
        for m in self.streams:
            made = [
                nn.Parameter(torch.randn(*shape, generator=generator))
                for shape in ((3, 2), (2,), (2, 2))
            ]
            for p in made[:-1]:
                p.grad = torch.randn(p.shape, generator=generator)
            encoders[m] = made
        return encoders

    def trained(self, strategy: LossStrategy, step: int, *, seed: int | None = 0) -> list[Any]:
        """Take a step as the trainer does; return everything that comes out of it.

        Args:
            strategy: to take the step.
            step: its number, from which the losses and gradients follow.
            seed: of torch's generator, with the step; None: as it is.
        """
        losses, encoders = _losses(strategy, step), self.encoders(step)
        with nullcontext() if seed is None else seeded(1000 * seed + step):
            log = strategy.observe(_observed(losses))
            objective = strategy.combine(losses)
            strategy.modulate(encoders)
        grads = [p.grad.tolist() for of in encoders.values() for p in of if p.grad is not None]
        return [
            ("the total", objective.total.item()),
            ("the weights", _shown(objective.weights)),
            ("the log", dict(log)),
            ("the modulated gradient", grads),
        ]

    def state(self) -> str | None:
        strategy = self.build()
        for start, length in list(strategy.probe_at(STEPS).items())[:1]:
            strategy.reestimate(_Probe(start), length)
        for step in range(3):
            self.trained(strategy, step)
        restored = self.restored(strategy)
        for step in range(3, 6):
            was, is_ = (self.trained(s, step) for s in (strategy, restored))
            problem = _difference(is_, was)
            if problem:
                return f"restored after 3 steps, {problem} at step {step}"
        return None

    def restored(self, strategy: LossStrategy) -> LossStrategy:
        """Return a new strategy with this one's state, through a file."""
        buffer = io.BytesIO()
        torch.save(strategy.state_dict(), buffer)
        buffer.seek(0)
        made = self.build()
        made.load_state_dict(torch.load(buffer, weights_only=True))
        return made

    def steps(self) -> str | None:
        straight, broken = self.long_run(()), self.long_run(PLACES)
        for step, (one, other) in enumerate(zip(straight, broken, strict=True)):
            problem = _difference(other, one)
            if problem:
                return f"saved and restored at step {restored_at(step)}, {problem} at step {step}"
        return None

    def long_run(self, places: Sequence[int]) -> list[list[Any]]:
        """Run many steps, saved and restored at some places; return what comes out of each."""
        strategy = self.build()
        schedule = strategy.probe_at(LONG)
        found = []
        with sources() as chance:
            for step in range(LONG):
                if step in places:
                    strategy = self.restored(strategy)
                chance.reset(step)
                if step in schedule:
                    strategy.reestimate(_Probe(step), schedule[step])
                found.append(self.trained(strategy, step))
        return found


def _losses(
    strategy: LossStrategy, step: int, *, lower: Sequence[View] = ()
) -> dict[View, ViewLoss]:
    """Return plausible losses: each modality alone is worse than all together, by its own gap.

    Args:
        strategy: for its views.
        step: losses fall from step to step, ever more slowly.
        lower: views whose losses are lower by ``FALL``.
    """
    losses = {}
    for i, view in enumerate(strategy.views()):
        value = 1.5 + 0.3 * i + 1.5 / (1 + 0.3 * step) + 0.1 * math.sin(step + i)
        losses[view] = _loss(value - FALL * (view in lower))
    return losses


def _equal(strategy: LossStrategy, nats: float) -> dict[View, ViewLoss]:
    """Return the same loss for all views."""
    return {view: _loss(nats) for view in strategy.views()}


def _loss(value: float) -> ViewLoss:
    nats = torch.tensor(value, requires_grad=True)
    return ViewLoss(nats=nats, token_probability=torch.exp(-nats.detach()), tokens=50)


def _observed(losses: Mapping[View, ViewLoss]) -> dict[View, ViewLoss]:
    """Return losses as observe receives them, without gradients."""
    return {view: replace(loss, nats=loss.nats.detach()) for view, loss in losses.items()}


def _slopes(strategy: LossStrategy, losses: Mapping[View, ViewLoss]) -> dict[View, float]:
    """Return the total's derivative by each view's loss."""
    fresh = {view: _loss(loss.nats.item()) for view, loss in losses.items()}
    total = strategy.combine(fresh).total
    nats = [loss.nats for loss in fresh.values()]
    found = torch.autograd.grad(total, nats, allow_unused=True)
    return {v: 0.0 if g is None else g.item() for v, g in zip(fresh, found, strict=True)}


class _Probe:
    """A probe that returns plausible curves and trains nothing.

    Args:
        start: the super-epoch's first step; each has other curves.
    """

    def __init__(self, start: int) -> None:
        self.calls = counting(start + 1)

    def __call__(self, view: View, steps: int) -> ProbeCurve:
        """Return a curve, a little different at each call."""
        del view, steps
        i = next(self.calls) % 7 + 1
        return ProbeCurve(
            train_before=2.0, train_after=2.0 - 0.2 * i, held_before=2.1, held_after=2.1 - 0.1 * i
        )


def _same(a: Objective, b: Objective) -> bool:
    return a.total.item() == b.total.item() and dict(a.weights) == dict(b.weights)


def _shown(weights: Mapping[View, float]) -> dict[str, float]:
    return {_name(view): float(weight) for view, weight in weights.items()}


def _name(view: View) -> str:
    return "+".join(sorted(view))


def _difference(got: list[Any], expected: list[Any]) -> str | None:
    """Return the first result of a step that differs, with both values if they are short."""
    for (name, one), (_, other) in zip(got, expected, strict=True):
        if one != other:
            text = f"{one} instead of {other}"
            return f"{name} is {text}" if len(text) < 80 else f"{name} differs"
    return None
