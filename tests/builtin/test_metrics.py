"""The built-in metrics, against golden scores of their reference implementation."""

import gc
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from avbench.api import AvbenchError, DataError, References, Score, Slot
from avbench.builtin.metrics import _meteor, _reference_set
from avbench.builtin.metrics._lcs import Subsequences
from avbench.builtin.metrics._ngrams import NGrams, bleu
from avbench.builtin.metrics.coco_caption import CocoCaption
from avbench.builtin.metrics.slot_accuracy import SlotAccuracy, chance, most_frequent, right
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.evaluation import coco_java
from avbench.evaluation.coco_java import letters

GOLDEN = Path(__file__).parents[1] / "golden"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{name}", GOLDEN / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published = _load("published")


@pytest.fixture(scope="module")
def metric() -> Any:
    made = CocoCaption()
    yield made
    made.close()


def _values(scores: Any) -> dict[str, float]:
    return {score.name: score.value for score in scores}


# ------------------------------------------------------------------ coco_caption

A, B = "a man talks to his friend", "rain falls on the roof"
ODD = [
    *("", " ", "two\nlines", "crlf\r\n", "a ||| b", "||||||", "\u2028x\u2029y", "\x85 \x0b\x0c"),
    *("<b> tag", "<!-- half", "naïve 中文 😀", "\ud800 lone", '"quoted', "...", "\x00", "EVAL"),
]


@pytest.mark.java
def test_small_case_equals_pycocoevalcap(metric: CocoCaption) -> None:
    case = json.loads((GOLDEN / "coco_small.json").read_text(encoding="utf-8"))
    gold = {i: tuple(texts) for i, texts in case["references"].items()}
    (scores,) = metric.score([case["hypotheses"]], References(captions=gold))
    assert _values(scores) == pytest.approx(case["corpus"], abs=1e-9)
    for score in scores:
        assert score.per_item == pytest.approx(case["per_clip"][score.name], abs=1e-9)
        assert score.unit == "x100"
        assert score.higher_is_better


WORDS = ["a", "a", "the", "dog", "dogs", "man", "runs", "é", "42", "zebra"]


def _texts(rng: random.Random, number: int) -> list[str]:
    lengths = [rng.choice([0, 1, 2, 5, 9, 30]) for _ in range(number)]
    return [" ".join(rng.choice(WORDS) for _ in range(length)) for length in lengths]


@pytest.mark.parametrize(("clips", "most"), [(1, 1), (2, 3), (40, 6), (100, 1)])
def test_counts_equal_pycocoevalcap_on_random_texts(clips: int, most: int) -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    rng = random.Random(clips)
    gold = {str(i): _texts(rng, rng.randint(1, most)) for i in range(clips)}
    gold["0"][0] = " ".join(rng.choice(WORDS) for _ in range(90))  # longer than a machine word
    ngrams, subsequences = NGrams(list(gold.values())), Subsequences(list(gold.values()))
    for _ in range(3):
        said = dict(zip(gold, [[text] for text in _texts(rng, clips)], strict=True))
        said["0"] = [gold["0"][0]]
        captions = [text for (text,) in said.values()]
        rows, cider = ngrams.score(captions)
        corpus, each = Bleu(4).compute_score(gold, said, verbose=0)
        assert bleu(rows.sum(0, keepdims=True)) == pytest.approx([corpus[3]], abs=1e-12)
        assert bleu(rows) == pytest.approx(each[3], abs=1e-12)
        _, each = Cider().compute_score(gold, said)
        assert cider == pytest.approx(each, abs=1e-12)
        _, each = Rouge().compute_score(gold, said)
        assert subsequences.score(captions) == pytest.approx(each, abs=1e-12)


