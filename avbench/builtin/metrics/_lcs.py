"""ROUGE-L by longest common subsequences, found with the bits of whole numbers.

The figures are those of pycocoevalcap (a test holds this): precision and recall are each the best
over the references, and a text without words is one empty word, so that nothing against nothing
scores 1. What differs is the work: a reference's table of words is made once, and a caption meets
it in a few operations a shared word instead of a table of both lengths.

Sources: Lin, ROUGE, 2004; Hyyrö, Bit-parallel LCS-length computation revisited, 2004.
"""

from collections.abc import Sequence

BETA = 1.2


class Subsequences:
    """ROUGE-L against one set of references."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Note where each word stands.

        Args:
            references: of each clip, one or more texts of words with single blanks between.
        """
        self._references = [
            [_places(text.split(" ")) for text in dict.fromkeys(texts)] for texts in references
        ]

    def score(self, captions: Sequence[str]) -> list[float]:
        """ROUGE-L, 0 to 1, of one caption a clip, in the references' order."""
        return [
            _best(caption.split(" "), references)
            for caption, references in zip(captions, self._references, strict=True)
        ]


def _places(words: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Number of words, and for each of them a bit at every place where it stands."""
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
    """Length of the longest common subsequence: the zeros that are left among ``length`` bits."""
    full = (1 << length) - 1
    left = full
    for word in words:
        here = places.get(word)
        if here is not None:
            step = left & here
            left = ((left + step) | (left - step)) & full
    return length - left.bit_count()
