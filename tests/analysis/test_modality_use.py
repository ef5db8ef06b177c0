"""The output of ``report --modality-use`` from records: losses, Fig. 4, scores, Shapley."""

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from avbench.analysis import loss_curves, pretraining
from avbench.analysis.modality_use import use_sheets
from avbench.cli.reports import write_reports
from avbench.core.errors import AvbenchError
from avbench.reports.collect import collect
from avbench.reports.formats import FORMATS
from avbench.reports.table import Sheet
from avbench.training import loss_log
from avbench.workflow.further_reports import modality_use_report
from tests.records import Recorded

SUITE = """
name: s
title: Use
rows:
  - {label: balanced, loss: mbp}
  - {label: plain, loss: plain}
  - {label: text, loss: plain, modalities: V+A+T}
  - {label: sound, loss: plain, modalities: A}
  - {label: never, loss: plain, fusion: cross, modalities: V+A+T}
defaults: {fusion: merged, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m, steps: 100, measure_every: 10}
finetune: {datasets: [vatex, youcook2]}
evaluate:
  {zeroed: [video], swapped: [audio], noised: [audio, text], noise_db: 3, shapley: true}
seeds: 2
table: {use_metrics: [slot_visual, slot_audible], most_frequent: true}
"""


class Made(Recorded):
    """A planned suite, and records and curves written by hand."""

    def __init__(self, folder: Path, suite: str = SUITE) -> None:
        super().__init__(folder, suite)

    def trained(self, label: str, seed: int, figures: Any) -> None:
        """A pre-training whose ``figures(step)`` were logged."""
        trial = next(t for t in self.plan.trials if (t.label, t.seed) == (label, seed))
        stage = self.plan.stages[str(trial.pretrain)]
        self.write(stage)
        log = loss_log.Curve(self.store.directory(stage), 0)
        for step in range(100):
            log.add(step, figures(step))
        log.close()

    def score(self, id_: str, **values: float) -> None:
        scores = [
            {"name": n, "value": v, "unit": "x100", "signature": f"{n}|version:1"}
            for n, v in values.items()
        ]
        self.write(self.plan.stages[id_], results={"scores": scores})

    def scored(self, label: str, seed: int, dataset: str, cider: Mapping[str, float]) -> None:
        """Scores of a cell: CIDEr by alteration, ``""`` the unaltered; slots at a tenth."""
        trial = next(t for t in self.plan.trials if (t.label, t.seed) == (label, seed))
        (cell,) = (c for c in trial.cells if c.dataset == dataset)
        for name, value in cider.items():
            id_ = cell.altered[name] if name else cell.score
            self.score(id_, cider=value, slot_visual=value / 10, slot_audible=value / 20)

    def sheets(self) -> list[Sheet]:
        return use_sheets(collect(self.plan, self.store))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    return Made(tmp_path)


def cells(sheet: Sheet) -> dict[str, dict[str, Any]]:
    return {title: dict(zip(sheet.headers, row, strict=True)) for title, row in sheet.rows}


def plain(step: int) -> dict[str, float]:
    """Losses of single modalities every ten steps and at the last, as without balancing."""
    measured = step % 10 == 0 or step == 99
    own = {"L_audio": 2.0 + step, "L_video": 0.5 + step} if measured else {}
    norms = {"gradient_audio": 3.0, "gradient_video": 0.25} if measured else {}
    return {"L": 1.0 + step, **own, "w_audio+video": 1.0, **norms, "gradient_norm": 9.0}


def balanced(step: int) -> dict[str, float]:
    own = {"L_audio": 1.0, "L_video": 3.0, "w_audio": 0.4, "w_video": 0.6, "gap_audio": 0.5}
    norms = {"gradient_audio": 1.0, "gradient_video": 2.0} if step % 10 == 0 else {}
    return {"L": 0.5, **own, "w_audio+video": 1.0, **norms, "gradient_norm": 9.0}


# ------------------------------------------------------------------ pre-training


