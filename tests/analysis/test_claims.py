"""Claims: their form and its mistakes, the verdicts, and what an open claim wants."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.analysis.claims.evidence import Figures
from avbench.analysis.claims.judge import Judgement, judge
from avbench.cli.claims import claims_data, print_claims, question_of
from avbench.config.claims import Claim
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError, SuiteError
from avbench.core.job import RECORD, write_json
from avbench.core.registry import Registry, load
from avbench.evaluation.statistics import sufficient
from avbench.evaluation.statistics.student import seeds_needed, tail
from avbench.evaluation.statistics.sufficient import Sufficient
from avbench.runner.plan import Plan, Stage, Store
from avbench.runner.planning.planner import make_plan
from avbench.training.loss_log import Curve
from tests.records import write_record

SUITE = """
name: s
rows:
  - {label: one, fusion: merged, published: {fusion: merged}}
  - {label: two, fusion: global, published: {fusion: global}}
defaults: {loss: mbp, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [youcook2, vatex]}
evaluate: {zeroed: [video]}
seeds: 3
table: {published: table3_fusion, costs: [flops_g]}
claims:
  - says: "Two beats one."
    source: "Sec. 9"
    row: two
    over: [one]
  - {says: "Zeroing hurts.", row: one – video zeroed, over: [one], expect: less, about: models}
  - {says: "Two is cheap.", row: two, over: [one], metrics: [flops_g], expect: same, by: 10, percent: true}
"""  # noqa: E501


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(registry: Registry, text: str, **overrides: Any):
    Path("s.yaml").write_text(text, encoding="utf-8")
    return read_suite("s.yaml", registry, Overrides(**overrides))


# ------------------------------------------------------------------------ form


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("{says: x, row: tow, over: [one]}", "row: unknown row 'tow'; did you mean 'two'?"),
        ("{says: x, row: two, over: [none]}", "over: unknown row 'none'; did you mean 'one'?"),
        (
            "{says: x, row: two, over: [one], metrics: [cidre]}",
            "metrics: unknown metric of this suite's table 'cidre'; did you mean 'cider'? "
            "Allowed: L, L_audio, L_text, L_video, bleu4, cider, flops_g, gap_audio, gap_text, "
            "gap_video, meteor, rougeL",
        ),
        (
            "{says: x, row: two, over: [one], datasets: [vatx]}",
            "datasets: unknown dataset 'vatx'; did you mean 'vatex'? Allowed: vatex, youcook2",
        ),
        (
            "{says: x, row: two, over: [one], than_on: [msrvtt]}",
            "than_on: unknown dataset 'msrvtt'. Allowed: vatex, youcook2",
        ),
        (
            "{says: x, row: two, over: [one], metrics: [flops_g, cider]}",
            "metrics: the cost 'flops_g' belongs to no dataset; a claim on costs must name no "
            "datasets and no other metrics",
        ),
        (
            "{says: x, row: two, over: [one], metrics: [L_video], datasets: [vatex]}",
            "metrics: the loss 'L_video' belongs to no dataset; a claim on losses must name no "
            "datasets and no other metrics",
        ),
        (
            "{says: x, row: two, over: [one], metrics: [gap_audio], about: models}",
            "about: the loss 'gap_audio' has no videos to resample, got 'models'; allowed: "
            "methods",
        ),
        ("{says: x, row: two, over: [two]}", "over: 'two' is compared with itself"),
        (
            "{says: x, row: two – audio zeroed, over: [two]}",
            "row: unknown row 'two – audio zeroed'; did you mean 'two – video zeroed'?",
        ),
    ],
)
def test_names_that_are_none_are_told_with_their_line(
    folder: Path, registry: Registry, claim: str, message: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        read(registry, f"{SUITE}  - {claim}\n")
    assert f"s.yaml:19: claims.3.{message}" in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("{row: two, over: [one]}", "claims.3.says: is missing"),
        ("{says: x, row: two, over: []}", "claims.3: over must name at least one, got none"),
        (
            "{says: x, row: two, over: [one], by: -1}",
            "claims.3.by: must be from 0 to 1,000,000 points or percent, got -1.0",
        ),
        (
            "{says: x, row: two, over: [one], expect: same}",
            "claims.3: expect: same needs the largest difference that counts as none (by), got 0",
        ),
        (
            "{says: x, row: two, over: [one], expct: less}",
            "claims.3: unknown field 'expct'; did you mean 'expect'?",
        ),
        (
            "{says: x, row: two, over: [one], expect: higher}",
            "claims.3.expect: Input should be 'more', 'less' or 'same', got 'higher'",
        ),
    ],
)
def test_a_claim_of_another_form_is_told(
    folder: Path, registry: Registry, claim: str, message: str
) -> None:
    with pytest.raises(SuiteError, match=r"s\.yaml:19: ") as caught:
        read(registry, f"{SUITE}  - {claim}\n")
    assert message in str(caught.value)


def test_claims_change_no_stage_and_come_back_from_the_cache_of_plans(
    folder: Path, registry: Registry
) -> None:
    plan = make_plan(read(registry, SUITE), registry)
    bare = make_plan(read(registry, SUITE.partition("claims:")[0]), registry)
    assert plan.stages.keys() == bare.stages.keys()
    assert len(plan.claims) == 3
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))).claims == plan.claims
    assert bare.claims == ()


@pytest.mark.parametrize("name", ["table2", "table3", "table4"])
def test_the_papers_suites_state_its_claims_and_its_figures_agree(
    name: str, registry: Registry
) -> None:
    """The paper's words on its tables agree with the tables: the difference has the sign."""
    suite = read_suite(name, registry)
    assert len(suite.claims) >= 6
    plan = make_plan(suite, registry)
    store = Store(results=Path("nothing-here"), cache=Path("nothing-here"))
    for claim in claims_data(plan, store)["claims"]:
        assert claim["verdict"] == "not run"
        assert claim["source"].startswith("Sec. ")
        for part in claim["comparisons"]:
            assert part["reason"].endswith("has not run") or part["exact"]
            if not part["dataset"]:
                continue
            sign = {"more": part["published"], "less": -part["published"]}
            within = claim["by"] - abs(part["published"])
            assert sign.get(claim["expect"], within) > 0, part