@pytest.mark.java
def test_figures_of_a_resample_equal_those_of_its_captions(metric: CocoCaption) -> None:
    case = json.loads((GOLDEN / "coco_small.json").read_text(encoding="utf-8"))
    gold = {i: tuple(texts) for i, texts in case["references"].items()}
    said = case["hypotheses"] | {"c5": gold["c5"][0]}  # one that matches as a whole
    drawn = ["c1", "c1", "c3", "c5", "c5", "c4"]
    again = {f"{n}": i for n, i in enumerate(drawn)}
    (scores,) = metric.score([said], References(captions=gold))
    resample = References(captions={n: gold[i] for n, i in again.items()})
    (expected,) = metric.score([{n: said[i] for n, i in again.items()}], resample)
    for score, other in zip(scores, expected, strict=True):
        assert score.statistics is not None
        at = [list(score.per_item).index(i) for i in drawn]
        sums = score.statistics[at].sum(0, keepdims=True)
        if score.name == "cider":  # its document frequencies stay those of the whole set
            wanted = sum(score.per_item[i] for i in drawn) / len(drawn)
        else:
            wanted = other.value
        assert metric.from_sums(score.name, sums) == pytest.approx([wanted], abs=1e-9)


@pytest.mark.java
def test_normalised_texts_are_scored_as_with_the_jars_own_option() -> None:
    texts = [
        *(
            "a dog",
            "self-aware man 's 3.5 dogs",
            "u.s. and mr. x",
            "",
            "don't & <b>",
            "naïve 中文",
        ),
        *("a ||| b", "1,000 --- dogs ...", "it 's 5 p.m.", '" quoted "', "..."),
    ]
    made = coco_java.normalised(texts)
    assert made["a dog"] == "a dog"
    assert made["self-aware man 's 3.5 dogs"] == "self aware man ' s 3.5 dogs"
    jar = [
        coco_java.java(),
        "-Xmx2g",
        "-jar",
        str(coco_java.package("meteor") / coco_java.METEOR_JAR),
    ]
    pairs = [(a, b) for a in texts for b in texts]
    asked = "".join(f"SCORE ||| {coco_java.bare(a)} ||| {coco_java.bare(b)}\n" for a, b in pairs)
    with_option = subprocess.run(
        [*jar, "-", "-", "-stdio", "-l", "en", "-norm"],
        input=asked.encode(),
        capture_output=True,
        check=True,
    )
    rows = [[float(x) for x in line.split()] for line in with_option.stdout.decode().splitlines()]
    process = _meteor.Meteor()
    given = process.statistics([(made[b], [made[a]]) for a, b in pairs])
    process.close()
    whole = [r[0] == sum(r[4:20:2]) and r[1] == sum(r[5:20:2]) and r[20] == 1 for r in rows]
    for row, is_whole in zip(rows, whole, strict=True):
        row[20] = 0.0 if is_whole else row[20]
    assert given.tolist() == rows


