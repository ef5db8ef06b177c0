"""Reading annotation files: streams, packed files, caches of what was read."""

import gzip
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import pytest

from avbench.api import Clip, DataError, Dataset, Defect
from avbench.core import digest
from avbench.core.digest import file_digest
from avbench.data.annotations import json_stream
from avbench.data.annotations.cache import examine
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.annotations.json_stream import stream_fields
from avbench.data.annotations.reader import refuse
from avbench.data.annotations.strict_json import Node, open_csv, open_json


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def put(path: Path, text: str, age: float = 10.0) -> Path:
    """A file that was last changed some time ago."""
    path.write_text(text, encoding="utf-8")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def some(depth: int, seed: random.Random) -> Any:
    kind = seed.randrange(6 if depth else 4)
    if kind == 0:
        return seed.choice([1, -2.5, 1e300, 12345678901234567890, True, None])
    if kind in (1, 2, 3):
        return "".join(seed.choices('ab "\\\n{}[],:é\U0001f600', k=seed.randrange(12)))
    if kind == 4:
        return [some(depth - 1, seed) for _ in range(seed.randrange(4))]
    return {f"{i}{seed.random()}": some(depth - 1, seed) for i in range(seed.randrange(4))}


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_stream_gives_what_the_whole_file_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(json_stream, "STREAMED", block)
    seed = random.Random(block)
    for i in range(60):
        value = {f"k{j}": some(3, seed) for j in range(seed.randrange(5))}
        text = json.dumps(value, ensure_ascii=bool(i % 2), indent=seed.choice([None, 1]))
        path = put(tmp_path / "a.json", seed.choice(["", "\ufeff", " \n"]) + text + "\n")
        streamed = [(key, node.at, node.value) for key, node in stream_fields(path)]
        assert streamed == [(k, n.at, n.value) for k, n in open_json(path).fields()]
        packed = path.with_suffix(".json.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert [(k, n.value) for k, n in stream_fields(packed)] == list(value.items())
        assert open_json(packed).value == value


BROKEN = [
    ("", r"not JSON at line 1: Expecting value"),
    ("[1]", r"must be an object, but begins with '\['"),
    ('{"a": 1', "not JSON at line 1: Expecting ',' delimiter"),
    ('{"a": 1\n "b": 2}', "not JSON at line 2: Expecting ',' delimiter"),
    ('{"a" 1}', "Expecting ':' delimiter"),
    ('{"a": "x', "Unterminated string"),
    ('{"a": tru', "Expecting value"),
    ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
    ('{"a": {"b": 1, "b": 2}}', "the key 'b' is given twice"),
    ('{"a": 1} x', "Extra data"),
    ('{"a": ' + "[" * 100_000, "nest too deep"),
]


@pytest.mark.parametrize(
    ("block", "text", "message"),
    # A character at a time is too slow for a long text.
    [(b, *case) for b in (1, 1000) for case in BROKEN if b > 1 or len(case[0]) <= 1000],
)
def test_a_broken_stream_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, text: str, message: str
) -> None:
    monkeypatch.setattr(json_stream, "STREAMED", block)
    path = put(tmp_path / "a.json", text)
    with pytest.raises(DataError, match=message) as caught:
        list(stream_fields(path))
    assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(DataError):
        list(open_json(path).fields())


def test_what_is_no_gzip_or_not_there_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.json.gz", "{}")
    for read in (open_json, lambda p: list(stream_fields(p))):
        with pytest.raises(
            DataError, match=r"a\.json\.gz: not gzip, or damaged: Not a gzipped file"
        ):
            read(path)
        with pytest.raises(DataError, match=r"gone\.json: no such file"):
            read(tmp_path / "gone.json")


@pytest.mark.parametrize(
    "values", [[], [1, 2.5], [0], [True], ["1"], [-1], [float("nan")], [float("inf")], [10**400],
               [1e308, 1e308], 3, None]
)  # fmt: skip
def test_lists_of_numbers_are_read_as_one_by_one(values: Any) -> None:
    node = Node(Path("a.json"), "x", values)

    def outcome(read: Any) -> Any:
        try:
            return read()
        except DataError as error:
            return str(error)

    expected = outcome(lambda: [item.number() for item in node.items()])
    assert outcome(node.numbers) == expected


