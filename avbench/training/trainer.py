"""The one training loop, for every loss strategy, in pre-training and fine-tuning."""

import hashlib
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch
from torch import Tensor, nn

from avbench.core.errors import AvbenchError, DataError
from avbench.core.job import INTERRUPTED, LEFT, NOTICES, Job
from avbench.core.types import Batch, Modality, View, ViewLoss
from avbench.data.dataset import ClipData, Share
from avbench.data.loader import Feed
from avbench.models.captioner import Captioner
from avbench.models.compute import compile_parts, place
from avbench.models.settings import ComputeSettings
from avbench.training import checkpoint, loss_log
from avbench.training.contracts import LossStrategy
from avbench.training.engine import Engine
from avbench.training.probe import Interrupted, Prober, optimiser
from avbench.training.schedule import Saving, batch_size, hold_out, rate
from avbench.training.selection import Selection
from avbench.training.settings import TrainSettings

_FP32 = ComputeSettings()


def view_name(view: View, joint: View) -> str:
    """``L`` for the joint view, ``L_audio`` and so on for the others (Eq. 1 and 2)."""
    return "L" if view == joint else f"L_{'+'.join(sorted(view))}"


class Trainer:
    """Trains a captioner on prepared clips under a loss strategy.

    Everything random is a function of (seed, step), except dropout, whose generator is in the
    checkpoint; so a run that was killed ends as one that was not.
    """

    def __init__(
        self,
        captioner: Captioner,
        strategy: LossStrategy,
        data: ClipData,
        settings: TrainSettings,
        *,
        seed: int,
        engine: Engine,
        compute: ComputeSettings = _FP32,
        workers: int = 0,
        selection: Selection | None = None,
    ) -> None:
        self.captioner = place(captioner, compute, engine.device)
        self.strategy = strategy
        self.settings = settings
        self.seed = seed
        self.engine = engine
        self.joint = captioner.joint
        self.selection = selection
        without = selection.split.carved_videos if selection is not None else ()
        rows, self.held_out = hold_out(data, strategy.held_out, seed, without)
        share = Share(rank=engine.rank, world=engine.world, parts=settings.accumulate)
        self.feed = Feed(
            data=data,
            rows=rows,
            batch=batch_size(settings, len(rows), engine.world),
            group=settings.clips_per_video,
            device=engine.device,
            workers=workers,
            share=share,
        )
        epochs = settings.epochs or 0.0
        self.steps = settings.steps or max(1, math.ceil(epochs * self.feed.per_epoch))
        compile_parts([*captioner.encoders.values(), captioner.fusion, captioner.decoder], compute)
        self.module, self.optimiser = engine.set_up(captioner, lambda it: optimiser(it, settings))
        self.step = 0
        self.stop = False
        if engine.sharded and strategy.probe_at(self.steps):
            raise AvbenchError(
                f"loss '{settings.loss.name}': it probes copies of the model, which processes "
                "that hold a part each (--strategy fsdp) cannot make; use --strategy ddp"
            )

    @property
    def held_out_hash(self) -> str:
        """A hash of the ids of the clips that are kept out for probes; empty where none are."""
        clips = self.feed.data.split.clips
        ids = sorted(clips[i].id for i in self.held_out)
        return hashlib.blake2b("\n".join(ids).encode(), digest_size=8).hexdigest() if ids else ""

    def fit(self, directory: Path, job: Job) -> None:
        """Train to the last step, saving as it goes; resumes from the checkpoint if any."""
        saving = Saving(job.local)
        first = self.engine.rank == 0
        if self.selection is not None:
            self.selection.begin()
        self._resume(directory)
        log = loss_log.Curve(directory, self.step) if first else None
        schedule = self.strategy.probe_at(self.steps)
        previous = {number: signal.signal(number, self._notice) for number in NOTICES}
        try:
            self._select(directory, job, log, saving)  # what a notice left undone
            for parts in self.feed.batches(self.step, self.steps, self.seed):
                figures: dict[str, float] = {}
                if self.step in schedule:
                    if first:
                        job.progress(self.step, self.steps, "probing")
                    try:
                        figures |= self.strategy.reestimate(self._prober(), schedule[self.step])
                    except Interrupted:
                        self._leave(directory, job, log, saving)
                figures |= self._step(parts)
                if log is not None:
                    log.add(self.step, figures)
                self.engine.track(self.step, figures)
                self.step += 1
                if first:
                    job.progress(self.step, self.steps, f"L {figures['L']:.3f}")
                self._select(directory, job, log, saving)
                stop, save = self.engine.agree(self.stop, saving.due(self.step))
                if stop:
                    self._leave(directory, job, log, saving)
                if save:
                    self._save(directory, log, saving)
        finally:
            if log is not None:
                log.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """On SIGTERM or SIGUSR1, a scheduler's notice: save after this step and leave."""
        self.stop = True

    def _leave(
        self, directory: Path, job: Job, log: loss_log.Curve | None, saving: Saving
    ) -> NoReturn:
        """Save, say that it was a notice, and leave."""
        self._save(directory, log, saving)
        if self.engine.rank == 0:
            job.progress(self.step, self.steps, LEFT)
        raise SystemExit(INTERRUPTED)

    def _select(
        self, directory: Path, job: Job, log: loss_log.Curve | None, saving: Saving
    ) -> None:
        """Evaluate the captioner where that is due."""
        chosen = self.selection
        if chosen is None or not chosen.due(self.step, self.steps, self.feed.per_epoch):
            return
        if log is not None:
            job.progress(self.step, self.steps, "selecting")
        try:
            value = chosen.evaluate(self.captioner, self.step, directory, lambda: self.stop)
        except Interrupted:
            self._leave(directory, job, log, saving)
        figures = {f"select_{chosen.settings.by}": value}
        if log is not None:
            log.add(self.step - 1, figures)
        self.engine.track(self.step - 1, figures)

    def _step(self, parts: Sequence[Batch]) -> dict[str, float]:
        """One optimiser step; returns what to log."""
        self.captioner.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        views = self.strategy.views()
        log: dict[str, float] = {}
        weights: dict[View, float] = {}
        own: list[Tensor] = []

        def observe(losses: Mapping[View, ViewLoss]) -> None:
            log.update(self.strategy.observe({view: losses[view] for view in views}))

        def weigh(losses: Mapping[View, ViewLoss]) -> Tensor:
            objective = self.strategy.combine(losses)
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
            self.strategy.modulate(encoders)
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
        """Stop where a loss is not finite, by what all processes know: all of them or none.

        Args:
            losses: of all processes and micro-batches.
            own: of each micro-batch of this process what it minimised, and its losses.
            parts: these micro-batches.
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
        """``L_m − L`` of each modality, signed."""
        joint = losses[self.joint].nats
        return {f"gap_{'+'.join(v)}": (losses[v].nats - joint).item() for v in self._single()}

    def _gradient_norms(
        self, encoders: Mapping[Modality, Sequence[nn.Parameter]]
    ) -> dict[str, float]:
        """The norm of each encoder's gradient, before it is modulated or clipped."""
        return {f"gradient_{m}": self.engine.norm(found) for m, found in encoders.items()}

    def _lr(self, step: int) -> float:
        return self.settings.lr * rate(step, self.steps, self.settings.warmup)

    def _single(self) -> list[View]:
        """Each modality alone, where there are several."""
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

    def _save(self, directory: Path, log: loss_log.Curve | None, saving: Saving) -> None:
        """Write a checkpoint; the log goes first, so that no checkpoint is ahead of it."""
        if log is not None:
            log.flush()
        state = {
            "model": self.module,
            "optimiser": self.optimiser,
            "step": self.step,
            "strategy": self.strategy.state_dict(),
            "random": self.engine.random_states(),
        }
        if self.selection is not None:
            state["selection"] = self.selection.state_dict()
        self.engine.save(directory, self.step, state, saving.keep)
        saving.done()

    def _resume(self, directory: Path) -> None:
        state = self.engine.load(directory, {"model": self.module, "optimiser": self.optimiser})
        if self.selection is not None and state is not None:
            self.selection.load_state_dict(state["selection"])
        if self.selection is not None and self.engine.rank == 0:
            evaluated = [step for step, _ in self.selection.curve]
            checkpoint.forget_bests(directory, after=max(evaluated, default=0))
        if state is None:
            return
        self.step = state["step"]
        self.strategy.load_state_dict(state["strategy"])
        self.engine.restore_random(state["random"])
