"""Hostile and damaged JSON, JSON lines, csv and gzip: one line that names the file."""

import gzip
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from avbench.core.environment import whole_number
from avbench.core.errors import AvbenchError, DataError
from avbench.data.annotations.json_stream import stream_fields
from avbench.data.annotations.strict_json import open_csv, open_json, open_lines, open_words
from avbench.data.annotations.subtitles import open_vtt
from avbench.data.prepared.clips import clip_from_json, paragraphs_from_json
from avbench.data.text.counts import Unseen, read_counts
from avbench.evaluation.caption_files import read_hypotheses, read_references

READERS: dict[str, Callable[[Path], Any]] = {
    "json": open_json,
    "lines": open_lines,
    "stream": stream_fields,
    "hypotheses": read_hypotheses,
    "references": read_references,
}

HOSTILE = {
    "a whole number of 5,000 digits": '{"id": ' + "9" * 5000 + ', "caption": "a"}',
    "a negative one": '{"id": -' + "9" * 5000 + ', "caption": "a"}',
    "arrays that nest": '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "objects that nest": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "half a surrogate pair": '{"id": "a", "caption": "\\ud800"}',
    "half a pair in capitals": '{"id": "a", "caption": "\\uD83D x"}',
    "a key twice": '{"id": "a", "id": "b", "caption": "c"}',
    "NUL": '{"id": "a\0", "caption": "c"}',
}


def error_of(read: Callable[[Path], Any], path: Path) -> str:
    def whole() -> None:
        found = read(path)
        list(found if isinstance(found, Iterable) else ())

    with pytest.raises(DataError) as caught:
        whole()
    return str(caught.value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_one_line_that_names_the_file(
    name: str, reader: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(HOSTILE[name] + "\n", encoding="utf-8")
    began = time.process_time()
    said = error_of(READERS[reader], path)
    assert time.process_time() - began < 2
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    assert len(said) < 500 + len(str(path))


def damaged(whole: bytes) -> dict[str, bytes]:
    flipped = bytearray(whole)
    for i in range(len(whole) // 2, len(whole) // 2 + 8):
        flipped[i] ^= 0xFF
    return {
        "bytes flipped": bytes(flipped),
        "cut": whole[: len(whole) // 2],
        "checksum": whole[:-8] + bytes(8),
        "no gzip": b"this is no gzip at all",
        "header alone": whole[:10],
        "rubbish behind": whole + b"rubbish",
    }


TEXTS = {
    "json": (
        open_json,
        "x.json.gz",
        json.dumps({f"id{i}": f"a caption of {i * i}" for i in range(500)}),
    ),
    "lines": (
        open_lines,
        "x.jsonl.gz",
        "\n".join(json.dumps({"id": i, "caption": f"c {i * i}"}) for i in range(500)),
    ),
    "stream": (
        stream_fields,
        "x.json.gz",
        json.dumps({f"id{i}": f"a caption of {i * i}" for i in range(500)}),
    ),
    "csv": (
        lambda p: open_csv(p, ("id",)),
        "x.csv.gz",
        "id,caption\n" + "".join(f"{i},c {i * i}\n" for i in range(500)),
    ),
    "words": (open_words, "x.txt.gz", "".join(f"a {i * i}\n" for i in range(500))),
    "hypotheses": (
        read_hypotheses,
        "x.json.gz",
        json.dumps({f"id{i}": f"a caption of {i * i}" for i in range(500)}),
    ),
}


@pytest.mark.parametrize("form", TEXTS)
def test_damaged_gzip_is_one_line_that_names_the_file(form: str, tmp_path: Path) -> None:
    read, name, text = TEXTS[form]
    for what, contents in damaged(gzip.compress(text.encode(), mtime=0)).items():
        path = tmp_path / name
        path.write_bytes(contents)
        said = error_of(read, path)
        assert said.startswith(f"{path}: "), what
        assert "\n" not in said, what


def test_subtitles_and_counts_hold_their_numbers_to_a_range(tmp_path: Path) -> None:
    vtt = tmp_path / "x.vtt"
    vtt.write_text(f"WEBVTT\n\n{'9' * 5000}:00:00.000 --> 00:00:01.000\na\n")
    with pytest.raises(DataError, match="line 3: must be"):
        open_vtt(vtt)
    counts = tmp_path / "words.csv"
    for number in ("9" * 5000, "-1", "nan", "1_0", "٣"):
        counts.write_text(f"word,audio,image\na,{number},1\n", encoding="utf-8")
        with pytest.raises(DataError, match="a count must be a whole number from 0"):
            read_counts(counts)
    for text in ("add:nan", "add:inf", "add:-1", "add:1e9", "add:" + "9" * 5000):
        with pytest.raises(DataError, match="must be add:A with A above 0") as caught:
            Unseen.of(text)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "nan", "9" * 5000, "٣"])
def test_a_launchers_variable_that_is_no_number_is_named(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", text)
    with pytest.raises(AvbenchError, match=r"^WORLD_SIZE: must be from 0 to 1,000,000 processes"):
        whole_number("WORLD_SIZE", 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert whole_number("WORLD_SIZE", 1) == 4


@pytest.mark.parametrize("field", ["id", "video", "captions", "next_caption", "speech"])
def test_a_listed_clip_must_be_unicode(field: str, tmp_path: Path) -> None:
    """Found by fuzzing a shard's index: no other file could hold such a caption."""
    clip = {"id": "a", "video": "v", "media": "a.mp4", "captions": ["a dog"]}
    assert clip_from_json(clip, tmp_path).captions == ("a dog",)
    half = json.loads('"a \\ud800"')
    with pytest.raises(ValueError, match=r"'\\ud800'.*surrogates not allowed"):
        clip_from_json({**clip, field: [half] if field == "captions" else half}, tmp_path)
    with pytest.raises(ValueError, match="surrogates not allowed"):
        paragraphs_from_json({"v": ["a dog", half]})
