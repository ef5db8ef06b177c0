"""BLEU and CIDEr-D over references whose n-grams are counted once.

The figures equal pycocoevalcap's to 1e-9 (a test checks this): the same small constants in BLEU,
document frequencies from the references of the scored set, lengths in bigrams in CIDEr's penalty,
clipped products. Only the work differs: references are counted once for all systems, and a caption
is compared on the n-grams that it shares with them.

Sources: Papineni et al., ACL 2002 (BLEU); Vedantam et al., CVPR 2015 (CIDEr).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float64, Int64

N = 4
SIGMA = 6.0
SMALL, TINY = 1e-9, 1e-15
"""Constants that coco-caption adds to BLEU's counts against division by zero."""

Ints = Int64[np.ndarray, " _"]
Floats = Float64[np.ndarray, " _"]


def bleu(sums: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
    """Return BLEU-4, 0 to 1, of rows of sums.

    Args:
        sums: matched and total n-grams for n = 1…4, words, words of the closest references.
    """
    right, guessed = sums[:, :N], sums[:, N : 2 * N]
    words, closest = sums[:, 2 * N], sums[:, 2 * N + 1]
    precision = np.prod((right + TINY) / (guessed + SMALL), axis=1) ** (1 / N)
    ratio = (words + TINY) / (closest + SMALL)
    with np.errstate(over="ignore"):
        value: Floats = precision * np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return value


@dataclass(frozen=True, slots=True)
class _Counts:
    """Counts of the n-grams of one length in each text."""

    text: Ints
    gram: Ints
    count: Ints


@dataclass(frozen=True, slots=True)
class _Postings:
    """The references' n-grams of one length: for each clip and n-gram, the references with it.

    An entry of ``keys`` is ``clip * kinds + gram``; its references are ``first[i]:first[i + 1]``.
    """

    kinds: int
    keys: Ints
    first: Ints
    most: Ints
    """The largest count of each entry in one reference."""
    reference: Ints
    weight: Floats
    """tf-idf in that reference."""
    idf: Floats
    """log(clips) - log(clips whose references have it), of each n-gram."""
    norm: Floats
    """Norm of each reference."""


class NGrams:
    """BLEU-4 and CIDEr-D against one set of references."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Count the references' n-grams.

        Args:
            references: one or more texts for each clip, words separated by single blanks.
        """
        self._of_clip = np.array([len(texts) for texts in references])
        self._first = np.cumsum(self._of_clip) - self._of_clip
        self._clip = np.repeat(np.arange(len(references)), self._of_clip)
        self._words: dict[str, int] = {}
        """Word → number."""
        self._longer: list[Ints] = []
        """For n = 2…4, sorted: ``(number of the first n - 1 words << 32) + last word``."""
        texts = [text.split() for text in chain.from_iterable(references)]
        self._length = _lengths(texts)
        flat = self._number(texts, self._words)
        self._postings = [
            self._postings_of(counts) for counts in self._count(flat, texts, grow=True)
        ]

    def score(self, captions: Sequence[str]) -> tuple[Float64[np.ndarray, "C 10"], Floats]:
        """Score one caption for each clip, in the references' order.

        Returns:
            The sufficient statistics of BLEU (see ``bleu``), and CIDEr, 0 to 10, of each caption.
        """
        texts = [text.split() for text in captions]
        length = _lengths(texts)
        rows = np.zeros((len(texts), 2 * N + 2))
        rows[:, 2 * N] = length
        gap = np.abs(self._length - length[self._clip])
        nearest = np.minimum.reduceat((gap << 32) + self._length, self._first)
        rows[:, 2 * N + 1] = nearest & (2**32 - 1)
        # CIDEr counts bigrams as a text's length.
        delta = np.maximum(length - 1, 0)[self._clip] - np.maximum(self._length - 1, 0)
        penalty = np.exp(-(delta.astype(float) ** 2) / (2 * SIGMA**2))
        similar = np.zeros(len(self._clip))
        flat = self._number(texts, {})
        for n, counts in enumerate(self._count(flat, texts, grow=False)):
            right, product = self._match(self._postings[n], counts, len(texts))
            rows[:, n] = right
            rows[:, N + n] = np.maximum(0, length - n)
            similar += product * penalty
        cider = np.add.reduceat(similar, self._first) / N / self._of_clip * 10.0
        return rows, cider

    def _match(self, known: _Postings, counts: _Counts, clips: int) -> tuple[Floats, Floats]:
        """Return clipped matches of each clip, and tf-idf products with each reference."""
        new = counts.gram >= known.kinds
        idf = np.full(len(new), np.log(float(clips)))
        idf[~new] = known.idf[counts.gram[~new]]
        weight = counts.count * idf
        norm = np.sqrt(_sum_by_place(counts.text, weight**2, clips))
        key = counts.text[~new] * known.kinds + counts.gram[~new]
        place = np.searchsorted(known.keys, key)
        met = _are_known(place, key, known.keys)
        place, text = place[met], counts.text[~new][met]
        count, weight = counts.count[~new][met], weight[~new][met]
        right = _sum_by_place(text, np.minimum(count, known.most[place]), clips)
        holders = known.first[place + 1] - known.first[place]
        steps = np.arange(holders.sum()) - np.repeat(np.cumsum(holders) - holders, holders)
        at = np.repeat(known.first[place], holders) + steps
        product = np.minimum(np.repeat(weight, holders), known.weight[at]) * known.weight[at]
        dot = _sum_by_place(known.reference[at], product, len(self._clip))
        both = norm[self._clip] * known.norm
        return right, np.divide(dot, both, out=np.zeros_like(dot), where=both > 0)

    def _number(self, texts: Sequence[Sequence[str]], new: dict[str, int]) -> Ints:
        """Return the words' numbers, text after text; unknown words are added to ``new``."""
        known, base = self._words, len(self._words)
        if new is known:
            numbers = (known.setdefault(w, len(known)) for text in texts for w in text)
        else:
            numbers = (
                known[w] if w in known else base + new.setdefault(w, len(new))
                for text in texts
                for w in text
            )
        return np.fromiter(numbers, dtype=np.int64)

    def _count(self, flat: Ints, texts: Sequence[Sequence[str]], *, grow: bool) -> list[_Counts]:
        """Count the n-grams of texts, n = 1…4; new ones are numbered after the known ones."""
        of_word = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        start, gram = np.arange(len(flat)), flat
        found = [_unique(of_word, gram)]
        for n in range(2, N + 1):
            end = start + n - 1
            inside = end < len(flat)
            inside[inside] = of_word[end[inside]] == of_word[start[inside]]
            start = start[inside]
            keys = (gram[inside] << 32) + flat[start + n - 1]
            if grow:
                known, gram = np.unique(keys, return_inverse=True)
                self._longer.append(known)
            else:
                gram = _look_up(keys, self._longer[n - 2])
            found.append(_unique(of_word[start], gram))
        return found

    def _postings_of(self, counts: _Counts) -> _Postings:
        """Arrange references' counts by clip and n-gram."""
        kinds = int(counts.gram.max()) + 1 if len(counts.gram) else 0
        key = self._clip[counts.text] * kinds + counts.gram
        order = np.argsort(key, kind="stable")
        keys, first = np.unique(key[order], return_index=True)
        count = counts.count[order]
        clips_with = np.bincount(keys % kinds, minlength=kinds)
        idf = np.log(float(len(self._first))) - np.log(np.maximum(1.0, clips_with))
        reference = counts.text[order]
        weight = count * idf[counts.gram[order]]
        return _Postings(
            kinds=kinds,
            keys=keys,
            first=np.append(first, len(order)),
            most=np.maximum.reduceat(count, first) if len(first) else count,
            reference=reference,
            weight=weight,
            idf=idf,
            norm=np.sqrt(_sum_by_place(reference, weight**2, len(self._clip))),
        )


def _sum_by_place(place: Ints, of: np.ndarray, places: int) -> Floats:
    """Sum the values of each place as floats; bincount gives integers if there is no value."""
    return np.bincount(place, of, minlength=places).astype(np.float64)


def _lengths(texts: Sequence[Sequence[str]]) -> Ints:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _unique(text: Ints, gram: Ints) -> _Counts:
    """Count equal n-grams of a text."""
    kinds = int(gram.max()) + 1 if len(gram) else 1
    keys, count = np.unique(text * kinds + gram, return_counts=True)
    return _Counts(text=keys // kinds, gram=keys % kinds, count=count)


def _look_up(keys: Ints, known: Ints) -> Ints:
    """Return each key's place among the sorted known ones; new keys are numbered after them."""
    place = np.searchsorted(known, keys)
    new = ~_are_known(place, keys, known)
    place[new] = len(known) + np.unique(keys[new], return_inverse=True)[1]
    return place


def _are_known(place: Ints, keys: Ints, known: Ints) -> Bool[np.ndarray, " _"]:
    """Return True for each key that is the known one at its place."""
    if not len(known):
        return np.zeros(len(keys), dtype=bool)
    same: Bool[np.ndarray, " _"] = known[np.minimum(place, len(known) - 1)] == keys
    return same
