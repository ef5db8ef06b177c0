"""The contract of a dataset reader: its interface, and its clips if there are local files.

``avbench check NAME --option root=DIR`` runs all of them. ``avbench data check`` runs those of
``DATA`` on every dataset of a data file.
"""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from avbench.core.errors import AvbenchError
from avbench.core.registry import Component
from avbench.core.types import Clip
from avbench.data.contracts import Dataset, Defect
from avbench.testing.findings import Check, Finding, common_checks, first_problem, run_checks
from avbench.testing.mirror import mirror
from avbench.testing.sources import sources

PROTOCOLS = ("coco", "paragraph")

DISJOINT = (("train", "report"), ("select", "report"), ("train", "select"))
"""Pairs of roles whose splits must share no clip."""

FIRST = 10_000
"""Clips of a split that are read a second time, to compare their order."""

DATA = ("sequence", "order", "ids", "captions", "times", "apart")
"""Checks of the clips alone, which need no copy of the files."""

Open = Callable[[], Dataset]
"""Makes a reader of the same files anew."""


def check_dataset(component: Component, options: Any = None) -> list[Finding]:
    """Check a dataset reader.

    Args:
        component: a registered reader.
        options: an instance of its config that leads to local files; None: run only the checks
            that need none.
    """
    checks = [
        *common_checks(component, options),
        Check(
            name="interface",
            expected="a Dataset with a known protocol",
            run=lambda: interface(component),
        ),
    ]
    if options is None:
        expected = "without local files an AvbenchError, or splits that can be listed"
        checks.append(Check(name="absent", expected=expected, run=lambda: absent(component)))
        return run_checks(checks)

    def open_() -> Dataset:
        made: Dataset = component.build(options)
        return made

    checks.append(
        Check(
            name="splits",
            expected="the files hold the train and report splits, and select is another",
            run=lambda: splits(open_()),
            needs=("interface",),
        )
    )
    checks += [replace(c, needs=(*c.needs, "splits")) for c in _clip_checks(_Clips(open_))]
    checks += _Moved(component, options).checks()
    return run_checks(checks)


def interface(component: Component) -> str | None:
    """Return a fault of the reader's class, or None."""
    reader = component.build
    if not (inspect.isclass(reader) and issubclass(reader, Dataset)):
        return f"{reader!r}, which is no subclass of Dataset"
    lacking = sorted(getattr(reader, "__abstractmethods__", ()))
    if lacking:
        return f"no {', '.join(lacking)}"
    if reader.protocol not in PROTOCOLS:
        return f"protocol {reader.protocol!r}"
    return None


def absent(component: Component) -> str | None:
    """Open a reader without local files; an error that is no AvbenchError is raised."""
    try:
        component.build(component.config()).splits()
    except AvbenchError:
        return None
    return None


def splits(reader: Dataset) -> str | None:
    """Return a fault of the splits and their roles, or None."""
    held = reader.splits()
    named = [s for s in (reader.train, reader.report) if s is not None]
    wrong = [s for s in named if s not in held]
    if reader.select is not None and reader.select in named:
        return f"select is '{reader.select}', which is trained or reported on"
    return f"{wrong} not in {held}" if wrong or not held else None


def check_clips(open_: Open, reader: Dataset, read: Mapping[str, Sequence[Clip]]) -> list[Finding]:
    """Check the clips of a dataset that has been read, see ``DATA``.

    Args:
        open_: makes another reader of the same files.
        reader: a reader.
        read: the clips of each of its splits.
    """
    clips = _Clips(open_, readings=1, reader=reader, read=read)
    return run_checks(check for check in _clip_checks(clips) if check.name in DATA)


