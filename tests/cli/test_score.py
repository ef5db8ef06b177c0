"""The command ``avbench score``, as a user calls it."""

import csv
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from avbench.api import Metric, References, Score
from avbench.builtin.metrics import _meteor
from avbench.cli import main
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.evaluation import coco_java
from avbench.evaluation.statistics import sufficient
from avbench.evaluation.statistics.estimate import holm


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
        assert test["low"] <= test["difference"] <= test["high"]
        assert (
            (test["p_corrected"] < 0.01) == (test["p_exchanged_corrected"] < 0.01) == (system == 1)
        )
    assert holm([t["p"] for t in tests]) == [t["p_corrected"] for t in tests]
    assert holm([t["p_exchanged"] for t in tests]) == [t["p_exchanged_corrected"] for t in tests]
    code, out, _ = command(*asked)
    assert code == 0
    lines = out.splitlines()
    assert f"{worse} − {first}: 95 % interval; corrected p; p by exchanging captions" in lines
    (bleu, *_) = (line for line in lines if line.startswith("  BLEU-4") and "[" in line)
    shown = f"{tests[0]['difference']:+8.3f} [{tests[0]['low']:+.3f} {tests[0]['high']:+.3f}]"
    assert shown in bleu
    assert any("Holm's correction over 8 differences" in line for line in lines)


@pytest.mark.java
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
def test_a_caption_that_is_too_long_is_named(command: Any, tmp_path: Path) -> None:
    files = as_lines(tmp_path, {**SAID, "y": " ".join(["dog"] * 10001)}, GOLD)
    code, _, err = command("--hypotheses", files[0], "--references", files[1])
    assert code == 2
    said = "coco_caption: 'y': the caption has 10001 words; METEOR aligns at most 10000"
    assert err == f"error: {files[0]} against {files[1]}: {said}\n"


@pytest.mark.java
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
