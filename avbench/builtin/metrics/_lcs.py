"""ROUGE-L by longest common subsequences, computed with the bits of integers.

The figures equal pycocoevalcap's (a test checks this): precision and recall are each the best over
the references, and a text without words is one empty word, so that two empty texts score 1. Only
the work differs: a reference's table of words is made once, and a caption takes a few operations
for each shared word instead of a table of both lengths.

Sources: Lin, ROUGE, 2004; Hyyrö, Bit-parallel LCS-length computation revisited, 2004.
"""

from collections.abc import Sequence

BETA = 1.2


class Subsequences:
    """ROUGE-L against one set of references."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Store the places of each word.

        Args:
            references: one or more texts for each clip, words separated by single blanks.
        """
        self._references = [
            [_places(text.split(" ")) for text in dict.fromkeys(texts)] for texts in references
        ]

    def score(self, captions: Sequence[str]) -> list[float]:
        """Return ROUGE-L, 0 to 1, of one caption for each clip, in the references' order."""
        return [
            _best(caption.split(" "), references)
            for caption, references in zip(captions, self._references, strict=True)
        ]


def _places(words: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Return the number of words, and for each word a bit at each of its places."""
    places: dict[str, int] = {}
    for i, word in enumerate(words):
        places[word] = places.get(word, 0) | 1 << i
    return len(words), places


def _best(words: Sequence[str], references: Sequence[tuple[int, dict[str, int]]]) -> float:
    precision = recall = 0.0
    for length, places in references:
        common = _common(words, length, places)
        precision = max(precision, common / float(len(words)))
        recall = max(recall, common / float(length))
    if not precision or not recall:
        return 0.0
    return ((1 + BETA**2) * precision * recall) / float(recall + BETA**2 * precision)


def _common(words: Sequence[str], length: int, places: dict[str, int]) -> int:
    """Return the longest common subsequence's length: the zeros left among ``length`` bits."""
    full = (1 << length) - 1
    left = full
    for word in words:
        here = places.get(word)
        if here is not None:
            step = left & here
            left = ((left + step) | (left - step)) & full
    return length - left.bit_count()
