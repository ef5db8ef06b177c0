"""References prepared once for any number of systems: tokens, n-grams, METEOR's statistics."""

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
class MetricScores:
    """Scores by one metric, 0 to 1 (CIDEr to 10)."""

    each: Float64[np.ndarray, " C"]
    """Score of each clip, in the references' order."""
    statistics: Float64[np.ndarray, "C K"] | None = None
    """Sufficient statistics of the corpus's score; None: it is the mean of ``each``."""


class ReferenceSet:
    """One set of references, and the results computed for it so far."""

    def __init__(self, references: References) -> None:
        self.ids = tuple(references.captions)
        self._captions = tuple(references.captions.values())
        self._tokenise = letters_of if references.protocol == "paragraph" else ptb
        self._words: dict[str, str] = {}
        """Text → its words."""
        self._normalised: dict[str, str] = {}
        """Words → the same as METEOR normalises them."""
        self._answers: dict[tuple[int, str], Float64[np.ndarray, " K"]] = {}
        """Clip's place and caption → METEOR's statistics; systems often repeat captions."""
        self._ready = False
        self._meteor_references: list[tuple[str, ...]] = []

    def read(self, systems: Iterable[Mapping[str, str]], *, for_meteor: bool = True) -> None:
        """Tokenise the new captions of some systems, and the references the first time.

        Args:
            systems: the captions.
            for_meteor: prepare METEOR too.

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
            self._normalise_for_meteor({self._words[text] for text in texts})

    def _of_references(self) -> list[list[str]]:
        return [[self._words[text] for text in captions] for captions in self._captions]

    def _normalise_for_meteor(self, texts: set[str]) -> None:
        words = [] if self._meteor_references else self._of_references()
        new = texts.union(*words)
        self._normalised |= normalised(new - self._normalised.keys())
        # METEOR uses the first of equal references.
        self._meteor_references = self._meteor_references or [
            tuple(dict.fromkeys(self._normalised[text] for text in captions)) for captions in words
        ]

    def score(self, system: Mapping[str, str], process: Meteor | None) -> dict[str, MetricScores]:
        """Score one system, whose captions have been read; without a process, not by METEOR.

        Raises:
            DataError: a text is too long, or too repetitive, for METEOR.
            AvbenchError: the METEOR process fails.
        """
        captions = [self._words[system[i]] for i in self.ids]
        if process is not None:
            for i, caption, references in zip(
                self.ids, captions, self._meteor_references, strict=True
            ):
                try:
                    # METEOR gets normalised text, in which a hyphenated word is several.
                    check_size(self._normalised[caption], references)
                except ValueError as error:
                    raise DataError(f"coco_caption: '{i}': {error}") from None
        rows, cider = self._ngrams.score(captions)
        rouge = self._subsequences.score(captions)
        scores = {
            "bleu4": MetricScores(bleu(rows), rows),
            "rougeL": MetricScores(np.array(rouge)),
            "cider": MetricScores(cider),
        }
        if process is None:
            return scores
        answers = self._meteor(captions, process)
        scores["meteor"] = MetricScores(meteor(answers), answers)
        return {name: scores[name] for name in ("bleu4", "meteor", "rougeL", "cider")}

    def _meteor(self, captions: Sequence[str], process: Meteor) -> Float64[np.ndarray, "C K"]:
        keys = [(place, self._normalised[caption]) for place, caption in enumerate(captions)]
        new = [key for key in keys if key not in self._answers]
        requests: list[Request] = [
            (caption, self._meteor_references[place]) for place, caption in new
        ]
        self._answers.update(zip(new, process.statistics(requests), strict=True))
        return np.stack([self._answers[key] for key in keys])


def letters_of(texts: Iterable[str]) -> dict[str, str]:
    """Return the tokens of the paragraph protocol."""
    return {text: letters(text) for text in texts}