@pytest.mark.parametrize(("flops", "verdict"), [(341.5, "supported"), (391.5, "refuted")])
def test_the_papers_claim_on_flops_is_judged_at_its_geometry(
    folder: Path, registry: Registry, flops: float, verdict: str, capsys: Any
) -> None:
    """In a suite that trains nothing, from its profiles alone."""
    suite = read_suite("flops", registry)
    assert suite.preset == "paper"
    plan = make_plan(suite, registry)
    store = Store(results=folder / "results", cache=folder / "cache")
    (first, second) = claims_data(plan, store)["claims"]
    assert first["verdict"] == second["verdict"] == "not run"
    assert first["comparisons"][0]["reason"].endswith("has not run")
    for trial in plan.trials:
        g = {"Merged, 64 audio tokens": 320.6, "Local-global merged, 64 audio tokens": flops}
        if trial.label in g:
            results = {"flops_g": g[trial.label], "params_m": 280.0}
            write_record(store, plan.stages[str(trial.profile)], results=results)
    data = claims_data(plan, store)
    assert [c["verdict"] for c in data["claims"]] == [verdict, "not run"]
    (part,) = data["claims"][0]["comparisons"]
    assert part["difference"] == pytest.approx(100 * (flops / 320.6 - 1))
    print_claims(data)
    text = " ".join(capsys.readouterr().out.split())
    assert f"{verdict} Since there are only a few global tokens" in text
    assert "corrected p" not in text
    assert "Holm" not in text


# ------------------------------------------------------------------------ verdicts


def figures(**of_dataset: dict[str, list[float]]) -> Figures:
    """Figures by dataset, then row, one a seed."""
    return Figures(
        values={
            (label, dataset, "cider"): dict(enumerate(values))
            for dataset, rows in of_dataset.items()
            for label, values in rows.items()
        },
        published={},
        absent={("late", ""): "has not run"},
        datasets=tuple(of_dataset),
        cost_metrics=frozenset(),
    )


def claim(**more: Any) -> Claim:
    return Claim(**{"says": "", "row": "a", "over": ("b",), **more})


