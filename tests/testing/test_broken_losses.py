"""Loss strategies with one fault each fail the check that names it, and no other."""

import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from avbench.api import LossContext, LossStrategy, Objective, Probe, View, ViewLoss
from tests.testing.subject import Fault, failures


class Draft(LossStrategy):
    """The joint loss, and the others by a weight that follows their gaps.

    Source: this test.
    """

    def __init__(self, options: Fault, context: LossContext) -> None:
        self.fault = options.fault
        self.joint: View = frozenset(context.streams)
        several = len(context.streams) > 1
        self.single = [frozenset({m}) for m in context.streams if several]
        self.weight = 0.5
        self.hidden = 0
        self.held_out = 0.1

    def views(self) -> tuple[View, ...]:
        if self.fault == "other views after 50 steps":
            self.hidden += 1
            if self.hidden > 50:
                return (self.joint,)
        return (self.joint, *self.single)

    def observe(self, losses: Mapping[View, ViewLoss]) -> Mapping[str, float]:
        fault = self.fault
        gap = sum(float(losses[v].nats - losses[self.joint].nats) for v in self.single)
        self.weight = 0.9 * self.weight + 0.1 / (1 + gap**2)
        self.hidden += fault == "acts after step 50"
        if fault == "logs infinity":
            return {"ratio": float("inf")}
        if fault == "takes a view out":
            dict.pop(losses, self.joint)  # type: ignore[arg-type]
        if fault == "the system's bytes":
            self.weight += os.urandom(1)[0] / 1e4
        if fault == "the clock":
            self.weight += time.time() % 1 / 1e3
        if fault == "divides by the gap":
            self.weight = 0.1 / gap if self.single else 0.5
        return {"weight": self.weight}

    def combine(self, losses: Mapping[View, ViewLoss]) -> Objective:
        fault, joint = self.fault, losses[self.joint].nats
        weights = {self.joint: 1.0} | dict.fromkeys(self.single, self.weight)
        if fault == "acts after step 50" and self.hidden > 50:
            weights |= dict.fromkeys(self.single, 2 * self.weight)
        if fault == "forgets what modulate did":
            weights |= {self.joint: 1.0 + self.hidden}
        if fault == "weighs by what combine is given":
            weights |= {v: float(losses[v].nats.detach()) for v in self.single}
        if fault == "weighs by the probability in combine":
            weights[self.joint] = 1 + float(losses[self.joint].token_probability)
        if fault == "counts its calls of combine":
            self.hidden += 1
            weights[self.joint] += self.hidden > 50
        if fault == "a view of its own":
            weights |= {frozenset({"smell"}): 1.0}
        if fault == "Python's chance":
            weights[self.joint] += random.random() / 10
        terms = [w * losses[v].nats for v, w in weights.items() if v in losses]
        total = self._total(sum(terms[1:], start=terms[0]), joint, losses)
        if fault == "logs other weights":
            weights |= {self.joint: 3.0}
        return Objective(total=total, weights={} if fault == "logs no weight" else weights)

    def _total(self, total: Tensor, joint: Tensor, losses: Mapping[View, ViewLoss]) -> Tensor:
        match self.fault:
            case "minus the loss":
                return -total
            case "a constant":
                return total.detach() * 0 + 1 + 0 * joint
            case "rewards bad mono-modal losses" if self.single:
                return total - 2 * self.weight * losses[self.single[0]].nats
            case "no number":
                return total * float("nan")
            case "a logarithm":
                return total + torch.log(joint - 0.01)
            case "detaches the joint loss":
                return total - joint + joint.detach()
            case "detaches everything":
                return total.detach()
            case "a vector":
                return total[None]
            case "a table on the CPU":
                nats = torch.stack([losses[v].nats for v in self.views()])
                table = torch.tensor([1.0, *[self.weight] * len(self.single)])
                return (nats * table.to(nats.dtype)).sum()
            case "always float32":
                return total.float()
        return total

    def modulate(self, encoders: Mapping[str, Sequence[nn.Parameter]]) -> None:
        fault = self.fault
        self.hidden += fault == "forgets what modulate did"
        if fault == "modulates after step 50":
            self.hidden += 1
        for parameters in encoders.values():
            for p in parameters:
                if fault == "expects a gradient":
                    p.grad.mul_(1.0)
                if p.grad is None:
                    continue
                if fault == "modulates after step 50" and self.hidden > 50:
                    p.grad.mul_(0.5)
                if fault == "writes into the weights":
                    p.data.mul_(0.9)
                if fault == "noise on the CPU":
                    p.grad.add_(torch.randn(p.shape))
                if fault == "noise from the system":
                    p.grad.add_(os.urandom(1)[0] / 255)
                if fault == "noise from a seed":
                    torch.manual_seed(0)
                    p.grad.add_(torch.randn_like(p.grad))
                if fault == "drops gradients":
                    p.grad = None

    def probe_at(self, steps: int) -> Mapping[int, int]:
        if self.fault == "probes after the end":
            return {steps: 1}
        return {0: 1, 60: 1} if steps > 60 else {0: 1}

    def reestimate(self, probe: Probe, steps: int) -> Mapping[str, float]:
        gain = probe(self.joint, steps).held_after
        if self.fault == "forgets its estimates":
            self.weight += gain
        return {"gain": gain}

    def state_dict(self) -> dict[str, Any]:
        if self.fault == "saves objects":
            return {"self": self.joint, "weight": object()}
        return {"weight": 0.5 if self.fault == "saves another weight" else self.weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]


