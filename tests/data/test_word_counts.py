"""SCR and ARS of the embedded world; and the tool that makes avbench/data/world/word_counts.csv:

AVBENCH_TEST_DATA=… python tests/data/test_word_counts.py > avbench/data/world/word_counts.csv
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from avbench.core.errors import DataError
from avbench.data.settings import WorldSettings
from avbench.data.text.counts import WordCounts, audio_relevance, speech_coverage
from avbench.data.world.phrases import every
from avbench.data.world.slots import SLOTS
from avbench.data.world.stage import FORMS
from avbench.data.world.word_counts import COUNTS, shipped_counts, world_words

HEADER = """\
# Occurrences of content words (lemmas as avbench.data.world.word_counts makes them) in captions.
# audio: AudioCaps v1 train, val, test (MIT) and Clotho v2.1 development, validation, evaluation.
# image: MS COCO, the five captions of each of the 5,000 Karpathy test images (CC BY 4.0).
# Made by tests/data/test_word_counts.py. <total>: all content words; <types>: different ones.
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
    text = files("avbench.data.world").joinpath(COUNTS).read_text(encoding="utf-8")
    assert text.splitlines() == table(real_counts).splitlines()
    assert shipped_counts().ars("bell") == real_counts.ars("bell")


# Of the annotations, by the settings, from before SCR and ARS had a package of their own.
FROZEN = {
    WorldSettings(): "955bf833ee83f20ff193d334f84b54e351c13833c501d59308cc994c57d81b45",
    WorldSettings(
        narrated_videos=6, steps_per_video=4, clips=24, test_clips=12
    ): "48ddc861214fe18fa4d10e5a5e21e0360e6ef6f47169b975602d4c0c14b4d012",
}


@pytest.mark.parametrize("settings", FROZEN)
def test_the_world_says_what_it_said(settings):
    digest = hashlib.sha256()
    for key, form in FORMS.items():
        for name, text in sorted(form.make(settings).files().items()):
            digest.update(f"{key}/{name}\0{text}\0".encode())
    assert digest.hexdigest() == FROZEN[settings]


if __name__ == "__main__":
    folder = Path(os.environ["AVBENCH_TEST_DATA"])
    print(table(WordCounts.of(audio_captions(folder), image_captions(folder))), end="")
