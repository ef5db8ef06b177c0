"""The command ``avbench score``, as a user calls it."""

import csv
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from avbench.api import Metric, References, Score
from avbench.builtin.metrics import _meteor
from avbench.cli import main
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.evaluation import coco_java
from avbench.evaluation.statistics import sufficient
from avbench.evaluation.statistics.estimate import holm
from avbench.evaluation.statistics.resampling import System
from avbench.evaluation.statistics.videos import over_videos


def _published() -> ModuleType:
    path = Path(__file__).parents[1] / "golden" / "published.py"
    spec = importlib.util.spec_from_file_location("golden_published", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


published = _published()
NAMES = ["bleu4", "meteor", "rougeL", "cider"]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs ``avbench score`` in this process; exit status, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["avbench", "score", *map(str, arguments)])
        code = 0
        try:
            main.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def as_lines(folder: Path, said: Mapping[str, str], gold: Mapping[str, Any]) -> list[Path]:
    files = [folder / "said.jsonl", folder / "gold.jsonl"]
    objects: list[list[Any]] = [
        [{"id": i, "caption": text} for i, text in said.items()],
        [{"id": i, "captions": list(texts)} for i, texts in gold.items()],
    ]
    for file, lines in zip(files, objects, strict=True):
        file.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines), "utf-8")
    return files


def as_coco(folder: Path, said: Mapping[str, str], gold: Mapping[str, Any]) -> list[Path]:
    files = [folder / "said.json", folder / "gold.json"]
    results = [{"image_id": i, "caption": text} for i, text in said.items()]
    files[0].write_text(json.dumps(results))
    pairs = [(i, text) for i, texts in gold.items() for text in texts]
    annotations = [{"image_id": i, "id": n, "caption": t} for n, (i, t) in enumerate(pairs)]
    files[1].write_text(json.dumps({"images": [], "annotations": annotations}, indent=1))
    return files