@pytest.mark.java
def test_references_are_read_once(metric: CocoCaption, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = References(captions={"x": ("a dog barks",), "y": ("rain falls",)})
    first = metric.score([{"x": "a dog", "y": "rain"}], gold)

    def fail(*_: object) -> None:
        raise AssertionError("prepared again")

    for name in ("NGrams", "Subsequences"):
        monkeypatch.setattr(_reference_set, name, fail)
    monkeypatch.setattr(_meteor.Meteor, "statistics", lambda _, requests: _none(requests))
    assert metric.score([{"x": "a dog", "y": "rain"}], References(captions=gold.captions)) == first


def _none(requests: Any) -> Any:
    assert not requests, "an answer was asked for again"
    return np.empty((0, _meteor.K))


@pytest.mark.java
def test_a_caption_of_ten_thousand_words(metric: CocoCaption) -> None:
    gold = References(captions={"before": (A,), "long": (B,), "after": (B,)})
    common = f"{A} {B}".split()
    long = " ".join(common[n % 11] if n % 2 else f"word{n % 50}" for n in range(10000))
    assert len(long.split()) == 10000
    (scores,) = metric.score([{"before": A, "long": long, "after": B}], gold)
    per_item = {s.name: s.per_item for s in scores}
    assert per_item["meteor"]["before"] == pytest.approx(100)
    assert per_item["meteor"]["after"] == pytest.approx(100)
    assert 0 < per_item["meteor"]["long"] < 1


@pytest.mark.java
@pytest.mark.parametrize(
    ("caption", "reference", "message"),
    [
        ("dog cat " * 5001, B, "the caption has 10002 words; METEOR aligns at most 10000"),
        (B, "dog " * 10001, "a reference has 10001 words; METEOR aligns at most 10000"),
        (
            "dog " * 8000,
            "a dog",
            "the caption says 'dog' 8000 times among 8000 words; METEOR cannot align that "
            "(at most 1997 times)",
        ),
        # One word of the PTB tokenizer, 12,000 of METEOR's.
        (
            "-".join(["dog"] * 12000),
            "a dog",
            "the caption has 12000 words; METEOR aligns at most 10000",
        ),
    ],
)
def test_texts_that_meteor_cannot_align_are_named(
    metric: CocoCaption, caption: str, reference: str, message: str
) -> None:
    gold = References(captions={"before": (A,), "odd": (reference,)})
    with pytest.raises(DataError) as caught:
        metric.score([{"before": A, "odd": caption}], gold)
    assert str(caught.value) == f"coco_caption: 'odd': {message}"
    (scores,) = metric.score(
        [{"before": A, "odd": "a dog"}], References(captions={**gold.captions, "odd": (B,)})
    )
    assert scores[1].per_item["before"] == pytest.approx(100)


@pytest.mark.java
@pytest.mark.slow
def test_the_most_repetitive_caption_that_is_allowed(metric: CocoCaption) -> None:
    gold = References(captions={"x": ("dog " * 12,)})
    (scores,) = metric.score([{"x": "dog " * 3970}], gold)
    assert 0 < scores[1].value < 5


@pytest.mark.java
def test_order_of_systems_and_ids_does_not_matter(metric: CocoCaption) -> None:
    case = json.loads((GOLDEN / "coco_small.json").read_text(encoding="utf-8"))
    gold = {i: tuple(texts) for i, texts in case["references"].items()}
    said = case["hypotheses"]
    perfect = {i: texts[0] for i, texts in gold.items()}
    first = metric.score([said, perfect], References(captions=gold))
    gold = dict(reversed(gold.items()))
    second = metric.score([perfect, dict(sorted(said.items()))], References(captions=gold))
    assert _values(first[0]) == pytest.approx(_values(second[1]), abs=1e-9)
    assert _values(first[1]) == pytest.approx(_values(second[0]), abs=1e-9)
    assert [s.signature for s in first[0]] == [s.signature for s in second[0]]


@pytest.mark.java
def test_the_order_of_a_clips_references_moves_meteor_alone_and_is_signed(
    metric: CocoCaption,
) -> None:
    """Both references of "y" score 0; the words of the first enter METEOR's sums."""
    case = json.loads((GOLDEN / "coco_small.json").read_text(encoding="utf-8"))
    gold = {i: tuple(texts) for i, texts in case["references"].items()}
    gold["y"] = ("zebra", "zebra in the green grass of a wide plain")
    said = case["hypotheses"] | {"y": "rain falls"}
    turned = {i: texts[::-1] for i, texts in gold.items()}
    (first,) = metric.score([said], References(captions=gold))
    (second,) = metric.score([said], References(captions=turned))
    for one, other in zip(first, second, strict=True):
        assert one.per_item == pytest.approx(other.per_item, abs=1e-9)
        assert (one.value == pytest.approx(other.value, abs=1e-9)) == (one.name != "meteor")
        assert one.signature != other.signature


@pytest.mark.java
def test_signature_says_how(metric: CocoCaption) -> None:
    gold = {"x": ("a dog barks",), "y": ("a cat", "the cat")}
    (scores,) = metric.score([{"x": "a dog", "y": "a cat"}], References(captions=gold))
    assert scores[1].signature == (
        "meteor|lang:en|norm:yes|jar:1.5|nrefs:1-2|case:lc|tok:ptb-3.4.1|protocol:coco"
        f"|clips:2-{clip_list_hash(gold)}|avbench:1|version:pycocoevalcap-1.2|java:25.0"
    )
    paragraph = References(captions=gold, protocol="paragraph")
    (other,) = metric.score([{"x": "a dog", "y": "a cat"}], paragraph)
    assert "|tok:letters|protocol:paragraph|" in other[0].signature
    subset = References(captions={"x": gold["x"]})
    (fewer,) = metric.score([{"x": "a dog"}], subset)
    assert fewer[3].signature != scores[3].signature
    other = References(captions=gold | {"x": ("a dog sleeps",)})
    (changed,) = metric.score([{"x": "a dog", "y": "a cat"}], other)
    assert changed[3].signature != scores[3].signature


@pytest.fixture(scope="module")
def among_odd_ones(metric: CocoCaption) -> dict[str, Any]:
    """Scores by clip; every odd caption stands between two that no other text equals."""
    said, gold = {}, {}
    for n, odd in enumerate(ODD):
        before, after = f"{A} {n} times", f"{B} {n} times"
        gold |= {
            f"before {n}": (before,),
            f"odd {n}": (odd, "a dog barks"),
            f"after {n}": (after,),
        }
        said |= {f"before {n}": before, f"odd {n}": odd, f"after {n}": after}
    turned = dict(reversed(said.items()))
    (scores,) = metric.score([turned], References(captions=gold))
    return {s.name: s.per_item for s in scores}


@pytest.mark.java
@pytest.mark.parametrize("n", range(len(ODD)), ids=map(repr, ODD))
def test_odd_captions_do_not_shift_their_neighbours(
    among_odd_ones: dict[str, Any], n: int
) -> None:
    for neighbour in (f"before {n}", f"after {n}"):
        assert among_odd_ones["rougeL"][neighbour] == pytest.approx(100)
        assert among_odd_ones["meteor"][neighbour] == pytest.approx(100)
        assert among_odd_ones["cider"][neighbour] == pytest.approx(1000)


@pytest.mark.java
def test_tokenizer_depends_on_the_caption_alone() -> None:
    texts = ["He left at 5 p.m.", "The U.S. team", "", "Mr. Smith, etc.", "don't (stop)!", "..."]
    together = coco_java.ptb(texts)
    assert together == {text: coco_java.ptb([text])[text] for text in texts}
    assert together["don't (stop)!"] == "do n't -lrb- stop -rrb-"
    assert together["..."] == ""
    assert together["He left at 5 p.m."] == "he left at 5 p.m."


def test_paragraph_words() -> None:
    assert letters("It's 3 PM.  A dog\nbarks–loudly é") == "it s pm a dog barks loudly"


@pytest.mark.java
@pytest.mark.slow
def test_java_is_the_bundled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    metric = CocoCaption()
    (scores,) = metric.score([{"x": "a dog"}], References(captions={"x": ("a dog",)}))
    metric.close()
    assert _values(scores)["meteor"] == pytest.approx(100)


@pytest.mark.java
@pytest.mark.slow
def test_one_meteor_serves_all_calls_and_ends() -> None:
    metric = CocoCaption()
    gold = References(captions={"x": ("a dog",), "y": ("a cat",)})
    metric.score([{"x": "a dog", "y": "a cat"}] * 3, gold)
    assert metric._meteor is not None
    pid = metric._meteor.pid
    metric.score([{"x": "a dog", "y": "a cat"}], gold)
    assert metric._meteor.pid == pid
    del metric
    gc.collect()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "close"])