def _clip_checks(reader: "_Clips") -> list[Check]:
    return [
        Check(
            name="sequence",
            expected="clips() is a sequence, with its length, that can be read again",
            advice="return a tuple of the clips, and make it anew or keep it unchanged",
            run=reader.sequence,
        ),
        Check(
            name="order",
            expected="the same clips in the same order at every reading",
            advice="follow the annotations' order; sort file listings and sets, and shuffle "
            "nothing: training draws the order",
            run=reader.order,
            needs=("sequence",),
        ),
        Check(
            name="ids",
            expected="each id once in a split",
            advice="make ids of what tells clips apart, e.g. <video>#<segment>; a repeated "
            "annotation is a Defect",
            run=reader.ids,
            needs=("order",),
        ),
        Check(
            name="captions",
            expected="captions for each clip, none of them empty",
            advice="leave a blank caption out; a clip without any is a Defect",
            run=reader.captions,
            needs=("sequence",),
        ),
        Check(
            name="times",
            expected="0 <= start < end, in seconds, for each clip that has them",
            run=reader.times,
            needs=("sequence",),
        ),
        Check(
            name="apart",
            expected="no clip in two of the splits for training, selection and reporting",
            advice="remove it from one of them; scores would be of clips trained on",
            run=reader.apart,
            needs=("ids",),
        ),
        Check(
            name="iterate",
            expected="iterate() yields what clips() and defects() return, twice at once too",
            advice="yield from the same reading as clips() and defects()",
            run=reader.iterate,
            needs=("order",),
        ),
        Check(
            name="unknown",
            expected="an AvbenchError for clips of a split that does not exist",
            run=reader.unknown,
        ),
        Check(
            name="fingerprint",
            expected="the same fingerprint from two readers of the same files",
            advice="hash the annotations' contents, then the media's sorted names and sizes",
            run=reader.fingerprint,
        ),
    ]


