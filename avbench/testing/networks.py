"""The part of the contract that encoders and fusions share.

A network is a function of its inputs, weights, buffers and PyTorch's generators, row by row of a
batch, on the device and in the type of its inputs.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from avbench.core.types import Tokens
from avbench.testing.device import DEVICE, away, pretended, send
from avbench.testing.findings import PLACES, Check, gap, list_names, restored_at, seeded
from avbench.testing.sources import sources

Inputs = Mapping[str, Tensor]
"""Tensors by name; the first axis is the batch's, but for the ``shared`` ones."""

B = 3
"""Rows of a batch."""
MODES = (False, True)
"""Eval mode, training mode."""
STEPS = 200
"""Steps of the long run."""
FEW = 4
"""Calls that are compared where chance is looked for."""
LARGE = 20_000_000
"""Parameters of a network that is called less often, and whose slope is not measured."""
EPSILON = 1e-7
"""Step of the numerical slope, in float64."""


class NetworkChecks(ABC):
    """A network under test: how to build and call it, and the checks of every network."""

    shared: frozenset[str] = frozenset()
    """Inputs without a batch axis."""
    layout: str
    """The expected form of the output."""
    layout_advice: str = ""

    def __init__(self) -> None:
        self._made: dict[int, nn.Module] = {}

    @abstractmethod
    def make(self) -> nn.Module:
        """Build the network from PyTorch's current random state."""

    @abstractmethod
    def variants(self, seed: int = 0) -> Sequence[dict[str, Tensor]]:
        """Return batches of random inputs, each of another kind, e.g. padded and not."""

    @abstractmethod
    def call(self, network: nn.Module, given: Inputs) -> Tokens:
        """Call the network."""

    @abstractmethod
    def shape(self) -> str | None:
        """Compare the form of the output with the contract's."""

    def network_checks(self) -> list[Check]:
        """Return the first checks of every network."""
        return [
            Check(
                name="shape",
                expected=self.layout,
                advice=self.layout_advice,
                run=self.shape,
            ),
            Check(
                name="lazy",
                expected="all parameters and buffers are there before the first call",
                advice="make them in __init__, from the context; an optimiser sees no others",
                run=self.lazy,
                needs=("shape",),
            ),
            Check(
                name="initial",
                expected="the same weights from the same state of torch's generator",
                advice="draw initial weights from torch alone, and set no seed",
                run=self.initial,
                needs=("lazy",),
            ),
            Check(
                name="unchanged",
                expected="a call leaves its inputs as they are",
                advice="copy before you write in place, e.g. x = x + y instead of x += y",
                run=self.unchanged,
                needs=("lazy",),
            ),
            Check(
                name="deterministic",
                expected="the same output twice in eval mode",
                advice="keep no state between calls in eval mode, and draw nothing there",
                run=self.deterministic,
                needs=("lazy",),
            ),
            Check(
                name="random",
                expected="no chance but from torch's generators, whose seed stays",
                advice="draw by torch, e.g. torch.rand(n, device=x.device), not by random, numpy, "
                "os.urandom or the clock; keep no state outside the instance; set no seed",
                run=self.random,
                needs=("deterministic",),
            ),
            Check(
                name="alone",
                expected="a row alone gives what it gives in a batch",
                advice="compute each row from itself: no mean, norm, sort or index over the batch",
                run=self.alone,
                needs=("deterministic",),
            ),
            Check(
                name="permutation",
                expected="permuting the batch permutes the output",
                advice="let no value depend on a row's place in the batch",
                run=self.permutation,
                needs=("alone",),
            ),
            Check(
                name="state",
                expected="a state dict carries the whole function to a new instance",
                advice="keep what calls change in buffers (register_buffer) and layers in modules "
                "(nn.ModuleList), so that a checkpoint has it",
                run=self.state,
                needs=("random", "initial"),
            ),
            Check(
                name="alone_training",
                expected="a row alone gives what it gives in a batch, in training too",
                advice="use LayerNorm or frozen statistics instead of BatchNorm, and mix no rows; "
                "micro-batches and processes would change the result",
                run=self.alone_training,
                needs=("alone", "permutation", "state"),
            ),
            Check(
                name="parameters",
                expected="a gradient on every parameter",
                advice="leave out unused parameters, and detach none that should learn",
                run=self.parameters,
                needs=("lazy",),
            ),
            Check(
                name="dtype",
                expected="output in the type of the inputs; autocast works",
                advice="make tensors in the inputs' type, e.g. x.new_zeros(n)",
                run=self.dtype,
                needs=("state",),
            ),
            Check(
                name="device",
                expected="output on the device of the inputs",
                advice="make tensors on the inputs' device, e.g. torch.arange(n, device=x.device)",
                run=self.device,
                needs=("state",),
            ),
        ]

    def last_checks(self) -> list[Check]:
        """Return the checks of every network that presuppose all others."""
        return [
            Check(
                name="gradient",
                expected="gradients that are the output's slope",
                advice="detach nothing on the way from inputs and weights to the output",
                run=self.gradient,
                needs=("alone", "unchanged", "parameters", "inputs", "dtype"),
            ),
            Check(
                name="copy",
                expected="copy.deepcopy copies it after a step, as probes do",
                advice="keep no results of a call on the instance, or detach them",
                run=self.copied,
                needs=("state",),
            ),
            Check(
                name="steps",
                expected=f"{STEPS} steps give the same, saved and restored on the way",
                advice="keep every counter and schedule in a buffer (register_buffer)",
                run=self.steps,
                needs=("state", "copy"),
            ),
        ]

    def built(self, seed: int) -> nn.Module:
        """Return the network as built from a seed; it must not be called."""
        if seed not in self._made:
            with seeded(seed):
                self._made[seed] = self.make()
        return self._made[seed]

    def fresh(self, seed: int = 0, *, training: bool = False) -> Any:
        """Return a network that nobody has called yet."""
        try:
            made = copy.deepcopy(self.built(seed))
        except Exception:  # a plugin's instance need not be copyable before it has been checked
            with seeded(seed):
                made = self.make()
        return made.train(training)

    def output(
        self, network: nn.Module, given: Inputs, *, draw: int = 0, gradients: bool = True
    ) -> Tensor:
        """Return the output of a call, with zeros for padding, whose values may be anything.

        Args:
            network: in any mode.
            given: the inputs, which are copied.
            draw: seed of what the call draws.
            gradients: False: no gradients in training either.
        """
        with seeded(draw), torch.set_grad_enabled(network.training and gradients):
            return without_padding(self.call(network, copied(given))).detach()

    def rows(self, given: Inputs, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return some rows of a batch."""
        return {k: v if k in self.shared else v[list(rows)] for k, v in given.items()}

    def but(self, row: int, given: Inputs, other: Inputs) -> dict[str, Tensor]:
        """Return another batch with one row, and the shared inputs, of the given one."""
        mixed = copied(other)
        for name, value in given.items():
            if name in self.shared:
                mixed[name] = value
            else:
                mixed[name][row] = value[row]
        return mixed

    def initial(self) -> str | None:
        """Compare the weights of two networks built from one seed."""
        with sources() as found:
            once = self.built(0).state_dict()
            found.reset(1)
            ends = []
            for seed in (0, 1):
                with seeded(seed):
                    made = self.make()
                    ends.append(torch.get_rng_state())
                if seed == 0:
                    twice = made.state_dict()
                self._made.setdefault(seed, made)
        for name, value in once.items():
            if not _equal(value, twice.get(name)):
                return f"'{name}' differs between two networks from one seed"
        if torch.equal(*ends):
            return "building sets torch's seed: two seeds end in the same state"
        return None

    def lazy(self) -> str | None:
        """Look for parameters and buffers that a call makes."""
        network = self.fresh()
        before = _registered(network)
        for training in MODES:
            with torch.set_grad_enabled(training):
                for given in self.variants():
                    self.call(network.train(training), copied(given))
        made = sorted(_registered(network) - before)
        return list_names("made by the first call:", made)

    def unchanged(self) -> str | None:
        """Compare the inputs before and after a call."""
        for training in MODES:
            network = self.fresh(training=training)
            for given in self.variants():
                kept = copied(given)
                with torch.set_grad_enabled(training):
                    self.call(network, given)
                changed = [k for k, v in kept.items() if not torch.equal(v, given[k])]
                if changed:
                    return list_names(f"{mode_name(training)}, a call changes", changed)
        return None

    def deterministic(self) -> str | None:
        """Repeat a call in eval mode."""
        network = self.fresh()
        for given in self.variants():
            first = self.output(network, given)
            for call in range(1, self.count(FEW)):
                by = gap(self.output(network, given, draw=call), first, within=0.0)
                if by is not None:
                    return f"call {call + 1} differs from the first by {by:.2g}"
        return None

    def random(self) -> str | None:
        """Repeat calls with other states of all sources of chance but torch's."""
        given = self.variants()[0]
        with sources() as found:
            for training in MODES:
                one, two = (self.fresh(training=training) for _ in range(2))
                for call in range(self.count(FEW)):
                    found.reset(call)
                    first = self.output(one, given, draw=call)
                    found.reset(FEW + call)
                    by = gap(self.output(two, given, draw=call), first, within=0.0)
                    if by is not None:
                        return (
                            f"{mode_name(training)}, the output differs by {by:.2g} while inputs, "
                            "weights and torch's seed are equal"
                        )
        for training in MODES:
            network, ends = self.fresh(training=training), []
            for seed in (0, 1):
                with seeded(seed), torch.no_grad():
                    self.call(network, copied(given))
                    ends.append(torch.get_rng_state())
            if torch.equal(*ends):
                return f"{mode_name(training)}, a call sets torch's seed"
        return None

    def alone(self) -> str | None:
        """Compare a row alone and in batches with other rows, in eval mode."""
        network = self.fresh()
        for given, other in zip(self.variants(), self.variants(seed=1), strict=True):
            whole = self.output(network, given)
            by = gap(self.output(network, self.rows(given, [0])), whole[:1])
            if by is not None:
                return f"row 0 differs by {by:.2g} alone and in a batch of {B}"
            problem = self._neighbours(network, given, other, whole)
            if problem is not None:
                return problem
        return None

    def alone_training(self) -> str | None:
        """Compare a row alone and in batches with other rows, in training."""
        network = self.fresh(training=True)
        for given, other in zip(self.variants(), self.variants(seed=1), strict=True):
            whole = self.output(self.reset(network), given)
            problem = self._neighbours(network, given, other, whole)
            if problem is not None:
                return problem
            if self._draws(network, given):
                continue  # the draws of one row are others than those of a batch
            by = gap(self.output(self.reset(network), self.rows(given, [0])), whole[:1])
            if by is not None:
                return f"in training, row 0 differs by {by:.2g} alone and in a batch of {B}"
        return None

    def reset(self, network: nn.Module) -> nn.Module:
        """Return a network in its first state; in training, calls may change buffers."""
        if network.training and next(network.buffers(), None) is not None:
            network.load_state_dict(self.built(0).state_dict())
        return network

    def _neighbours(
        self, network: nn.Module, given: Inputs, other: Inputs, whole: Tensor
    ) -> str | None:
        """Replace all rows but one of a batch; the draws stay."""
        for row in range(B):
            mixed = self.output(self.reset(network), self.but(row, given, other))
            by = gap(mixed[row], whole[row])
            if by is not None:
                mode = mode_name(network.training)
                return f"{mode}, row {row} differs by {by:.2g} in a batch with other rows"
        return None

    def _draws(self, network: nn.Module, given: Inputs) -> bool:
        """Return True if a call draws from torch's generator."""
        with seeded(0), torch.no_grad():
            before = torch.get_rng_state()
            self.call(self.reset(network), copied(given))
            return not torch.equal(before, torch.get_rng_state())

    def permutation(self) -> str | None:
        """Compare a permuted batch's output with the permuted output."""
        order, network = [2, 0, 1], self.fresh()
        for given in self.variants():
            whole = self.output(network, given)
            by = gap(self.output(network, self.rows(given, order)), whole[order])
            if by is not None:
                return f"the permuted output differs by {by:.2g}"
        return None

    def state(self) -> str | None:
        """Compare a trained network with one of another seed that has its state."""
        network = self.fresh(training=True)
        for step in range(3):
            self.output(network, self.variants(seed=step)[0], draw=step)
        restored = self.restored(network)
        for training in MODES:
            for given in self.variants(seed=3):
                now, then = (
                    self.output(one.train(training), given, draw=9) for one in (network, restored)
                )
                by = gap(then, now, within=0.0)
                if by is not None:
                    return f"{mode_name(training)}, the restored output differs by {by:.2g}"
        return None

    def restored(self, network: nn.Module) -> Any:
        """Return a network of another seed with this one's state, in its mode."""
        made = self.fresh(1, training=network.training)
        made.load_state_dict(copy.deepcopy(network.state_dict()))
        return made

    def parameters(self) -> str | None:
        """Look for parameters without a gradient."""
        for training in MODES:
            network = self.fresh(training=training)
            self.backward(network, self.variants()[0])
            lacking = [n for n, p in network.named_parameters() if p.requires_grad and _unset(p)]
            if lacking:
                return list_names(f"{mode_name(training)}, no gradient on", lacking)
        return None

    def backward(self, network: nn.Module, given: Inputs) -> None:
        """Send a gradient back from all outputs that are no padding."""
        values = without_padding(self.call(network, given))
        total: Any = (values * torch.randn(values.shape[-1])).square().sum()
        total.backward()

    def dtype(self) -> str | None:
        """Call the network in float64, and under autocast."""
        given = self.variants()[0]
        for training in MODES:
            wide = {k: v.double() if v.is_floating_point() else v for k, v in given.items()}
            network = self.fresh(training=training)
            found = self.call(copy.deepcopy(network).double(), wide).values.dtype
            if found != torch.float64:
                return f"{mode_name(training)}, {_name(found)} from weights and inputs of float64"
            with torch.autocast("cpu", torch.bfloat16):
                values = self.call(network, copied(given)).values
            if not torch.isfinite(values).all():
                return f"{mode_name(training)}, values that are not finite under autocast"
        return None

    def device(self) -> str | None:
        """Call the network on a pretended device."""
        given = {name: away(value) for name, value in self.variants()[0].items()}
        for training in MODES:
            network = send(self.fresh(training=training))
            with seeded(0), pretended():
                tokens = self.call(network, given)
            found = [tokens.values, *([] if tokens.keep is None else [tokens.keep])]
            left = [t.device.type for t in found if t.device != DEVICE]
            if left:
                return f"{mode_name(training)}, an output on the {left[0]}, not with the inputs"
        return None

    def gradient(self) -> str | None:
        """Compare the gradient with the output's slope, measured in float64."""
        if self.size() > LARGE:
            return None
        network = self.fresh().double()
        given = {
            k: v.double().requires_grad_() if v.is_floating_point() else v
            for k, v in self.variants()[0].items()
        }
        moved = [v for v in given.values() if v.requires_grad]
        moved += [p for p in network.parameters() if p.requires_grad]
        with torch.no_grad():  # a zero initial weight leaves ReLUs at zero, where no slope exists
            for t in moved:
                t.add_(torch.randn_like(t), alpha=0.05)
        directions = [torch.randn_like(t) for t in moved]

        def total() -> Tensor:
            values = without_padding(self.call(network, dict(given)))
            return (values * torch.linspace(-1, 1, values.shape[-1]).double()).square().sum()

        gradients = torch.autograd.grad(total(), moved, allow_unused=True)
        pairs = [(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None]
        slope = sum(float((g * d).sum()) for g, d in pairs)
        scale = sum(float(g.square().sum()) for g, _ in pairs) ** 0.5
        ends = []
        with torch.no_grad():
            for step in (EPSILON, -2 * EPSILON):
                for t, d in zip(moved, directions, strict=True):
                    t.add_(d, alpha=step)
                ends.append(float(total()))
        measured = (ends[0] - ends[1]) / (2 * EPSILON)
        if abs(measured - slope) > 1e-3 * scale:
            return f"a gradient of {slope:.4g} along a direction of slope {measured:.4g}"
        return None

    def copied(self) -> str | None:
        """Compare a copy with the network, after a backward pass."""
        given = self.variants()[0]
        network = self.fresh(training=True)
        self.backward(network, copied(given))
        by = gap(
            self.output(copy.deepcopy(network), given), self.output(network, given), within=0.0
        )
        return None if by is None else f"the copy's output differs by {by:.2g}"

    def steps(self) -> str | None:
        """Run many steps; if outputs change, compare a run that is saved and restored."""
        straight = self.long_run(())
        kept = {mode: next(t for _, m, t in straight if m == mode) for mode in MODES}
        if all(torch.equal(t, kept[mode]) for _, mode, t in straight):
            return None  # nothing changes from step to step, so there is no state to lose
        for (step, mode, one), (_, _, other) in zip(straight, self.long_run(PLACES), strict=True):
            by = gap(other, one, within=0.0)
            if by is not None:
                return (
                    f"{mode_name(mode)}, step {step} differs by {by:.2g} if the network is saved "
                    f"and restored at step {restored_at(step)}"
                )
        return None

    def long_run(self, places: Sequence[int]) -> list[tuple[int, bool, Tensor]]:
        """Run many steps on one row, saved and restored at some places.

        Returns:
            Step, mode and output. Evaluations are rare, as in a training.
        """
        given, network = self.rows(self.variants()[0], [1]), self.fresh()
        found = []
        with sources() as chance:
            for step in range(self.count(STEPS)):
                if step in places:
                    network = self.restored(network)
                chance.reset(0)
                for mode in (True, False) if step % 10 == 9 else (True,):
                    output = self.output(network.train(mode), given, gradients=False)
                    found.append((step, mode, output))
        return found

    def count(self, calls: int) -> int:
        """Return a number of calls, a third of it for a large network."""
        return calls if self.size() <= LARGE else -(-calls // 3)

    def size(self) -> int:
        """Return the number of parameters."""
        return sum(p.numel() for p in self.built(0).parameters() if not nn.parameter.is_lazy(p))


def copied(given: Inputs) -> dict[str, Tensor]:
    """Return copies of all inputs."""
    return {name: value.clone() for name, value in given.items()}


def without_padding(tokens: Tokens) -> Tensor:
    """Return the values, with zeros for padding, whose values may be anything."""
    if tokens.keep is None:
        return tokens.values
    return tokens.values.masked_fill(~tokens.keep[..., None], 0)


def wrong_form(tokens: Tokens, wanted: tuple[int, ...]) -> str | None:
    """Return the difference of values in shape or type, or that some are not finite."""
    values = tokens.values
    if tuple(values.shape) != wanted:
        return f"shape {tuple(values.shape)} instead of {wanted}"
    if values.dtype != torch.float32:
        return f"{_name(values.dtype)} from weights and inputs of float32"
    return None if torch.isfinite(values).all() else "values that are not finite"


def _registered(network: nn.Module) -> set[str]:
    """Return the names and shapes of what a state dict or an optimiser would have."""
    named = dict(network.named_parameters(remove_duplicate=False))
    return {
        name
        for name, value in [*network.state_dict(keep_vars=True).items(), *named.items()]
        if not nn.parameter.is_lazy(value)
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return isinstance(one, Tensor) == isinstance(other, Tensor)


def _unset(parameter: nn.Parameter) -> bool:
    return parameter.grad is None


def mode_name(training: bool) -> str:
    """Return a mode as messages name it."""
    return "in training" if training else "in eval mode"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