def verdict(given: Claim, known: Figures) -> Judgement:
    (outcome,) = judge([given], known)
    return outcome


FAR = {"a": [62.0, 61.0, 63.0], "b": [50.0, 50.5, 49.5]}
NEAR = {"a": [52.0, 49.0, 50.5], "b": [50.0, 50.5, 49.5]}
BELOW = {"a": [40.0, 41.0, 39.5], "b": [50.0, 50.5, 49.5]}


@pytest.mark.parametrize(
    ("more", "rows", "expected"),
    [
        ({}, FAR, "supported"),
        ({}, NEAR, "inconclusive"),
        ({}, BELOW, "refuted"),
        ({"expect": "less"}, BELOW, "supported"),
        ({"expect": "less"}, FAR, "refuted"),
        ({"by": 5.0}, FAR, "supported"),
        ({"by": 11.5}, FAR, "inconclusive"),
        ({"by": 20.0}, FAR, "refuted"),
        ({"expect": "less", "by": 5.0}, BELOW, "supported"),
        ({"expect": "same", "by": 20.0}, FAR, "supported"),
        ({"expect": "same", "by": 2.0}, FAR, "refuted"),
        ({"expect": "same", "by": 2.0}, NEAR, "inconclusive"),
        ({"percent": True, "by": 15.0}, FAR, "supported"),
        ({"percent": True, "by": 40.0}, FAR, "refuted"),
    ],
)
def test_one_comparison(more: dict[str, Any], rows: dict[str, list[float]], expected: str) -> None:
    assert verdict(claim(**more), figures(x=rows)).verdict == expected


def test_a_comparison_by_hand() -> None:
    outcome = verdict(claim(), figures(x=FAR))
    (part,) = outcome.compared
    assert part.estimate is not None
    assert part.estimate.value == 12
    gaps = np.array([12.0, 10.5, 13.5])
    t = 12 / (gaps.std(ddof=1) / math.sqrt(3))
    assert outcome.p == pytest.approx(2 * tail(t, 2))
    half = 4.302652729749464 * gaps.std(ddof=1) / math.sqrt(3)
    assert (part.estimate.low, part.estimate.high) == pytest.approx((12 - half, 12 + half))


@pytest.mark.parametrize(
    ("holds_on", "x", "y", "expected"),
    [
        ("all", FAR, FAR, "supported"),
        ("all", FAR, NEAR, "inconclusive"),
        ("all", FAR, BELOW, "refuted"),
        ("any", FAR, NEAR, "supported"),
        ("any", FAR, BELOW, "supported"),
        ("any", NEAR, BELOW, "inconclusive"),
        ("any", BELOW, BELOW, "refuted"),
    ],
)
def test_on_all_datasets_or_on_any(holds_on: str, x: Any, y: Any, expected: str) -> None:
    outcome = verdict(claim(holds_on=holds_on), figures(x=x, y=y))
    assert outcome.verdict == expected


def test_the_weakest_comparison_speaks_for_a_claim_on_all_and_the_strongest_against_it() -> None:
    p = {n: verdict(claim(datasets=(n,)), figures(x=FAR, y=NEAR)).p for n in ("x", "y")}
    assert verdict(claim(), figures(x=FAR, y=NEAR)).p == max(p.values())
    against = verdict(claim(datasets=("z",)), figures(z=BELOW)).p
    assert verdict(claim(), figures(x=FAR, z=BELOW)).p == pytest.approx(2 * against)


def test_an_interaction_is_the_difference_of_differences_seed_by_seed() -> None:
    outcome = verdict(claim(datasets=("x",), than_on=("y",)), figures(x=FAR, y=NEAR))
    (part,) = outcome.compared
    gaps = np.array([12.0, 10.5, 13.5]) - np.array([2.0, -1.5, 1.0])
    assert part.estimate is not None
    assert part.estimate.value == pytest.approx(gaps.mean())
    assert part.estimate.error == pytest.approx(gaps.std(ddof=1) / math.sqrt(3))
    assert outcome.verdict == "supported"


