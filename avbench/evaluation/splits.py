"""Splits for reporting and splits for selection, as two types.

A function that selects takes a ``SelectSplit``, so a type checker refuses a ``ReportSplit``. The
only way from the latter to the former is ``SelectSplit.reported``, whose use marks every table of
a suite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import torch

from avbench.core.errors import DataError
from avbench.core.types import Clip
from avbench.data.annotations.clip_counts import videos_apart
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.dataset import generator
from avbench.data.prepared.split import PreparedSplit
from avbench.evaluation.references import Level, by_clip, by_protocol

Origin = Literal["own", "carved", "reported"]
"""The dataset's own split; whole videos kept out of training; the reported split itself."""


@final
@dataclass(frozen=True, slots=True)
class ReportSplit:
    """Prepared clips whose scores go into tables; nothing is selected on them."""

    prepared: PreparedSplit

    @classmethod
    def open(cls, directory: Path) -> "ReportSplit":
        """Open the output of a reported split's prepare stage."""
        return cls(PreparedSplit.open(directory))


@final
@dataclass(frozen=True, slots=True)
class SelectSplit:
    """Clips on which checkpoints are compared; made by ``own``, ``carved`` or ``reported``."""

    prepared: PreparedSplit
    rows: tuple[int, ...]
    """Indices of the prepared clips."""
    origin: Origin

    @classmethod
    def own(cls, directory: Path) -> "SelectSplit":
        """Open the dataset's split for selection.

        Raises:
            DataError: the folder holds the clips of another role.
        """
        prepared = PreparedSplit.open(directory)
        if prepared.role != "select":
            raise DataError(
                f"{directory}: prepared for the role '{prepared.role}'; "
                "checkpoints are selected on clips of the role 'select'"
            )
        return cls(prepared, tuple(range(len(prepared.clips))), "own")

    @classmethod
    def carved(cls, train: PreparedSplit, share: float, seed: int) -> "SelectSplit":
        """Take whole videos of the training clips, which must then be kept out of training.

        Args:
            train: the training clips.
            share: of the videos; at least one is taken and one is left.
            seed: of the choice of videos.

        Raises:
            DataError: there is only one video.
        """
        videos = sorted({clip.video for clip in train.clips})
        if len(videos) < 2:
            raise DataError(
                f"selection.share: {share:.0%} of the training videos are kept out of training, "
                f"at least one: two videos are needed, got {len(videos)}"
            )
        order = torch.randperm(len(videos), generator=generator(seed, "selection")).tolist()
        taken = {videos[i] for i in order[: videos_apart(len(videos), share)]}
        rows = tuple(i for i, clip in enumerate(train.clips) if clip.video in taken)
        return cls(train, rows, "carved")

    @classmethod
    def reported(cls, report: ReportSplit, *, stamped: Literal[True]) -> "SelectSplit":  # noqa: ARG003
        """Take the reported clips themselves.

        Args:
            report: the clips.
            stamped: a promise that ``avbench.reports.notes.stamp`` marks the tables.
        """
        return cls(report.prepared, tuple(range(len(report.prepared.clips))), "reported")

    @property
    def clips(self) -> Sequence[Clip]:
        """The clips, in the annotations' order."""
        return [self.prepared.clips[i] for i in self.rows]

    @property
    def protocol(self) -> str:
        """``coco`` for carved training clips, which have no paragraph references."""
        return "coco" if self.origin == "carved" else self.prepared.protocol

    @property
    def paragraphs(self) -> Mapping[str, tuple[str, ...]]:
        """Video → references, for the paragraph protocol."""
        return self.prepared.paragraphs

    @property
    def carved_videos(self) -> frozenset[str]:
        """The videos that must be kept out of training."""
        carved = self.clips if self.origin == "carved" else ()
        return frozenset(clip.video for clip in carved)

    @property
    def list_hash(self) -> str:
        """Hash of clips and captions, see ``clip_list_hash``."""
        return clip_list_hash({clip.id: clip.captions for clip in self.clips})

    def level(self, *, clip_by_clip: bool) -> Level:
        """Return the references for a metric."""
        return by_clip(self) if clip_by_clip else by_protocol(self)
