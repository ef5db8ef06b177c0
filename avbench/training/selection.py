"""Which step's weights are a training's result: the best one's on clips for selection.

The captioner says its captions every so often, each process those of its share of the clips; the
first one scores them and keeps the weights where they are better than any before. Nothing random
is drawn, so that the training itself is the same with it and without.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
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
from avbench.models import weights
from avbench.models.captioner import Captioner
from avbench.models.generation import captions
from avbench.models.settings import DecodeSettings
from avbench.training import checkpoint
from avbench.training.engine import Engine
from avbench.training.probe import Interrupted
from avbench.training.settings import SelectionSettings

PATIENCE = 1.0
"""Seconds in which a notice that ended the scoring must have come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """How captions are made and scored."""

    decode: DecodeSettings
    metrics: Sequence[tuple[str, Metric]]
    """Name and metric; one of them gives the score that decides."""

    @classmethod
    def of(cls, job: Job, by: str) -> "Scoring":
        """What a training's spec says.

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
        settings: when, and by which score.
        scoring: how captions are made and scored.
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
        """The selection that a training stage asks for.

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
        """See that a metric gives the score that decides, before any step is trained.

        Raises:
            DataError: none does.
        """
        if self.engine.rank == 0:
            self._score({clip.id: "" for clip in self.split.clips})

    def every(self, per_epoch: int) -> int:
        """Steps between two evaluations.

        Args:
            per_epoch: steps of one pass over the training clips.
        """
        epochs = self.settings.every_epochs
        return self.settings.every_steps or max(1, round((epochs or 1.0) * per_epoch))

    def due(self, step: int, steps: int, per_epoch: int) -> bool:
        """Whether the weights after ``step`` of ``steps`` steps are to be evaluated."""
        done = self.curve[-1][0] if self.curve else 0
        return step > done and (step % self.every(per_epoch) == 0 or step == steps)

    def evaluate(
        self, captioner: Captioner, step: int, directory: Path, stopped: Callable[[], bool]
    ) -> float:
        """Score a captioner after ``step`` steps, and keep its weights if they are the best.

        Called by all processes.

        Args:
            captioner: what is trained.
            step: how many steps it has behind it.
            directory: of the stage.
            stopped: whether the stage has been asked to leave.

        Returns:
            The score.

        Raises:
            Interrupted: the stage must leave; nothing of the evaluation counts.
        """
        said: dict[str, str] = {}
        for share in self.engine.gather(self._say(captioner, stopped)):
            said |= share
        mine = None
        try:
            mine = self._score(said) if self.engine.rank == 0 else None
        except AvbenchError as error:
            # A notice reaches what scores the captions too (the tokenizer's Java), maybe first.
            if not _soon(stopped):
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
                written = checkpoint.place(directory)
                weights.write(written, tensors)
                checkpoint.commit_best(written, directory, step)
        return value

    def best(self, directory: Path) -> dict[str, Tensor] | None:
        """The best step's weights; None where no step was evaluated."""
        path = checkpoint.best_at(directory, self.curve[-1][0]) if self.curve else None
        return None if path is None else load_file(path)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep; the best weights lie beside it."""
        return {"curve": [list(point) for point in self.curve]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``state_dict``."""
        self.curve = [(int(step), float(value)) for step, value in state["curve"]]

    def record(self, directory: Path, per_epoch: int) -> dict[str, Any]:
        """What the training's record says of it."""
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
        """End what the metrics keep between calls."""
        for _, metric in self._scoring.metrics:
            metric.close()

    def _say(self, captioner: Captioner, stopped: Callable[[], bool]) -> dict[str, str]:
        """The captions of this process's clips."""
        said: dict[str, str] = {}
        rows, size = self._feed.rows, self._feed.batch
        most = -(-len(self.split.rows) // self.engine.world)  # of any process
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
                    said |= dict(zip(batch.ids, (caption for caption, _ in found), strict=True))
        return said

    def _score(self, said: Mapping[str, str]) -> tuple[float, bool]:
        """The score of captions that decides, and whether more of it is better."""
        asked = self.settings.by
        metrics = [m for _, m in self._scoring.metrics if self._metric in (None, m)]
        names: list[str] = []
        for metric in metrics:
            level = self.split.level(clip_by_clip=metric.clip_by_clip)
            (scores,) = metric.score([level.join(said)], level.references)
            names += [score.name for score in scores]
            for score in scores:
                if score.name == asked:
                    self._metric, self._example = metric, score
                    return score.value, score.higher_is_better
        tried = ", ".join(name for name, _ in self._scoring.metrics)
        raise DataError(f"selection.by: {unknown('score', asked, names)} (of {tried})")


def _soon(happens: Callable[[], bool]) -> bool:
    """Whether something has happened, or does within ``PATIENCE``."""
    deadline = time.monotonic() + PATIENCE
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.02)
    return happens()


def _select_split(
    job: Job, train: PreparedSplit, settings: SelectionSettings, seed: int
) -> SelectSplit:
    """The clips for selection that the plan chose, or some of the training clips."""
    if settings.on_report:
        report = ReportSplit.open(job.parents["report"])
        return SelectSplit.reported(report, stamped=True)
    if "select" in job.parents:
        return SelectSplit.own(job.parents["select"])
    return SelectSplit.carved(train, settings.share, seed)