def test_cells_of_a_csv_are_read_strictly(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", 'a,b\n1,"x\ny"\n\n2.5,z\n')
    rows = list(open_csv(path, ("a", "b")))
    assert [r["a"].seconds() for r in rows] == [1.0, 2.5]
    assert rows[0]["b"].text() == "x y"
    for wrong in ("nan", "-1", "", "x", "1e999"):
        with pytest.raises(DataError, match="must be a number, 0 or more, got text"):
            Node(path, "row 2.a", wrong).seconds()
    with pytest.raises(DataError, match="is empty; must have a row of columns' names"):
        list(open_csv(put(tmp_path / "b.csv", ""), ()))
    for head, name, times in (
        ("a,b,a", "a", r"2 times \(as 1, 3\)"),
        ("b, a,a ,a", "a", r"3 times \(as 2, 3, 4\)"),
    ):
        twice = put(tmp_path / "b.csv", f"{head}\n{head}\n")
        with pytest.raises(DataError, match=f"b.csv: row 1: the column '{name}' is given {times}"):
            list(open_csv(twice, ()))
    # Columns without a name cannot be asked for.
    (row,) = open_csv(put(tmp_path / "b.csv", "a,,\nx,y,z\n"), ("a",))
    assert row["a"].value == "x"
    with pytest.raises(DataError, match=r"b\.csv: row 2: not csv"):
        list(open_csv(put(tmp_path / "b.csv", 'a\n"x"y\n'), ()))


def test_the_hash_of_a_clip_list_is_that_of_its_ids_and_captions() -> None:
    one = {"a": ("x", "y"), "b": ("z",)}
    assert clip_list_hash(one) == clip_list_hash({"b": ["z"], "a": ["x", "y"]})
    others = [
        {"a": ("x", "y")},
        {"a": ("y", "x"), "b": ("z",)},
        {"a": ("x",), "b": ("y", "z")},
        {"a": ("x y",), "b": ("z",)},
        {"a": ("x", "y"), "c": ("z",)},
        {},
    ]
    hashes = {clip_list_hash(other) for other in [one, *others]}
    assert len(hashes) == 7
    assert {len(text) for text in hashes} == {12}


def test_a_large_files_hash_is_remembered_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "SMALL", 4)
    monkeypatch.setattr(digest, "SETTLED", -1.0)  # a test cannot wait, nor set back ctime
    read = []
    whole = digest.sha256
    monkeypatch.setattr(digest, "sha256", lambda path: read.append(path) or whole(path))
    path = put(tmp_path / "a", "some content")
    first = file_digest(path)
    assert first == file_digest(path)
    assert len(read) == 1
    put(path, "some contenT")
    assert file_digest(path) != first
    assert len(read) == 2
    for text in ("no json", "[]", "{}"):
        (known,) = (tmp_path / "cache/digests").iterdir()
        known.write_text(text)
        file_digest(path)
    assert len(read) == 5


def test_a_file_just_written_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "SMALL", 4)
    path = tmp_path / "a"
    path.write_text("some content")
    file_digest(path)
    assert not (tmp_path / "cache/digests").exists()


@final
class Counting(Dataset):
    """A reader that counts how often it reads."""

    def __init__(self, path: Path) -> None:
        self.path, self.reads = path, 0

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def clips(self, split: str) -> Sequence[Clip]:
        self.reads += 1
        if "broken" in self.path.read_text():
            raise DataError("broken")
        return [Clip(id="a", video="a", media=self.path, captions=("x",))]

    def defects(self, split: str) -> Sequence[Defect]:
        return (Defect(place="here", problem="wrong", clip="b"),)

    def files(self) -> Sequence[Path]:
        return [self.path]

    def fingerprint(self) -> str:
        return ""


def test_annotations_are_read_once_while_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest, "SETTLED", -1.0)
    reader = Counting(put(tmp_path / "a.json", "fine"))
    first = examine(reader, "train", ["name", {}])
    assert (first.counts.clips, [d.clip for d in first.defects]) == (1, ["b"])
    assert examine(reader, "train", ["name", {}]) == first
    assert reader.reads == 1
    examine(reader, "train", ["name", {"option": 1}])
    assert reader.reads == 2
    put(reader.path, "other")
    examine(reader, "train", ["name", {}])
    assert reader.reads == 3
    put(reader.path, "broken")
    for _ in range(2):
        with pytest.raises(DataError, match="broken"):
            examine(reader, "train", ["name", {}])
    assert reader.reads == 5


def test_the_policy_decides_of_defects_that_cost_a_clip() -> None:
    mended = Defect(place="a.json: x[0]", problem="reversed")
    costly = [
        Defect(place=f"a.json: x[{i}]", problem="has no length", clip=f"v#{i}") for i in (1, 2)
    ]
    refuse([mended, *costly], "skip", "set, split 'train'")
    refuse([mended], "fail", "set, split 'train'")
    with pytest.raises(DataError) as caught:
        refuse([mended, *costly], "fail", "set, split 'train'")
    assert str(caught.value).splitlines() == [
        "set, split 'train': 2 clips have malformed annotations "
        "(policy 'fail'; 'skip' counts them as lost):",
        "  a.json: x[1]: has no length (clip 'v#1')",
        "  a.json: x[2]: has no length (clip 'v#2')",
    ]
