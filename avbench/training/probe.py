"""Probes: a loss strategy trains a copy of the model on one view and measures it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from avbench.core.types import View
from avbench.data.dataset import derive_seed, generator
from avbench.data.loader import Feed
from avbench.models.captioner import Captioner
from avbench.training.contracts import SLICE_BATCHES, ProbeCurve
from avbench.training.engine import Engine
from avbench.training.settings import TrainSettings

FIXED_EPOCH = -1
"""The epoch whose draws the measured slices take: fixed, so that only the model differs."""


class Interrupted(Exception):  # noqa: N818
    """A probe or an evaluation was left early because its stage must leave; drop its results."""


def optimiser(captioner: Captioner, settings: TrainSettings) -> torch.optim.Optimizer:
    """Make Adam, as in Sec. 4.2 (with decoupled decay if a weight decay is set)."""
    return torch.optim.AdamW(
        [p for p in captioner.parameters() if p.requires_grad],
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
    )


@dataclass(frozen=True, kw_only=True)
class Prober:
    """Implements ``contracts.Probe`` for one step of a run.

    The copy takes a fresh optimiser and the run's learning rates for these steps. The random
    state is restored afterwards, so that probing changes nothing but the strategy's weights.
    """

    captioner: Captioner
    settings: TrainSettings
    feed: Feed
    held_out: Sequence[int]
    """Rows kept out of training."""
    seed: int
    step: int
    lr: Callable[[int], float]
    """The run's learning rate at a step."""
    engine: Engine
    stopped: Callable[[], bool] = lambda: False
    """Returns True once the stage has been asked to leave."""

    def __call__(self, view: View, steps: int) -> ProbeCurve:
        """Train a copy for ``steps`` steps on one view; see ``contracts.Probe``."""
        train_rows = self._slice(self.feed.rows)
        held_rows = self._slice(self.held_out)
        # Dropout differs between processes, as in the training itself.
        rank = [self.engine.rank] if self.engine.rank else []
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed(self.seed, "probe", self.step, *sorted(view), *rank))
            probed = copy.deepcopy(self.captioner)
            train_before = self._measure(probed, train_rows, view)
            held_before = self._measure(probed, held_rows, view)
            self._train(probed, view, steps)
            return ProbeCurve(
                train_before=train_before,
                held_before=held_before,
                train_after=self._measure(probed, train_rows, view),
                held_after=self._measure(probed, held_rows, view),
            )

    def _train(self, captioner: Captioner, view: View, steps: int) -> None:
        for m, encoder in captioner.encoders.items():
            if m not in view:
                # No gradient reaches it, and several processes would wait for one.
                encoder.requires_grad_(False)
        module, adam = self.engine.set_up(captioner, lambda it: optimiser(it, self.settings))
        captioner.train()
        seed = derive_seed(self.seed, "probe order", self.step)
        for step, parts in enumerate(self.feed.batches(0, steps, seed), start=self.step):
            (stop,) = self.engine.agree(self.stopped())
            if stop:
                raise Interrupted
            for group in adam.param_groups:
                group["lr"] = self.lr(step)
            adam.zero_grad(set_to_none=True)
            self.engine.backward(module, parts, [view], lambda losses: losses[view].nats)
            if self.settings.clip_norm is not None:
                self.engine.clip(module, adam, self.settings.clip_norm)
            adam.step()

    def _slice(self, rows: Sequence[int]) -> list[int]:
        """Return a fixed slice of rows, the same in every probe of a run."""
        order = torch.randperm(len(rows), generator=generator(self.seed, "slice", len(rows)))
        return sorted(rows[i] for i in order[: SLICE_BATCHES * self.feed.batch].tolist())

    def _measure(self, captioner: Captioner, rows: Sequence[int], view: View) -> float:
        """Return the mean nats per token of one view over rows, without dropout.

        Each process measures its part of the rows; the mean is the same in all of them.
        """
        captioner.eval()
        total, tokens = 0.0, 0
        mine = rows[self.engine.rank :: self.engine.world]
        with torch.no_grad():
            for batch in self.feed.in_order(mine, FIXED_EPOCH):
                loss = captioner.losses(captioner.encode(batch), batch, [view])[view]
                total += loss.nats.item() * loss.tokens
                tokens += loss.tokens
        sums = torch.tensor([total, tokens], dtype=torch.float64, device=self.feed.device)
        mean = self.engine.mean(sums)
        return float(mean[0] / mean[1])
