"""References prepared once for any number of systems: tokens, n-grams, and METEOR's answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from avbench.api import DataError, References
from avbench.builtin.metrics._lcs import Subsequences
from avbench.builtin.metrics._meteor import Meteor, Request, check_size, meteor
from avbench.builtin.metrics._ngrams import NGrams, bleu
from avbench.evaluation.coco_java import letters, normalised, ptb


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One metric's outcome, 0 to 1 (CIDEr to 10)."""

    each: Float64[np.ndarray, " C"]
    """Of each clip, in the references' order."""
    statistics: Float64[np.ndarray, "C K"] | None = None
    """What the figure of the corpus is made from; None: it is the mean of ``each``."""


class ReferenceSet:
    """One set of references, and what has been worked out for it so far."""

    def __init__(self, references: References) -> None:
        self.ids = tuple(references.captions)
        self._captions = tuple(references.captions.values())
        self._tokenise = letters_of if references.protocol == "paragraph" else ptb
        self._words: dict[str, str] = {}
        """Text → its words."""
        self._plain: dict[str, str] = {}
        """Words → the same as METEOR normalises them."""
        self._answers: dict[tuple[int, str], Float64[np.ndarray, " K"]] = {}
        """Clip's place and caption → METEOR's statistics: systems often say the same."""
        self._ready = False
        self._for_meteor: list[tuple[str, ...]] = []

    def read(self, systems: Iterable[Mapping[str, str]], *, for_meteor: bool = True) -> None:
        """Tokenise what is new in some systems' captions, and the references the first time.

        Args:
            systems: the captions.
            for_meteor: whether ``figures`` will be asked for METEOR.

        Raises:
            DataError: no reference holds a word.
            AvbenchError: a Java process fails.
        """
        texts = {text for system in systems for text in system.values()}
        if not self._ready:
            texts.update(text for captions in self._captions for text in captions)
        self._words |= self._tokenise(sorted(texts - self._words.keys()))
        if not self._ready:
            words = self._of_references()
            if not any(text for captions in words for text in captions):
                raise DataError("coco_caption: no reference holds a word")
            self._ngrams, self._subsequences = NGrams(words), Subsequences(words)
            self._ready = True
        if for_meteor:
            self._read_for_meteor({self._words[text] for text in texts})

    def _of_references(self) -> list[list[str]]:
        return [[self._words[text] for text in captions] for captions in self._captions]

    def _read_for_meteor(self, said: set[str]) -> None:
        words = [] if self._for_meteor else self._of_references()
        new = said.union(*words)
        self._plain |= normalised(new - self._plain.keys())
        # Of equal references METEOR takes the first.
        self._for_meteor = self._for_meteor or [
            tuple(dict.fromkeys(self._plain[text] for text in captions)) for captions in words
        ]

    def figures(self, system: Mapping[str, str], process: Meteor | None) -> dict[str, Figure]:
        """The metrics of one system, whose captions have been read; without a process no METEOR.

        Raises:
            DataError: a text is too long, or too repetitive, for METEOR.
            AvbenchError: the METEOR process fails.
        """
        captions = [self._words[system[i]] for i in self.ids]
        if process is not None:
            for i, caption, references in zip(self.ids, captions, self._for_meteor, strict=True):
                try:
                    # As METEOR gets it: normalised, a hyphenated word is several.
                    check_size(self._plain[caption], references)
                except ValueError as error:
                    raise DataError(f"coco_caption: '{i}': {error}") from None
        rows, cider = self._ngrams.score(captions)
        rouge = self._subsequences.score(captions)
        figures = {
            "bleu4": Figure(bleu(rows), rows),
            "rougeL": Figure(np.array(rouge)),
            "cider": Figure(cider),
        }
        if process is None:
            return figures
        answers = self._meteor(captions, process)
        figures["meteor"] = Figure(meteor(answers), answers)
        return {name: figures[name] for name in ("bleu4", "meteor", "rougeL", "cider")}

    def _meteor(self, captions: Sequence[str], process: Meteor) -> Float64[np.ndarray, "C K"]:
        keys = [(place, self._plain[caption]) for place, caption in enumerate(captions)]
        new = [key for key in keys if key not in self._answers]
        requests: list[Request] = [(said, self._for_meteor[place]) for place, said in new]
        self._answers.update(zip(new, process.statistics(requests), strict=True))
        return np.stack([self._answers[key] for key in keys])


def letters_of(texts: Iterable[str]) -> dict[str, str]:
    """The tokens of the paragraph protocol."""
    return {text: letters(text) for text in texts}
