"""Words of captions by stated rules: the default tokenizer, lemmatizer and stop words.

The counts that come with avbench were made with these, and so the embedded world relies on them.
"""

import re
from collections.abc import Iterable

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


def tokens(text: str) -> list[str]:
    """The words of a text: runs of letters, lower-cased, a possessive "'s" dropped.

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


def content(texts: Iterable[str]) -> list[list[str]]:
    """The lemmas of each text without its stop words."""
    return [[lemma(t) for t in tokens(text) if t not in STOP_WORDS] for text in texts]
