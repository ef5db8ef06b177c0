"""Plans: what an id depends on, what is shared, what is skipped, what is remembered."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import DataError
from avbench.core.registry import load
from avbench.runner.plan import Plan, Store
from avbench.runner.planning.plan_cache import plan_for
from avbench.runner.planning.planner import make_plan

SUITE = """
name: s
rows: [{label: one, fusion: {name: toy, width: 2}}, {label: two, fusion: merged}]
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
evaluate: {zeroed: [video]}
table: {most_frequent: true}
"""

TOY = '''"""A fusion."""

from dataclasses import dataclass

from avbench.api import Fusion, Register, hookimpl, join

from avbench_toy_part import FACTOR


@dataclass(frozen=True)
class Options:
    """Options."""

    width: int = 2


class Toy(Fusion):
    """Source: a test."""

    @classmethod
    def refuses(cls, streams):
        return "no text" if "text" in streams else None

    def forward(self, tokens):
        return join(list(tokens.values()))


@hookimpl
def register_fusions(register: Register) -> None:
    register("toy", Toy, config=Options, source="test")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plugins").mkdir()
    (tmp_path / "avbench_toy_part.py").write_text("FACTOR = 1\n")
    (tmp_path / "plugins" / "toy.py").write_text(TOY)
    (tmp_path / "s.yaml").write_text(SUITE)
    yield tmp_path
    sys.modules.pop("avbench_local.toy", None)
    sys.modules.pop("avbench_toy_part", None)


def planned(**overrides: object) -> Plan:
    """Plan s.yaml as a new process would."""
    sys.modules.pop("avbench_local.toy", None)
    registry = load()
    return make_plan(read_suite("s.yaml", registry, Overrides(**overrides)), registry)  # type: ignore[arg-type]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def kinds(ids: set[str], plan: Plan) -> Counter[str]:
    return Counter(plan.stages[id_].kind for id_ in ids)


def test_the_stages_of_a_suite(folder: Path) -> None:
    plan = planned()
    assert Counter(stage.kind for stage in plan.stages.values()) == {
        "world": 2,
        "prepare": 3,
        "vocabulary": 1,
        "pretrain": 2,
        "finetune": 2,
        "generate": 4,
        "score": 5,
        "baseline": 1,
        "profile": 2,
    }
    trial = plan.trials[0]
    cell = trial.cells[0]
    finetune = plan.stages[cell.finetune]
    assert finetune.parents["start"] == trial.pretrain
    assert set(finetune.parents) == {"vocabulary", "data", "start"}
    assert finetune.spec["fusion"] == {"name": "toy", "options": {"width": 2}}
    assert finetune.spec["train"]["loss"]["name"] == "plain"
    assert set(finetune.spec["model"]["encoders"]) == {"audio", "video"}  # no text: not used
    assert plan.stages[cell.generate].spec["alteration"] is None
    zeroed = plan.stages[plan.stages[cell.altered["video zeroed"]].parents["predictions"]]
    assert zeroed.spec["alteration"] == {
        **{"how": "zeroed", "streams": ["video"], "noise_db": None, "seed": None}
    }
    prepare = plan.stages[finetune.parents["data"]]
    assert (prepare.spec["dataset"], prepare.spec["role"]) == ("vatex", "train")
    assert plan.stages[prepare.parents["world"]].spec["datasets"] == ["vatex"]
    assert prepare.shared
    assert not finetune.shared
    # Parents come before children.
    seen: set[str] = set()
    for stage in plan.stages.values():
        assert set(stage.parents.values()) <= seen
        seen.add(stage.id)


def test_keys_of_specs_are_the_stages_contract(folder: Path) -> None:
    keys = {stage.kind: set(stage.spec) for stage in planned().stages.values()}
    network = {"model", "input", "fusion", "modalities", "train"}
    assert keys["pretrain"] == keys["finetune"] == network | {"seed", "compute"}
    assert keys["profile"] == network | {"vocabulary"}
    assert keys["generate"] == {"decode", "alteration", "compute"}
    assert keys["score"] == {"metrics"}
    assert keys["baseline"] == set()
    assert keys["vocabulary"] == {"size", "file"}
    assert keys["prepare"] == {
        *("dataset", "reader", "role", "input", "policy", "read", "sound", "fingerprint"),
        "clip_seconds",
    }


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("s.yaml", "name: s", "# a comment\nname: s"),
        ("s.yaml", "{name: toy, width: 2}", "toy"),  # the default written out or not
        ("s.yaml", "label: one", "label: uno"),
        ("s.yaml", "most_frequent: true", "most_frequent: true, metrics: [cider]"),
        ("plugins/toy.py", "class Toy(Fusion):\n", "class Toy(Fusion):\n    # why\n\n"),
        ("plugins/toy.py", "Source: a test.", "Source: another text."),
        ("avbench_toy_part.py", "FACTOR = 1", "FACTOR = 2"),  # another distribution's module
    ],
)
def test_what_changes_no_id(folder: Path, file: str, old: str, new: str) -> None:
    before = planned()
    replace(folder / file, old, new)
    assert list(planned().stages) == list(before.stages)


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        # An option of one row's fusion changes that row only: one pre-training and all below it.
        ("s.yaml", "width: 2", "width: 3", ["pretrain", "profile"]),
        ("plugins/toy.py", "list(tokens.values())", "[*tokens.values()]", ["pretrain", "profile"]),
        ("plugins/toy.py", "width: int = 2", "width: int = 4", ["pretrain", "profile"]),
    ],
)
def test_what_changes_one_rows_ids(
    folder: Path, file: str, old: str, new: str, changed: list[str]
) -> None:
    before = planned()
    replace(folder / file, old, new)
    after = planned()
    gone = kinds(set(before.stages) - set(after.stages), before)
    assert gone == {
        **dict.fromkeys(changed, 1),
        "finetune": 1,
        "generate": 2,
        "score": 2,
    }
    assert before.trials[1] == after.trials[1]


@pytest.mark.parametrize(
    ("old", "new", "gone"),
    [
        # What is decoded changes captions and scores, not training.
        ("name: s", "name: s\ndecode: {beam: 2}", {"generate": 4, "score": 4}),
        (
            "datasets: [vatex]",
            "datasets: [vatex], lr: 3e-5",
            {"finetune": 2, "generate": 4, "score": 4},
        ),
        ("name: s", "name: s\nevaluate: {metrics: [coco_caption], zeroed: [video]}", {"score": 5}),
        (
            "name: s",
            "name: s\nworld: {seed: 9}",
            {
                **{"world": 2, "prepare": 3, "vocabulary": 1, "pretrain": 2, "finetune": 2},
                **{"generate": 4, "score": 5, "baseline": 1},
            },
        ),
    ],
)
def test_what_changes_a_parents_id_changes_all_below(
    folder: Path, old: str, new: str, gone: dict[str, int]
) -> None:
    text = SUITE
    if "evaluate" in new:
        text = text.replace("evaluate: {zeroed: [video]}\n", "")
    (folder / "s.yaml").write_text(SUITE)
    before = planned()
    (folder / "s.yaml").write_text(text.replace(old, new))
    after = planned()
    lost = kinds(set(before.stages) - set(after.stages), before)
    assert lost == gone


def test_a_suite_without_training_costs_only(folder: Path) -> None:
    replace(folder / "s.yaml", "finetune: {datasets: [vatex]}", "finetune: null")
    replace(folder / "s.yaml", "pretrain: {dataset: howto100m}", "pretrain: null")
    plan = planned()
    assert [s.kind for s in plan.stages.values()] == ["profile", "profile"]
    assert all(s.spec["train"] is None for s in plan.stages.values())


def test_seeds_share_data_but_not_training(folder: Path) -> None:
    counts = Counter(stage.kind for stage in planned(seeds="3").stages.values())
    assert (counts["pretrain"], counts["prepare"], counts["profile"]) == (6, 3, 2)


def test_tables_share_stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    registry = load()
    plans = [make_plan(read_suite(n, registry), registry) for n in ("table2", "table3", "table4")]
    table2, table3, table4 = (set(plan.stages) for plan in plans)
    # MBP, PCC+PNC, local-global merged, V+A is a row of each table.
    assert kinds(table2 & table3, plans[0])["pretrain"] == 1
    assert kinds(table2 & table3, plans[0])["finetune"] == 2
    assert kinds(table2 & table4, plans[0]) == {
        **{"world": 5, "prepare": 9, "vocabulary": 1, "pretrain": 1, "profile": 1},
        **{"finetune": 4, "generate": 4, "score": 4},
    }


def test_impossible_combinations_are_skipped_with_their_reason(folder: Path) -> None:
    (folder / "s.yaml").write_text(
        """
