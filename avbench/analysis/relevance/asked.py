"""The analysis that the command line asks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from avbench.analysis.relevance.analysis import Analysis, Choices, analyse
from avbench.analysis.relevance.figures import Of, Unheard
from avbench.analysis.relevance.reading import Reading
from avbench.analysis.relevance.sets import (
    EMBEDDED,
    CaptionSet,
    Corpus,
    corpus,
    embedded_sets,
    read_set,
    sources,
)
from avbench.config.data_file import DataSource
from avbench.core.errors import AvbenchError, DataError, UnknownNameError, unknown
from avbench.core.registry import Registry
from avbench.data.text.counts import Unseen


def analysis(
    registry: Registry,
    *,
    data: str,
    keys: Sequence[str] = (),
    audio: Sequence[str] = (),
    image: Sequence[str] = (),
    asr: Sequence[str] = (),
    tokenizer: str = "words",
    lemmatizer: str = "rules",
    stop_words: str = "nltk",
    unseen: str = "add:1",
    coverage: str = "tokens",
    unheard: str = "zero",
    top: int = 100,
    sensitivity: bool = True,
) -> Analysis:
    """Read the sets and corpora of the command line, and measure them.

    Raises:
        AvbenchError: an option has an invalid value, or a file is at fault.
    """
    if coverage not in get_args(Of):
        raise AvbenchError(f"--coverage: {unknown('comparison', coverage, get_args(Of))}")
    if unheard not in get_args(Unheard):
        raise AvbenchError(f"--unheard: {unknown('rule', unheard, get_args(Unheard))}")
    choices = Choices(
        reading=Reading(tokenizer=tokenizer, lemmatizer=lemmatizer, stop_words=stop_words),
        unseen=Unseen.of(unseen),
        coverage=coverage,  # type: ignore[arg-type]  # checked above
        unheard=unheard,  # type: ignore[arg-type]
    )
    choices.reading.check()
    known = sources(data, registry)
    shipped = None
    if data == EMBEDDED:
        from avbench.data.world.word_counts import shipped_counts

        shipped = shipped_counts()
        sets = embedded_sets(keys)
    else:
        for key in keys:
            if key not in known:
                raise UnknownNameError(f"--dataset: {unknown('dataset', key, known)}")
        chosen = keys or [key for key in known if key not in (*audio, *image)]
        sets = [read_set(known[key], registry) for key in chosen]
    heard = _with_speech(sets, asr)
    return analyse(
        heard,
        choices,
        audio=_corpus("--audio", audio, known, registry, shipped=bool(shipped)),
        image=_corpus("--image", image, known, registry, shipped=bool(shipped)),
        shipped=shipped,
        top=top,
        sensitivity=sensitivity,
    )


def _corpus(
    what: str,
    given: Sequence[str],
    known: Mapping[str, DataSource],
    registry: Registry,
    *,
    shipped: bool,
) -> Corpus:
    if not given and shipped:
        return Corpus(titles=("counts that come with avbench",), texts=())
    return corpus(what, given, known, registry)


def _with_speech(sets: Sequence[CaptionSet], asr: Sequence[str]) -> list[CaptionSet]:
    """Return the sets with the speech of the files given as ``KEY=FILE``."""
    files: dict[str, Path] = {}
    keys = [s.key for s in sets]
    for given in asr:
        key, equals, name = given.partition("=")
        if not equals or key not in keys:
            if Path(given).exists() and len(keys) == 1:
                key, name = keys[0], given
            elif Path(given).exists():
                raise AvbenchError(
                    f"--asr {given}: write KEY={given}; there are several datasets: "
                    f"{', '.join(keys)}"
                )
            elif equals:
                raise UnknownNameError(f"--asr: {unknown('dataset', key, keys)}")
            else:
                raise DataError(f"--asr {given}: no such file")
        if not Path(name).exists():
            raise DataError(f"--asr {given}: no such file or folder: {name}")
        if key in files:
            raise AvbenchError(f"--asr: '{key}' is given two files: {files[key]} and {name}")
        files[key] = Path(name)
    return [s.heard_in(files[s.key]) if s.key in files else s for s in sets]