def as_csv(folder: Path, said: Mapping[str, str], gold: Mapping[str, Any]) -> list[Path]:
    files = [folder / "said.csv", folder / "gold.csv"]
    most = max(map(len, gold.values()))
    head = ["id", *(f"caption_{n + 1}" for n in range(most))]
    rows = [[i, *texts, *[""] * (most - len(texts))] for i, texts in gold.items()]
    tables = [[["id", "caption"], *said.items()], [head, *rows]]
    for file, table in zip(files, tables, strict=True):
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows(table)
    return files


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "write", "protocol", "ids", "expected"),
    [
        (
            *(published.conette_audiocaps, as_csv, "coco", 912),
            (23.905, 23.196, 48.369, 71.350),
        ),
        (*(published.magic_coco, as_coco, "coco", 4982), (12.878, 17.362, 39.879, 49.289)),
        (*(published.value_youcook2, as_lines, "coco", 3492), (10.708, 17.659, 38.744, 115.875)),
        (
            *(published.bmt_paragraphs("test"), as_lines, "paragraph", 2228),
            (9.240, 16.021, 29.672, 18.193),
        ),
        (
            *(published.bmt_paragraphs("val"), as_csv, "paragraph", 2255),
            (9.851, 16.309, 30.114, 19.158),
        ),
        # By the other protocol's PTB tokenizer the same paragraphs score a little otherwise.
        (
            *(published.bmt_paragraphs("test"), as_coco, "coco", 2228),
            (9.240, 16.019, 29.671, 18.189),
        ),
    ],
    ids=["conette_audiocaps", "magic_coco", "value_youcook2", "bmt_test", "bmt_val", "bmt_ptb"],
)
def test_published_captions(
    command: Any,
    test_data: Path,
    tmp_path: Path,
    read: Any,
    write: Any,
    protocol: str,
    ids: int,
    expected: tuple[float, ...],
) -> None:
    said, gold = read(test_data)
    files = write(tmp_path, said, gold.captions)
    code, out, err = command(
        *("--hypotheses", files[0], "--references", files[1], "--protocol", protocol, "--json")
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["references"]["ids"] == ids
    ((scores),) = [system["scores"] for system in found["systems"]]
    assert [score["name"] for score in scores] == NAMES
    assert [score["value"] for score in scores] == pytest.approx(expected, abs=0.005)
    for score in scores:
        assert f"|protocol:{protocol}|clips:{ids}-" in score["signature"]


GOLD = {
    "x": ["A dog barks.", "The dog is barking"],
    "y": ["rain falls on a roof"],
    "z": ["a bell"],
}
SAID = {"z": "a bell rings", "y": "rain falls on a roof", "x": "the dog barks"}


def figures(out: str) -> dict[str, float]:
    (system,) = json.loads(out)["systems"]
    return {score["name"]: score["value"] for score in system["scores"]}


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_odd_captions_and_orders_shift_no_score(command: Any, tmp_path: Path) -> None:
    """The same scores by id for another order of both files, and beside odd captions."""

    def by_id(said: Mapping[str, str], gold: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        files = as_lines(tmp_path, said, gold)
        folder = tmp_path / "out"
        code, _, err = command(
            *("--hypotheses", files[0], "--references", files[1], "--out", folder)
        )
        assert (code, err) == (0, "")
        with (folder / "per_clip.csv").open(encoding="utf-8") as file:
            return {row["id"]: row for row in csv.DictReader(file)}

    plain = by_id(SAID, GOLD)
    turned = {i: GOLD[i] for i in reversed(GOLD)}
    assert by_id(dict(sorted(SAID.items())), turned) == plain
    odd = {
        "n": "two\nlines",
        "e": "",
        "u": "naïve 中文 \u2028😀",
        "l": " ".join(f"word{n % 50}" for n in range(10000)),
    }
    gold = {**{i: ["two lines", text[:50]] for i, text in odd.items()}, **GOLD}
    beside = by_id({**SAID, **odd}, gold)
    for i in GOLD:
        for name in ("bleu4", "meteor", "rougeL"):  # CIDEr's frequencies are of the whole set
            assert float(beside[i][name]) == pytest.approx(float(plain[i][name]), abs=1e-9)
    assert float(beside["n"]["rougeL"]) == pytest.approx(100)
    assert float(beside["e"]["meteor"]) == 0.0
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["systems"][0]["empty"] == 1
    kept = sufficient.read(tmp_path / "out")
    assert set(kept) == set(NAMES)
    assert kept["meteor"].ids == tuple(gold)


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_several_systems_for_people(command: Any, tmp_path: Path) -> None:
    said, gold = as_lines(tmp_path, SAID, GOLD)
    worse = tmp_path / "worse.csv"
    worse.write_text("id,caption\nx,\ny,rain falls\nz,a bell\n")
    code, out, err = command(
        *(
            "--hypotheses",
            said,
            "--hypotheses",
            worse,
            "--references",
            gold,
            "--metric",
            "coco_caption",
        )
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{said}: 3 ids"
    assert [line.split()[0] for line in lines[1:5]] == ["BLEU-4", "METEOR", "ROUGE-L", "CIDEr"]
    assert lines[5] == f"{worse}: 3 ids"
    assert lines[10] == "  1 captions are empty"
    assert lines[11].startswith("signature: bleu4 ref:closest, meteor lang:en|norm:yes|jar:1.5")
    assert f"nrefs:1-2|case:lc|tok:ptb-3.4.1|protocol:coco|clips:3-{clip_list_hash(GOLD)}" in out
    assert len(lines) == 12


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_files_are_compared_with_the_first(command: Any, tmp_path: Path) -> None:
    """One system much worse, one the same in other files; the tests are those of a table."""
    texts = ["a dog barks", "rain falls on a roof", "the bell rings", "two men talk", "a car"]
    gold = {f"c{i}": [f"{texts[i % 5]} number {i}"] for i in range(40)}
    said = {i: captions[0] for i, captions in gold.items()}
    wrong = {i: "a zebra" if n % 4 else text for n, (i, text) in enumerate(said.items())}
    first, references = as_lines(tmp_path, said, gold)
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    worse, same = as_csv(tmp_path / "b", wrong, gold)[0], as_csv(tmp_path / "c", said, gold)[0]
    asked = [x for file in (first, worse, same) for x in ("--hypotheses", file)]
    asked += ["--references", references, "--compare"]
    code, out, err = command(*asked, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    values = [{s["name"]: s["value"] for s in one["scores"]} for one in found["systems"]]
    tests = found["comparisons"]
    assert [(t["hypotheses"], t["score"]) for t in tests] == [
        (str(file), name) for file in (worse, same) for name in NAMES
    ]
    for number, test in enumerate(tests):
        name, system = test["score"], 1 + number // 4
        assert test["to"] == str(first)
        assert test["n"] == 40
        assert test["difference"] == pytest.approx(values[system][name] - values[0][name])
        if system == 1:
            assert (test["units"], test["reason"]) == ("ids", "")
            assert test["low"] <= test["difference"] <= test["high"]
        else:
            assert test["reason"].startswith("no spread: the figure is the same without any")
            assert (test["low"], test["high"], test["p"]) == (None, None, 1.0)
        assert (test["p_corrected"] < 0.01) == (system == 1)
    assert holm([t["p"] for t in tests]) == [t["p_corrected"] for t in tests]
    code, out, _ = command(*asked)
    assert code == 0
    lines = out.splitlines()
    assert f"{worse} − {first}: 95 % interval over 40 ids; corrected p" in lines
    assert sum("[no interval] 1.0000" in line for line in lines) == 4
    assert "No interval: no spread: the figure is the same without any of the 40 ids." in lines
    (bleu, *_) = (line for line in lines if line.startswith("  BLEU-4") and "[" in line)
    shown = f"{tests[0]['difference']:+8.3f} [{tests[0]['low']:+.3f} {tests[0]['high']:+.3f}]"
    assert shown in bleu
    assert any("Holm's correction over 8 differences" in line for line in lines)


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_a_video_without_a_paragraph_counts_as_nothing_said(command: Any, tmp_path: Path) -> None:
    few = {i: SAID[i] for i in ("x", "y")}
    asked = ("--protocol", "paragraph", "--json")
    files = as_lines(tmp_path, few, GOLD)
    code, out, _ = command("--hypotheses", files[0], "--references", files[1], *asked)
    assert code == 0
    assert json.loads(out)["systems"][0]["without_caption"] == 1
    left_out = figures(out)
    files = as_lines(tmp_path, {**few, "z": ""}, GOLD)
    _, out, _ = command("--hypotheses", files[0], "--references", files[1], *asked)
    assert figures(out) == left_out
    assert json.loads(out)["systems"][0]["without_caption"] == 0
    files = as_lines(tmp_path, few, {i: GOLD[i] for i in few})
    _, out, _ = command("--hypotheses", files[0], "--references", files[1], *asked)
    assert left_out["rougeL"] == pytest.approx(figures(out)["rougeL"] * 2 / 3)


@pytest.mark.parametrize(
    ("said", "more", "message"),
    [
        (
            {"x": "a", "y": "b"},
            (),
            "said.jsonl: 1 of 3 ids of {gold} have no caption, the first 'z'; if a model gave "
            "none, write an empty caption",
        ),
        (
            {**SAID, "q": "a"},
            (),
            "said.jsonl: 1 of 4 ids have no reference in {gold}, the first 'q'; its ids are like "
            "'x'",
        ),
        ({**SAID, "q": "a"}, ("--protocol", "paragraph"), "1 of 4 ids have no reference"),
        (
            SAID,
            ("--protocol", "paragraphs"),
            "--protocol: unknown protocol 'paragraphs'; did you mean 'paragraph'? Allowed: coco, "
            "paragraph",
        ),
        (SAID, ("--metric", "coco"), "unknown metric 'coco'; did you mean 'coco_caption'?"),
        (SAID, ("--compare",), "--compare: needs two or more files of hypotheses, got 1"),
        (
            SAID,
            ("--hypotheses", "other.jsonl", "--out", "there"),
            "--out: takes one file of hypotheses, got 2",
        ),
    ],
)
def test_errors(
    command: Any, tmp_path: Path, said: dict[str, str], more: tuple[str, ...], message: str
) -> None:
    files = as_lines(tmp_path, said, GOLD)
    code, out, err = command("--hypotheses", files[0], "--references", files[1], *more)
    assert (code, out) == (2, "")
    assert message.format(gold=files[1]) in err
    assert not Path("there").exists()


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_a_caption_that_is_too_long_is_named(command: Any, tmp_path: Path) -> None:
    files = as_lines(tmp_path, {**SAID, "y": " ".join(["dog"] * 10001)}, GOLD)
    code, _, err = command("--hypotheses", files[0], "--references", files[1])
    assert code == 2
    said = "coco_caption: 'y': the caption has 10001 words; METEOR aligns at most 10000"
    assert err == f"error: {files[0]} against {files[1]}: {said}\n"


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
def test_of_several_files_the_one_at_fault_is_named(command: Any, tmp_path: Path) -> None:
    said, gold = as_lines(tmp_path, SAID, GOLD)
    odd = tmp_path / "odd.csv"
    odd.write_text(f"id,caption\nx,a\ny,{'dog ' * 10001}\nz,b\n")
    files = ("--hypotheses", said, "--hypotheses", odd, "--references", gold)
    code, _, err = command(*files)
    assert code == 2
    assert err.startswith(f"error: {odd} against {gold}: coco_caption: 'y': the caption has 10001")


def test_java_that_fails_is_no_traceback(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "java"
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(0o755)
    for module in (coco_java, _meteor):
        monkeypatch.setattr(module, "java", lambda: str(fake))
    files = as_lines(tmp_path, SAID, GOLD)
    code, out, err = command("--hypotheses", files[0], "--references", files[1])
    assert (code, out) == (2, "")
    assert err == (
        f"error: {files[0]} against {files[1]}: PTB tokenizer ended with exit status 3\n"
    )
    # METEOR's process ends at the first caption; the paragraph protocol has no tokenizer.
    asked = ("--hypotheses", files[0], "--references", files[1], "--protocol", "paragraph")
    code, _, err = command(*asked)
    assert code == 2
    assert err.startswith(
        f"error: {files[0]} against {files[1]}: METEOR ended with exit status 3 a"
    )


def test_references_of_several_annotators_are_put_together(
    tmp_path: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of ActivityNet-Captions, whose second annotator left some videos out."""
    seen: list[References] = []

    class Counts(Metric):
        def score(self, hypotheses: Any, references: References) -> list[list[Score]]:
            seen.append(references)
            return [[Score(name="n", value=1.0, unit="%", signature="n|v:1")] for _ in hypotheses]

    monkeypatch.setattr("avbench.cli.score.make", lambda *_: Counts())
    for name, text in (("first", {"v_a": "one", "v_b": "two"}), ("second", {"v_b": "other"})):
        (tmp_path / f"{name}.json").write_text(json.dumps(text))
    (tmp_path / "said.json").write_text(json.dumps({"v_a": "x", "v_b": "y"}))
    code, _, _ = command(
        *("--hypotheses", tmp_path / "said.json", "--protocol", "paragraph"),
        *("--references", tmp_path / "first.json", "--references", tmp_path / "second.json"),
        *("--metric", "coco_caption"),
    )
    assert code == 0
    assert seen[0].captions == {"v_a": ("one",), "v_b": ("two", "other")}


class Length(Metric):
    """The number of a caption's words; needs no Java."""

    def score(self, hypotheses: Any, references: References) -> list[list[Score]]:
        made = []
        for said in hypotheses:
            each = {i: float(len(text.split())) for i, text in said.items()}
            value = sum(each.values()) / len(each)
            made.append([Score(name="n", value=value, unit="", signature="n|v:1", per_item=each)])
        return made


@pytest.fixture
def by_length(monkeypatch: pytest.MonkeyPatch, command: Any) -> Callable[..., Any]:
    """Runs ``avbench score`` by the number of words alone; the results as JSON."""
    monkeypatch.setattr("avbench.cli.score.make", lambda *_: Length())

    def run(*arguments: object) -> dict[str, Any]:
        code, out, err = command(*arguments, "--metric", "coco_caption", "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return found

    return run


def two_systems(folder: Path, ids: int) -> list[object]:
    """Captions of two systems that are alike in the mean, and references."""
    draw = np.random.default_rng(ids)
    for name in ("first", "second"):
        said = {f"c{i}": "a " * int(draw.integers(1, 9)) for i in range(ids)}
        (folder / f"{name}.json").write_text(json.dumps(said))
    rows = [{"id": f"c{i}", "caption": "x", "clip of": f"v{i // 4}"} for i in range(ids)]
    (folder / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [x for n in ("first", "second") for x in ("--hypotheses", folder / f"{n}.json")]
    return [*files, "--references", folder / "gold.jsonl", "--compare"]


def test_below_ten_ids_there_is_no_interval_and_the_reason_is_said(
    tmp_path: Path, by_length: Any, command: Any
) -> None:
    for ids in (3, 9):
        asked = two_systems(tmp_path, ids)
        (test,) = by_length(*asked)["comparisons"]
        assert (test["low"], test["high"], test["n"]) == (None, None, ids)
        assert test["reason"] == f"{ids} ids; an interval needs at least 10"
        assert test["p"] >= 2.0 ** (1 - ids) * 0.9  # not even all exchanges tell more
    _, out, _ = command(*asked, "--metric", "coco_caption")
    assert "No interval: 9 ids; an interval needs at least 10." in out.splitlines()
    (test,) = by_length(*two_systems(tmp_path, 10))["comparisons"]
    assert test["low"] < test["difference"] < test["high"]
    assert test["reason"] == ""


GROUPS: dict[str, Callable[[dict[str, str]], str]] = {
    "of.json": json.dumps,
    "of.csv": lambda of: "id,video\n" + "".join(f"{i},{v}\n" for i, v in of.items()),
    "more.csv": lambda of: "start,id,group\n" + "".join(f"0,{i},{v}\n" for i, v in of.items()),
    "of.jsonl": lambda of: "".join(
        json.dumps({"id": i, "video_id": v}) + "\n" for i, v in of.items()
    ),
}


@pytest.mark.parametrize("name", [*GROUPS, "clip of"])
def test_groups_are_exchanged_and_left_out_whole(
    tmp_path: Path, by_length: Any, name: str
) -> None:
    asked = two_systems(tmp_path, 48)
    of = {f"c{i}": f"v{i // 4}" for i in range(48)}
    group: object = name
    if name in GROUPS:
        group = tmp_path / name
        (tmp_path / name).write_text(GROUPS[name](of))
    (single,) = by_length(*asked)["comparisons"]
    (test,) = by_length(*asked, "--group", group)["comparisons"]
    assert (single["n"], single["units"]) == (48, "ids")
    assert (test["n"], test["units"]) == (12, "groups")
    assert test["difference"] == single["difference"]
    said = [json.loads((tmp_path / f"{n}.json").read_text()) for n in ("second", "first")]
    lengths = [np.array([len(text.split()) for text in one.values()]) for one in said]
    gaps = (lengths[0] - lengths[1]).reshape(12, 4).mean(axis=1)
    known = over_videos([System(sums=np.stack([gaps, np.ones(12)], axis=1),
                                from_sums=lambda s: s[:, 0] / s[:, 1])]).estimate()  # fmt: skip
    assert (test["low"], test["high"]) == pytest.approx((known.low, known.high))


def test_groups_stand_beside_the_scores_that_are_written(tmp_path: Path, by_length: Any) -> None:
    asked = two_systems(tmp_path, 8)
    by_length(*asked[:2], *asked[4:6], "--group", "clip of", "--out", tmp_path / "out")
    with (tmp_path / "out" / "per_clip.csv").open(encoding="utf-8") as file:
        assert [row["video"] for row in csv.DictReader(file)] == ["v0"] * 4 + ["v1"] * 4


@pytest.mark.parametrize(
    ("group", "text", "message"),
    [
        ("clipof", None, "line 1: the field 'clipof' is missing; is 'clip of' meant?"),
        ("of.json", None, "of.json: no such file"),
        ("of.json", "", "of.json: holds no group"),
        ("of.json", '{"c0": "v"}', "of.json: 2 ids have no group, the first 'c1'; its ids are"),
        ("of.json", '{"c0": [1]}', "of.json: c0: must be a group: a text that is not empty, or"),
        (
            "of.csv",
            "id,a,b\nc0,1,2\n",
            "of.csv: row 2: needs a field 'group' beside 'id', got a, b",
        ),
        ("of.csv", "id\nc0\n", "of.csv: row 2: needs a field 'group' beside 'id', got none"),
        (
            "of.csv",
            "id,video\nc0,v\nc0,w\n",
            "of.csv: row 3.video: id 'c0' has the group 'v' already, got 'w'",
        ),
    ],
)
def test_groups_that_do_not_fit_are_named(
    tmp_path: Path, command: Any, group: str, text: str | None, message: str
) -> None:
    asked = two_systems(tmp_path, 3)
    given: object = tmp_path / group if "." in group else group
    if text is not None:
        (tmp_path / group).write_text(text)
    code, out, err = command(*asked, "--group", given)
    assert (code, out) == (2, "")
    assert message in err


def test_groups_alone_are_refused(tmp_path: Path, command: Any) -> None:
    code, _, err = command(*two_systems(tmp_path, 3)[:-1], "--group", "clip of")
    assert (code, err) == (2, "error: --group: needs --compare or --out, got 'clip of' alone\n")


def test_blank_references_are_left_out_and_noted(
    tmp_path: Path, command: Any, by_length: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[References] = []

    class Keeps(Length):
        def score(self, hypotheses: Any, references: References) -> list[list[Score]]:
            seen.append(references)
            return super().score(hypotheses, references)

    monkeypatch.setattr("avbench.cli.score.make", lambda *_: Keeps())
    (tmp_path / "said.json").write_text('{"a": "x", "b": ""}')
    (tmp_path / "one.json").write_text('{"a": ["x", " ", "y", "\\n"], "b": [""]}')
    (tmp_path / "two.json").write_text('{"b": "z"}')
    asked = ["--hypotheses", tmp_path / "said.json", "--references", tmp_path / "one.json"]
    found = by_length(*asked, "--references", tmp_path / "two.json")
    assert seen[-1].captions == {"a": ("x", "y"), "b": ("z",)}
    assert (found["references"]["ids"], found["references"]["blank"]) == (2, 3)
    _, out, _ = command(*asked, "--references", tmp_path / "two.json", "--metric", "coco_caption")
    assert "3 blank references are left out" in out.splitlines()
    code, _, err = command(*asked)
    assert code == 2
    assert "one.json: 1 of 2 ids have blank references alone, the first 'b'; leave such ids" in err


SEGMENTS = {"v": [("last", [5.0, 9.0]), ("first", [0, 2]), ("second", [0.0, 7.5])]}


@pytest.mark.parametrize("form", ["results", "sentences"])
def test_sentences_are_joined_by_start_and_the_order_is_signed(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    seen: list[Any] = []

    class Keeps(Length):
        def score(self, hypotheses: Any, references: References) -> list[list[Score]]:
            seen.append(hypotheses[0]["v"])
            return super().score(hypotheses, references)

    monkeypatch.setattr("avbench.cli.score.make", lambda *_: Keeps())

    def signature(times: Sequence[Any]) -> str:
        texts = [text for text, _ in SEGMENTS["v"]]
        if form == "results":
            items = [
                {"sentence": text} | ({} if time is None else {"timestamp": time})
                for text, time in zip(texts, times, strict=True)
            ]
            data: Any = {"results": {"v": items, "w": [{"sentence": "alone"}]}}
        else:
            stamps = {"timestamps": times} if times[0] is not None else {}
            data = {"v": {"sentences": texts, **stamps}, "w": "alone"}
        (tmp_path / "said.json").write_text(json.dumps(data))
        (tmp_path / "gold.json").write_text('{"v": "a", "w": "b"}')
        files = ("--hypotheses", tmp_path / "said.json", "--references", tmp_path / "gold.json")
        asked = (*files, "--metric", "coco_caption", "--json", "--protocol", "paragraph")
        code, out, err = command(*asked)
        assert (code, err) == (0, "")
        found: str = json.loads(out)["systems"][0]["scores"][0]["signature"]
        return found

    assert signature([time for _, time in SEGMENTS["v"]]) == "n|v:1|order:start"
    assert seen.pop() == "first second last"
    assert signature([None, None, None]) == "n|v:1|order:file"
    assert seen.pop() == "last first second"
    if form == "results":  # one sentence without a time: the file's order
        assert signature([[5, 9], None, [0, 1]]) == "n|v:1|order:file"
        assert seen.pop() == "last first second"