def test_claims_of_a_suite_are_corrected_together() -> None:
    known = figures(x=FAR, y=NEAR)
    alone = [verdict(claim(datasets=(n,)), known).p for n in ("x", "y")]
    first, second = judge([claim(datasets=("x",)), claim(datasets=("y",))], known)
    assert first.p == pytest.approx(2 * alone[0])
    assert second.p == pytest.approx(max(first.p, alone[1]))
    assert (first.p_alone, second.p_alone) == pytest.approx(tuple(alone))


def test_one_seed_is_inconclusive_however_large_the_difference() -> None:
    outcome = verdict(claim(), figures(x={"a": [900.0], "b": [1.0]}))
    assert (outcome.verdict, outcome.p, outcome.needed) == ("inconclusive", 1.0, None)
    assert outcome.reason == (
        "one seed: nothing is known of the spread over seeds; at least two are needed"
    )


def test_a_difference_that_is_equal_for_all_seeds_is_inconclusive() -> None:
    """On coarse scores two seeds agree by chance, and there is no spread to hold it against."""
    for more in ({}, {"expect": "less"}, {"expect": "same", "by": 5.0}):
        outcome = verdict(claim(**more), figures(x={"a": [52.0, 53.0], "b": [50.0, 51.0]}))
        assert (outcome.verdict, outcome.p, outcome.needed) == ("inconclusive", 1.0, None)
        assert outcome.reason == ("equal for all seeds: nothing is known of the spread")


def test_only_shared_seeds_are_compared() -> None:
    known = figures(x={"a": [62.0, 61.0, 63.0, 5.0], "b": [50.0, 50.5, 49.5]})
    (part,) = verdict(claim(), known).compared
    assert part.estimate is not None
    assert (part.estimate.n, part.estimate.value) == (3, 12)


def test_without_runs_a_claim_is_not_run_and_never_inconclusive() -> None:
    known = figures(x=FAR)
    for given in (
        claim(over=("late",)),
        claim(over=("b", "late")),  # one comparison of two has run
        claim(over=("late", "b"), about="models"),
    ):
        outcome = verdict(given, known)
        assert (outcome.verdict, outcome.reason) == ("not run", "late: has not run")
        assert outcome.needed is None
    # Enough has run to decide that some comparison speaks against the claim.
    assert verdict(claim(over=("b", "late")), figures(x=BELOW)).verdict == "refuted"


def test_claims_that_have_not_run_are_not_corrected_for() -> None:
    known = figures(x=FAR)
    late, held = judge([claim(over=("late",)), claim()], known)
    assert (late.verdict, late.tested) == ("not run", False)
    assert held.p == verdict(claim(), known).p


def test_what_has_no_figure_is_inconclusive_with_its_reason() -> None:
    known = figures(x={"a": [1.0], "b": []})
    assert verdict(claim(), known).reason == "b: no such figure"
    apart = Figures(
        values={("a", "x", "cider"): {0: 1.0}, ("b", "x", "cider"): {1: 2.0}},
        published={}, absent={}, datasets=("x",), cost_metrics=frozenset(),
    )  # fmt: skip
    assert verdict(claim(), apart).reason == "the rows have no seed in common"
    zero = figures(x={"a": [1.0, 2.0], "b": [0.0, 1.0]})
    assert verdict(claim(percent=True), zero).reason == "b: a difference in percent of 0"


def test_an_open_claim_tells_the_seeds_that_would_decide_it() -> None:
    outcome = verdict(claim(), figures(x=NEAR))
    gaps = np.array([2.0, -1.5, 1.0])
    assert outcome.unit == "seeds"
    assert outcome.needed == seeds_needed(gaps.mean() / gaps.std(ddof=1), 0.05)
    # With a second open claim Holm would test at half the level.
    both = judge([claim(), claim(expect="less")], figures(x=NEAR))
    assert both[0].needed == seeds_needed(gaps.mean() / gaps.std(ddof=1), 0.025)
    none = verdict(claim(), figures(x={"a": [1.0, 2.0], "b": [2.0, 1.0]}))
    assert none.needed is None
    assert none.reason == "the difference is too small to be told in practice"


