"""The abstract class of dataset readers; every class that implements it is final."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from avbench.core.types import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something in a dataset's annotations that does not follow their format."""

    place: str
    """The file, and the path or row in it."""
    problem: str
    """The problem, and the repair if the reader repaired it."""
    clip: str | None = None
    """Id of the clip that is lost by it; None: no clip is."""
    reason: str = "malformed"
    """Reason why the clip is lost, one word, for the counts."""


class Dataset(ABC):
    """A captioning dataset: one official annotation format over local media."""

    train: str | None = "train"
    """The training split."""
    report: str | None = None
    """The split whose scores go into tables; None for a pre-training corpus."""
    select: str | None = None
    """The split for selecting checkpoints; None: part of ``train`` is kept for it."""
    protocol: str = "coco"
    """``coco``: clip by clip. ``paragraph``: the clips of a video joined into one text."""

    def of(self, role: str) -> str | None:
        """Return the split of ``train``, ``report`` or ``select``; None: the role has none."""
        return {"train": self.train, "report": self.report, "select": self.select}[role]

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the splits that the local files hold."""

    @abstractmethod
    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split in the annotations' order, without those lost by a defect.

        Raises:
            DataError: the file is missing or malformed (with its name, field and value), the
                split is unknown or empty.
        """

    def defects(self, split: str) -> Sequence[Defect]:  # noqa: ARG002
        """Return the defects within single clips' annotations of a split.

        A dataset's ``policy`` decides: ``skip`` counts these clips as lost, ``fail`` makes them an
        error. A reader that collects no defects raises instead.

        Raises:
            DataError: as for ``clips``.
        """
        return ()

    def iterate(self, split: str) -> Iterator["Clip | Defect"]:
        """Yield the clips and the defects of a split, for a corpus that does not fit in memory.

        Clips come in the order of ``clips``, defects at any place between them.

        Raises:
            DataError: as for ``clips``, when reading reaches the problem.
        """
        yield from self.defects(split)
        yield from self.clips(split)

    def files(self) -> Sequence[Path]:
        """Return every file that ``clips`` reads, media aside, if they are known.

        A plan reads them again only if one has changed; without any, each plan reads anew.
        """
        return ()

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a hash of the annotations and of the list of media files."""

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """Return the references of each video, for the paragraph protocol."""
        return {}