def test_how_pre_training_ended_is_the_mean_of_its_last_tenth(made: Made) -> None:
    made.trained("plain", 0, plain)
    made.trained("plain", 1, lambda step: {k: v + 2 for k, v in plain(step).items()})
    made.trained("balanced", 0, balanced)
    made.write(made.plan.stages[str(made.plan.trials[1].pretrain)], "failed", error="x\nno clips")
    losses = made.sheets()[0]
    found = cells(losses)
    assert losses.headers == [
        *("howto100m L", "howto100m L audio", "howto100m L video"),
        *("howto100m Gap audio", "howto100m Gap video"),
        *("howto100m Weight", "howto100m Weight audio", "howto100m Weight video"),
        *("howto100m Gradient audio", "howto100m Gradient video"),
    ]
    row = {name.removeprefix("howto100m "): cell for name, cell in found["plain"].items()}
    # Steps 90 (of 99: the last tenth) to 99; L_m at 90 and 99. Seed 1 has all by two more.
    assert row["L"].mean == pytest.approx(1 + 94.5 + 1)
    assert row["L audio"].mean == pytest.approx(2 + 94.5 + 1)
    assert (row["Gap audio"].mean, row["Gap video"].mean) == pytest.approx((1.0, -0.5))
    assert row["Gap video"].text == "-0.500"
    assert row["L"].spread == "± 1.414"
    assert row["Weight audio"].status == "missing"
    assert row["Gradient audio"].mean == pytest.approx(4.0)
    assert found["balanced"]["howto100m Weight video"].text == "0.600"
    # The mean of one of two seeds says so, and why.
    (number,) = found["balanced"]["howto100m L"].footnotes
    assert "seed 1 failed: pretrain: no clips" in losses.footnotes[number - 1]
    assert found["text"]["howto100m L"].text == "…"
    assert found["never"]["howto100m L"].status == "skipped"
    assert any("last 10 %" in note for note in losses.notes)
    assert "every 10 steps" in losses.notes[-1]


def test_a_single_modality_has_no_losses_of_others_and_its_weight_is_the_joint_one(
    made: Made,
) -> None:
    made.trained("sound", 0, lambda step: {"L": 2.0, "w_audio": 1.0, "gradient_audio": 0.5})
    row = cells(made.sheets()[0])["sound"]
    assert {name: cell.text for name, cell in row.items()} == {
        **{"howto100m L": "2.000", "howto100m Weight": "1.000"},
        "howto100m Gradient audio": "0.500",
    }
    assert made.sheets()[0].pictures == ()


def test_the_lines_of_fig_4_are_of_the_same_steps_for_every_strategy(made: Made) -> None:
    made.trained("plain", 0, plain)
    made.trained("balanced", 0, balanced)
    steps = [*range(0, 100, 10), 99]
    for label, figures in (("plain", plain), ("balanced", balanced)):
        trial = next(t for t in made.plan.trials if t.label == label)
        found = pretraining.lines(made.store, made.plan.stages[str(trial.pretrain)])
        assert [line.name for line in found] == ["L", "L_audio", "L_video"]
        for line in found:
            assert line.points == tuple((s, figures(s)[line.name]) for s in steps)


def test_a_long_curve_has_fewer_points_each_the_mean_of_measurements_next_to_each_other(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "POINTS", 4)
    made.trained("plain", 0, plain)
    trial = next(t for t in made.plan.trials if t.label == "plain")
    joint, audio, _ = pretraining.lines(made.store, made.plan.stages[str(trial.pretrain)])
    assert joint.measured == 3
    steps = [10.0, 40.0, 70.0, (90 + 99) / 2]
    assert joint.points == tuple((s, 1 + s) for s in steps)
    assert audio.points == tuple((s, 2 + s) for s in steps)