def test_of_several_comparisons_the_slowest_decides_for_and_the_fastest_against() -> None:
    slow, fast = NEAR, {"a": [52.0, 52.0, 55.5], "b": [50.0, 50.5, 49.5]}
    counts = {
        n: verdict(claim(datasets=(n,)), figures(slow=slow, fast=fast)).needed
        for n in ("slow", "fast")
    }
    assert counts["fast"] < counts["slow"]
    known = figures(slow=slow, fast=fast)
    assert verdict(claim(), known).needed == counts["slow"]
    assert verdict(claim(holds_on="any"), known).needed == counts["fast"]
    # Both measured on the other side of this claim: one of them will refute it.
    assert verdict(claim(expect="less"), known).needed == counts["fast"]


# ------------------------------------------------------------------------ from stored results


class Made:
    """A planned suite, and records with statistics written by hand."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.plan = make_plan(read(registry, SUITE), registry)
        self.store = Store(results=folder / "results", cache=folder / "cache")
        for trial in self.plan.trials:
            better = 20.0 + 0.02 * (trial.seed - 1) if trial.label == "two" else 0.0
            for cell in trial.cells:
                self.score(cell.score, 50 + better + trial.seed, seed=trial.seed)
                self.score(cell.altered["video zeroed"], 20 + trial.seed, seed=trial.seed)
            flops = 105.0 if trial.label == "two" else 100.0
            assert trial.profile is not None
            self.write(self.plan.stages[trial.profile], {"flops_g": flops})

    def write(self, stage: Stage, results: dict[str, Any]) -> Path:
        return write_record(self.store, stage, results=results)

    def score(self, id_: str, value: float, seed: int) -> None:
        noise = np.random.default_rng(seed).normal(0, 10, 40)
        each = value + noise - noise.mean()
        ids = tuple(f"c{i}" for i in range(40))
        videos = {clip: f"v{i // 2}" for i, clip in enumerate(ids)}
        score = {
            "name": "cider",
            "value": float(each.mean()),
            "unit": "x100",
            "signature": "cider|version:1",
            "metric": {"name": "coco_caption", "options": {}},
            "statistics": True,
        }
        folder = self.write(self.plan.stages[id_], {"scores": [score]})
        kept = Sufficient(
            ids=ids, videos=tuple(videos.values()), values=np.stack([each, each * 0 + 1], axis=1)
        )
        sufficient.write(folder, videos, {"cider": kept})


@pytest.fixture
def made(folder: Path, registry: Registry) -> Made:
    return Made(registry, folder)


def test_verdicts_from_stored_results(made: Made) -> None:
    data = claims_data(made.plan, made.store)
    better, zeroed, cheap = data["claims"]
    assert [c["verdict"] for c in data["claims"]] == ["supported"] * 3
    assert better["comparisons"][0]["difference"] == pytest.approx(20)
    assert better["comparisons"][0]["n"] == 3
    assert better["comparisons"][1]["published"] == pytest.approx(72.6 - 71.1)
    assert (zeroed["about"], zeroed["unit"]) == ("models", "videos")
    assert zeroed["comparisons"][0]["n"] == 20  # videos of two clips
    low, high = zeroed["comparisons"][0]["interval"]
    assert (low, high) == (None, None)  # the noise is the same in both rows: no spread
    assert zeroed["comparisons"][0]["randomised"]
    assert cheap["comparisons"][0]["difference"] == pytest.approx(5)
    json.dumps(data, allow_nan=False)


def test_all_claims_can_be_asked_about_the_models(made: Made) -> None:
    data = claims_data(made.plan, made.store, about="models")
    first = data["claims"][0]["comparisons"][0]
    assert data["claims"][0]["unit"] == "videos"
    # The noise of a seed is the same for both rows, so their difference does not vary.
    # So there is no interval; exchanges decide, of which 2 of 2²⁰ are as far from 0.
    assert first["interval"] == [None, None]
    assert first["randomised"]
    assert first["p_for"] == pytest.approx(1 / 10_001, rel=5)
    assert data["claims"][0]["verdict"] == "supported"
    margins = data["claims"][2]["comparisons"][0]
    assert not margins["randomised"]  # a cost


def test_one_seed_asks_for_more(folder: Path, registry: Registry) -> None:
    made = Made(registry, folder)
    plan = make_plan(read(registry, SUITE, seeds="1"), registry)
    open_, zeroed, _ = claims_data(plan, made.store)["claims"]
    assert (open_["verdict"], zeroed["verdict"]) == ("inconclusive", "supported")
    assert open_["comparisons"][0]["interval"] == [None, None]


def test_scores_without_statistics_are_told(made: Made) -> None:
    for trial in made.plan.trials:
        for cell in trial.cells:
            folder = made.store.directory(made.plan.stages[cell.score])
            record = json.loads((folder / RECORD).read_text())
            record["results"]["scores"][0]["statistics"] = False
            write_json(folder / RECORD, record)
    data = claims_data(made.plan, made.store, about="models")
    assert data["claims"][0]["reason"] == "two: no statistics of cider were kept"


def test_rows_that_are_left_out_are_told(folder: Path, registry: Registry) -> None:
    made = Made(registry, folder)
    plan = make_plan(read(registry, SUITE, only=("two",)), registry)
    data = claims_data(plan, made.store)
    assert data["claims"][0]["reason"] == "one: is no row of this run"


def test_what_people_read(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    print_claims(claims_data(made.plan, made.store))
    text = " ".join(capsys.readouterr().out.split())
    assert "supported Two beats one." in text
    assert "Sec. 9; about the methods; expected: more" in text
    assert "vatex CIDEr: two − one +20.0 [+20.0, +20.0] 3 < 0.001 +1.5" in text
    assert "FLOPs (G) (%): two − one +5.0" in text
    # Of the third claim, on costs, there is no p.
    assert text.count("corrected p < 0.001") + text.count("corrected p 0.00") == 2
    assert "with Holm's correction over these 2 claims" in text
    assert "Costs do not vary: a claim on them is not tested, it holds or not." in text
    print_claims({"suite": "s", "claims": []})
    assert capsys.readouterr().out == "s: the suite states no claims\n"


LOSSES = """
name: losses
rows:
  - {label: plain, loss: plain}
  - {label: mbp, loss: mbp}
