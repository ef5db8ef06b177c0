"""Word counts in audio and image captions, and the audio relevance score (ARS, Eq. 13)."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from avbench.core.errors import DataError
from avbench.core.numbers import Number, shown
from avbench.core.visible import brief, of_cell
from avbench.data.text.words import content, tokens

Content = Callable[[Iterable[str]], list[list[str]]]
"""Function from texts to their content words, in the form that is counted."""

TOTAL, TYPES = "<total>", "<types>"
"""Rows of a file of counts that hold sums, not words."""


MOST = 10**12
"""Words of a kind, at most."""

ADDED = Number(unit="words", above=0, most=1_000_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unseen:
    """Rule for words in no image caption, for which Eq. 13 divides by zero.

    A word in no audio caption scores 0 by Eq. 13, whatever the rule.
    """

    rule: Literal["add", "once", "zero", "highest"] = "add"
    """``add``: ``amount`` is added to every count, f(w) = (c(w) + a) / (total + a·types).
    ``once``: the word counts as seen once. ``zero``: it scores 0. ``highest``: it scores as the
    highest word among those in image captions."""
    amount: float = 1.0

    @classmethod
    def of(cls, text: str) -> "Unseen":
        """Read ``add:0.5``, ``add``, ``once``, ``zero`` or ``highest``.

        Raises:
            DataError: the text is none of these.
        """
        name, _, number = text.partition(":")
        try:
            amount = float(number) if number else 1.0
        except ValueError:
            amount = math.nan
        good = name in ("once", "zero", "highest") and ":" not in text
        if not good and (name != "add" or ADDED.fault(amount) is not None):
            raise DataError(
                f"unseen words: must be add:A with A {ADDED.allowed}, once, zero or highest, got "
                f"{shown(text)}"
            )
        return cls(rule=name, amount=amount)  # type: ignore[arg-type]  # checked above

    def __str__(self) -> str:
        return f"add:{self.amount:g}" if self.rule == "add" else self.rule


ADD_ONE = Unseen()


@dataclass(frozen=True, kw_only=True)  # no slots: the table is cached
class WordCounts:
    """Word counts in audio captions and in image captions."""

    audio: Mapping[str, int]
    image: Mapping[str, int]
    audio_total: int
    """Content words of all audio captions (AudioCaps and Clotho)."""
    image_total: int
    """Content words of all image captions (COCO)."""
    types: int
    """Number of different content words in both together."""
    unseen: Unseen = ADD_ONE
    closed: bool = False
    """True: a word in neither mapping is an error; False: it was never seen."""
    origin: str = ""
    """Name of the file that they come from."""
    content: Content = content
    """Function from texts to the words that were counted."""

    @classmethod
    def of(
        cls,
        audio: Iterable[str],
        image: Iterable[str],
        *,
        content: Content = content,
        unseen: Unseen = ADD_ONE,
    ) -> "WordCounts":
        """Count the words of two corpora of captions."""
        heard, seen = (
            Counter(word for words in content(corpus) for word in words)
            for corpus in (audio, image)
        )
        return cls(
            audio=heard,
            image=seen,
            audio_total=heard.total(),
            image_total=seen.total(),
            types=len(heard | seen),
            unseen=unseen,
            content=content,
        )

    def ars(self, word: str) -> float:
        """Return Eq. 13 for one word, in the form that is counted.

        Raises:
            DataError: the counts are a closed list without the word.
        """
        if self.closed and word not in self.audio:
            raise DataError(
                f"{self.origin}: no counts for {word!r}; the list holds the embedded world's "
                f"words only"
            )
        return self.table.get(word, 0.0)

    @cached_property
    def table(self) -> Mapping[str, float]:
        """ARS of every word in an audio caption; all others score 0."""
        seen = {
            word: self._ratio(word)
            for word, n in self.audio.items()
            if n and self._in_image_captions(word)
        }
        rest = (word for word, n in self.audio.items() if n and word not in seen)
        if self.unseen.rule == "zero":
            return seen | dict.fromkeys(rest, 0.0)
        most = max(seen.values(), default=0.0)
        highest = self.unseen.rule == "highest"
        return seen | {word: most if highest else self._ratio(word) for word in rest}

    def relevance(self, captions: Iterable[str]) -> list[float]:
        """Return the ARS of each caption: the sum over its content words."""
        return [sum(map(self.ars, words)) for words in self.content(captions)]

    def _in_image_captions(self, word: str) -> bool:
        """Return True if an image caption has a word."""
        return self.image.get(word, 0) > 0

    def _ratio(self, word: str) -> float:
        """Return Eq. 13 for a word whose smoothed counts are above zero."""
        add = self.unseen.amount if self.unseen.rule == "add" else 0.0
        seen = self.image.get(word, 0) or int(self.unseen.rule == "once")
        audio = (self.audio[word] + add) / (self.audio_total + add * self.types)
        image = (seen + add) / (self.image_total + add * self.types)
        return max(math.log(audio / image), 0.0)


def audio_relevance(captions: Iterable[str], counts: WordCounts) -> float:
    """Return the ARS of a set: the mean over captions."""
    scores = counts.relevance(captions)
    return sum(scores) / len(scores)


def speech_coverage(
    pairs: Iterable[tuple[str, str]], tokens: Callable[[str], Sequence[str]] = tokens
) -> float:
    """Return a set's speech coverage (SCR): percent of caption tokens in the clip's speech.

    Args:
        pairs: captions and transcripts; tokens are pooled over all captions.
        tokens: splits a text into tokens.
    """
    covered = total = 0
    for caption, transcript in pairs:
        spoken = set(tokens(transcript))
        words = tokens(caption)
        covered += sum(word in spoken for word in words)
        total += len(words)
    return 100 * covered / total


def _count(text: str | None) -> int:
    """Return a count of words.

    Raises:
        ValueError: it is no whole number from 0 to ``MOST``.
    """
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST))):
        raise ValueError(f"a count must be a whole number from 0 to {MOST:,}, got {shown(text)}")
    return int(text)


def read_counts(path: Path) -> tuple[WordCounts, dict[str, str]]:
    """Read a file of counts: lines ``# name: value``, then columns ``word, audio, image``.

    Returns:
        The counts, and the names and values of the lines before them.

    Raises:
        DataError: the file is missing, lacks a column or a row of sums, or a count is no number.
    """
    header: dict[str, str] = {}
    counts: dict[str, tuple[int, int]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = file.readlines()
        while lines and lines[0].startswith("#"):
            name, _, value = lines.pop(0).removeprefix("#").partition(":")
            header[name.strip()] = value.strip()
        rows = csv.DictReader(lines)
        named = rows.fieldnames or ()
        if len(set(named)) < len(named):
            raise ValueError(f"a column is given twice: {', '.join(named)}")
        for row in rows:
            word = of_cell(row["word"])
            if word in counts:
                raise ValueError(f"the word {word!r} is given twice")
            counts[word] = _count(row["audio"]), _count(row["image"])
        totals, (types, _) = counts.pop(TOTAL), counts.pop(TYPES)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path}: must be counts of words (columns word, audio, image; rows {TOTAL} and "
            f"{TYPES}), as avbench analyse relevance writes them: "
            f"{brief(repr(error), 200)}"
        ) from error
    found = WordCounts(
        audio={word: n for word, (n, _) in counts.items()},
        image={word: n for word, (_, n) in counts.items()},
        audio_total=totals[0],
        image_total=totals[1],
        types=types,
        origin=path.name,
    )
    return found, header
