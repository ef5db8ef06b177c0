"""Reads the captions of published models that AVBENCH_TEST_DATA holds, for the golden tests."""

import csv
import json
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

from avbench.api import References

System = tuple[dict[str, str], References]


def conette_audiocaps(data: Path) -> System:
    """CoNeTTE on AudioCaps test: 912 clips, 5 references each."""
    csv.field_size_limit(10**9)
    with (data / "predictions/conette_audiocaps/outputs_audiocaps_test.csv").open() as file:
        rows = list(csv.DictReader(file))
    said = {row["fname"]: row["cands"] for row in rows}
    return said, References(captions={r["fname"]: tuple(literal_eval(r["mrefs"])) for r in rows})


def magic_coco(data: Path) -> System:
    """MAGIC on COCO Karpathy test: 4982 images, 5 references each."""
    rows = _json(data / "predictions/magic_coco/mscoco/magic_result.json")
    said = {str(i): row["prediction"] for i, row in enumerate(rows)}
    gold = {str(i): tuple(row["captions"]) for i, row in enumerate(rows)}
    return said, References(captions=gold)


def value_youcook2(data: Path) -> System:
    """VALUE's sample submission on YouCook2 val: 3492 clips, 1 reference each."""
    said = _lines(data / "predictions/value_youcook2/yc2c_val_predictions.jsonl", "video_id")
    gold = _lines(data / "annotations/youcook2/yc2c_val_release.jsonl", "vid_name")
    return {i: texts[0] for i, texts in said.items()}, References(captions=gold)


def bmt_paragraphs(split: str) -> Callable[[Path], System]:
    """BMT on ActivityNet val_1, as paragraphs of ae-val or ae-test: 2 references at most.

    Only the videos that it captions count: the golden scores were made so.
    """

    def read(data: Path) -> System:
        spoken = _json(data / "predictions/bmt_activitynet/captioning_results_val_1_e26.json")
        folder = data / "annotations/activitynet_captions/ae"
        first, second = (_json(folder / f"anet_entities_{split}_{n}_para.json") for n in (1, 2))
        said = {}
        for video in sorted(first.keys() & spoken["results"].keys()):
            sentences = sorted(spoken["results"][video], key=lambda s: s["timestamp"])
            said[video] = ". ".join(s["sentence"] for s in sentences)
        gold = {v: (first[v], second[v]) if v in second else (first[v],) for v in said}
        return said, References(captions=gold, protocol="paragraph")

    return read


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _lines(path: Path, key: str) -> dict[str, tuple[str, ...]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row[key]: tuple(d["desc"] for d in row["descs"]) for row in rows}
