"""Selection of a training's result: the weights of the best step on clips for selection.

At fixed intervals each process captions its share of the clips. The first process scores the
captions and keeps the weights if the score is the best so far. Nothing random is drawn, so
training is the same with selection and without.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.core.job import Job
from avbench.core.options import build, make
from avbench.core.types import InputSpec
from avbench.data.dataset import ClipData
from avbench.data.loader import Feed
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.evaluation.contracts import Metric, Score
from avbench.evaluation.splits import ReportSplit, SelectSplit
from avbench.models.captioner import Captioner
from avbench.models.generation import captions
from avbench.models.settings import DecodeSettings
from avbench.training import checkpoint
from avbench.training.engine import Engine
from avbench.training.probe import Interrupted
from avbench.training.settings import SelectionSettings

PATIENCE = 1.0
"""Seconds within which a notice that ended the scoring arrives here too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """The search for captions, and the metrics that score them."""

    decode: DecodeSettings
    metrics: Sequence[tuple[str, Metric]]
    """Name and metric; one of them gives the score that decides."""

    @classmethod
    def of(cls, job: Job, by: str) -> "Scoring":
        """Build the search and the metrics that a training's spec names.

        Args:
            job: the training.
            by: the score that decides.
        """
        metrics: list[tuple[str, Metric]] = []
        for ref in job.spec["scoring"]["metrics"]:
            component = job.registry.get("metrics", ref["name"])
            metric: Metric = make(component, ref["options"], where=ref["name"])
            metric.only = frozenset({by})
            metrics.append((ref["name"], metric))
        return cls(decode=build(DecodeSettings, job.spec["scoring"]["decode"]), metrics=metrics)


