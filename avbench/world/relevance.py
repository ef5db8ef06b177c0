"""How much of the captions can be heard: speech coverage (SCR) and audio relevance (ARS).

Conventions: a token is a run of letters, lower-cased, with a possessive "'s" dropped. SCR counts
all tokens; ARS leaves out stop words. No dependency of ours lemmatises without a download, so
words are conflated by ``lemma``, a stated rule.

Source: "Exploring the Role of Audio in Video Captioning" (Shen et al.), Table 1, App. B, Eq. 13.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from avbench.errors import DataError

STOP_WORDS = frozenset(
    """i me my myself we our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself they them their theirs themselves what which who whom this
    that these those am is are was were be been being have has had having do does did doing a an
    the and but if or because as until while of at by for with about against between into through
    during before after above below to from up down in out on off over under again further then
    once here there when where why how all any both each few more most other some such no nor not
    only own same so than too very s t can will just don should now""".split()  # noqa: SIM905
)
"""The 127 English stop words of NLTK's list."""

COUNTS = "word_counts.csv"


def tokens(text: str) -> list[str]:
    """The words of a text.

    >>> tokens("A dog's bark, and 2 MEN.")
    ['a', 'dog', 'bark', 'and', 'men']
    """
    return re.findall(r"[a-z]+", re.sub(r"['’]s\b", "", text.lower()))


def lemma(word: str) -> str:
    """The form under which a word is counted: plural, third person, -ed, -ing and final e go.

    >>> [lemma(w) for w in ("barks", "running", "bakes", "baking", "ladies", "glass", "sing")]
    ['bark', 'run', 'bak', 'bak', 'lady', 'glass', 'sing']
    """
    if len(word) > 3:
        if word.endswith("ies"):
            word = word[:-3] + "y"
        elif re.search(r"(ss|sh|ch|x|z)es$", word):
            word = word[:-2]
        elif word.endswith("s") and not re.search(r"(ss|us|is)$", word):
            word = word[:-1]
    stem = re.fullmatch(r"(\w*[aeiouy]\w*)(?:(?<!e)ed|ing)", word)
    if stem and len(stem.group(1)) > 1:
        word = stem.group(1)
        if len(word) > 2 and word[-1] == word[-2] and word[-1] not in "aeioulsz":
            word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def content(text: str) -> list[str]:
    """The lemmas of a text without its stop words."""
    return [lemma(token) for token in tokens(text) if token not in STOP_WORDS]


@dataclass(frozen=True, kw_only=True, slots=True)
class WordCounts:
    """How often words occur in audio captions and in image captions."""

    audio: Mapping[str, int]
    image: Mapping[str, int]
    audio_total: int
    """Content words of all audio captions (AudioCaps and Clotho)."""
    image_total: int
    """Content words of all image captions (COCO)."""
    types: int
    """Different content words in both together."""
    closed: bool = False
    """Whether a word that is in neither mapping is unknown, rather than never seen."""

    @classmethod
    def of(cls, audio: Iterable[str], image: Iterable[str]) -> "WordCounts":
        """Count the words of two corpora of captions."""
        heard = Counter(word for text in audio for word in content(text))
        seen = Counter(word for text in image for word in content(text))
        return cls(
            audio=heard,
            image=seen,
            audio_total=heard.total(),
            image_total=seen.total(),
            types=len(heard | seen),
        )

    def ars(self, word: str) -> float:
        """Eq. 13 for one lemma: max(log(f_audio / f_image), 0), natural logarithm.

        Open in the paper: words absent from the image captions. Here frequencies are smoothed by
        adding one to every count, f(w) = (c(w) + 1) / (total + types).

        Raises:
            DataError: the counts are a closed list that lacks the word.
        """
        if self.closed and word not in self.audio:
            raise DataError(
                f"{COUNTS}: no counts for {word!r}; the list holds the embedded world's words only"
            )
        audio = (self.audio.get(word, 0) + 1) / (self.audio_total + self.types)
        image = (self.image.get(word, 0) + 1) / (self.image_total + self.types)
        return max(math.log(audio / image), 0.0)


@cache
def shipped_counts() -> WordCounts:
    """The counts that come with avbench: of the embedded world's own words."""
    audio, image = {}, {}
    with files(__package__).joinpath(COUNTS).open(encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            audio[row["word"]], image[row["word"]] = int(row["audio"]), int(row["image"])
    totals = {name: (audio.pop(name), image.pop(name)) for name in ("<total>", "<types>")}
    return WordCounts(
        audio=audio,
        image=image,
        audio_total=totals["<total>"][0],
        image_total=totals["<total>"][1],
        types=totals["<types>"][0],
        closed=True,
    )


def audio_relevance(captions: Iterable[str], counts: WordCounts) -> float:
    """ARS of a set: the mean over captions of the sum over their content words."""
    scores = [sum(map(counts.ars, content(caption))) for caption in captions]
    return sum(scores) / len(scores)


def speech_coverage(pairs: Iterable[tuple[str, str]]) -> float:
    """SCR of a set: percentage of caption tokens that occur in their clip's speech.

    Args:
        pairs: caption and transcript; pooled over all captions.
    """
    covered = total = 0
    for caption, transcript in pairs:
        spoken = set(tokens(transcript))
        words = tokens(caption)
        covered += sum(word in spoken for word in words)
        total += len(words)
    return 100 * covered / total


def world_words(templates: Iterable[str], values: Iterable[str]) -> Iterator[str]:
    """The content words that captions made from templates and slot values can have."""
    plain = [re.sub(r"\{\w*\}", " ", template) for template in templates]
    yield from sorted({word for text in (*plain, *values) for word in content(text)})
