"""The abstract class of dataset readers.

Every class that implements it is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.core.types import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something in a dataset's annotations that is not as their format has it."""

    place: str
    """The file and the path or row in it."""
    problem: str
    """What is wrong; where it was mended, how."""
    clip: str | None = None
    """The clip that it costs; None: none."""
    reason: str = "malformed"
    """Why the clip is lost, in a word, for the counts."""


class Dataset(ABC):
    """A captioning dataset: one official annotation format over local media."""

    train: str | None = "train"
    """The split that models are trained on."""
    report: str | None = None
    """The split whose scores go into tables; None for a pre-training corpus."""
    select: str | None = None
    """The split that checkpoints may be selected on; None: part of ``train`` is kept for it."""
    protocol: str = "coco"
    """``coco``: clip by clip. ``paragraph``: the clips of a video joined into one text."""

    def of(self, role: str) -> str | None:
        """The split of a role, ``train``, ``report`` or ``select``; None: there is none."""
        return {"train": self.train, "report": self.report, "select": self.select}[role]

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits that the local files hold."""

    @abstractmethod
    def clips(self, split: str) -> Sequence[Clip]:
        """The clips of a split, in the annotations' order, without those that a defect costs.

        Raises:
            DataError: the file is missing or malformed (with its name, field and value), the
                split is unknown or empty.
        """

    def defects(self, split: str) -> Sequence[Defect]:  # noqa: ARG002
        """What is wrong within single clips' annotations of a split.

        A dataset's ``policy`` decides what becomes of it: under ``skip`` these clips are counted
        as lost, under ``fail`` nothing runs. A reader that has none raises instead.

        Raises:
            DataError: as for ``clips``.
        """
        return ()

    def iterate(self, split: str) -> Iterator["Clip | Defect"]:
        """The clips and the defects of a split one by one, for a corpus that memory cannot hold.

        The clips in the order of ``clips``; each defect at any place.

        Raises:
            DataError: as for ``clips``, but where the files are read that far.
        """
        yield from self.defects(split)
        yield from self.clips(split)

    def files(self) -> Sequence[Path]:
        """Every file beside the media that ``clips`` reads, where they are known.

        While none of them has changed, a plan does not read them again; with none it always does.
        """
        return ()

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of all that the annotations and the list of media files say."""

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """References per video, for the paragraph protocol."""
        return {}