name: s
grid: {modalities: [V+A, V+T, V+A+T], fusion: [toy, cross]}
defaults: {loss: plain, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
"""
    )
    reasons = {trial.label: trial.skipped for trial in planned().trials}
    assert reasons["V+T, toy"] == reasons["V+A+T, toy"] == "no text"
    assert reasons["V+A, toy"] is reasons["V+A, cross"] is reasons["V+T, cross"] is None
    assert "Eq. 10" in str(reasons["V+A+T, cross"])


def test_a_missing_encoder_is_a_reason(folder: Path) -> None:
    (folder / "p.yaml").write_text(
        "model: {encoders: {video: video_swin, audio: audio_transformer}}\n"
        "pretrain: {steps: 1}\nfinetune: {loss: plain, steps: 1}\n"
    )
    replace(folder / "s.yaml", "name: s", "name: s\npreset: ./p.yaml")
    replace(folder / "s.yaml", "fusion: merged", "fusion: merged, modalities: V+T")
    assert planned().trials[1].skipped == "model.encoders has no encoder for text"


def test_a_plan_survives_json(folder: Path) -> None:
    plan = planned()
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert list(again.stages) == list(plan.stages)


def test_a_plan_is_remembered_until_something_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan() -> Plan:
        sys.modules.pop("avbench_local.toy", None)
        return plan_for("s.yaml", Overrides())

    first = plan()
    made: list[str] = []
    real = make_plan

    def counted(*args: object) -> Plan:
        made.append("made")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("avbench.runner.planning.planner.make_plan", counted)
    assert plan() == first
    assert made == []
    replace(folder / "plugins" / "toy.py", "int = 2", "int = 3")
    assert plan() != plan_for("s.yaml", Overrides(seeds="2"))
    assert made == ["made", "made"]
    replace(folder / "s.yaml", "label: one", "label: uno")
    assert plan().trials[0].label == "uno"
    assert made == ["made"] * 3
    (folder / "plugins" / "more.py").write_text(TOY.replace('"toy"', '"more"'))
    plan()
    assert made == ["made"] * 4
    sys.modules.pop("avbench_local.more", None)
    for path in (folder / "cache" / "plans").iterdir():
        path.write_text("{damaged")
    assert plan().trials[0].label == "uno"


def test_real_data_is_fingerprinted_and_its_place_is_not_hashed(folder: Path) -> None:
    (folder / "plugins" / "reader.py").write_text(
        """
from dataclasses import dataclass
from pathlib import Path
from avbench.api import DataError, Dataset, hookimpl

@dataclass(frozen=True)
class Options:
    root: str = ""
    flavour: str = "a"

class Reader(Dataset):
    report = "test"
    def __init__(self, options):
        self.root = Path(options.root)
    def splits(self):
        return ("train", "test")
    def clips(self, split):
        if "malformed" in self.fingerprint():
            raise DataError(f"{self.root}/list.txt: malformed, split {split}")
        return ()
    def fingerprint(self):
        return (self.root / "list.txt").read_text()

@hookimpl
def register_datasets(register):
    register("toyset", Reader, config=Options, source="test")
"""
    )
    text = "datasets: {howto100m: {reader: toyset, root: DIR}, vatex: {reader: toyset, root: DIR}}"
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "list.txt").write_text("one")
        (folder / f"{name}.yaml").write_text(text.replace("DIR", name))
    first, second = planned(data="a.yaml"), planned(data="b.yaml")
    assert list(first.stages) == list(second.stages)
    prepared = [s for s in first.stages.values() if s.kind == "prepare"]
    assert [s.parents for s in prepared] == [{}] * 3
    assert {s.spec["fingerprint"] for s in prepared} == {"one"}
    assert {s.local["root"] for s in prepared} == {str(folder / "a")}
    assert not any(s.shared for s in prepared)
    assert "world" not in {s.kind for s in first.stages.values()}
    (folder / "b" / "list.txt").write_text("two")
    assert not set(first.stages) & {
        s.id for s in planned(data="b.yaml").stages.values() if s.kind != "profile"
    }
    (folder / "b" / "list.txt").write_text("malformed")
    with pytest.raises(DataError, match=r"list\.txt: malformed, split train"):
        planned(data="b.yaml")
    sys.modules.pop("avbench_local.reader", None)


def test_malformed_annotations_are_told_when_planning_where_the_policy_is_fail(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(folder / "annotation-cache"))
    (folder / "root/videos").mkdir(parents=True)
    lines = {"text": ["a", "b"], "start": [0, 6], "end": [6, 12]}
    talk = {"one": lines, "bad": {**lines, "end": [6]}}
    (folder / "root/raw_caption.json").write_text(json.dumps(talk))
    entries = [{"videoID": f"{v}_000001_000010", "enCap": ["x"]} for v in ("a", "b")]
    entries += [{"videoID": "c_000001_000010", "enCap": [3]}, {"videoID": "d_1", "enCap": ["x"]}]
    for name in ("training_v1.0", "public_test_english_v1.1"):
        (folder / f"root/vatex_{name}.json").write_text(json.dumps(entries))

    def plan(policy: str, sound: str = "") -> Plan:
        (folder / "d.yaml").write_text(
            "datasets:\n  howto100m: {reader: howto100m, root: root}\n"
            f"  vatex: {{reader: vatex, root: root, policy: {policy}{sound}}}\n"
        )
        return planned(data="d.yaml")

    plain = plan("skip")
    for _ in range(2):  # read, and remembered
        with pytest.raises(DataError, match="2 clips have malformed annotations") as caught:
            plan("fail")
        assert "[2].enCap[0]: must be " in str(caught.value)
        assert "[3].videoID: must be a videoID" in str(caught.value)
    # What becomes of missing sound changes which clips there are.
    other = plan("skip", ", sound: {absent: drop}")
    changed = {
        (s.spec["dataset"], s.spec["sound"]["absent"])
        for id_, s in other.stages.items()
        if s.kind == "prepare" and id_ not in plain.stages
    }
    assert changed == {("vatex", "drop")}


def test_a_given_vocabulary_counts_by_its_contents(folder: Path) -> None:
    replace(folder / "s.yaml", "name: s", "name: s\nvocabulary: {file: a.json}")
    (folder / "a.json").write_text("words")
    before = planned()
    vocabulary = next(s for s in before.stages.values() if s.kind == "vocabulary")
    assert vocabulary.parents == {}
    assert vocabulary.spec["file"].startswith("content:")
    assert vocabulary.local == {"file": str(folder / "a.json")}
    (folder / "b.json").write_text("words")
    replace(folder / "s.yaml", "a.json", "b.json")
    assert list(planned().stages) == list(before.stages)
    (folder / "b.json").write_text("other words")
    assert vocabulary.id not in planned().stages


def test_where_stages_lie(folder: Path) -> None:
    plan = planned()
    store = Store(results=Path("out"), cache=Path("cache"))
    for stage in plan.stages.values():
        base = "cache" if stage.kind in ("world", "prepare") else "out"
        assert store.directory(stage) == folder / base / "stages" / f"{stage.kind}-{stage.id}"