def test_fig_4_is_drawn_solid_without_balancing_and_dotted_with_it(made: Made) -> None:
    made.trained("balanced", 0, balanced)  # the suite's first row, and yet dotted
    made.trained("plain", 0, plain)
    made.trained("plain", 1, plain)
    (picture,) = made.sheets()[0].pictures
    assert picture.caption.startswith("plain solid, mbp dotted. ")
    assert "Measured every 10 steps, and at the last." in picture.caption
    assert "means over 2 seeds" in picture.caption
    (again,) = made.sheets()[0].pictures
    assert (again.svg, again.png) == (picture.svg, picture.png)
    root = ET.fromstring(picture.svg)
    assert root.tag.endswith("svg")
    assert picture.png.startswith(b"\x89PNG")
    # Lines of the panel: each colour once solid and once dotted.
    drawn = re.findall(
        rb"<path d=[^>]*?clip-path=[^>]*?style=\"fill: none; ([^\"]*)\"", picture.svg
    )
    strokes = [dict(p.split(": ") for p in text.decode().split("; ") if p) for text in drawn]
    for colour in ("#000000", "#d55e00", "#0072b2"):
        styles = {"stroke-dasharray" in s for s in strokes if s.get("stroke") == colour}
        assert styles == {True, False} or colour == "#000000", colour
    dotted = [s for s in strokes if "stroke-dasharray" in s]
    assert len(dotted) == 3


def test_rows_that_differ_in_more_than_the_strategy_have_panels_of_their_own(made: Made) -> None:
    made.trained("plain", 0, plain)
    made.trained("text", 0, lambda step: {**plain(step), "L_text": 0.1})
    (picture,) = made.sheets()[0].pictures
    titles = re.findall(rb"<!-- (V\+A(?:\+T)?) -->", picture.svg)
    assert titles == [b"V+A", b"V+A+T"]
    assert b"mbp" not in picture.caption.encode()


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2), (4, 3)])
def test_steps_are_named_below_each_column_also_of_a_short_row(panels: int, columns: int) -> None:
    drawn = {str(i): {"plain": dict[int, list[pretraining.Line]]()} for i in range(panels)}
    svg, _ = loss_curves._drawn(drawn, {"plain": "-"}, {"L": "#000000"})
    assert svg.count(b"<!-- step -->") == columns


# ------------------------------------------------------------------ scores

GAME = {"": 50.0, "audio zeroed": 30.0, "video zeroed": 20.0, "audio+video zeroed": 10.0}
ALTERED = {"audio swapped": 25.0, "audio noised": 44.0}


def test_altered_scores_stand_beside_their_difference_to_the_unaltered(made: Made) -> None:
    made.scored("plain", 0, "vatex", GAME | ALTERED)
    made.scored("plain", 1, "vatex", {k: v + 2 for k, v in (GAME | ALTERED).items()})
    made.scored("balanced", 0, "vatex", {"": 80.0, "video zeroed": 79.0})
    sheet = made.sheets()[1]
    assert sheet.headers[:3] == [
        "vatex Visual slots (%)",
        "vatex Audible slots (%)",
        "vatex CIDEr",
    ]
    found = {title: row["vatex CIDEr"] for title, row in cells(sheet).items()}
    assert (found["plain"].text, found["plain"].change) == ("51.0", "")
    assert found["plain – audio swapped"].text == "26.0"
    assert found["plain – audio swapped"].change == "(-25.0)"
    assert found["plain – audio swapped"].spread == "± 1.4"
    assert found["plain – audio+video zeroed"].change == "(-40.0)"
    assert found["balanced – video zeroed"].change == "(-1.0)"  # to its own row
    assert found["balanced – audio noised"].text == "…"
    slots = cells(sheet)["plain – audio zeroed"]
    assert slots["vatex Visual slots (%)"].change == "(-2.0)"
    assert slots["vatex Audible slots (%)"].text == "1.6"
    assert "In parentheses: difference to the unaltered row." in sheet.legend
    assert sum("3 dB below" in note for note in sheet.notes) == 1
    assert {f"text – {name}" for name in ("text noised", "audio+video+text zeroed")} <= set(found)
    assert "sound – audio zeroed" in found


