"""Collections of suites, and the predefined one: the paper."""

from pathlib import Path

import pytest

from avbench.config.collection import read_collection
from avbench.config.overrides import Overrides
from avbench.config.shipped import suite_names
from avbench.core.errors import SuiteError
from avbench.runner.planning.plan_cache import Plans, plan_for, plans_for

SUITE = """
name: {name}
rows:
  - {{label: one, fusion: merged}}
  - {{label: {second}, fusion: {fusion}}}
defaults: {{loss: plain, modalities: V+A, tasks: [pcc]}}
pretrain: null
finetune: {{datasets: [vatex]}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    for name, second, fusion in (("a", "two", "cross"), ("b", "other", "global")):
        text = SUITE.format(name=name, second=second, fusion=fusion)
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "both.yaml").write_text("name: both\nsuites: [a.yaml, b.yaml]\n")
    return tmp_path


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Plans:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return plans_for("paper", Overrides())


def test_equal_stages_of_suites_are_planned_once(folder: Path) -> None:
    plans = plans_for("both.yaml", Overrides())
    first, second = plans.plans
    assert (plans.name, [plan.suite for plan in plans.plans]) == ("both", ["a", "b"])
    assert plans.whole.stages.keys() == first.stages.keys() | second.stages.keys()
    shared = first.stages.keys() & second.stages.keys()
    row = {s.kind for s in first.stages.values() if s.id in shared}
    assert row >= {"world", "prepare", "vocabulary", "finetune", "generate", "score", "profile"}
    ids = list(plans.whole.stages)
    for stage in plans.whole.stages.values():  # parents come first, as a run needs them
        assert all(ids.index(p) < ids.index(stage.id) for p in stage.parents.values())


def test_what_one_suite_shows_is_needed_though_another_reads_it_further(folder: Path) -> None:
    text = SUITE.format(name="short", second="two", fusion="cross")
    text = text.replace("pretrain: null", "pretrain: {dataset: howto100m}")
    (folder / "long.yaml").write_text(text.replace("name: short", "name: long"))
    short = text.replace("finetune: {datasets: [vatex]}", "finetune: null")
    vocabulary = "vocabulary: {datasets: [howto100m, vatex]}\n"
    (folder / "short.yaml").write_text(short + vocabulary)
    (folder / "c.yaml").write_text("name: c\nsuites: [short.yaml, long.yaml]\n")
    plans = plans_for("c.yaml", Overrides())
    pretrained = {str(trial.pretrain) for trial in plans.plans[0].trials}
    assert pretrained == {str(trial.pretrain) for trial in plans.plans[1].trials}
    done = plans.whole.stages.keys() - pretrained
    assert pretrained <= set(plans.whole.needed(done))
    assert not pretrained & set(plans.plans[1].needed(done))


def test_a_collection_is_told_from_a_suite(folder: Path) -> None:
    assert read_collection("a.yaml") is None
    made = read_collection("both.yaml")
    assert made is not None
    assert made.suites == ("a.yaml", "b.yaml")
    with pytest.raises(SuiteError, match="'both' is a collection of suites; name one of them: a"):
        plan_for("both.yaml", Overrides())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: c\nsuites: [a.yaml, tabel2]\n", "c.yaml:2: suites: unknown suite 'tabel2'; did"),
        ("name: c\nsuites: [d.yaml]\n", "c.yaml:2: suites: suite file d.yaml: no such file"),
        ("name: c\nsuites: [both.yaml]\n", "c.yaml:2: suites: 'both.yaml' is itself a collection"),
        ("name: c\nsuites: []\n", "suites must name each suite once, got []"),
        ("name: c\nsuites: [a.yaml, a.yaml]\n", "must name each suite once, got ['a.yaml', 'a."),
        ("name: c\nsuites: a.yaml\n", "c.yaml:2: suites: "),
        (
            "name: c\nsuites: [a.yaml]\nsuits: 1\n",
            "c.yaml:3: suits: unknown field of a collection 'suits'; did you mean 'suites'?",
        ),
        (
            "name: c\nsuites: [a.yaml]\nkeep_preset: [b.yaml]\n",
            "keep_preset: unknown suite 'b.yaml'; did you mean 'a.yaml'?",
        ),
    ],
)
def test_what_is_wrong_with_a_collection(folder: Path, text: str, message: str) -> None:
    (folder / "c.yaml").write_text(text)
    with pytest.raises(SuiteError) as error:
        read_collection("c.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize("changes", [{"only": ("one",)}, {"additional": ("cross",)}], ids=str)
def test_rows_are_chosen_in_one_suite(folder: Path, changes: dict[str, tuple[str]]) -> None:
    option = "--only" if "only" in changes else "--with"
    with pytest.raises(SuiteError, match=f"{option}: 'both' is a collection of suites; give it"):
        plans_for("both.yaml", Overrides(**changes))  # type: ignore[arg-type]


def test_a_suite_may_keep_its_preset(folder: Path) -> None:
    (folder / "c.yaml").write_text("name: c\nsuites: [a.yaml, b.yaml]\nkeep_preset: [b.yaml]\n")
    plans = plans_for("c.yaml", Overrides(preset="smallest"))
    assert [plan.preset for plan in plans.plans] == ["smallest", "tiny"]


# ------------------------------------------------------------------------ the paper


def test_the_paper_has_all_its_tables_and_figures(paper: Plans) -> None:
    named = {plan.suite for plan in paper.plans}
    assert named >= {f"table{n}" for n in range(1, 6)}
    assert named >= {"fig1", "figA", "figB", "fig4", "fig5", "flops"}
    assert named >= {"sensitivity", "balance_finetune"}
    apart = {"balance", "quickstart", "smoke", "paper"}  # no table or figure of the paper
    assert named == suite_names().keys() - apart


def test_figures_and_table_5_need_no_stage_of_their_own(paper: Plans) -> None:
    """Their rows are rows of the tables 2 to 4, so they are the same stages."""
    plans = {plan.suite: plan for plan in paper.plans}
    tables = {id_ for n in (2, 3, 4) for id_ in plans[f"table{n}"].stages}
    for name in ("table5", "fig1", "figB", "fig4", "fig5"):
        assert plans[name].stages.keys() <= tables, name
    mbp = plans["table2"].trials[-1]
    for suite, label in (
        ("sensitivity", "α = 10, β = 0.99"),
        ("balance_finetune", "MBP in pre-training"),
        ("table3", "Local-global, merged"),
        ("table4", "V+A"),
    ):
        trial = next(t for t in plans[suite].trials if t.label == label)
        assert trial.pretrain == mbp.pretrain, suite
    assert sum(len(plan.stages) for plan in paper.plans) > 1.8 * len(paper.whole.stages)
