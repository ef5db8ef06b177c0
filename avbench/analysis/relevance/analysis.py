"""The paper's Table 1 and Fig. A, and the effect of its open choices."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from avbench.analysis.relevance.figures import Measured, Of, SetFigures, Unheard
from avbench.analysis.relevance.reading import LEMMATIZERS, STOPS, TOKENIZERS, Reading, Texts
from avbench.analysis.relevance.sets import ALL, CaptionSet, Corpus
from avbench.config.shipped import published
from avbench.core.errors import AvbenchError
from avbench.data.text.counts import ADD_ONE, Unseen, WordCounts

PAPER = "table1_audio_relevance"
"""The paper's figures, see ``avbench.config.published``."""

RULES = (*map(Unseen.of, ("add:1", "add:0.5", "add:0.1", "once", "zero", "highest")),)
"""Rules for words of no image caption that the sensitivity table compares."""

COMPARED: tuple[Of, ...] = ("tokens", "lemmas", "content")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """The choices that the paper leaves open."""

    reading: Reading
    unseen: Unseen = ADD_ONE
    coverage: Of = "tokens"
    unheard: Unheard = "zero"


class Word(NamedTuple):
    """One of the words with the highest ARS."""

    lemma: str
    shown: str
    """Its most frequent form in the audio captions."""
    ars: float
    audio: int
    image: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The figures of all sets with one choice changed."""

    title: str
    figures: tuple[SetFigures, ...]
    problem: str = ""
    """Why there are none."""
    scr: bool = True
    """SCR may depend on the choice."""
    ars: bool = True
    """ARS may depend on the choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """The results of an analysis."""

    choices: Choices
    sets: tuple[CaptionSet, ...]
    figures: tuple[SetFigures, ...]
    """Of each set: all splits together, then each split if there are several."""
    counts: WordCounts | None
    audio: Corpus
    image: Corpus
    words: tuple[Word, ...]
    """The words with the highest ARS; none if the counts are a closed list."""
    variants: tuple[Variant, ...]
    """The first is as chosen; none if not asked for."""


def analyse(
    sets: Sequence[CaptionSet],
    choices: Choices,
    *,
    audio: Corpus,
    image: Corpus,
    shipped: WordCounts | None = None,
    top: int = 100,
    sensitivity: bool = True,
) -> Analysis:
    """Measure sets.

    Args:
        sets: the captions to measure.
        choices: those that the paper leaves open.
        audio: captions of sound.
        image: captions of images; give both ``audio`` and ``image``, or neither.
        shipped: counts in place of empty corpora.
        top: the number of words with the highest ARS to list.
        sensitivity: vary the choices, one at a time.

    Raises:
        AvbenchError: one corpus is empty and the other is not; a library is missing; the
            shipped counts were made with other choices.
    """
    if bool(audio.texts) != bool(image.texts):
        given, lacking = ("--audio", "--image") if audio.texts else ("--image", "--audio")
        raise AvbenchError(f"{given} is given and {lacking} is not; ARS compares the two")
    choices.reading.check()
    corpora = (audio, image) if audio.texts else None
    counted = _Counted(corpora, shipped)
    counts = counted.with_(choices)
    figures = []
    for each in sets:
        measured = counted.measured(each, choices)
        figures.append(measured.figures(ALL))
        if len(each.splits) > 1:
            figures += [measured.figures(split) for split in each.splits]
        else:
            figures[-1] = replace(figures[-1], split=next(iter(each.splits)))
    return Analysis(
        choices=choices,
        sets=tuple(sets),
        figures=tuple(figures),
        counts=counts,
        audio=audio,
        image=image,
        words=tuple(_top(counts, choices.reading, counted.texts, audio, top))
        if counts and not counts.closed
        else (),
        variants=tuple(_variants(sets, choices, counted)) if sensitivity else (),
    )


def paper(figures: SetFigures) -> tuple[float, float] | None:
    """Return SCR (%) and ARS of a set in the paper's Table 1, by its key or its reader."""
    rows = {_bare(row["dataset"]): row for row in published(PAPER)}
    row = rows.get(_bare(figures.key)) or rows.get(_bare(figures.reader))
    return (float(row["scr_percent"]), float(row["ars"])) if row else None


def swapped(figures: Sequence[SetFigures]) -> list[tuple[str, str]]:
    """Return the pairs of sets whose order by ARS differs from the paper's."""
    known = [(f, p[1], f.ars.value) for f in figures if f.ars and (p := paper(f)) is not None]
    return [
        (one.key, other.key)
        for (one, paper_one, own_one), (other, paper_other, own_other) in combinations(known, 2)
        if (paper_one - paper_other) * (own_one - own_other) <= 0
    ]