defaults: {fusion: merged, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m, steps: 20, measure_every: 2}
finetune: {datasets: [vatex]}
seeds: 3
claims:
  - {says: "Less.", row: mbp, over: [plain], metrics: [L_video], expect: less}
  - {says: "Alike.", row: mbp, over: [plain], metrics: [L], expect: same, by: 0.25}
"""


def test_a_claim_on_the_losses_at_the_end_of_pre_training(
    folder: Path, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: the last tenth of 20 steps are two, seeds lie 0.1 apart in both rows."""
    plan = make_plan(read(registry, LOSSES), registry)
    store = Store(results=folder / "results", cache=folder / "cache")
    assert {c["reason"] for c in claims_data(plan, store)["claims"]} == {"mbp: has not run"}
    for trial in plan.trials:
        stage = plan.stages[str(trial.pretrain)]
        directory = write_record(store, stage)
        log = Curve(directory, 0)
        for step in range(20):
            joint = 1.0 + 0.01 * (trial.label == "mbp") * trial.seed if step >= 18 else 9.0
            alone = 2.0 - 0.5 * (trial.label == "mbp") * (1 + 0.1 * trial.seed)
            log.add(step, {"L": joint, "L_audio": joint, "L_video": alone})
        log.close()
    data = claims_data(plan, store)
    less, alike = data["claims"]
    (part,) = less["comparisons"]
    assert part["difference"] == pytest.approx(-0.55)
    half = 4.302652729749464 * 0.05 / math.sqrt(3)
    assert part["interval"] == pytest.approx([-0.55 - half, -0.55 + half])
    assert (part["n"], part["unit"], less["verdict"]) == (3, "nats", "supported")
    assert alike["verdict"] == "supported"
    print_claims(data)
    text = " ".join(capsys.readouterr().out.split())
    assert "L_video (nats): mbp − plain -0.55 [-0.67, -0.43] 3" in text


def test_an_unknown_question_is_told() -> None:
    assert question_of("models") == "models"
    assert question_of(None) is None
    with pytest.raises(AvbenchError, match="--about: unknown question 'modles'; did you mean"):
        question_of("modles")
