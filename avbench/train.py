"""The one training loop, for every loss strategy, in pre-training and fine-tuning."""

import math
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from avbench import checkpoint, curve, weights
from avbench.contracts import LossContext, LossStrategy
from avbench.data import ClipData, derive_seed, generator
from avbench.errors import DataError
from avbench.feed import Feed
from avbench.media.store import PreparedSplit
from avbench.model import Captioner
from avbench.options import build
from avbench.probe import Prober, optimiser
from avbench.settings import TrainSettings
from avbench.stage import Job
from avbench.types import Batch, Modality, Tokens, View
from avbench.vocabulary import Vocabulary

INTERRUPTED = 143
"""Exit status of a stage that saved and left on SIGTERM or SIGUSR1."""


def view_name(view: View, joint: View) -> str:
    """``L`` for the joint view, ``L_audio`` and so on for the others (Eq. 1 and 2)."""
    return "L" if view == joint else f"L_{'+'.join(sorted(view))}"


def rate(step: int, steps: int, warmup: float) -> float:
    """Factor on the learning rate: linear warm-up, then linear decay to zero (Sec. 4.2)."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return (steps - step) / max(1, steps - rise)


def hold_out(data: ClipData, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows to train on, and rows of whole videos that are kept out for probes.

    Clips without a caption for any of the tasks are in neither.

    Raises:
        DataError: there is a share to keep out and but one video, or no clip has a target.
    """
    videos = sorted({clip.video for clip in data.split.clips})
    held: set[str] = set()
    if share:
        if len(videos) < 2:
            raise DataError(
                f"the loss keeps {share:.0%} of the videos out of training, at least one: "
                f"two videos are needed, got {len(videos)}"
            )
        order = torch.randperm(len(videos), generator=generator(seed, "held out")).tolist()
        count = min(max(1, round(share * len(videos))), len(videos) - 1)
        held = {videos[i] for i in order[:count]}
    rows: tuple[list[int], list[int]] = ([], [])
    for i, clip in enumerate(data.split.clips):
        if data.has_target(i):
            rows[clip.video in held].append(i)
    if not rows[0]:
        tasks = ", ".join(data.training.tasks) if data.training else ""
        raise DataError(f"none of {len(data)} clips has a caption for the tasks {tasks}")
    return rows


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
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self.captioner = captioner.to(device)
        self.strategy = strategy
        self.settings = settings
        self.seed = seed
        self.joint = captioner.joint
        rows, self.held_out = hold_out(data, strategy.held_out, seed)
        self.feed = Feed(
            data=data,
            rows=rows,
            batch=min(settings.batch, len(rows)),
            group=settings.clips_per_video,
            device=device,
            workers=workers,
        )
        epochs = settings.epochs or 0.0
        self.steps = settings.steps or max(1, math.ceil(epochs * self.feed.per_epoch))
        self.optimiser = optimiser(captioner, settings)
        self.step = 0
        self.stop = False

    def fit(self, directory: Path, job: Job) -> None:
        """Train to the last step, saving as it goes; resumes from the checkpoint if any."""
        self._resume(directory)
        log = curve.Curve(directory, self.step)
        schedule = self.strategy.probe_at(self.steps)
        every = float(job.local.get("checkpoint_seconds", 30))
        saved = time.monotonic()
        previous = {s: signal.signal(s, self._leave) for s in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            for batch in self.feed.batches(self.step, self.steps, self.seed):
                if self.step in schedule:
                    job.progress(self.step, self.steps, "probing")
                    log.add(
                        self.step,
                        self.strategy.reestimate(self._prober(), schedule[self.step]),
                    )
                figures = self._step(batch)
                log.add(self.step, figures)
                self.step += 1
                job.progress(self.step, self.steps, f"L {figures['L']:.3f}")
                if self.stop or time.monotonic() - saved > every:
                    log.flush()
                    self._save(directory)
                    saved = time.monotonic()
                if self.stop:
                    raise SystemExit(INTERRUPTED)
        finally:
            log.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _leave(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """On SIGTERM or SIGUSR1, a scheduler's notice: save after this step and leave."""
        self.stop = True

    def _step(self, batch: Batch) -> dict[str, float]:
        """One optimiser step; returns what to log."""
        self.captioner.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self._lr(self.step)
        encoded = self.captioner.encode(batch)
        losses = self.captioner.losses(encoded, batch, self.strategy.views())
        objective = self.strategy.combine(losses)
        if not torch.isfinite(objective.total):
            raise DataError(
                f"step {self.step}: the loss is {objective.total.item()}, with learning rate "
                f"{self._lr(self.step):.3g} (lr {self.settings.lr}) "
                f"on clips {', '.join(batch.ids[:3])} …"
            )
        self.optimiser.zero_grad(set_to_none=True)
        objective.total.backward()  # type: ignore[no-untyped-call]
        measured: dict[str, float] = {}
        if self.step % self.settings.measure_every == 0 or self.step == self.steps - 1:
            unseen = [v for v in self._single() if v not in losses]
            measured = self._measure(encoded, batch, unseen)
        self.strategy.modulate(
            {m: list(e.parameters()) for m, e in self.captioner.encoders.items()}
        )
        figures = {view_name(v, self.joint): loss.nats.item() for v, loss in losses.items()}
        figures |= {f"w_{'+'.join(sorted(v))}": w for v, w in objective.weights.items()}
        figures |= dict(objective.log)
        if self.settings.clip_norm is not None:
            figures["gradient_norm"] = torch.nn.utils.clip_grad_norm_(
                self.captioner.parameters(), self.settings.clip_norm
            ).item()
        self.optimiser.step()
        return figures | measured

    def _lr(self, step: int) -> float:
        return self.settings.lr * rate(step, self.steps, self.settings.warmup)

    def _single(self) -> list[View]:
        """Each modality alone, where there are several."""
        streams = self.captioner.configuration.encoded  # ordered, unlike the joint view
        return [frozenset({m}) for m in streams] if len(streams) > 1 else []

    def _measure(
        self, encoded: Mapping[Modality, Tokens], batch: Batch, views: Sequence[View]
    ) -> dict[str, float]:
        """Mono-modal losses that the strategy does not train (Fig. 4), without gradients.

        Taken before the step, from the same encoded streams as the losses that are trained, with
        dropout on as theirs; its generator is put back, so that measuring changes nothing.
        """
        if not views:
            return {}
        with torch.random.fork_rng(), torch.no_grad():
            losses = self.captioner.losses(encoded, batch, views)
        return {view_name(v, self.joint): loss.nats.item() for v, loss in losses.items()}

    def _prober(self) -> Prober:
        return Prober(
            captioner=self.captioner,
            settings=self.settings,
            feed=self.feed,
            held_out=self.held_out,
            seed=self.seed,
            step=self.step,
            lr=self._lr,
        )

    def _save(self, directory: Path) -> None:
        checkpoint.save(
            directory,
            {
                "step": self.step,
                "model": self.captioner.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "strategy": self.strategy.state_dict(),
                "rng": torch.get_rng_state(),
            },
        )

    def _resume(self, directory: Path) -> None:
        state = checkpoint.load(directory)
        if state is None:
            return
        self.step = state["step"]
        self.captioner.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.strategy.load_state_dict(state["strategy"])
        torch.set_rng_state(state["rng"])


def run(job: Job) -> dict[str, Any]:
    """Stages ``pretrain`` and ``finetune``: train, write weights and curve.csv."""
    settings = build(TrainSettings, job.spec["train"])
    vocabulary = Vocabulary.open(job.parents["vocabulary"])
    architecture = weights.Architecture.of(job.spec, vocabulary.rows)
    seed = derive_seed(job.spec["seed"], job.kind)
    torch.manual_seed(seed)
    captioner = architecture.build(job.registry)
    if "start" in job.parents:
        weights.restore(job.parents["start"], captioner)
    component = job.registry.get("losses", settings.loss.name)
    trainer = Trainer(
        captioner,
        component.build(
            build(component.config, settings.loss.options),
            LossContext(streams=captioner.configuration.encoded),
        ),
        ClipData(
            PreparedSplit.open(job.parents["data"]),
            vocabulary,
            architecture.input,
            training=settings,
            seed=seed,
        ),
        settings,
        seed=seed,
        device=torch.device(job.local.get("device", "cpu")),
        workers=int(job.local.get("workers", 0)),
    )
    trainer.fit(job.directory, job)
    weights.save(job.directory, captioner, architecture)
    checkpoint.remove(job.directory)
    return {
        "steps": trainer.steps,
        "clips": len(trainer.feed.rows),
        "held_out_clips": len(trainer.held_out),
        "loss": curve.final_losses(job.directory),
        "encoders": {m: str(e.started_from) for m, e in captioner.encoders.items()},
    }
