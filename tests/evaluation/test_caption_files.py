"""Files of captions in the forms of other tools."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avbench.core.errors import DataError
from avbench.evaluation.caption_files import read_groups, read_hypotheses, read_references

SAID = {"b": "a dog", "7": "", "a/x é": "two lines"}
GOLD = {"7": ("x",), "b": ("a dog", "the dog"), "a/x é": ("",)}


def lines(*objects: Any) -> str:
    return "".join(json.dumps(o, ensure_ascii=False) + "\n" for o in objects)


RESULTS = [
    {"image_id": "b", "caption": "a dog"},
    {"image_id": 7, "caption": " "},
    {"image_id": "a/x é", "caption": "two\nlines"},
]
HYPOTHESES = {
    "h.jsonl": "\n" + lines(*({"id": r["image_id"], "caption": r["caption"]} for r in RESULTS)),
    "h.json": json.dumps(RESULTS),
    "pretty.json": json.dumps(RESULTS, indent=1),
    "annotations": json.dumps({"info": {}, "annotations": RESULTS}),
    "pretty": json.dumps({"annotations": RESULTS}, indent=1),
    "value.jsonl": lines(
        *({"video_id": i, "clip_id": 3, "descs": [{"desc": text}]} for i, text in SAID.items())
    ),
    "ids.json": json.dumps({"b": "a dog", "7": "", "a/x é": "two  lines"}),
    "lists.json": json.dumps({"b": ["a dog"], "7": [""], "a/x é": ["two\nlines"]}, indent=1),
    "segments.json": json.dumps(
        {
            "b": {"duration": 2.0, "timestamps": [[0, 1], [1, 2]], "sentences": ["a", " dog"]},
            "7": {"duration": 1.0, "timestamps": [], "sentences": []},
            "a/x é": {"sentences": ["two lines"]},
        }
    ),
    "results.json": json.dumps(
        {
            "version": "1.0",
            "results": {
                "b": [{"sentence": "a", "timestamp": [0, 1]}, {"sentence": "dog"}],
                "7": [{"sentence": ""}],
                "a/x é": [{"sentence": "two lines"}],
            },
        }
    ),
    "h.csv": 'id,caption,more\nb,a dog,1\n7,,2\na/x é,"two\r\nlines",3\n',
}
REPEATED = [
    {"image_id": 7, "caption": "x"},
    {"image_id": "b", "caption": "a dog", "id": 1},
    {"image_id": "a/x é", "caption": "\n"},
    {"image_id": "b", "caption": "the  dog", "id": 2},
]
REFERENCES = {
    "r.jsonl": lines(*({"id": i, "captions": texts} for i, texts in GOLD.items())),
    "one.jsonl": lines(*({"id": r["image_id"], "caption": r["caption"]} for r in REPEATED)),
    "r.json": json.dumps({"images": [{"id": 7}], "annotations": REPEATED}, indent=2),
    "list.json": json.dumps(REPEATED),
    "value.jsonl": lines(
        *({"vid_name": i, "descs": [{"desc": t} for t in texts]} for i, texts in GOLD.items())
    ),
    "ids.json": json.dumps({"7": "x", "b": ["a dog", "the dog"], "a/x é": ""}),
    "r.csv": "id,caption\n7,x\nb,a dog\na/x é,\nb,the dog\n",
}


@pytest.mark.parametrize("name", HYPOTHESES)
def test_hypotheses(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HYPOTHESES[name], "utf-8")
    assert read_hypotheses(tmp_path / name) == SAID
    with gzip.open(tmp_path / f"{name}.gz", "wb") as file:
        file.write(HYPOTHESES[name].encode())
    assert read_hypotheses(tmp_path / f"{name}.gz") == SAID


@pytest.mark.parametrize("name", REFERENCES)
def test_references(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(REFERENCES[name], "utf-8")
    assert read_references(tmp_path / name) == GOLD


def test_references_in_numbered_columns(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,caption_1,caption_2\n7,x,\nb,a dog,the dog\n")
    assert read_references(tmp_path / "r.csv") == {"7": ("x",), "b": ("a dog", "the dog")}


def test_columns_of_other_names_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,caption_id,caption\n7,1,x\n7,2,y\n")
    assert read_references(tmp_path / "r.csv") == {"7": ("x", "y")}


def test_a_cell_may_be_as_long_as_a_line_of_json(tmp_path: Path) -> None:
    long = "dog " * 50_000  # the csv module's own limit is 131,072 characters
    (tmp_path / "h.csv").write_text(f"id,caption\nx,{long}\n")
    (tmp_path / "h.jsonl").write_text(lines({"id": "x", "caption": long}))
    assert read_hypotheses(tmp_path / "h.csv") == read_hypotheses(tmp_path / "h.jsonl")


def test_a_caption_may_hold_what_ends_a_line_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "h.jsonl").write_text('{"id": "x", "caption": "a\u2028b"}\n', "utf-8")
    assert read_hypotheses(tmp_path / "h.jsonl") == {"x": "a b"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("h.jsonl", '{"id": "x", "caption": "a"}\n' * 2, "line 2: id 'x' has a caption already"),
        (
            "h.jsonl",
            '{"id": 7, "caption": "a"}\n{"id": "7", "caption": "b"}',
            "line 2: id '7' has",
        ),
        ("h.jsonl", '{"id": "x"}', "line 1: the field 'caption' is missing. It has: id"),
        (
            "h.jsonl",
            '{"id": "x", "captions": ["a"]}',
            "line 1: the field 'caption' is missing; is 'captions' meant?",
        ),
        ("h.jsonl", '{"id": "x", "caption": null}', "line 1.caption: must be a text, got null"),
        ("h.jsonl", '{"id": 1.5, "caption": ""}', "line 1.id: must be an id: a text that is not"),
        ("h.jsonl", '{"id": true, "caption": ""}', "or a whole number, got boolean true"),
        ("h.jsonl", '{"id": "x", "caption": ""}\n{', "line 2: not JSON at column 2"),
        ("h.json", '[{"image_id": 1, "caption": ""},\n', "line 2, column 1: Expecting value"),
        ("h.json", '[{"id": 1, "caption": ""}]', "[0]: the field 'image_id' is missing"),
        ("h.json", "{}", "line 1: the field 'id' is missing"),
        ("h.json", "3", "line 1: must be an object with the field 'id', got number 3"),
        (
            "h.json",
            '{\n"images": []}',
            "images: must be a caption, or a video's sentences, got arr",
        ),
        ("h.json", '{"a": ["x", "y"]}', "a: must be a caption, or a video's sentences, got array"),
        (
            "h.jsonl",
            '{"video_id": "x", "descs": [{"desc": "a"}, {"desc": "b"}]}',
            "line 1.descs: must be an array of 1 items, got array",
        ),
        ("h.csv", "id,text\nx,a\n", "row 2: the field 'caption' is missing"),
        ("h.csv", "name,caption\nx,a\n", "the column 'id' is missing"),
        ("h.csv", "id,caption\nx,a,b\n", "row 2: must have 2 cells as the head has, got 3"),
        ("h.jsonl", "", "holds no caption"),
        ("h.csv", "id,caption\n", "holds no caption"),
    ],
)
def test_bad_hypotheses_name_the_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(DataError) as caught:
        read_hypotheses(tmp_path / name)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.jsonl", '{"id": 1, "captions": []}', "must be an array of one or more captions, got"),
        ("r.jsonl", '{"vid_name": 1, "descs": []}', "must be an array of one or more captions, g"),
        ("r.jsonl", '{"id": 1, "captions": "a"}', "line 1.captions: must be an array, got text"),
        ("r.jsonl", '{"id": 1, "captions": [1]}', "line 1.captions[0]: must be a text, got num"),
        ("r.jsonl", '{"id": 1, "captions": ["a"]}\n' * 2, "line 2: id '1' has references already"),
        ("r.json", '{"a": []}', "a: must be a caption, an array of captions, or a video's sent"),
        ("r.csv", "id,caption_1,caption_2\nx,,\n", "row 2: has no caption in any column caption_"),
        ("r.csv", "id,caption_1\nx,a\nx,b\n", "row 3: id 'x' has references already"),
        (
            "r.csv",
            "id,caption,caption_1,caption_2\nx,a,b,c\n",
            "row 2: has both columns, 'caption' and 'caption_1', 'caption_2'; give one",
        ),
        (
            "r.jsonl",
            '{"id": 1, "caption": "a", "captions": ["a", "b"]}',
            "line 1: has both fields, 'caption' and 'captions'; give one",
        ),
    ],
)
def test_bad_references_name_the_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(DataError) as caught:
        read_references(tmp_path / name)
    assert message in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    for name in ("h.jsonl", "h.json", "h.csv"):
        with pytest.raises(DataError, match=f"{name}: no such file"):
            read_hypotheses(tmp_path / name)


def test_whole_numbers_are_one_id_however_they_are_written(tmp_path: Path) -> None:
    written = [{"image_id": i, "caption": f"a {i}"} for i in (7, 7.0, "7")]
    (tmp_path / "r.json").write_text(json.dumps(written))
    assert read_references(tmp_path / "r.json") == {"7": ("a 7", "a 7.0", "a 7")}


SENTENCES = [("c", [9.5, 11]), ("b", [1, 5]), ("", [1, 2]), ("a", [-0.5, 0])]


@pytest.mark.parametrize("field", ["timestamp", "timestamps", "segment"])
def test_sentences_come_in_time_and_blank_ones_add_nothing(tmp_path: Path, field: str) -> None:
    said = [{"sentence": text, field: time} for text, time in SENTENCES]
    (tmp_path / "h.json").write_text(json.dumps({"results": {"v": said, "w": said[:1]}}))
    found = read_hypotheses(tmp_path / "h.json")
    assert (found, found.orders) == ({"v": "a b c", "w": "c"}, {"start"})
    del said[0][field]
    (tmp_path / "h.json").write_text(json.dumps({"results": {"v": said}}))
    found = read_hypotheses(tmp_path / "h.json")
    assert (found, found.orders) == ({"v": "c b a"}, {"file"})


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[0, 1]], "v.timestamps: must be an array of 2 items"),
        ([[0, 1], [2]], "v.timestamps[1]: must be an array of 2 items"),
        ([[0, 1], [2, "x"]], 'v.timestamps[1][1]: must be a number, got text "x"'),
        ([[0, 1], [2, float("nan")]], "v.timestamps[1][1]: must be a number, got number NaN"),
    ],
)
def test_times_that_are_none_are_named(tmp_path: Path, times: Any, message: str) -> None:
    video = {"v": {"sentences": ["a", "b"], "timestamps": times}}
    (tmp_path / "h.json").write_text(json.dumps(video))
    with pytest.raises(DataError) as caught:
        read_hypotheses(tmp_path / "h.json")
    assert message in str(caught.value)


GROUPED = {
    "images": {
        "images": [{"id": 1, "video": "v"}, {"id": 2, "video": 7}],
        "annotations": [{"image_id": i, "caption": "x"} for i in (1, 2)],
    },
    "annotations": {
        "annotations": [
            {"image_id": i, "caption": "x", "video": v} for i, v in ((1, "v"), (2, 7.0))
        ]
    },
    "fields": {
        "1": {"sentences": ["x"], "video": "v"},
        "2": {"sentences": ["y"], "video": "7"},
    },
}


@pytest.mark.parametrize("form", GROUPED)
def test_a_field_gives_the_groups_in_every_form_that_has_fields(tmp_path: Path, form: str) -> None:
    (tmp_path / "r.json").write_text(json.dumps(GROUPED[form]))
    assert read_references(tmp_path / "r.json", "video").groups == {"1": "v", "2": "7"}
    with pytest.raises(DataError, match="the field 'vidoe' is missing; is 'video' meant"):
        read_references(tmp_path / "r.json", "vidoe")


def test_an_id_of_two_groups_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,caption,video\nx,a,v\nx,b,w\n")
    with pytest.raises(DataError, match=r"row 3.video: id 'x' has the group 'v' already, got 'w'"):
        read_references(tmp_path / "r.csv", "video")
    with pytest.raises(DataError, match=r"the column 'vidoe' is missing; is 'video' meant"):
        read_references(tmp_path / "r.csv", "vidoe")
    (tmp_path / "g.json").write_text('{"x": "v", "y": 3}')
    assert read_groups(tmp_path / "g.json") == {"x": "v", "y": "3"}


@pytest.mark.parametrize("read", [read_groups, read_hypotheses, read_references])
def test_no_id_is_empty(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Found by fuzzing the files of groups."""
    (tmp_path / "x.json").write_text('{"a": "v", "": "w"}')
    with pytest.raises(DataError, match=r"x\.json: an id must not be empty"):
        read(tmp_path / "x.json")