def test_shapley_values_add_up_to_the_score_with_everything_less_that_with_nothing(
    made: Made,
) -> None:
    made.scored("plain", 0, "vatex", GAME)
    made.scored("plain", 1, "vatex", {k: 2 * v for k, v in GAME.items()})
    made.scored("sound", 0, "youcook2", {"": 9.0, "audio zeroed": 4.0})
    sheet = made.sheets()[2]
    assert sheet.title == "Use: Shapley values of the modalities, CIDEr"
    row = cells(sheet)["plain"]
    values = {name.removeprefix("vatex "): c for name, c in row.items() if "vatex" in name}
    # Audio joins first half of the times: (20 − 10 + 50 − 30) / 2; the second seed has twice that.
    assert {n: c.mean for n, c in values.items() if c.mean is not None} == pytest.approx(
        {"Nothing": 15.0, "Audio": 22.5, "Video": 37.5, "Everything": 75.0}
    )
    assert values["Audio"].spread == "± 10.6"
    assert values["Text"].status == "missing"
    frame = sheet.table.where(label="plain", seed=0, dataset="vatex").frame
    value = dict(zip(frame["metric"], frame["value"], strict=True))
    assert math.isclose(
        value["shapley_of_audio"] + value["shapley_of_video"],
        value["shapley_all"] - value["shapley_none"],
    )
    assert set(frame["signature"]) == {"cider|version:1"}
    assert cells(sheet)["sound"]["youcook2 Audio"].text == "5.0"
    assert cells(sheet)["balanced"]["vatex Audio"].text == "…"
    assert cells(sheet)["never"]["vatex Audio"].status == "skipped"


def test_every_sheet_says_which_clips_it_is_of_and_how_many_are_lost(made: Made) -> None:
    for dataset in ("vatex", "youcook2"):
        for label in ("balanced", "plain", "text", "sound"):
            for seed in (0, 1):
                trial = next(t for t in made.plan.trials if (t.label, t.seed) == (label, seed))
                (cell,) = (c for c in trial.cells if c.dataset == dataset)
                made.scored(label, seed, dataset, dict.fromkeys(["", *cell.altered], 1.0))
    made.trained("plain", 0, plain)
    results = {"split": "test", "expected": 6, "kept": 4, "list_hash": "x", "lost": {"missing": 2}}
    made.write(made.plan.stages[made.plan.prepared["vatex"]], results=results)
    sheets = made.sheets()
    assert len(sheets) == 3
    for sheet in sheets:
        said = "Clips used: vatex test 4 (list x); lost: vatex test 2 (2 missing)."
        assert said in sheet.notes, sheet.title


def test_a_set_that_failed_is_told_and_an_unknown_score_too(made: Made) -> None:
    made.scored("plain", 0, "vatex", GAME)
    trial = next(t for t in made.plan.trials if (t.label, t.seed) == ("plain", 0))
    stage = made.plan.stages[trial.cells[0].altered["audio zeroed"]]
    made.write(stage, "failed", error="no Java")
    sheet = made.sheets()[2]
    cell = cells(sheet)["plain"]["vatex Audio"]
    assert cell.text == "failed"
    assert "score: no Java" in sheet.footnotes[cell.footnotes[0] - 1]
    made.score(stage.id, bleu4=1.0)
    cell = cells(made.sheets()[2])["plain"]["vatex Audio"]
    assert cell.status == "missing" or cell.text == "…"  # seed 1 has not run


# ------------------------------------------------------------------ stages


