"""The one training loop, for every loss strategy, in pre-training and fine-tuning."""

import hashlib
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor, nn

from avbench import checkpoint, curve
from avbench.compute import compile_parts, place
from avbench.contracts import LossStrategy
from avbench.data import ClipData, Share
from avbench.engine import Engine
from avbench.errors import AvbenchError, DataError
from avbench.feed import Feed
from avbench.model import Captioner
from avbench.pacing import Saving, batch_size, hold_out, rate
from avbench.probe import Interrupted, Prober, optimiser
from avbench.selection import Selection
from avbench.settings import ComputeSettings, TrainSettings
from avbench.stage import INTERRUPTED, Job
from avbench.types import Batch, Modality, View, ViewLoss

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
        log = curve.Curve(directory, self.step) if first else None
        schedule = self.strategy.probe_at(self.steps)
        previous = {s: signal.signal(s, self._leave) for s in (signal.SIGTERM, signal.SIGUSR1)}
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
                        self._save(directory, log, saving)
                        raise SystemExit(INTERRUPTED) from None
                figures |= self._step(parts)
                if log is not None:
                    log.add(self.step, figures)
                self.engine.track(self.step, figures)
                self.step += 1
                if first:
                    job.progress(self.step, self.steps, f"L {figures['L']:.3f}")
                self._select(directory, job, log, saving)
                stop, save = self.engine.agree(self.stop, saving.due(self.step))
                if stop or save:
                    self._save(directory, log, saving)
                if stop:
                    raise SystemExit(INTERRUPTED)
        finally:
            if log is not None:
                log.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _leave(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """On SIGTERM or SIGUSR1, a scheduler's notice: save after this step and leave."""
        self.stop = True

    def _select(self, directory: Path, job: Job, log: curve.Curve | None, saving: Saving) -> None:
        """Evaluate the captioner where that is due."""
        chosen = self.selection
        if chosen is None or not chosen.due(self.step, self.steps, self.feed.per_epoch):
            return
        if log is not None:
            job.progress(self.step, self.steps, "selecting")
        try:
            value = chosen.evaluate(self.captioner, self.step, directory, lambda: self.stop)
        except Interrupted:
            self._save(directory, log, saving)
            raise SystemExit(INTERRUPTED) from None
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

        def observe(losses: Mapping[View, ViewLoss]) -> None:
            log.update(self.strategy.observe({view: losses[view] for view in views}))

        def weigh(losses: Mapping[View, ViewLoss]) -> Tensor:
            objective = self.strategy.combine(losses)
            weights.update(objective.weights)
            self._check(objective.total, parts)
            return objective.total

        last = self.step == self.steps - 1
        measuring = self.step % self.settings.measure_every == 0 or last
        unseen = [v for v in self._single() if v not in views] if measuring else []
        losses = self.engine.backward(
            self.module, parts, views, weigh, measured=unseen, observe=observe
        )
        encoders = {m: list(e.parameters()) for m, e in self.captioner.encoders.items()}
        norms = self._gradient_norms(encoders) if measuring else {}
        self.strategy.modulate(encoders)
        figures = {view_name(v, self.joint): loss.nats.item() for v, loss in losses.items()}
        figures |= {f"w_{'+'.join(sorted(v))}": w for v, w in weights.items()}
        figures |= log | norms
        if self.settings.clip_norm is not None:
            figures["gradient_norm"] = self.engine.clip(
                self.module, self.optimiser, self.settings.clip_norm
            )
        self.optimiser.step()
        return figures

    def _check(self, total: Tensor, parts: Sequence[Batch]) -> None:
        if not torch.isfinite(total):
            raise DataError(
                f"step {self.step}: the loss is {total.item()}, with learning rate "
                f"{self._lr(self.step):.3g} (lr {self.settings.lr}) "
                f"on clips {', '.join(parts[0].ids[:3])} …"
            )

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

    def _save(self, directory: Path, log: curve.Curve | None, saving: Saving) -> None:
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
