"""Counts of the embedded world's own words, so that its ARS needs no corpus of captions."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from avbench.data.text.counts import WordCounts, read_counts
from avbench.data.text.words import content

COUNTS = "word_counts.csv"


@cache
def shipped_counts() -> WordCounts:
    """The counts that come with avbench: of the embedded world's own words."""
    counts, _ = read_counts(Path(str(files(__package__).joinpath(COUNTS))))
    return replace(counts, closed=True)


def world_words(templates: Iterable[str], values: Iterable[str]) -> Iterator[str]:
    """The content words that captions made from templates and slot values can have."""
    plain = [re.sub(r"\{\w*\}", " ", template) for template in templates]
    yield from sorted({word for words in content((*plain, *values)) for word in words})
