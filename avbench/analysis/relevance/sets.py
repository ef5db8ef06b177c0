"""The caption sets to analyse: real ones by their readers, or those of the embedded world."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from avbench.analysis.relevance.corpora import captions_of
from avbench.analysis.relevance.transcripts import Transcripts
from avbench.config.builder import Builder
from avbench.config.data_file import DataSource, file_sources
from avbench.config.strict_yaml import Problems
from avbench.core.errors import DataError, SuiteError, UnknownNameError, unknown
from avbench.core.registry import Registry
from avbench.core.types import Clip
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.settings import WorldSettings

EMBEDDED = "embedded"
ALL = "all"
"""Name of all splits together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One caption of one clip."""

    text: str
    video: str
    """The video with which the bootstrap draws it."""
    clip: str
    span: tuple[float | None, float | None]
    """Times of the clip; annotators who divide a video differently may use equal ids."""
    speech: str | None
    """Speech in the clip; None: unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The contents of a split, whatever is measured of it."""

    videos: Mapping[str, int]
    """Each video's number."""
    clips: int
    spoken: int
    """Clips with speech text that is not empty."""
    list_hash: str
    """Of clips and captions."""


@dataclass(frozen=True, kw_only=True)  # no slots: what was put together is kept
class CaptionSet:
    """The captions of one dataset."""

    key: str
    reader: str
    """Its reader; for sets of the embedded world, the form that they imitate."""
    splits: Mapping[str, Sequence[Clip]]
    lost: int = 0
    """Clips lost to defects of the annotations."""
    speech_from: str = ""
    """File of the speech; empty: the dataset's own."""

    def captions(self, split: str) -> list[Caption]:
        """Return the captions of a split, or of all splits together.

        Some files divide a split anew, so a clip's caption that several splits hold counts once. A
        caption that a split repeats counts as often as there.
        """
        if split not in self._captions:
            self._captions[split] = self._together() if split == ALL else self._of(split)
        return self._captions[split]

    def sizes(self, split: str) -> Sizes:
        """Return the sizes of a split, or of all splits together."""
        if split not in self._sizes:
            captions = self.captions(split)
            texts: dict[str, list[str]] = {}
            for caption in captions:
                texts.setdefault(caption.clip, []).append(caption.text)
            self._sizes[split] = Sizes(
                videos={v: i for i, v in enumerate(dict.fromkeys(c.video for c in captions))},
                clips=len({(c.clip, c.span) for c in captions}),
                spoken=len({(c.clip, c.span) for c in captions if c.speech}),
                list_hash=clip_list_hash(texts),
            )
        return self._sizes[split]

    @cached_property
    def _captions(self) -> dict[str, list[Caption]]:
        return {}

    @cached_property
    def _sizes(self) -> dict[str, Sizes]:
        return {}

    def _of(self, split: str) -> list[Caption]:
        return [caption for clip in self.splits[split] for caption in _of(clip)]

    def _together(self) -> list[Caption]:
        most: Counter[tuple[str, str]] = Counter()
        kept: dict[tuple[str, str], Caption] = {}
        for split in self.splits:
            found = self.captions(split)
            most |= Counter((c.clip, c.text) for c in found)
            for caption in found:
                kept.setdefault((caption.clip, caption.text), caption)
        return [kept[place] for place, n in most.items() for _ in range(n)]

    def heard_in(self, file: Path) -> "CaptionSet":
        """Return the set with the speech of a file in place of its own."""
        spoken = Transcripts.read(file)
        return replace(
            self,
            speech_from=short(file) + _left_out(spoken),
            splits={
                split: [replace(clip, speech=spoken.of(clip)) for clip in clips]
                for split, clips in self.splits.items()
            },
        )


def _of(clip: Clip) -> list[Caption]:
    span = clip.start, clip.end
    return [
        Caption(text=text, video=clip.video, clip=clip.id, span=span, speech=clip.speech)
        for text in clip.captions
    ]


def _left_out(spoken: Transcripts) -> str:
    if not spoken.unread:
        return ""
    return f" without {len(spoken.unread)} files that cannot be read, e.g. {spoken.unread[0]}"


def short(path: Path) -> str:
    """Name a file for tables: its folder's name and its own."""
    return "/".join(path.parts[-2:])


def sources(data: str, registry: Registry) -> Mapping[str, DataSource]:
    """Read the datasets of a data file; none for the embedded world.

    Raises:
        SuiteError: there is no such file, or it is at fault.
    """
    if data == EMBEDDED:
        return {}
    path = Path(data)
    if not path.is_file():
        raise SuiteError(f"data file {path}: no such file; or '{EMBEDDED}'")
    problems = Problems()
    found = file_sources(path, Builder(registry, problems))
    problems.check()
    return found


def read_set(source: DataSource, registry: Registry) -> CaptionSet:
    """Read all splits of a dataset's files.

    Raises:
        DataError: the annotations are missing or malformed.
    """
    dataset = source.open(registry)
    splits = {split: dataset.clips(split) for split in dataset.splits()}
    if not splits:
        raise DataError(f"{source.key}: {source.root} holds no split of '{source.reader.name}'")
    lost = sum(d.clip is not None for split in splits for d in dataset.defects(split))
    return CaptionSet(key=source.key, reader=source.reader.name, splits=splits, lost=lost)


def embedded_sets(keys: Sequence[str], settings: WorldSettings | None = None) -> list[CaptionSet]:
    """Make the embedded world's captioned sets, or those named, without media.

    Raises:
        UnknownNameError: a key is none of the world's.
    """
    from avbench.data.world.stage import FORMS

    for key in keys:
        if key not in FORMS:
            raise UnknownNameError(f"--dataset: {unknown('dataset', key, FORMS)}")
    made = []
    for key, form in FORMS.items():
        splits: dict[str, list[Clip]] = {}
        for entry in form.make(settings or WorldSettings()).entries:
            video = entry.id.partition("#")[0]
            clip = Clip(
                id=entry.id,
                video=video,
                media=Path(),
                captions=entry.captions,
                speech=entry.words,
            )
            splits.setdefault(entry.split, []).append(clip)
        # The narrated corpus has one split; its captions are its speech.
        if key in keys or (not keys and len(splits) > 1):
            made.append(CaptionSet(key=key, reader=key, splits=splits))
    return made


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Captions whose words are counted for ARS."""

    titles: tuple[str, ...]
    """Keys of datasets and names of files."""
    texts: tuple[str, ...]


def corpus(
    what: str, given: Sequence[str], known: Mapping[str, DataSource], registry: Registry
) -> Corpus:
    """Read the captions of the data file's datasets, by key, and of files.

    Raises:
        DataError: a name is neither dataset nor file, or cannot be read.
    """
    titles, texts = [], []
    for name in given:
        if name in known:
            texts += [c.text for c in read_set(known[name], registry).captions(ALL)]
            titles.append(name)
            continue
        path = Path(name)
        if not path.is_file():
            raise DataError(f"{what}: no such file, and {unknown('dataset', name, known)}")
        found = captions_of(path)
        kept = list(filter(None, found))
        texts += kept
        blank = len(found) - len(kept)
        titles.append(short(path) + (f" ({blank} blank captions left out)" if blank else ""))
    return Corpus(titles=tuple(titles), texts=tuple(texts))
