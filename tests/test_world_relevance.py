"""SCR and ARS; and the tool that makes avbench/world/word_counts.csv:

AVBENCH_TEST_DATA=… python tests/test_world_relevance.py > avbench/world/word_counts.csv
"""

import csv
import json
import math
import os
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from avbench.errors import DataError
from avbench.settings import WorldSettings
from avbench.world.phrases import every
from avbench.world.relevance import (
    COUNTS,
    WordCounts,
    audio_relevance,
    lemma,
    shipped_counts,
    speech_coverage,
    tokens,
    world_words,
)
from avbench.world.slots import SLOTS
from avbench.world.stage import FORMS

HEADER = """\
# Occurrences of content words (lemmas as avbench.world.relevance makes them) in captions.
# audio: AudioCaps v1 train, val, test (MIT) and Clotho v2.1 development, validation, evaluation.
# image: MS COCO, the five captions of each of the 5,000 Karpathy test images (CC BY 4.0).
# Made by tests/test_world_relevance.py. <total>: all content words; <types>: different ones.
"""

# (SCR in %, ARS) of the sets whose profile each form imitates: Shen et al., Table 1.
TABLE_1 = {
    "youcook2": (48.67, 1.202),
    "msrvtt": (14.7, 2.903),
    "vatex": (5.53, 3.692),
    "activitynet": (12.63, 3.487),
}


def audio_captions(data: Path) -> Iterator[str]:
    for split in ("train", "val", "test"):
        with (data / f"annotations/audiocaps/{split}.csv").open(encoding="utf-8") as file:
            yield from (row["caption"] for row in csv.DictReader(file))
        with (data / f"annotations/clotho/{split}.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield from (row[f"caption_{i}"] for i in range(1, 6))


def image_captions(data: Path) -> Iterator[str]:
    path = data / "annotations/coco/coco_karpathy_test_refs.json"
    for captions in json.loads(path.read_text(encoding="utf-8")).values():
        yield from captions


def table(counts: WordCounts) -> str:
    """The CSV's text: the world's words only."""
    rows = [
        ("<total>", counts.audio_total, counts.image_total),
        ("<types>", counts.types, counts.types),
    ]
    for word in world_words(every(), (v for values in SLOTS.values() for v in values)):
        rows.append((word, counts.audio.get(word, 0), counts.image.get(word, 0)))
    return HEADER + "word,audio,image\n" + "".join(f"{w},{a},{i}\n" for w, a, i in rows)


@pytest.fixture(scope="module")
def real_counts(test_data):
    return WordCounts.of(audio_captions(test_data), image_captions(test_data))


def test_tokens_are_lower_case_words():
    assert tokens("A dog's bark, and 2 MEN.") == ["a", "dog", "bark", "and", "men"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("barks", "bark"),
        ("buzzes", "buzz"),
        ("ladies", "lady"),
        ("running", "run"),
        ("baking", "bak"),
        ("bakes", "bak"),
        ("bake", "bak"),
        ("calling", "call"),
        ("need", "need"),
        ("sing", "sing"),
        ("glass", "glass"),
        ("bus", "bus"),
    ],
)
def test_inflections_are_counted_together(word, expected):
    assert lemma(word) == expected


def test_scr_pools_the_tokens_of_all_captions():
    pairs = [("add the garlic", "the garlic, now"), ("a red ball", ""), ("a bell", "A bell!")]
    assert speech_coverage(pairs) == pytest.approx(100 * (2 + 0 + 2) / 8)


def test_ars_is_equation_13_with_one_added():
    counts = WordCounts.of(["a dog barks", "dogs bark loudly"], ["a red dog", "a dog"])
    # 5 audio words (dog 2, bark 2, loudly 1), 3 image words (red 1, dog 2), 4 different ones
    bark = math.log((3 / (5 + 4)) / (1 / (3 + 4)))
    loudly = math.log((2 / 9) / (1 / 7))
    assert counts.ars("bark") == pytest.approx(bark)
    assert counts.ars("red") == 0.0, "a word of images is worth nothing, not less"
    captions = ["the dog barks loudly", "a red ball and the dog"]
    assert audio_relevance(captions, counts) == pytest.approx((bark + loudly) / 2)


def test_a_word_without_counts_is_refused():
    with pytest.raises(DataError, match=r"word_counts\.csv: no counts for 'zebra'"):
        audio_relevance(["a zebra"], shipped_counts())


@pytest.mark.parametrize("settings", [WorldSettings(), WorldSettings(clips=200, seed=7)])
def test_the_sets_have_the_profile_of_table_1(settings):
    scr, ars = {}, {}
    for key in TABLE_1:
        entries = FORMS[key].make(settings).entries
        pairs = [(caption, e.words or "") for e in entries for caption in e.captions]
        scr[key] = speech_coverage(pairs)
        ars[key] = audio_relevance((caption for caption, _ in pairs), shipped_counts())
    for figure, place, tolerance in ((scr, 0, 1.5), (ars, 1, 0.25)):
        paper = {key: row[place] for key, row in TABLE_1.items()}
        assert figure == pytest.approx(paper, abs=tolerance)
        assert sorted(figure, key=figure.get) == sorted(paper, key=paper.get)


@pytest.mark.slow
def test_the_shipped_counts_are_those_of_the_corpora(real_counts):
    text = files("avbench.world").joinpath(COUNTS).read_text(encoding="utf-8")
    assert text.splitlines() == table(real_counts).splitlines()
    assert shipped_counts().ars("bell") == real_counts.ars("bell")


@pytest.mark.slow
def test_real_captions_come_out_in_the_order_of_table_1(test_data, real_counts):
    folder = test_data / "annotations"

    def read(name):
        return json.loads((folder / name).read_text(encoding="utf-8"))

    cooking = read("youcook2/youcookii_annotations_trainval.json")["database"].values()
    vatex = (folder / "vatex/vatex_en_c_val_release.jsonl").read_text(encoding="utf-8")
    captions = {
        "youcook2": [a["sentence"] for video in cooking for a in video["annotations"]],
        "msrvtt": [
            *chain.from_iterable(read("msrvtt/msrvtt_test_refs_by_id_DERIVED.json").values())
        ],
        "vatex": [d["desc"] for line in vatex.splitlines() for d in json.loads(line)["descs"]],
        "activitynet": [
            sentence
            for name in ("train", "val_1", "val_2")
            for video in read(f"activitynet_captions/{name}.json").values()
            for sentence in video["sentences"]
        ],
    }
    found = {key: audio_relevance(texts, real_counts) for key, texts in captions.items()}
    assert found == pytest.approx({key: row[1] for key, row in TABLE_1.items()}, abs=0.35)
    assert sorted(found, key=found.get) == ["youcook2", "msrvtt", "activitynet", "vatex"]


def test_real_speech_coverage(test_data):
    path = test_data / "annotations/activitynet_captions/asr/val_2_meta.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    # 10.49 with another tokenizer; the paper, with its own ASR and all splits: 12.63
    assert speech_coverage((r["caption"], r["subs"]) for r in rows) == pytest.approx(10.5, abs=0.1)


if __name__ == "__main__":
    folder = Path(os.environ["AVBENCH_TEST_DATA"])
    print(table(WordCounts.of(audio_captions(folder), image_captions(folder))), end="")