def test_meteor_that_ended_is_started_again(metric: CocoCaption, how: str) -> None:
    gold = References(captions={"x": ("a dog",)})
    metric.score([{"x": "a dog"}], gold)
    process = metric._meteor
    assert process is not None
    before = process.pid
    if how == "kill":
        process._process.kill()
        process._process.wait()
    else:
        process.close()
    (scores,) = metric.score([{"x": f"a dog dog {how}"}], gold)
    assert 0 < _values(scores)["meteor"] < 100
    assert process.pid != before


@pytest.mark.java
@pytest.mark.slow
def test_meteor_that_crashes_at_a_caption_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meteor, "HEAP", ("-Xmx500m",))  # enough for the tables and little else
    process = _meteor.Meteor()
    fine = ("a dog", ["the dog"])
    vocabulary = ["dog", "cat", "man", "a", "the", "with", "ball", "runs"]
    long = " ".join(vocabulary[i * i % 8] for i in range(9000)), ["a man with the dog runs"]
    expected = process.statistics([fine])
    with pytest.raises(AvbenchError, match="METEOR ended with exit status 1 at the caption 'dog"):
        process.statistics([fine, fine, long, fine])
    assert process.statistics([fine]).tolist() == expected.tolist()
    process.close()


@pytest.mark.java
def test_meteor_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meteor, "START_LIMIT", 0.0)
    monkeypatch.setattr(_meteor, "BATCH_LIMIT", 0.2)
    process = _meteor.Meteor()  # still loading when the limit passes
    with pytest.raises(AvbenchError, match="METEOR hung and was killed at the caption 'a dog'"):
        process.statistics([("a dog", ["a dog"])])
    assert not process.close.alive


