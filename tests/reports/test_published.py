"""Published figures in tables: rows of their own, columns beside ours, rank correlation."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from avbench.evaluation.statistics.ranks import rank_correlation
from avbench.reports.collect import Report, collect
from avbench.reports.layouts import layouts
from avbench.reports.pivot import pivot
from avbench.reports.table import Sheet
from avbench.workflow.reporting import suite_report
from tests.records import Recorded

SUITE = """
name: s
title: Fusions
rows:
  - {label: cross, fusion: cross, published: {fusion: cross}}
  - {label: merged, fusion: merged, published: {fusion: merged}}
  - {label: global, fusion: global, published: {fusion: global}}
  - {label: both, fusion: local_global_merged, published: {fusion: local_global_merged}}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
pretrain: null
finetune: {datasets: [vatex, youcook2]}
table: {published: table3_fusion, metrics: [cider], delta_to: cross}
"""

SYSTEMS = """
name: s
title: Systems
rows:
  - {label: ours, fusion: merged}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
pretrain: null
finetune: {datasets: [vatex, youcook2]}
published: [mine.csv]
table: {metrics: [bleu4, cider], apart: true, most_frequent: true}
"""

MINE = """label,dataset,metric,value,source,note
Doe,vatex,cider,99.5,Doe et al.,uses more data
Doe,vatex,bleu4,9.5,Doe et al.,uses more data
Roe,youcook2,cider,150,Roe et al.,
Poe,vatex,cider,10,Poe et al.,by other code
"""

OURS = {"vatex": (50.0, 55.0, 54.0, 60.0), "youcook2": (150.0, 140.0, 120.0, 160.0)}


def scored(made: Recorded, values: dict[str, tuple[float, ...]]) -> Report:
    """The suite's report once its rows have these scores in CIDEr."""
    for i, trial in enumerate(made.plan.trials):
        for cell in trial.cells:
            score = {
                "name": "cider",
                "value": values[cell.dataset][i],
                "unit": "x100",
                "signature": "cider|clips:1",
                "metric": {"name": "coco_caption", "options": {}},
            }
            made.write(made.plan.stages[cell.score], results={"scores": [score]})
    return collect(made.plan, made.store)


@pytest.fixture
def fusions(tmp_path: Path) -> Report:
    return scored(Recorded(tmp_path, SUITE), OURS)


@pytest.fixture
def systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(MINE)
    made = Recorded(tmp_path, SYSTEMS)
    return scored(made, {"vatex": (70.0,), "youcook2": (80.0,)})


def sheets(report: Report, *, beside: bool = False) -> list[Sheet]:
    return [pivot(table, layout, notes) for layout, table, notes in layouts(report, beside=beside)]


def cells(sheet: Sheet) -> dict[str, dict[str, str]]:
    return {
        title: dict(zip(sheet.headers, (c.text for c in line), strict=True))
        for title, line in sheet.rows
    }


# ------------------------------------------------------------------------ rows of their own


def test_systems_are_rows_of_the_datasets_that_they_have_and_never_best(systems: Report) -> None:
    vatex, youcook2 = sheets(systems)
    assert (vatex.title, youcook2.title) == ("Systems: vatex", "Systems: youcook2")
    assert [title for title, _ in vatex.rows] == [
        "Doe† – published",
        "Poe* – published",
        "ours",
        "Most frequent caption",
    ]
    assert youcook2.rows[0][0] == "Roe – published"
    assert cells(vatex)["Doe† – published"]["vatex CIDEr"] == "99.5"
    assert cells(vatex)["ours"]["vatex CIDEr"] == "70.0"
    ranks = {title: line[1].rank for title, line in vatex.rows}
    assert ranks["Doe† – published"] == 0


def test_their_sources_and_reservations_are_said_and_nothing_of_being_better(
    systems: Report,
) -> None:
    vatex, youcook2 = sheets(systems)
    assert vatex.notes[:4] == (
        "One seed a row: differences between rows may be chance.",
        "Published figures are not measured here, and are never marked as best: Doe et al.; "
        "Poe et al.",
        "† uses more data.",
        "* by other code.",
    )
    assert not any("better than the best" in note for note in vatex.notes)
    assert not any("†" in note for note in youcook2.notes)


def test_systems_are_long_rows_with_their_source(systems: Report) -> None:
    long = systems.systems.frame
    assert list(long["record"].unique()) == [
        "published/Doe et al.",
        "published/Roe et al.",
        "published/Poe et al.",
    ]
    assert systems.unfinished == 3  # costs and baselines, not what the systems lack


