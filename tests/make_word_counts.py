"""Makes avbench/world/word_counts.csv from AudioCaps, Clotho and COCO captions.

AVBENCH_TEST_DATA=... python tests/make_word_counts.py > avbench/world/word_counts.csv
"""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

from avbench.world.phrases import every
from avbench.world.relevance import WordCounts, world_words
from avbench.world.slots import SLOTS

HEADER = """\
# Occurrences of content words (avbench.world.relevance.lemma) in captions.
# audio: AudioCaps v1 train, val, test (MIT) and Clotho v2.1 development, validation, evaluation.
# image: MS COCO, the five captions of each of the 5,000 Karpathy test images (CC BY 4.0).
# Made by tests/make_word_counts.py. <total>: all content words; <types>: different ones in both.
"""


def audio_captions(data: Path) -> Iterator[str]:
    """Every caption of AudioCaps and Clotho."""
    for split in ("train", "val", "test"):
        with (data / f"annotations/audiocaps/{split}.csv").open(encoding="utf-8") as file:
            yield from (row["caption"] for row in csv.DictReader(file))
        with (data / f"annotations/clotho/{split}.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield from (row[f"caption_{i}"] for i in range(1, 6))


def image_captions(data: Path) -> Iterator[str]:
    """Every caption of the COCO images."""
    path = data / "annotations/coco/coco_karpathy_test_refs.json"
    for captions in json.loads(path.read_text(encoding="utf-8")).values():
        yield from captions


def all_counts(data: Path) -> WordCounts:
    """Counts of every word."""
    return WordCounts.of(audio_captions(data), image_captions(data))


def table(counts: WordCounts) -> str:
    """The file's text: the world's words only."""
    rows = [
        ("<total>", counts.audio_total, counts.image_total),
        ("<types>", counts.types, counts.types),
    ]
    for word in world_words(every(), (v for values in SLOTS.values() for v in values)):
        rows.append((word, counts.audio.get(word, 0), counts.image.get(word, 0)))
    return HEADER + "word,audio,image\n" + "".join(f"{w},{a},{i}\n" for w, a, i in rows)


if __name__ == "__main__":
    print(table(all_counts(Path(os.environ["AVBENCH_TEST_DATA"]))), end="")