def test_every_set_is_generated_and_scored_once_and_shared_with_zeroed(tmp_path: Path) -> None:
    def kinds(evaluate: str) -> dict[str, set[str]]:
        text = re.sub(r"evaluate:\n  \{[^}]*\}", f"evaluate: {evaluate}", SUITE)
        plan = Made(tmp_path, text).plan
        found: dict[str, set[str]] = {}
        for stage in plan.stages.values():
            found.setdefault(stage.kind, set()).add(stage.id)
        return found

    bare, zeroed = kinds("{}"), kinds("{zeroed: [audio, video]}")
    divided = kinds("{shapley: true}")
    both = kinds("{zeroed: [video], shapley: true}")
    for kind in ("generate", "score"):
        assert bare[kind] < zeroed[kind] < divided[kind] == both[kind]
        # For each of two seeds and datasets: V+A 2 rows, V+A+T, A.
        assert len(divided[kind]) - len(bare[kind]) == 4 * (3 + 3 + 7 + 1)
    assert bare["finetune"] == divided["finetune"]
    noisy = kinds("{noised: [audio]}")["generate"]
    assert len(kinds("{noised: [audio], noise_db: 1}")["generate"] & noisy) == len(
        bare["generate"]
    )


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (
            "{noised: [sound]}",
            "evaluate.noised: unknown stream 'sound'. Allowed: audio, text, vid",
        ),
        ("{swapped: [vidoe]}", "evaluate.swapped: unknown stream 'vidoe'; did you mean 'video'?"),
        ("{shapley: true, zeroed: [x]}", "evaluate.zeroed: unknown stream 'x'"),
    ],
)
def test_streams_that_no_encoder_reads_are_refused(
    tmp_path: Path, evaluate: str, message: str
) -> None:
    text = re.sub(r"evaluate:\n  \{[^}]*\}", f"evaluate: {evaluate}", SUITE)
    with pytest.raises(AvbenchError) as caught:
        Made(tmp_path, text)
    assert message in str(caught.value)
    assert "s.yaml:" in str(caught.value)


def test_a_score_that_the_suites_tables_do_not_have_cannot_be_divided(tmp_path: Path) -> None:
    text = SUITE.replace("table: {", "table: {shapley_score: cidre, ")
    with pytest.raises(
        AvbenchError, match=r"table\.shapley_score: unknown score 'cidre'; did you m"
    ):
        Made(tmp_path, text)


# ------------------------------------------------------------------ files


def test_all_formats_hold_the_tables_and_the_figure(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.trained("plain", 0, plain)
    made.scored("plain", 0, "vatex", GAME | ALTERED)
    out = tmp_path / "out"
    report = modality_use_report(made.plan, made.store, out)
    write_reports([report], list(FORMATS), False, {})
    said = capsys.readouterr().out
    stem = "modality-use"
    written = {p.name: p for p in out.iterdir()}
    assert set(written) == {
        *(f"{stem}.{x}" for x in ("md", "csv", "tex", "notes.tex", "html", "long.csv")),
        *("losses.svg", "losses.png"),
    }
    assert "losses.svg" in said
    (page, markdown, latex) = (written[f"{stem}.{x}"].read_text() for x in ("html", "md", "tex"))
    assert page.count("<figure>") == page.count("</figure>") == 1
    assert 'src="data:image/svg+xml;base64,' in page
    assert not re.search("https?:", re.sub(r'src="data:[^"]*"', "", page))
    assert "](losses.svg)" in markdown
    assert "\\includegraphics[width=\\linewidth]{losses.png}" in latex
    for text in (page, markdown, latex, written[f"{stem}.csv"].read_text()):
        assert "Shapley values of the modalities" in text
        assert "how pre-training ended" in text
    long = list(csv.DictReader(io.StringIO(written[f"{stem}.long.csv"].read_text())))
    assert {r["metric"] for r in long} >= {"gap_audio", "cider", "shapley_of_video"}
    report = modality_use_report(made.plan, made.store, out)
    write_reports([report], ["md"], True, {})
    shown = json.loads(capsys.readouterr().out)
    assert shown["files"]["losses png"].endswith("losses.png")
    assert any(r["metric"] == "shapley_all" for r in shown["rows"])


def test_a_suite_that_asks_for_nothing_is_told_so(tmp_path: Path) -> None:
    text = re.sub(r"evaluate:\n  \{[^}]*\}", "", SUITE)
    text = re.sub(r"pretrain: .*\n", "pretrain: null\n", text)
    text = re.sub(r"loss: \w+(, )?", "", text).replace("tasks: [pcc]", "loss: plain, tasks: [pcc]")
    made = Made(tmp_path, text.replace("- {label: balanced, }", ""))
    with pytest.raises(AvbenchError, match="s: no data on modality use: no row is"):
        write_reports(
            [modality_use_report(made.plan, made.store, tmp_path / "out")], ["md"], False, {}
        )
