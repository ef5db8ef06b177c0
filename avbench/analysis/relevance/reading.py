"""From captions to words: tokenizer, lemmatizer and stop words, each by name."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.data.text.counts import Content, Unseen, WordCounts, read_counts
from avbench.data.text.words import STOP_WORDS, lemma, tokens

EXTRA = "python -m pip install 'avbench[relevance]'"

Tokenizer = Callable[[list[str]], list[list[str]]]
"""Texts to tokens; all at once, because one tokenizer starts a process."""


class Choice(NamedTuple):
    """One value of an option."""

    make: Callable[[], Any]
    """Makes the function or the list; may import a library."""
    says: str
    """Description for the notes under tables."""
    package: str = ""
    """The additional distribution that it needs."""


def _words() -> Tokenizer:
    return lambda texts: [tokens(text) for text in texts]


def _ptb() -> Tokenizer:
    from avbench.evaluation.coco_java import ptb

    def tokenise(texts: list[str]) -> list[list[str]]:
        found = ptb(texts)
        return [found[text].split() for text in texts]

    return tokenise


def _simplemma() -> Callable[[str], str]:
    from simplemma import lemmatize

    return lambda word: str(lemmatize(word, lang="en")).lower()


def _listed() -> frozenset[str]:
    """The library's list, with the pieces into which tokenizers break its contractions."""
    from stop_words import get_stop_words

    whole = [word.lower() for word in get_stop_words("en")]
    return frozenset(whole) | {piece for word in whole for piece in tokens(word)}


TOKENIZERS: Mapping[str, Choice] = {
    "words": Choice(_words, "runs of letters, lower-cased, a possessive 's dropped"),
    "ptb": Choice(_ptb, "Penn Treebank (Stanford 3.4.1), lower-cased, without punctuation"),
}
LEMMATIZERS: Mapping[str, Choice] = {
    "rules": Choice(lambda: lemma, "avbench's rules (plural, third person, -ed, -ing, final e)"),
    "none": Choice(lambda: str, "words as they stand"),
    "simplemma": Choice(_simplemma, "dictionary of the library simplemma", "simplemma"),
}
STOPS: Mapping[str, Choice] = {
    "nltk": Choice(lambda: STOP_WORDS, "NLTK's 127 of English"),
    "none": Choice(frozenset, "none dropped"),
    "stop-words": Choice(_listed, "the long English list of the library stop-words", "stop-words"),
}
KINDS = (
    ("tokenizer", TOKENIZERS),
    ("lemmatizer", LEMMATIZERS),
    ("stop words", STOPS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A tokenizer, a lemmatizer and stop words, by name.

    Raises:
        AvbenchError: a name is unknown.
    """

    tokenizer: str = "words"
    lemmatizer: str = "rules"
    stop_words: str = "nltk"
    """Dropped before lemmatising."""

    def __post_init__(self) -> None:
        for (kind, known), name in zip(KINDS, self._names(), strict=True):
            if name not in known:
                raise AvbenchError(unknown(kind, name, known))

    def check(self) -> None:
        """Check that the libraries it needs are installed.

        Raises:
            AvbenchError: a library is missing; names the extra that brings it.
        """
        for (kind, known), name in zip(KINDS, self._names(), strict=True):
            _made(kind, known[name], name)

    def tokens(self, texts: Iterable[str]) -> list[list[str]]:
        """Return the tokens of each text."""
        tokenise: Tokenizer = _made("tokenizer", TOKENIZERS[self.tokenizer], self.tokenizer)
        return tokenise(list(texts))

    def lemma(self, token: str) -> str:
        """Return the form under which a token is counted."""
        return _lemmatiser(self.lemmatizer)(token)

    def words(self, tokens: Iterable[str]) -> list[str]:
        """Return the words that ARS counts: lemmas of tokens with a letter, without stop words."""
        word = _worded(self.lemmatizer, self.stop_words)
        return [made for t in tokens if (made := word(t))]

    def content(self, texts: Iterable[str]) -> list[list[str]]:
        """Return the words of each text."""
        return [self.words(tokens) for tokens in self.tokens(texts)]

    @property
    def signature(self) -> str:
        """For scores: ``tok:words|lemma:rules|stop:nltk``, with libraries' versions."""
        parts = []
        for short, (_, known), name in zip(
            ("tok", "lemma", "stop"), KINDS, self._names(), strict=True
        ):
            package = known[name].package
            parts.append(f"{short}:{name}" + (f"-{version(package)}" if package else ""))
        return "|".join(parts)

    def says(self) -> str:
        """Describe the choices in one sentence for the notes under a table."""
        parts = (
            f"{kind} {name} ({known[name].says})"
            for (kind, known), name in zip(KINDS, self._names(), strict=True)
        )
        return f"Words: {'; '.join(parts)}."

    def _names(self) -> tuple[str, str, str]:
        return self.tokenizer, self.lemmatizer, self.stop_words


@cache
def _made(kind: str, choice: Choice, name: str) -> Any:
    try:
        return choice.make()
    except ImportError as error:
        raise AvbenchError(
            f"{kind} '{name}' needs {choice.package}, which is not installed ({error}); {EXTRA}"
        ) from error


@cache
def _lemmatiser(name: str) -> Callable[[str], str]:
    """Make a lemmatizer that caches its words."""
    return cache(_made("lemmatizer", LEMMATIZERS[name], name))


@cache
def _worded(lemmatizer: str, stop_words: str) -> Callable[[str], str]:
    """Make a cached function from a token to its lemma; empty for stop words and non-words."""
    dropped = frozenset(_made("stop words", STOPS[stop_words], stop_words))
    lemmatise = _lemmatiser(lemmatizer)

    def word(token: str) -> str:
        if token in dropped or not any(map(str.isalpha, token)):
            return ""
        return lemmatise(token)

    return cache(word)


def counts_of(path: Path) -> WordCounts:
    """Read the counts that ``avbench analyse relevance`` wrote, with its choices.

    Raises:
        AvbenchError: the file is missing or malformed, or a library is missing.
    """
    counts, said = read_counts(path)
    names = [f.name for f in fields(Reading)]
    for name in (*names, "unseen"):
        if name not in said:
            raise DataError(f"{path}: does not say how words were read: no line '# {name}: …'")
    reading = Reading(**{name: said[name] for name in names})
    reading.check()
    return replace(counts, unseen=Unseen.of(said["unseen"]), content=reading.content)


class Texts:
    """A cache of tokenised texts, so that none is tokenised twice."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, list[str]]] = {}

    def tokens(self, texts: Iterable[str], reading: Reading) -> list[list[str]]:
        """Return the tokens of each text."""
        wanted = list(texts)
        known = self._known.setdefault(reading.tokenizer, {})
        new = [text for text in dict.fromkeys(wanted) if text not in known]
        for text, made in zip(new, reading.tokens(new), strict=True):
            known[text] = list(map(sys.intern, made))
        return [known[text] for text in wanted]

    def content(self, reading: Reading) -> Content:
        """Return ``reading.content`` with cached tokens."""
        return lambda texts: [reading.words(tokens) for tokens in self.tokens(texts, reading)]
