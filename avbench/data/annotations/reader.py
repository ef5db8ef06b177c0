"""Base class of the readers of official annotation files.

A reader yields clips. An error within one clip's entry loses that clip, and is collected as a
defect with its place. An error above it (no such file, no JSON, a video without a list of
segments) is raised.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from avbench.core.errors import DataError, unknown
from avbench.core.types import Clip
from avbench.core.visible import brief
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.strict_json import MalformedError, Node
from avbench.data.contracts import Dataset, Defect

SHOWN = 3
"""Defects listed in the error if no clip is left."""


class DefectLog:
    """The defects that a reader has found so far."""

    def __init__(self) -> None:
        self.found: list[Defect] = []

    @contextmanager
    def skip_malformed(self, clip: str) -> Iterator[None]:
        """Lose a clip if the body finds something malformed: add the defect, and go on."""
        try:
            yield
        except MalformedError as error:
            self.add(error.place, error.problem, clip=clip)

    def add(
        self, place: str, problem: str, *, clip: str | None = None, reason: str = "malformed"
    ) -> None:
        """Add a defect; see ``Defect``."""
        self.found.append(Defect(place=place, problem=problem, clip=clip, reason=reason))

    def take(self) -> list[Defect]:
        """Remove and return the defects found so far."""
        found, self.found = self.found, []
        return found

    def captions(self, nodes: Sequence[Node], clip: str, place: str) -> tuple[str, ...]:
        """Return a clip's captions without the blank ones, each of which is noted.

        Args:
            nodes: the captions; null counts as blank.
            clip: id of the clip, which is lost if no caption is left: the result is empty then.
            place: of the clip's entry, to be named if it has no caption.

        Raises:
            MalformedError: a caption is neither text nor null.
        """
        texts = [node.caption() for node in nodes]
        kept = tuple(filter(None, texts))
        if not kept:
            problem = "a clip needs a caption that is not blank, got " + (
                f"{len(nodes)} blank ones" if nodes else "none"
            )
            at = nodes[0].place if nodes else place
            self.add(at, problem, clip=clip, reason="no_caption")
            return ()
        for node, text in zip(nodes, texts, strict=True):
            if not text:
                self.add(node.place, f"blank caption left out; the other {len(kept)} are used")
        return kept

    def check_interval(self, place: str, start: float, end: float, clip: str) -> bool:
        """Return True if a clip's interval has a length; else lose the clip."""
        if end > start:
            return True
        self.add(
            place,
            f"the clip must end after it starts, got {start:g} to {end:g} s",
            clip=clip,
            reason="no_interval",
        )
        return False


def caption_or_none(node: Node) -> str | None:
    """Return a caption, or None if it is malformed: that costs its own clip, and no other."""
    try:
        return node.text()
    except MalformedError:
        return None


class FileDataset(Dataset):
    """A dataset of annotation files in a folder, and media by id.

    It keeps the split read last, because callers ask for its clips and its defects in turn.

    Args:
        files: the dataset's files.
        splits: all splits of the format.
    """

    def __init__(self, files: LocalFiles, splits: Sequence[str]) -> None:
        self._files = files
        self._splits = tuple(splits)
        self._last: tuple[str, tuple[Clip, ...], tuple[Defect, ...]] | None = None

    _ids_are_distinct = False
    """True if the files' form rules out repeated ids, so that none need be remembered."""

    @abstractmethod
    def _names(self) -> Sequence[str]:
        """Return the names of the annotation files, which need not exist."""

    @abstractmethod
    def _read(self, split: str, defects: DefectLog) -> Iterable[Clip]:
        """Yield the clips of a split, and add the defects within single clips."""

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split, in the annotations' order."""
        return self._read_split(split)[0]

    def defects(self, split: str) -> Sequence[Defect]:
        """Return the defects within single clips' entries, in the annotations' order."""
        return self._read_split(split)[1]

    def iterate(self, split: str) -> Iterator[Clip | Defect]:
        """Yield the clips and the defects; ``_ids_are_distinct`` holds one video in memory."""
        defects, lost = DefectLog(), list[Defect]()
        empty = True
        read = self._read(self._check_split(split), defects)
        for clip in read if self._ids_are_distinct else _without_repeats(read, split, defects):
            yield from defects.take()
            yield clip
            empty = False
        for defect in defects.take():
            lost += [defect] if empty and defect.clip is not None else []
            yield defect
        if empty:
            raise self._no_clips(split, lost)

    def files(self) -> Sequence[Path]:
        """Return the annotation files and the sidecars that exist."""
        return self._files.existing_files(self._names())

    def fingerprint(self) -> str:
        """Return a hash of the annotation files, the sidecars and the list of media."""
        return self._files.fingerprint(self._names())

    def _check_split(self, split: str) -> str:
        if split not in self._splits:
            raise DataError(f"{self._files.dataset}: {unknown('split', split, self._splits)}")
        return split

    def _read_split(self, split: str) -> tuple[tuple[Clip, ...], tuple[Defect, ...]]:
        if self._last is None or self._last[0] != split:
            self._last = None
            defects = DefectLog()
            clips = tuple(
                _without_repeats(self._read(self._check_split(split), defects), split, defects)
            )
            if not clips:
                raise self._no_clips(split, [d for d in defects.found if d.clip is not None])
            self._last = split, clips, tuple(defects.found)
        return self._last[1:]

    def _no_clips(self, split: str, lost: Sequence[Defect]) -> DataError:
        """Return the error for a split without clips."""
        listed = "".join(f"\n  {d.place}: {d.problem}" for d in lost[:SHOWN])
        more = f"; all {len(lost)} are malformed:{listed}" if lost else ""
        where = f"{self._files.dataset}, {self._files.root}"
        return DataError(f"{where}: split '{split}' holds no clips{more}")


def _without_repeats(clips: Iterable[Clip], split: str, defects: DefectLog) -> Iterator[Clip]:
    """Yield the clips whose ids are new; add a defect for the others."""
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            problem = f"the id '{clip.id}' comes again; the first is used"
            defects.add(f"split '{split}'", problem, clip=clip.id, reason="repeated")
            continue
        seen.add(clip.id)
        yield clip


def refuse(defects: Iterable[Defect], policy: Literal["skip", "fail"], where: str) -> None:
    """Raise an error under the policy ``fail`` if a defect loses a clip.

    Raises:
        DataError: names each such defect.
    """
    lost = [d for d in defects if d.clip is not None]
    if policy == "fail" and lost:
        listed = "".join(f"\n  {d.place}: {d.problem} (clip '{brief(str(d.clip))}')" for d in lost)
        raise DataError(
            f"{where}: {len(lost)} clips have malformed annotations "
            f"(policy 'fail'; 'skip' counts them as lost):{listed}"
        )