class _Clips:
    """The clips of a dataset, read once for several checks.

    Args:
        open_: makes a reader.
        readings: number of further readings that must give the same clips.
        reader: a reader; None: one is made.
        read: the clips of its splits; None: they are read.
    """

    def __init__(
        self,
        open_: Open,
        *,
        readings: int = 3,
        reader: Dataset | None = None,
        read: Mapping[str, Sequence[Clip]] | None = None,
    ) -> None:
        self.open, self.readings = open_, readings
        self._reader, self._read = reader, read

    @cached_property
    def reader(self) -> Dataset:
        """A reader."""
        return self._reader or self.open()

    @cached_property
    def splits(self) -> dict[str, Any]:
        """The clips of each split."""
        if self._read is not None:
            return dict(self._read)
        return {split: self.reader.clips(split) for split in self.reader.splits()}

    def sequence(self) -> str | None:
        """Return a split whose clips are no sequence, or that a caller can change."""
        for split, found in self.splits.items():
            where = f"split '{split}': "
            if not isinstance(found, Sequence):
                return f"{where}a {type(found).__name__}, which is no sequence"
            listed = list(found)
            if not listed:
                return f"{where}no clip"
            if len(found) != len(listed):
                return f"{where}len() gives {len(found)}, reading gives {len(listed)} clips"
            if list(found) != listed:
                return f"{where}other clips when they are read again"
            if found[0] != listed[0] or found[len(found) - 1] != listed[-1]:
                return f"{where}other clips by index than by reading"
            odd = next((c for c in listed if not isinstance(c, Clip)), None)
            if odd is not None:
                return f"{where}a {type(odd).__name__} instead of a Clip"
            if isinstance(found, list):
                del found[:]
                self.splits[split] = listed
                if not self.reader.clips(split):
                    return f"{where}clips() returns its own list, which a caller has emptied"
        return None

    def order(self) -> str | None:
        """Compare the first clips with those of other readings, in another listing order."""
        first = {split: list(islice(clips, FIRST)) for split, clips in self.splits.items()}
        for split, clips in first.items():
            for call in range(self.readings):
                for how, again in (
                    ("iterate()", self.reader.iterate(split)),
                    ("clips() again", self.reader.clips(split)),
                ):
                    with sources(call):
                        problem = _other(clips, _first(again))
                    if problem is not None:
                        return f"split '{split}', {how}: {problem}"
        for seed in range(self.readings):
            with _reversed(), sources(seed):
                reader = self.open()
                for split, clips in first.items():
                    problem = _other(clips, _first(reader.iterate(split)))
                    if problem is not None:
                        return (
                            f"split '{split}', read anew with folders in another order: {problem}"
                        )
        return None

    def ids(self) -> str | None:
        """Return an id that comes twice, or one that is empty."""
        for split, clips in self.splits.items():
            seen: dict[str, int] = {}
            for place, clip in enumerate(clips):
                if not clip.id or not clip.video:
                    return f"split '{split}': clip {place} has no id or no video"
                if clip.id in seen:
                    where = f"clips {seen[clip.id]} and {place}"
                    twice = len(clips) - len({c.id for c in clips})
                    return f"split '{split}': '{clip.id}' twice ({where}); {twice} repeated"
                seen[clip.id] = place
        return None

    def captions(self) -> str | None:
        """Return a clip without captions, or with an empty one."""
        return first_problem(
            f"split '{split}': clip '{clip.id}': {problem}"
            for split, clips in self.splits.items()
            for clip in clips
            if (problem := _captions(clip)) is not None
        )

    def times(self) -> str | None:
        """Return a clip whose times make no interval."""
        for split, clips in self.splits.items():
            for clip in clips:
                start, end = clip.start or 0.0, clip.end
                last = math.inf if end is None else end
                finite = math.isfinite(start) and (end is None or math.isfinite(end))
                if not (finite and 0 <= start < last):
                    return f"split '{split}': clip '{clip.id}': from {start:g} to {end} s"
        return None

    def apart(self) -> str | None:
        """Return a clip of two splits whose roles exclude each other."""
        return first_problem(
            shared_clips(one, self.splits[one], other, self.splits[other])
            for one, other in _exclusive(self.reader)
            if one in self.splits and other in self.splits
        )

    def iterate(self) -> str | None:
        """Compare two iterations side by side with each other, and with the whole."""
        for split, clips in self.splits.items():
            both = zip_longest(
                _until(self.reader.iterate(split), FIRST),
                _until(self.reader.iterate(split), FIRST),
            )
            found: list[Clip | Defect | None] = []
            for one, other in both:
                if one != other:
                    return f"split '{split}': two iterations at once differ at item {len(found)}"
                found.append(one)
            problem = _other(list(islice(clips, FIRST)), [c for c in found if _is_clip(c)])
            if problem is not None:
                return f"split '{split}': {problem}"
            if len(clips) < FIRST:
                wanted = len(self.reader.defects(split))
                got = sum(isinstance(item, Defect) for item in found)
                if got != wanted:
                    return (
                        f"split '{split}': {got} defects from iterate(), {wanted} from defects()"
                    )
        return None

    def unknown(self) -> str | None:
        """Ask for the clips of a split that does not exist."""
        try:
            list(self.reader.clips("no such split"))
        except AvbenchError:
            return None
        return "clips of a split that does not exist"

    def fingerprint(self) -> str | None:
        """Compare the fingerprints of readers, in another listing order too."""
        one = self.reader.fingerprint()
        if not isinstance(one, str) or not one:
            return f"{one!r}"
        with _reversed(), sources(1):
            two = self.open().fingerprint()
        return None if one == two else f"'{one}' and '{two}'"


def shared_clips(one: str, ones: Iterable[Clip], other: str, others: Iterable[Clip]) -> str | None:
    """Return the clips that two splits share, by id or by what is cut from which file."""
    known = {key for clip in ones for key in _keys(clip)}
    shared = [clip.id for clip in others if known.intersection(_keys(clip))]
    if not shared:
        return None
    return f"{len(shared)} clips in both '{one}' and '{other}', e.g. '{shared[0]}'"


def _keys(clip: Clip) -> tuple[Any, ...]:
    return clip.id, (clip.media, clip.start, clip.end)