@pytest.mark.parametrize(
    ("call", "what"),
    [(coco_java.ptb, "PTB tokenizer"), (coco_java.normalised, "METEOR's normaliser")],
)
def test_java_that_hangs_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Any, what: str
) -> None:
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\nexec sleep 100\n")
    fake.chmod(0o755)
    monkeypatch.setattr(coco_java, "java", lambda: str(fake))
    monkeypatch.setattr(coco_java, "START_LIMIT", 0.2)
    begun = time.monotonic()
    with pytest.raises(AvbenchError, match=f"^{what}: no end after 0 s for 2 texts$"):
        call(["A dog!", "a man's dog"])
    assert time.monotonic() - begun < 30


def test_java_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\necho no memory >&2\nexit 3\n")
    fake.chmod(0o755)
    monkeypatch.setattr(coco_java, "java", lambda: str(fake))
    with pytest.raises(AvbenchError, match="PTB tokenizer ended with exit status 3: no memory"):
        coco_java.ptb(["A dog!"])


def test_the_limit_of_a_hundred_thousand_texts_is_minutes() -> None:
    assert coco_java.START_LIMIT + 100_000 * coco_java.TEXT_LIMIT < 30 * 60


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("busy", [False, True])
def test_meteor_ends_with_a_killed_parent(busy: bool) -> None:
    code = (
        "from avbench.builtin.metrics._meteor import Meteor; import os, signal\n"
        "meteor = Meteor(); meteor.statistics([('a', ['a'])]); print(meteor.pid, flush=True)\n"
        f"meteor._process.stdin.write(b'SCORE ||| a dog ||| the dog\\n' * {400 * busy})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False
    )
    pid = int(ran.stdout)
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    """Return True for a process that runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("gold", "said", "message"),
    [
        ({}, {}, "no references to score against"),
        ({"x": ()}, {"x": "a"}, "'x' has no reference"),
        ({"x": ("a",), "y": ("b",)}, {"x": "a"}, "system 1: no hypothesis for 'y'"),
        ({"x": ("a",)}, {"x": "a", "z": "b"}, "system 1: no reference for 'z'"),
    ],
)
def test_ids_must_agree(gold: dict, said: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        CocoCaption().score([said], References(captions=gold))


@pytest.mark.java
def test_references_without_a_word_are_an_error(metric: CocoCaption) -> None:
    with pytest.raises(DataError, match="no reference holds a word"):
        metric.score([{"x": "a dog"}], References(captions={"x": ("...", "")}))


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "items", "expected"),
    [
        (published.conette_audiocaps, 912, (23.905, 23.196, 48.369, 71.350)),
        (published.magic_coco, 4982, (12.878, 17.362, 39.879, 49.289)),
        (published.value_youcook2, 3492, (10.708, 17.659, 38.744, 115.875)),
        (published.bmt_paragraphs("test"), 2228, (9.240, 16.021, 29.672, 18.193)),
        (published.bmt_paragraphs("val"), 2255, (9.851, 16.309, 30.114, 19.158)),
    ],
    ids=["conette_audiocaps", "magic_coco", "value_youcook2", "bmt_ae_test", "bmt_ae_val"],
)
def test_published_captions(
    metric: CocoCaption, test_data: Path, read: Any, items: int, expected: tuple[float, ...]
) -> None:
    said, gold = read(test_data)
    assert len(said) == items
    (scores,) = metric.score([said], gold)
    assert [score.value for score in scores] == pytest.approx(expected, abs=0.005)


# ------------------------------------------------------------------ slot_accuracy

COLOURS = ("red", "blue", "dark red")


def _slot(value: str, choices: tuple[str, ...], *evidence: str) -> Slot:
    return Slot(value=value, choices=choices, evidence=frozenset(evidence))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a red ball rolls", True),
        ("A RED, ball", True),
        ("a reddish ball", False),
        ("a blue ball", False),
        ("a red or blue ball", False),
        ("a dark red ball", False),
        ("", False),
    ],
)
def test_right_means_value_and_no_other(caption: str, expected: bool) -> None:
    assert right(caption, _slot("red", COLOURS, "video")) is expected


def test_longest_of_overlapping_choices_counts() -> None:
    assert right("a dark red ball", _slot("dark red", COLOURS, "video"))


def test_accuracies_by_hand() -> None:
    shapes, sounds = ("ball", "cube"), ("bell", "horn", "drum", "dog")
    slots = {
        "1": {
            "colour": _slot("red", COLOURS, "video"),
            "shape": _slot("ball", shapes, "video"),
            "sound": _slot("bell", sounds, "audio"),
        },
        "2": {
            "colour": _slot("red", COLOURS, "video"),
            "sound": _slot("horn", sounds, "audio", "video"),
        },
        "3": {},
    }
    gold = References(captions=dict.fromkeys(slots, ("x",)), slots=slots)
    said = {"1": "a red cube, a bell", "2": "a blue ball, a horn", "3": "nothing"}
    scores, none = SlotAccuracy().score([said, {"1": "", "2": "", "3": ""}], gold)
    assert _values(scores) == pytest.approx(
        {
            "slot_colour": 50.0,
            "slot_shape": 0.0,
            "slot_sound": 100.0,
            "slot_visual": 25.0,
            "slot_visual_chance": (100 / 3 + 50) / 2,
            "slot_visual_frequent": 100.0,
            "slot_audible": 100.0,
            "slot_audible_chance": 25.0,
            "slot_audible_frequent": 50.0,
        }
    )
    for score in scores:
        if score.name in ("slot_visual", "slot_audible"):
            assert score.statistics is not None
            sums = score.statistics.sum(0, keepdims=True)
            assert SlotAccuracy().from_sums(score.name, sums) == pytest.approx([score.value])
    visual = next(score.statistics for score in scores if score.name == "slot_visual")
    assert visual is not None
    # Twice clip 2, which has no shape: the mean is over the colour alone.
    assert SlotAccuracy().from_sums("slot_visual", 2 * visual[1:]).tolist() == [0.0]
    per_item = {s.name: s.per_item for s in scores}
    assert per_item["slot_visual"] == {"1": 50.0, "2": 0.0}
    assert per_item["slot_shape"] == {"1": 0.0}
    assert {s.unit for s in scores} == {"%"}
    assert {s.value for s in none if not s.name.endswith(("chance", "frequent"))} == {0.0}
    assert chance(slots) == pytest.approx({"colour": 100 / 3, "shape": 50, "sound": 25})
    assert most_frequent(slots) == pytest.approx({"colour": 100, "shape": 100, "sound": 50})


def test_slots_that_differ_are_signed_differently() -> None:
    """The right captions, the others, and the mean in which they count."""

    def signature(slot: Slot, name: str = "colour") -> str:
        gold = References(captions={"1": ("x",)}, slots={"1": {name: slot}})
        (scores,) = SlotAccuracy().score([{"1": "a red ball"}], gold)
        return scores[0].signature.partition("|")[2]

    given = signature(_slot("red", COLOURS, "video"))
    assert given == signature(_slot("red", COLOURS, "video"))
    others = {
        signature(_slot("blue", COLOURS, "video")),
        signature(_slot("red", COLOURS[:2], "video")),
        signature(_slot("red", COLOURS, "audio")),
        signature(_slot("red", COLOURS, "video"), "tint"),
    }
    assert len(others - {given}) == 4


def test_without_slots_it_does_not_apply() -> None:
    gold = References(captions={"1": ("x",)})
    assert SlotAccuracy().score([{"1": "x"}, {"1": "y"}], gold) == [[], []]


def test_a_value_outside_its_choices_is_an_error() -> None:
    slots = {"1": {"colour": _slot("green", COLOURS, "video")}}
    with pytest.raises(DataError, match="clip '1', slot 'colour': value 'green' is none of"):
        SlotAccuracy().score([{"1": ""}], References(captions={"1": ("x",)}, slots=slots))


def test_scores_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Score(name="x", value=1.0, unit="%", signature="x").value = 2.0  # type: ignore[misc]
