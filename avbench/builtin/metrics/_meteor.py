"""METEOR 1.5: one Java process that serves any number of systems, and the figure's closed form.

Texts come normalised (``_java.normalised``): a process told to normalise does so again with every
reference for every caption, which takes it more than a third of its time.

Source: Denkowski, Lavie, Meteor Universal, WMT 2014; the jar that pycocoevalcap ships.
"""

import subprocess
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import IO

import numpy as np
from jaxtyping import Float64

from avbench.api import AvbenchError
from avbench.evaluation.coco_java import JVM, METEOR_JAR, java, package

HEAP = ("-Xms512m", "-Xmx2g")
"""Most that Java may take. The paraphrase table needs 0.4 GB, and resident memory stays near
0.6 GB; the rest is for captions of thousands of words, whose alignment grows with the square."""

LONGEST = 10_000
"""Words of a text, at most."""

LARGEST = 16_000_000
"""Most of how often a caption's commonest word stands in it, times its words and five times those
of its longest reference: what grows with this fills the heap. Measured: 16.2 million are aligned,
21 million are not; a caption of 10,000 different words has a twentieth."""

START_LIMIT = 300.0
BATCH_LIMIT = 60.0
PAIR_LIMIT = 0.02
"""Seconds that Java may take to start, and for a batch of requests and each caption-reference
pair in it, before it is taken for hung: at least 50 times what it needs."""

OPTIONS = ("-", "-", "-stdio", "-l", "en")

BATCH = 128
"""Requests that are written before the first answer is read. Their answers, 200 bytes each, fit
into a pipe of 64 KiB, so that neither side ever waits for the other to read."""

K = 23
"""Numbers in the statistics of a caption."""

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""The jar's parameters for English, and its weights of form, stem, synonym and paraphrase."""

Request = tuple[str, Sequence[str]]
"""A caption and its references."""


def meteor(sums: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
    """METEOR of rows of summed statistics, 0 to 1, as the jar has it.

    Args:
        sums: words of the caption and of its best reference, function words of both; for each of
            the four matchers the matched content words of both and function words of both;
            chunks (none where caption and reference match as a whole); matches by the caption's
            words and by the reference's.
    """
    words, functions, matched = sums[:, 0:2], sums[:, 2:4], sums[:, 4:20].reshape(-1, 4, 2, 2)
    content_and_function = np.array([DELTA, 1 - DELTA])
    weighted = np.einsum("rmks,m,k->rs", matched, np.array(WEIGHTS), content_and_function)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = weighted / (DELTA * (words - functions) + (1 - DELTA) * functions)
        mean = 1 / ((1 - ALPHA) / share[:, 0] + ALPHA / share[:, 1])
        broken = sums[:, 20] / ((sums[:, 21] + sums[:, 22]) / 2)
        value: Float64[np.ndarray, " R"] = mean * (1 - GAMMA * broken**BETA)
    return np.where(np.isnan(value), 0.0, np.maximum(value, 0.0))


def check_size(caption: str, references: Sequence[str]) -> None:
    """Refuse what the process cannot align within its heap.

    Raises:
        ValueError: a text is too long, or the caption too repetitive for its length.
    """
    words = caption.split()
    longest = max(map(_words, references))
    for what, number in (("the caption", len(words)), ("a reference", longest)):
        if number > LONGEST:
            raise ValueError(f"{what} has {number} words; METEOR aligns at most {LONGEST}")
    size = len(words) + 5 * longest
    if len(words) * size > LARGEST:
        word, times = Counter(words).most_common(1)[0]
        if times * size > LARGEST:
            raise ValueError(
                f"the caption says '{word}' {times} times among {len(words)} words; METEOR cannot "
                f"align that (at most {LARGEST // size} times)"
            )


class Meteor:
    """The process. It loads for some seconds; it ends with ``close``, this object or ours."""

    def __init__(self) -> None:
        self._fresh = True
        self._start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def statistics(self, requests: Sequence[Request]) -> Float64[np.ndarray, "n K"]:
        """The statistics of captions, each against the best of its references.

        A process that ends on the way is started again, once for a batch.

        Args:
            requests: captions and references, normalised.

        Raises:
            AvbenchError: the process ends again at the same batch, or hangs; it names the caption.
        """
        rows: list[list[float]] = []
        for first in range(0, len(requests), BATCH):
            batch = requests[first : first + BATCH]
            try:
                rows += self._answers(batch)
            except _EndedError as error:
                if error.hung:
                    raise
                rows += self._answers(batch)
        made = np.array(rows, dtype=np.float64).reshape(-1, K)
        # The jar leaves the one chunk of a caption that matches as a whole out of its sums.
        matched = made[:, 4:20].reshape(-1, 8, 2).sum(1)
        made[(matched == made[:, 0:2]).all(1) & (made[:, 20] == 1), 20] = 0.0
        return made

    def _answers(self, batch: Sequence[Request]) -> list[list[float]]:
        """Write all requests, then read all answers, by a new process if the last was ended."""
        if not self.close.alive:
            self._start()
        answers: list[list[float]] = []
        try:
            self._exchange(batch, answers)
        except BaseException as problem:
            # An answer that nobody read would shift those of the next batch.
            status, said = self._process.poll(), self._complaint()
            hung = self._hung.is_set()
            self.close()
            if not isinstance(problem, _SilentError):
                raise
            why = "hung and was killed" if hung else f"ended with exit status {status}"
            raise _EndedError(
                f"METEOR {why} at the caption '{batch[len(answers)][0][:80]}'{said}", hung=hung
            ) from None
        return answers

    def _exchange(self, batch: Sequence[Request], answers: list[list[float]]) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        limit = BATCH_LIMIT + PAIR_LIMIT * sum(len(texts) for _, texts in batch)
        if self._fresh:
            limit += START_LIMIT
        watchdog = threading.Timer(limit, self._kill)
        watchdog.start()
        try:
            self._process.stdin.write("".join(map(_line, batch)).encode())
            self._process.stdin.flush()
            for _ in batch:
                answer: bytes = self._process.stdout.readline()
                if not answer:
                    self._process.wait()
                    raise _SilentError
                answers.append([float(number) for number in answer.split()])
            self._fresh = False
        except (BrokenPipeError, ValueError):
            self._process.wait()
            raise _SilentError from None
        finally:
            watchdog.cancel()

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # a full pipe would block Java
        folder = package("meteor")
        self._process = subprocess.Popen(
            [java(), *JVM, *HEAP, "-jar", str(folder / METEOR_JAR), *OPTIONS],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._fresh = True
        self._hung = threading.Event()
        self.close = weakref.finalize(self, _end, self._process, self._errors)

    def _kill(self) -> None:
        self._hung.set()
        self._process.kill()

    def _complaint(self) -> str:
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        return f": {said[:300]}" if said else ""


class _SilentError(Exception):
    """The process takes no requests or gives no answer any more."""


class _EndedError(AvbenchError):
    """The process has ended before its work was done."""

    def __init__(self, text: str, *, hung: bool) -> None:
        super().__init__(text)
        self.hung = hung


def _words(text: str) -> int:
    return text.count(" ") + 1


def _line(request: Request) -> str:
    caption, references = request
    return " ||| ".join(["SCORE", *references, caption]) + "\n"


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