def _exclusive(reader: Dataset) -> Iterator[tuple[str, str]]:
    """Yield the pairs of splits that must share no clip; one split may have two roles."""
    for pair in DISJOINT:
        one, other = map(reader.of, pair)
        if one is not None and other is not None and one != other:
            yield one, other


def _captions(clip: Clip) -> str | None:
    if not clip.captions:
        return "no caption"
    if not isinstance(clip.captions, tuple):
        return f"captions are a {type(clip.captions).__name__}, not a tuple"
    blank = [i for i, caption in enumerate(clip.captions) if not caption.strip()]
    return f"caption {blank[0]} of {len(clip.captions)} is empty" if blank else None


def _first(items: Iterable[Clip | Defect]) -> list[Clip]:
    """Return the first clips of a reading."""
    return [item for item in _until(items, FIRST) if isinstance(item, Clip)]


def _is_clip(item: Any) -> bool:
    return isinstance(item, Clip)


def _until(items: Iterable[Clip | Defect], clips: int) -> Iterator[Clip | Defect]:
    """Yield items up to a number of clips."""
    for item in items:
        yield item
        clips -= _is_clip(item)
        if not clips:
            return


def _other(expected: Sequence[Clip], found: Sequence[Any]) -> str | None:
    """Return the first difference of two sequences of clips."""
    for place, (one, other) in enumerate(zip_longest(expected, found)):
        if one != other:
            if one is None or other is None:
                return f"{len(found)} clips instead of {len(expected)}"
            if one.id == other.id:
                names = [
                    f.name for f in fields(one) if getattr(one, f.name) != getattr(other, f.name)
                ]
                return f"clip {place} ('{one.id}') has another {names[0]}"
            return f"clip {place} is '{other.id}' instead of '{one.id}'"
    return None


@contextmanager
def _reversed() -> Iterator[None]:
    """Within it, folders are listed in another order, as another file system may."""
    listdir, scandir = os.listdir, os.scandir

    class Scan:
        """The result of ``os.scandir``, backwards."""

        def __init__(self, *path: Any) -> None:
            with scandir(*path) as found:
                self.entries = iter(sorted(found, key=lambda e: e.name, reverse=True))

        def __enter__(self) -> "Scan":
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def __iter__(self) -> Iterator[Any]:
            return self.entries

        def __next__(self) -> Any:
            return next(self.entries)

        def close(self) -> None:
            """Do nothing: the folder has been read."""

    def backwards(*path: Any) -> list[Any]:
        return sorted(listdir(*path), reverse=True)

    with patch.object(os, "listdir", backwards), patch.object(os, "scandir", Scan):
        yield


