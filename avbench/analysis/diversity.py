"""How varied captions are, and how long: distinct n-grams, vocabulary, words.

Distinct-n is the share of different n-grams among all n-grams of all captions, in percent. It
falls as the number of captions grows, so only figures of one test set compare. Words are runs of
letters and digits, lower-cased.

Source: A Diversity-Promoting Objective Function for Neural Conversation Models (Li et al., 2016).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """Of one model's captions of a test set."""

    distinct1: float
    distinct2: float
    """Percent."""
    vocabulary: int
    """Different words."""
    words: float
    """A caption, mean."""


def diversity(captions: Iterable[str]) -> Diversity:
    """How varied captions are; zeros where they have no word.

    >>> diversity(["A dog barks.", "a dog runs"])
    Diversity(distinct1=66.66666666666667, distinct2=75.0, vocabulary=4, words=3.0)
    """
    split = [_WORD.findall(caption.lower()) for caption in captions]
    single = [word for words in split for word in words]
    pairs = [pair for words in split for pair in pairwise(words)]
    return Diversity(
        distinct1=100 * len(set(single)) / max(1, len(single)),
        distinct2=100 * len(set(pairs)) / max(1, len(pairs)),
        vocabulary=len(set(single)),
        words=len(single) / max(1, len(split)),
    )