# ------------------------------------------------------------------------ beside ours


def test_published_columns_stand_beside_ours_only_where_asked_for(fusions: Report) -> None:
    plain, paper = sheets(fusions)
    assert plain.headers == ["vatex CIDEr", "youcook2 CIDEr"]
    assert paper.title == "Fusions: as published"
    (beside,) = sheets(fusions, beside=True)
    assert beside.headers == [
        "vatex CIDEr",
        "vatex (published) CIDEr",
        "youcook2 CIDEr",
        "youcook2 (published) CIDEr",
    ]
    merged = cells(beside)["merged"]
    assert merged["vatex CIDEr"] == cells(plain)["merged"]["vatex CIDEr"] == "55.0"
    assert merged["youcook2 (published) CIDEr"] == "210.7"  # Table 3


def test_best_marks_and_differences_stay_within_ours_and_within_theirs(fusions: Report) -> None:
    (plain, _), (beside,) = sheets(fusions), sheets(fusions, beside=True)
    ours = {title: (line[0], line[2]) for title, line in beside.rows}
    assert ours == dict(plain.rows)
    theirs = {title: line[3] for title, line in beside.rows}
    assert theirs["both"].rank == 1
    assert theirs["merged"].delta == pytest.approx(210.7 - 211.2)  # to their own cross


def test_the_rank_correlation_of_the_rows_is_said(fusions: Report) -> None:
    (beside,) = sheets(fusions, beside=True)
    (note,) = (note for note in beside.notes if note.startswith("Rank correlation"))
    paper = {"vatex": [], "youcook2": []}
    for _, row in fusions.paper.frame.iterrows():
        if row["metric"] == "cider":
            paper[row["dataset"].lower()].append(row["value"])
    for dataset, ours in OURS.items():
        rho = stats.spearmanr(ours, paper[dataset]).statistic
        assert f"{dataset} CIDEr {rho:+.2f}" in note
    assert note.count("(4 rows)") == 2


def test_a_suite_without_published_figures_has_no_columns_for_them(systems: Report) -> None:
    assert sheets(systems, beside=True)[0].headers == sheets(systems)[0].headers


def test_intervals_are_of_ours_alone(tmp_path: Path) -> None:
    made = Recorded(tmp_path, SUITE)
    scored(made, OURS)
    sheet = suite_report(
        made.plan, made.store, tmp_path, intervals="seeds", published=True
    ).sheets[0]
    assert sheet.headers[1] == "vatex (published) CIDEr"
    assert all(line[1].interval is None for _, line in sheet.rows)


# ------------------------------------------------------------------------ ranks


@pytest.mark.parametrize("n", [4, 5, 17])
def test_rho_is_scipys_also_with_ties(n: int) -> None:
    generator = np.random.default_rng(n)
    ours, theirs = generator.integers(0, 6, (2, n)).astype(float)
    ours[:2], theirs[:2] = (0, 1), (1, 0)  # not all equal
    found = rank_correlation(ours.tolist(), theirs.tolist())
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(ours, theirs).statistic, abs=1e-12)
    assert found.n == n


def test_the_interval_is_bonett_and_wrights() -> None:
    found = rank_correlation(
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [2.0, 1.0, 4.0, 3.0, 6.0, 5.0, 8.0, 7.0]
    )
    assert found is not None
    assert found.interval is not None
    z, half = math.atanh(found.rho), 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 5)
    assert found.interval == pytest.approx((math.tanh(z - half), math.tanh(z + half)), abs=1e-6)


def test_the_interval_covers_in_simulation() -> None:
    """Of normal pairs with ρ 0.5, whose Spearman correlation is 6/π·asin(0.25)."""
    generator = np.random.default_rng(0)
    true, held, runs = 6 / math.pi * math.asin(0.25), 0, 2000
    for _ in range(runs):
        x = generator.normal(size=20)
        y = 0.5 * x + math.sqrt(0.75) * generator.normal(size=20)
        found = rank_correlation(x.tolist(), y.tolist())
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] <= true <= found.interval[1]
    assert 0.93 <= held / runs <= 0.97


def test_too_little_to_rank_has_no_interval_or_nothing() -> None:
    assert rank_correlation([1.0, 2.0], [2.0, 1.0]) is None
    assert rank_correlation([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]) is None
    three = rank_correlation([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
    perfect = rank_correlation([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0])
    assert three is not None
    assert perfect is not None
    assert (three.rho, three.interval) == (pytest.approx(0.5), None)
    assert (perfect.rho, perfect.interval) == (1.0, None)