class Selection:
    """Scores a captioner as it trains, and keeps the weights of its best step.

    Args:
        split: the clips.
        settings: the interval and the score that decides.
        scoring: the search and the metrics.
        vocabulary: spells the captions.
        spec: geometry of the inputs.
        engine: of the training.

    Attributes:
        curve: the steps evaluated so far, with their scores.
    """

    def __init__(
        self,
        split: SelectSplit,
        settings: SelectionSettings,
        scoring: Scoring,
        vocabulary: Vocabulary,
        spec: InputSpec,
        engine: Engine,
    ) -> None:
        self.split = split
        self.settings = settings
        self.engine = engine
        self.curve: list[tuple[int, float]] = []
        self._scoring = scoring
        self._vocabulary = vocabulary
        self._length = spec.caption_tokens
        self._metric: Metric | None = None
        self._example: Score | None = None
        self._feed = Feed(
            data=ClipData(split.prepared, vocabulary, spec, sampling=None),
            rows=split.rows[engine.rank :: engine.world],
            batch=scoring.decode.batch,
            group=1,
            device=engine.device,
        )

    @classmethod
    def of(
        cls,
        job: Job,
        settings: SelectionSettings,
        train: PreparedSplit,
        vocabulary: Vocabulary,
        spec: InputSpec,
        engine: Engine,
        seed: int,
    ) -> "Selection":
        """Make the selection that a training stage asks for.

        Args:
            job: the training.
            settings: when, and by which score.
            train: its clips, of which some are taken where the plan chose no split.
            vocabulary: spells the captions.
            spec: geometry of the inputs.
            engine: of the training.
            seed: which of the training clips.
        """
        split = _select_split(job, train, settings, seed)
        return cls(split, settings, Scoring.of(job, settings.by), vocabulary, spec, engine)

    def begin(self) -> None:
        """Check that a metric gives the score that decides, before any step is trained.

        Raises:
            DataError: none does.
        """
        if self.engine.rank == 0:
            self._score({clip.id: "" for clip in self.split.clips})

    def every(self, per_epoch: int) -> int:
        """Return the number of steps between two evaluations.

        Args:
            per_epoch: steps of one pass over the training clips.
        """
        epochs = self.settings.every_epochs
        return self.settings.every_steps or max(1, round((epochs or 1.0) * per_epoch))

    def due(self, step: int, steps: int, per_epoch: int) -> bool:
        """Return True if the weights after ``step`` of ``steps`` steps must be evaluated."""
        done = self.curve[-1][0] if self.curve else 0
        return step > done and (step % self.every(per_epoch) == 0 or step == steps)

    def evaluate(
        self, captioner: Captioner, step: int, directory: Path, stopped: Callable[[], bool]
    ) -> float:
        """Score a captioner after ``step`` steps, and keep its weights if they are the best.

        Called by all processes.

        Args:
            captioner: the captioner in training.
            step: the number of finished steps.
            directory: the stage's folder.
            stopped: returns True once the stage has been asked to leave.

        Returns:
            The score.

        Raises:
            Interrupted: the stage must leave; nothing of the evaluation counts.
        """
        found: dict[str, str] = {}
        for share in self.engine.gather(self._captions(captioner, stopped)):
            found |= share
        mine = None
        try:
            mine = self._score(found) if self.engine.rank == 0 else None
        except AvbenchError as error:
            # A notice also reaches the scorer (the tokenizer's Java), possibly first.
            if not _happens_soon(stopped):
                raise
            warnings.warn(f"selection: left on a notice: {error}", stacklevel=2)
        score: tuple[float, bool] | None = self.engine.gather(mine)[0]
        if score is None:
            raise Interrupted
        value, higher = score
        before = [v if higher else -v for _, v in self.curve]
        self.curve.append((step, value))
        if not before or (value if higher else -value) > max(before):
            tensors = self.engine.tensors(captioner)
            if self.engine.rank == 0:
                checkpoint.save_best(tensors, directory, step)
        return value

    def best(self, directory: Path) -> dict[str, Tensor] | None:
        """Read the best step's weights; None: no step was evaluated."""
        return checkpoint.load_best(directory, self.curve[-1][0]) if self.curve else None

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps; the best weights lie beside it."""
        return {"curve": [list(point) for point in self.curve]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self.curve = [(int(step), float(value)) for step, value in state["curve"]]

    def record(self, directory: Path, per_epoch: int) -> dict[str, Any]:
        """Return the selection's part of the training's record."""
        best = checkpoint.best_at(directory, self.curve[-1][0]) if self.curve else None
        split = self.split
        return {
            "by": self.settings.by,
            "signature": self._example.signature if self._example else "",
            "split": split.origin,
            "clips": len(split.rows),
            "videos": len({clip.video for clip in split.clips}),
            "list_hash": split.list_hash,
            "beam": self._scoring.decode.beam,
            "every": self.every(per_epoch),
            "curve": [list(point) for point in self.curve],
            "step": None if best is None else checkpoint.step_of(best),
        }

    def close(self) -> None:
        """Close the metrics, which may keep processes between calls."""
        for _, metric in self._scoring.metrics:
            metric.close()

    def _captions(self, captioner: Captioner, stopped: Callable[[], bool]) -> dict[str, str]:
        """Return the captions of this process's clips, by clip id.

        Raises:
            Interrupted: the stage must leave.
        """
        captioned: dict[str, str] = {}
        rows, size = self._feed.rows, self._feed.batch
        most = -(-len(self.split.rows) // self.engine.world)  # clips of any process
        captioner.eval()
        with torch.no_grad(), self.engine.gathered():
            for first in range(0, most, size):
                (stop,) = self.engine.agree(stopped())
                if stop:
                    raise Interrupted
                for batch in self._feed.in_order(rows[first : first + size], 0):
                    found = captions(
                        captioner,
                        self._vocabulary,
                        batch,
                        self._scoring.decode,
                        view=captioner.joint,
                        length=self._length,
                    )
                    texts = (caption for caption, _ in found)
                    captioned |= dict(zip(batch.ids, texts, strict=True))
        return captioned

    def _score(self, captioned: Mapping[str, str]) -> tuple[float, bool]:
        """Return the score that decides, and True if higher is better.

        Raises:
            DataError: no metric gives this score.
        """
        asked = self.settings.by
        metrics = [m for _, m in self._scoring.metrics if self._metric in (None, m)]
        names: list[str] = []
        for metric in metrics:
            level = self.split.level(clip_by_clip=metric.clip_by_clip)
            (scores,) = metric.score([level.join(captioned)], level.references)
            names += [score.name for score in scores]
            for score in scores:
                if score.name == asked:
                    self._metric, self._example = metric, score
                    return score.value, score.higher_is_better
        tried = ", ".join(name for name, _ in self._scoring.metrics)
        raise DataError(f"selection.by: {unknown('score', asked, names)} (of {tried})")


def _happens_soon(happened: Callable[[], bool]) -> bool:
    """Return True if something has happened, or does within ``PATIENCE``."""
    deadline = time.monotonic() + PATIENCE
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happened()


def _select_split(
    job: Job, train: PreparedSplit, settings: SelectionSettings, seed: int
) -> SelectSplit:
    """Return the clips for selection: those that the plan chose, or some training clips."""
    if settings.on_report:
        report = ReportSplit.open(job.parents["report"])
        return SelectSplit.reported(report, stamped=True)
    if "select" in job.parents:
        return SelectSplit.own(job.parents["select"])
    return SelectSplit.carved(train, settings.share, seed)