def _bare(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


class _Counted:
    """The corpora, counted once for each reading.

    Args:
        corpora: of sound and of images.
        shipped: counts that stand for them.
    """

    def __init__(self, corpora: tuple[Corpus, Corpus] | None, shipped: WordCounts | None) -> None:
        self.texts = Texts()
        self._corpora = corpora
        self.shipped = shipped if corpora is None else None
        self._known: dict[Reading, WordCounts] = {}

    def with_(self, choices: Choices) -> WordCounts | None:
        """Return the counts for some choices, or None without corpora."""
        if self._corpora is None and self.shipped is None:
            return None
        reading = choices.reading
        if self.shipped and choices.unseen.rule == "highest":
            raise AvbenchError(
                f"unseen words: {self.shipped.origin} holds some words only, so the highest of "
                "all is not known; give --audio and --image"
            )
        if reading not in self._known:
            self._known[reading] = self._count(reading)
        return replace(self._known[reading], unseen=choices.unseen)

    def measured(self, each: CaptionSet, choices: Choices) -> Measured:
        """Read a set with some choices."""
        return Measured(
            each,
            choices.reading,
            self.with_(choices),
            of=choices.coverage,
            unheard=choices.unheard,
            known=self.texts,
        )

    def _count(self, reading: Reading) -> WordCounts:
        if self._corpora is not None:
            audio, image = (corpus.texts for corpus in self._corpora)
            return WordCounts.of(audio, image, content=self.texts.content(reading))
        assert self.shipped is not None
        if reading != Reading():
            raise AvbenchError(
                f"{self.shipped.origin} was counted with {Reading().signature}, got "
                f"{reading.signature}; give --audio and --image to count otherwise"
            )
        return self.shipped


def _top(
    counts: WordCounts, reading: Reading, texts: Texts, audio: Corpus, top: int
) -> Iterator[Word]:
    """Yield the words with the highest ARS; ties go to the more frequent in audio captions."""
    order = sorted(counts.table, key=lambda w: (-counts.table[w], -counts.audio[w], w))[:top]
    forms: dict[str, Counter[str]] = {word: Counter() for word in order}
    for token, n in Counter(t for ts in texts.tokens(audio.texts, reading) for t in ts).items():
        for word in reading.words([token]):
            if word in forms:
                forms[word][token] += n
    for word in order:
        shown = max(forms[word], key=lambda f: (forms[word][f], f), default=word)
        yield Word(word, shown, counts.table[word], counts.audio[word], counts.image.get(word, 0))


def _variants(
    sets: Sequence[CaptionSet], choices: Choices, counted: _Counted
) -> Iterator[Variant]:
    """Yield the analysis as chosen, then with each choice changed, one at a time."""
    reading = choices.reading
    plans = [("as chosen", choices, True, True)]
    plans += [
        (f"unseen words: {rule}", replace(choices, unseen=rule), False, True)
        for rule in RULES
        if rule != choices.unseen and not (counted.shipped and rule.rule == "highest")
    ]
    plans += [
        (
            f"{title}: {name}",
            replace(choices, reading=replace(reading, **{field: name})),
            scr,
            True,
        )
        for title, field, known, scr in (
            ("lemmatizer", "lemmatizer", LEMMATIZERS, choices.coverage != "tokens"),
            ("stop words", "stop_words", STOPS, choices.coverage == "content"),
            ("tokenizer", "tokenizer", TOKENIZERS, True),
        )
        for name in known
        if name != getattr(reading, field) and not counted.shipped
    ]
    plans += [
        (f"speech covers: {of}", replace(choices, coverage=of), True, False)
        for of in COMPARED
        if of != choices.coverage
    ]
    if any(clip.speech is None for s in sets for clips in s.splits.values() for clip in clips):
        other: Unheard = "skip" if choices.unheard == "zero" else "zero"
        title = f"clips without a transcript: {other}"
        plans.append((title, replace(choices, unheard=other), True, False))
    for title, changed, scr, ars in plans:
        figures: list[SetFigures] = []
        problem = ""
        try:
            changed.reading.check()
            figures += (counted.measured(each, changed).figures(ALL) for each in sets)
        except AvbenchError as error:
            problem = str(error)
        yield Variant(title=title, figures=tuple(figures), problem=problem, scr=scr, ars=ars)


def by_key(figures: Sequence[SetFigures]) -> Mapping[str, SetFigures]:
    """Return the figures of each set by key."""
    return {f.key: f for f in figures}