class _Moved:
    """A dataset's copy at another place: what follows the place, the date or the contents."""

    def __init__(self, component: Component, options: Any) -> None:
        self.component, self.options = component, options

    def checks(self) -> list[Check]:
        """Return the checks that copy the dataset; none if its options name no root."""
        if not isinstance(getattr(self.options, "root", None), str | Path):
            return []
        return [
            Check(
                name="media",
                expected="absolute paths of media below the root or another folder of the options",
                advice="join the root and the name, with no path of your machine",
                run=self.media,
                needs=("sequence",),
            ),
            Check(
                name="moved",
                expected="the same clips and fingerprint if the folder moves and its dates change",
                advice="put no path, date or inode into ids, captions or the fingerprint",
                run=self.moved,
                needs=("ids", "captions", "fingerprint", "media"),
            ),
            Check(
                name="contents",
                expected="a fingerprint that follows captions and media; files() names all files",
                advice="hash the contents of every annotation file, e.g. by hashlib.sha256, and "
                "return all of them in files()",
                run=self.contents,
                needs=("moved",),
            ),
        ]

    def at(self, root: Path) -> Dataset:
        """Return a reader of the folder."""
        made: Dataset = self.component.build(replace(self.options, root=str(root)))
        return made

    @property
    def root(self) -> Path:
        """The dataset's folder."""
        return Path(self.options.root).expanduser().absolute()

    def media(self) -> str | None:
        """Return a clip whose media lie elsewhere."""
        given = [getattr(self.options, f.name) for f in fields(self.options)]
        named = [Path(v) for v in given if isinstance(v, str | Path) and Path(v).is_absolute()]
        allowed = [self.root, self.root.resolve(), *named]
        reader = self.at(self.root)
        for split in reader.splits():
            for clip in _clips(reader, split):
                if not clip.media.is_absolute():
                    return f"clip '{clip.id}': '{clip.media}' depends on the working directory"
                if not any(clip.media.is_relative_to(folder) for folder in allowed):
                    return f"clip '{clip.id}': {clip.media} is not below {self.root}"
        return None

    def moved(self) -> str | None:
        """Compare two copies at other places, with other dates."""
        with TemporaryDirectory() as folder:
            place = Path(folder).resolve()
            one, other = place / "one", place / "another" / "place"
            if mirror(self.root, one) is None or mirror(self.root, other, days=400.0) is None:
                return None
            first, second = self.at(one), self.at(other)
            for split in first.splits():
                for a, b in zip_longest(_clips(first, split), _clips(second, split)):
                    if _placeless(a, one) != _placeless(b, other):
                        return f"'{_id(a)}' becomes '{_id(b)}'"
            prints = [reader.fingerprint() for reader in (first, second)]
            return None if prints[0] == prints[1] else f"'{prints[0]}' becomes '{prints[1]}'"

    def contents(self) -> str | None:
        """Change a caption in a copy, then take a clip's media away."""
        with TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            copies = mirror(self.root, root)
            if copies is None:
                return None
            reader = self.at(root)
            print_ = reader.fingerprint()
            for split in reader.splits():
                clip = _clips(reader, split)[0]
                problem = self._caption(copies, root, split, clip, print_)
                if problem is not None:
                    return problem
            return self._media(copies, root, clip, print_)

    def _caption(
        self, copies: Sequence[Path], root: Path, split: str, clip: Clip, before: str
    ) -> str | None:
        """Change a letter of a caption in the files that hold it, one by one."""
        word = max(clip.captions[0].split(), key=len)
        other = word[:-1] + ("x" if word[-1] != "x" else "y")
        for path in copies:
            held, date = path.read_bytes(), path.stat()
            if word.encode() not in held:
                continue
            path.write_bytes(held.replace(word.encode(), other.encode()))
            os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
            try:
                reader = self.at(root)
                after, found = reader.fingerprint(), _clips(reader, split)
                named = {p.absolute() for p in reader.files()}
            except AvbenchError:
                continue  # the change was noticed, or made the file invalid
            finally:
                path.write_bytes(held)
                os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
            if found[0].captions == clip.captions:
                continue
            where = path.relative_to(root)
            if after == before:
                return f"the fingerprint stays '{before}' if '{word}' in {where} becomes '{other}'"
            if named and path.absolute() not in named:
                return f"files() lacks {where}, whose contents change clip '{clip.id}'"
        return None

    def _media(self, copies: Sequence[Path], root: Path, clip: Clip, before: str) -> str | None:
        """Take away the copy of a clip's media, if it is one."""
        if clip.media not in copies:
            return None
        clip.media.unlink()
        try:
            after = self.at(root).fingerprint()
        except AvbenchError:
            return None
        if after != before:
            return None
        return f"the fingerprint stays '{before}' without {clip.media.relative_to(root)}"


def _clips(reader: Dataset, split: str) -> list[Clip]:
    return _first(reader.iterate(split))


def _placeless(clip: Clip | None, root: Path) -> Any:
    """Return a clip as it is wherever its folder lies."""
    if clip is None:
        return None
    media = clip.media
    return replace(clip, media=media.relative_to(root) if media.is_relative_to(root) else media)


def _id(clip: Clip | None) -> str | None:
    return None if clip is None else clip.id
