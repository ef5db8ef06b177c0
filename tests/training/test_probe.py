"""A strategy probes on a copy, on which nothing of the training depends."""

import copy
from pathlib import Path

import pytest
import torch

from avbench.core.types import View
from avbench.data.dataset import derive_seed
from avbench.training.contracts import SLICE_BATCHES, ProbeCurve
from avbench.training.probe import FIXED_EPOCH, optimiser
from avbench.training.trainer import Trainer
from avbench.training.training_job import TrainingJob
from tests.training.test_training import job

A, AV = frozenset({"audio"}), frozenset({"audio", "video"})


@pytest.fixture
def trainer(narrated: dict[str, Path], tmp_path: Path) -> Trainer:
    """One that has trained three of eight steps under G-Blend; it drops out."""
    made = Trainer(TrainingJob.build(job(narrated, tmp_path / "a", loss="gblend")))
    for parts in made.feed.batches(0, 3, 0):
        made._step(parts)
        made.step += 1
    return made


def by_hand(trainer: Trainer, view: View, steps: int) -> ProbeCurve:
    """The same probe written out: Adam from nothing, the run's rates, nothing frozen."""
    probed = copy.deepcopy(trainer.captioner)
    prober = trainer._prober()
    rows = [prober._slice(trainer.feed.rows), prober._slice(trainer.held_out)]

    def measured() -> list[float]:
        probed.eval()
        found = []
        for chosen in rows:
            with torch.no_grad():
                losses = [
                    probed(batch, [view])[view] for batch in trainer.feed.in_order(chosen, -1)
                ]
            tokens = sum(loss.tokens for loss in losses)
            found.append(sum(loss.nats.item() * loss.tokens for loss in losses) / tokens)
        return found

    torch.manual_seed(derive_seed(trainer.seed, "probe", 3, *sorted(view)))
    before = measured()
    adam = optimiser(probed, trainer.settings)
    probed.train()
    order = derive_seed(trainer.seed, "probe order", 3)
    for step, (batch,) in enumerate(trainer.feed.batches(0, steps, order), start=3):
        adam.param_groups[0]["lr"] = trainer._lr(step)
        adam.zero_grad()
        probed(batch, [view])[view].nats.backward()
        if trainer.settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(probed.parameters(), trainer.settings.clip_norm)
        adam.step()
    after = measured()
    return ProbeCurve(
        train_before=before[0], held_before=before[1], train_after=after[0], held_after=after[1]
    )


@pytest.mark.parametrize("view", [A, AV])
def test_a_probe_trains_a_copy_with_an_optimiser_of_its_own(trainer: Trainer, view: View) -> None:
    curve = trainer._prober()(view, 4)
    assert curve == by_hand(trainer, view, 4)
    assert curve.train_after < curve.train_before


def test_a_probe_leaves_the_training_as_it_was(trainer: Trainer) -> None:
    captioner = trainer.captioner
    weights = copy.deepcopy(captioner.state_dict())
    moments = copy.deepcopy(trainer.optimiser.state_dict())
    grads = [None if p.grad is None else p.grad.clone() for p in captioner.parameters()]
    state = torch.get_rng_state()
    first = trainer._prober()(A, 2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(captioner.state_dict(), weights, rtol=0, atol=0)
    torch.testing.assert_close(trainer.optimiser.state_dict(), moments, rtol=0, atol=0)
    for p, grad in zip(captioner.parameters(), grads, strict=True):
        assert p.requires_grad
        assert grad is p.grad is None or torch.equal(p.grad, grad)
    assert captioner.training
    assert trainer._prober()(A, 2) == first


def test_slices_are_fixed_clips_that_are_trained_on_and_that_are_held_out(
    trainer: Trainer, monkeypatch
) -> None:
    asked: list[tuple[tuple[int, ...], int]] = []
    within = type(trainer.feed).in_order

    def noted(self: object, rows: list[int], epoch: int) -> object:
        asked.append((tuple(rows), epoch))
        return within(trainer.feed, rows, epoch)

    monkeypatch.setattr(type(trainer.feed), "in_order", noted)
    trainer._prober()(A, 1)
    trainer.step = 5
    trainer._prober()(AV, 1)
    (train, _), (held, _) = asked[:2]
    assert asked == [(train, FIXED_EPOCH), (held, FIXED_EPOCH)] * 4
    assert set(train) <= set(trainer.feed.rows)
    assert set(held) <= set(trainer.held_out)
    assert len(train) == min(SLICE_BATCHES * trainer.feed.batch, len(trainer.feed.rows))
    assert held


def test_a_probe_that_is_told_to_leave_counts_for_nothing(trainer: Trainer) -> None:
    from avbench.training.probe import Interrupted

    trainer.stop = True
    state = torch.get_rng_state()
    with pytest.raises(Interrupted):
        trainer._prober()(A, 2)
    assert torch.equal(torch.get_rng_state(), state)