LOSS_FAULTS = {
    "other views after 50 steps": ("views", "other views at call"),
    "no number": ("finite", "nan at step 0"),
    "a logarithm": ("finite", "nan at losses of 0.0001 nats"),
    "a vector": ("finite", "tensor(["),
    "divides by the gap": ("finite", "ZeroDivisionError"),
    "takes a view out": ("unchanged", "other losses after observe"),
    "logs infinity": ("pure", "ratio = inf in the log"),
    "counts its calls of combine": ("pure", "another objective at call 51 of combine"),
    "the system's bytes": ("random", "step 0: the total is"),
    "the clock": ("random", "step 0: the total is"),
    "Python's chance": ("pure", "another objective at call 2"),
    "noise from the system": ("random", "the modulated gradient"),
    "noise from a seed": ("random", "a step sets torch's seed"),
    "detaches the joint loss": ("gradients", "on ['audio', 'text', 'video'] of weight 1"),
    "detaches everything": ("gradients", "RuntimeError"),
    "minus the loss": ("direction", "when all losses fall by 0.5"),
    "a constant": ("gradients", "0.0 on ['audio', 'text', 'video']"),
    "rewards bad mono-modal losses": ("direction", "when the loss of audio falls by 0.5"),
    "logs no weight": ("weights", "weights {}"),
    "a view of its own": ("gradients", "KeyError"),
    "logs other weights": ("weights", "3 in the log for audio+text+video, 1 in the total"),
    "weighs by what combine is given": ("observed", "after the same observe"),
    "weighs by the probability in combine": (
        "observed",
        "the weight of audio+text+video is 1.05 for some",
    ),
    "a table on the CPU": ("device", "MixedDevicesError"),
    "noise on the CPU": ("device", "MixedDevicesError: 'add_' takes a tensor"),
    "always float32": ("dtype", "torch.float32 from losses of torch.float64"),
    "probes after the end": ("probes", "a super-epoch of 1 steps at 100 of 100"),
    "expects a gradient": ("modulation", "AttributeError"),
    "writes into the weights": ("modulation", "other weights of audio"),
    "drops gradients": ("modulation", "None on audio"),
    "forgets what modulate did": ("state", "restored after 3 steps, the total is"),
    "saves another weight": ("state", "restored after 3 steps, the total is"),
    "saves objects": ("state", "Weights only load failed"),
    "acts after step 50": ("steps", "saved and restored at step"),
    "modulates after step 50": ("steps", "the modulated gradient"),
}


def test_a_loss_without_a_fault_passes() -> None:
    assert failures("losses", Draft, "") == {}


@pytest.mark.parametrize("fault", LOSS_FAULTS)
def test_a_broken_loss_fails_the_check_that_names_its_fault(fault: str) -> None:
    name, said = LOSS_FAULTS[fault]
    found = failures("losses", Draft, fault)
    assert set(found) == {name}, found
    assert said in found[name].got
