"""What all readers of official annotation files share.

A reader yields clips. What is wrong within one clip's entry costs that clip and is noted with
its place; what is wrong above it (no such file, no JSON, a video without a list of segments)
costs the file, and is raised.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from avbench.core.errors import DataError, unknown
from avbench.core.types import Clip
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.strict_json import MalformedError
from avbench.data.contracts import Dataset, Defect

SHOWN = 3
"""Defects that are told where no clip is left."""


class Notes:
    """The defects that a reader has found so far."""

    def __init__(self) -> None:
        self.found: list[Defect] = []

    @contextmanager
    def costing(self, clip: str) -> Iterator[None]:
        """Note what is malformed in here as the loss of a clip."""
        try:
            yield
        except MalformedError as error:
            self.add(error.place, error.problem, clip=clip)

    def add(
        self, place: str, problem: str, *, clip: str | None = None, reason: str = "malformed"
    ) -> None:
        """Note a defect; see ``Defect``."""
        self.found.append(Defect(place=place, problem=problem, clip=clip, reason=reason))

    def taken(self) -> list[Defect]:
        """Those found since this was asked last."""
        found, self.found = self.found, []
        return found

    def interval(self, place: str, start: float, end: float, clip: str) -> bool:
        """Whether a clip's interval has a length; if not, it is noted as the clip's loss."""
        if end > start:
            return True
        self.add(
            place,
            f"the clip must end after it starts, got {start:g} to {end:g} s",
            clip=clip,
            reason="no_interval",
        )
        return False


class FileDataset(Dataset):
    """A dataset of annotation files in a folder, and media by their ids.

    What was read of a split last is kept, as its clips and its defects are asked for in turn.

    Args:
        files: where its files lie.
        splits: every split that the format knows.
    """

    def __init__(self, files: LocalFiles, splits: Sequence[str]) -> None:
        self._files = files
        self._splits = tuple(splits)
        self._last: tuple[str, tuple[Clip, ...], tuple[Defect, ...]] | None = None

    _distinct = False
    """Whether clips' ids differ by the form of the files, so that none need be remembered."""

    @abstractmethod
    def _names(self) -> Sequence[str]:
        """The names of the annotation files, whether or not they are there."""

    @abstractmethod
    def _read(self, split: str, notes: Notes) -> Iterable[Clip]:
        """The clips of a split; what is wrong within one is noted."""

    def clips(self, split: str) -> Sequence[Clip]:
        """The clips of a split, in the annotations' order."""
        return self._reading(split)[0]

    def defects(self, split: str) -> Sequence[Defect]:
        """What is wrong within single clips' entries, in the annotations' order."""
        return self._reading(split)[1]

    def iterate(self, split: str) -> Iterator[Clip | Defect]:
        """The clips and the defects; where ``_distinct``, in the memory of one video's."""
        notes, lost = Notes(), list[Defect]()
        none = True
        read = self._read(self._known(split), notes)
        for clip in read if self._distinct else _once(read, split, notes):
            yield from notes.taken()
            yield clip
            none = False
        for defect in notes.taken():
            lost += [defect] if none and defect.clip is not None else []
            yield defect
        if none:
            raise self._nothing(split, lost)

    def files(self) -> Sequence[Path]:
        """The annotation files and the sidecars that are there."""
        return self._files.used(self._names())

    def fingerprint(self) -> str:
        """Of the annotation files, the sidecars and the list of media."""
        return self._files.fingerprint(self._names())

    def _known(self, split: str) -> str:
        if split not in self._splits:
            raise DataError(f"{self._files.dataset}: {unknown('split', split, self._splits)}")
        return split

    def _reading(self, split: str) -> tuple[tuple[Clip, ...], tuple[Defect, ...]]:
        if self._last is None or self._last[0] != split:
            self._last = None
            notes = Notes()
            clips = tuple(_once(self._read(self._known(split), notes), split, notes))
            if not clips:
                raise self._nothing(split, [d for d in notes.found if d.clip is not None])
            self._last = split, clips, tuple(notes.found)
        return self._last[1:]

    def _nothing(self, split: str, lost: Sequence[Defect]) -> DataError:
        """The error for a split without clips."""
        said = "".join(f"\n  {d.place}: {d.problem}" for d in lost[:SHOWN])
        more = f"; all {len(lost)} are malformed:{said}" if lost else ""
        return DataError(f"{self._files.dataset}: split '{split}' holds no clips{more}")


def _once(clips: Iterable[Clip], split: str, notes: Notes) -> Iterator[Clip]:
    """The clips whose ids have not come before; the others are noted."""
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            problem = f"the id '{clip.id}' comes again; the first is used"
            notes.add(f"split '{split}'", problem, clip=clip.id, reason="repeated")
            continue
        seen.add(clip.id)
        yield clip


def refuse(defects: Iterable[Defect], policy: Literal["skip", "fail"], where: str) -> None:
    """Under the policy ``fail``: say every defect that costs a clip.

    Raises:
        DataError: there are some.
    """
    lost = [d for d in defects if d.clip is not None]
    if policy == "fail" and lost:
        said = "".join(f"\n  {d.place}: {d.problem} (clip '{d.clip}')" for d in lost)
        raise DataError(
            f"{where}: {len(lost)} clips have malformed annotations "
            f"(policy 'fail'; 'skip' counts them as lost):{said}"
        )
