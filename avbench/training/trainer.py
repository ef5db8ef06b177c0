"""The one training loop, for every loss strategy, in pre-training and fine-tuning."""

import signal
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import NoReturn

import torch
from torch import Tensor, nn

from avbench.core.errors import DataError
from avbench.core.job import INTERRUPTED, LEFT, NOTICES
from avbench.core.types import Batch, Modality, View, ViewLoss
from avbench.training import checkpoint, loss_log
from avbench.training.probe import Interrupted, Prober, optimiser
from avbench.training.schedule import Saving, rate
from avbench.training.training_job import TrainingJob


def view_name(view: View, joint: View) -> str:
    """Return ``L`` for the joint view, ``L_audio`` and so on for the others (Eq. 1 and 2)."""
    return "L" if view == joint else f"L_{'+'.join(sorted(view))}"


class Trainer:
    """Trains a captioner on prepared clips under a loss strategy.

    Everything random is a function of (seed, step), except dropout, whose generator is in the
    checkpoint; so a killed run resumes to bit-identical results.

    Args:
        training: the parts that it trains with.
    """

    def __init__(self, training: TrainingJob) -> None:
        self.job = training.job
        self.settings = training.settings
        self.steps = training.steps
        self.per_epoch = training.per_epoch
        self.seed = training.seed
        self.engine = training.engine
        self.captioner = training.captioner
        self.joint = training.captioner.joint
        self.loss = training.loss
        self.feed = training.feed
        self.held_out = training.held_out
        self.selection = training.selection
        self.module, self.optimiser = self.engine.set_up(
            self.captioner, lambda captioner: optimiser(captioner, self.settings)
        )
        self.step = 0
        self.stop = False
        self._log: loss_log.Curve | None = None
        self._saving = Saving(self.job.local)

    def fit(self) -> None:
        """Train to the last step and save on the way; resume from the checkpoint if any."""
        if self.selection is not None:
            self.selection.begin()
        self._resume()
        if self.engine.rank == 0:
            self._log = loss_log.Curve(self.job.directory, self.step)
        self._progress("starting")
        schedule = self.loss.probe_at(self.steps)
        previous = {number: signal.signal(number, self._notice) for number in NOTICES}
        try:
            self._select()  # an evaluation that a notice left undone
            for parts in self.feed.batches(self.step, self.steps, self.seed):
                figures: dict[str, float] = {}
                if self.step in schedule:
                    figures |= self._probe(schedule[self.step])
                figures |= self._step(parts)
                self._record(self.step, figures)
                self.step += 1
                self._progress(f"L {figures['L']:.3f}")
                self._select()
                stop, save = self.engine.agree(self.stop, self._saving.due(self.step))
                if stop:
                    self._leave()
                if save:
                    self._save()
        finally:
            if self._log is not None:
                self._log.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """On SIGTERM or SIGUSR1, a scheduler's notice: save after this step and leave."""
        self.stop = True

    def _leave(self) -> NoReturn:
        """Save, report that the cause was a notice, and leave."""
        self._save()
        self._progress(LEFT)
        raise SystemExit(INTERRUPTED)

    def _progress(self, note: str) -> None:
        """Report the progress of the stage; only the first process does."""
        if self.engine.rank == 0:
            self.job.progress(self.step, self.steps, note)

    def _record(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a step."""
        if self._log is not None:
            self._log.add(step, figures)
        self.engine.track(step, figures)

    def _probe(self, length: int) -> Mapping[str, float]:
        """Let the loss probe copies of the model for ``length`` steps; return figures to log."""
        self._progress("probing")
        try:
            return self.loss.reestimate(self._prober(), length)
        except Interrupted:
            self._leave()

    def _select(self) -> None:
        """Evaluate the captioner if that is due."""
        selection = self.selection
        if selection is None or not selection.due(self.step, self.steps, self.per_epoch):
            return
        self._progress("selecting")
        try:
            value = selection.evaluate(
                self.captioner, self.step, self.job.directory, lambda: self.stop
            )
        except Interrupted:
            self._leave()
        self._record(self.step - 1, {f"select_{selection.settings.by}": value})

    def _step(self, parts: Sequence[Batch]) -> dict[str, float]:
        """Take one optimiser step; return figures to log."""
        self.captioner.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        views = self.loss.views()
        log: dict[str, float] = {}
        weights: dict[View, float] = {}
        own: list[Tensor] = []

        def observe(losses: Mapping[View, ViewLoss]) -> None:
            log.update(self.loss.observe({view: losses[view] for view in views}))

        def weigh(losses: Mapping[View, ViewLoss]) -> Tensor:
            objective = self.loss.combine(losses)
            weights.update(objective.weights)
            nats = [loss.nats for loss in losses.values()]
            own.append(torch.stack([objective.total, *nats]).detach())
            return objective.total

        last = self.step == self.steps - 1
        measuring = self.step % self.settings.measure_every == 0 or last
        unseen = [v for v in self._single() if v not in views] if measuring else []
        losses = self.engine.backward(
            self.module, parts, views, weigh, measured=unseen, observe=observe
        )
        self._check([losses[view].nats for view in views], own, parts)
        encoders = {m: list(e.parameters()) for m, e in self.captioner.encoders.items()}
        norms = self._gradient_norms(encoders) if measuring else {}
        with self.engine.alike(self.seed, "modulate", self.step):
            self.loss.modulate(encoders)
        figures = {view_name(v, self.joint): loss.nats.item() for v, loss in losses.items()}
        figures |= {f"w_{'+'.join(sorted(v))}": w for v, w in weights.items()}
        figures |= log | norms | (self._gaps(losses) if measuring else {})
        if self.settings.clip_norm is not None:
            figures["gradient_norm"] = self.engine.clip(
                self.module, self.optimiser, self.settings.clip_norm
            )
        self.optimiser.step()
        return figures

    def _check(
        self, losses: Sequence[Tensor], own: Sequence[Tensor], parts: Sequence[Batch]
    ) -> None:
        """Refuse losses that are not finite, in all processes alike.

        Args:
            losses: means over all processes and micro-batches.
            own: for each micro-batch of this process its objective, then its losses.
            parts: these micro-batches.

        Raises:
            DataError: one is not finite.
        """
        known = [*losses, *(of[0] for of in own if self.engine.world == 1)]
        if torch.isfinite(torch.stack(known)).all():
            return
        wrong = next(value.item() for value in known if not torch.isfinite(value))
        mine = [p.ids for p, of in zip(parts, own, strict=True) if not of[1:].isfinite().all()]
        ids = next((ids for found in self.engine.gather(mine) for ids in found), parts[0].ids)
        raise DataError(
            f"step {self.step}: the loss is {wrong}, with learning rate "
            f"{self._lr(self.step):.3g} (lr {self.settings.lr}) on clips {', '.join(ids[:3])} …"
        )

    def _gaps(self, losses: Mapping[View, ViewLoss]) -> dict[str, float]:
        """Return ``L_m − L`` of each modality, signed."""
        joint = losses[self.joint].nats
        return {f"gap_{'+'.join(v)}": (losses[v].nats - joint).item() for v in self._single()}

    def _gradient_norms(
        self, encoders: Mapping[Modality, Sequence[nn.Parameter]]
    ) -> dict[str, float]:
        """Return the norm of each encoder's gradient, before it is modulated or clipped."""
        return {f"gradient_{m}": self.engine.norm(found) for m, found in encoders.items()}

    def _lr(self, step: int) -> float:
        return self.settings.lr * rate(step, self.steps, self.settings.warmup)

    def _single(self) -> list[View]:
        """Return each modality alone as a view; none if there is only one."""
        streams = self.captioner.configuration.encoded  # ordered, unlike the joint view
        return [frozenset({m}) for m in streams] if len(streams) > 1 else []

    def _prober(self) -> Prober:
        return Prober(
            captioner=self.captioner,
            settings=self.settings,
            feed=self.feed,
            held_out=self.held_out,
            seed=self.seed,
            step=self.step,
            lr=self._lr,
            engine=self.engine,
            stopped=lambda: self.stop,
        )

    def _save(self) -> None:
        """Write a checkpoint; the log goes first, so that no checkpoint is ahead of it."""
        if self._log is not None:
            self._log.flush()
        state = {
            "model": self.module,
            "optimiser": self.optimiser,
            "step": self.step,
            "strategy": self.loss.state_dict(),
            "random": self.engine.random_states(),
        }
        if self.selection is not None:
            state["selection"] = self.selection.state_dict()
        self.engine.save(self.job.directory, self.step, state, self._saving.keep)
        self._saving.done()

    def _resume(self) -> None:
        """Restore the newest checkpoint, if there is one."""
        directory = self.job.directory
        state = self.engine.load(directory, {"model": self.module, "optimiser": self.optimiser})
        if self.selection is not None and state is not None:
            self.selection.load_state_dict(state["selection"])
        if self.selection is not None and self.engine.rank == 0:
            evaluated = [step for step, _ in self.selection.curve]
            checkpoint.forget_bests(directory, after=max(evaluated, default=0))
        if state is None:
            return
        self.step = state["step"]
        self.loss.load_state_dict(state["strategy"])
        self.engine.restore_random(state["random"])
