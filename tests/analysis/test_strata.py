"""Strata: who is in which, figures of a stratum as if it were scored alone, variety."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from avbench.analysis.strata import Item, Strata, strata
from avbench.analysis.strata_tables import diversity, strata_sheets
from avbench.api import References
from avbench.builtin.metrics.coco_caption import CocoCaption
from avbench.cli.main import app
from avbench.cli.reports import write_reports
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError, DataError
from avbench.core.job import RECORD, write_json
from avbench.core.options import plain
from avbench.core.registry import load
from avbench.core.types import Clip, InputSpec, Slot, SoundState
from avbench.data.media.sampling import Timeline
from avbench.data.prepared.clips import CLIPS, PARAGRAPHS, SPLIT, clip_to_json
from avbench.data.prepared.split import Entry, entry_to_json
from avbench.data.text.counts import WordCounts
from avbench.data.world.word_counts import shipped_counts
from avbench.evaluation.score import PREDICTIONS
from avbench.evaluation.statistics import sufficient
from avbench.evaluation.statistics.sufficient import Sufficient
from avbench.evaluation.statistics.videos import over_videos
from avbench.reports.collect import MOST_FREQUENT, collect
from avbench.reports.intervals import inferred
from avbench.reports.layouts import layouts
from avbench.reports.records import Records
from avbench.reports.signatures import agreed
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import Sheet
from avbench.runner.plan import Stage, Store
from avbench.runner.planning.planner import make_plan
from avbench.workflow.further_reports import strata_report
from avbench.workflow.reporting import suite_report

COUNTS = WordCounts(
    audio={"bark": 90, "dog": 10}, image={"dog": 40, "red": 60}, audio_total=100, image_total=100,
    types=3,
)  # fmt: skip


def slot(*evidence: str) -> Slot:
    return Slot(value="x", choices=("x", "y"), evidence=frozenset(evidence))


def item(number: int, **more: Any) -> Item:
    given: dict[str, Any] = {
        "id": f"c{number}",
        "captions": ("a red dog",),
        "speech": "",
        "sound": (SoundState.PRESENT,),
        "slots": (),
    }
    return Item(**given | more)


def divided(items: list[Item], title: str, counts: WordCounts = COUNTS) -> Strata:
    (found,) = [s for s in strata(items, counts) if s.title == title]
    return found


# ------------------------------------------------------------------------ who is where


def test_terciles_divide_by_the_items_own_values() -> None:
    items = [item(n, captions=("w " * (n + 1),)) for n in range(9)]
    found = divided(items, "caption length")
    assert found.names == ("words ≤ 3", "words to 6", "words > 6")
    assert [found.of[f"c{n}"] for n in range(9)] == [n for n in found.names for _ in range(3)]


def test_equal_values_stay_together() -> None:
    lengths = [2, 2, 2, 2, 2, 5, 7, 8]
    items = [item(n, captions=("w " * length,)) for n, length in enumerate(lengths)]
    found = divided(items, "caption length")
    assert found.names == ("words ≤ 2", "words to 5", "words > 5")
    assert [*found.of.values()].count("words ≤ 2") == 5
    mostly = [item(n, captions=("w " * n,)) for n in (3, 3, 3, 3, 4)]
    mostly = [item(n, captions=one.captions) for n, one in enumerate(mostly)]
    assert divided(mostly, "caption length").names == ("words ≤ 3", "words > 3")


def test_items_that_are_all_alike_are_not_divided() -> None:
    found = divided([item(1), item(2)], "caption length")
    assert (found.names, found.of) == ((), {})
    assert found.note == "Not divided by caption length: the same for all (words ≤ 3)."


def test_relevance_is_the_mean_over_references() -> None:
    heard = item(0, captions=("the dog barks", "red"))
    items = [heard, item(1), item(2, captions=("barks", "barks"))]
    found = divided(items, "audio relevance (ARS)")
    bark = COUNTS.ars("bark")
    assert [found.of[f"c{n}"] for n in (1, 0, 2)] == list(found.names)
    assert found.names == ("ARS ≤ 0", f"ARS to {bark / 2:.3g}", f"ARS > {bark / 2:.3g}")


def test_words_without_counts_are_told_and_nothing_is_divided() -> None:
    found = divided([item(0, captions=("a zebra",)), item(1)], "audio relevance (ARS)",
                    shipped_counts())  # fmt: skip
    assert found.names == ()
    assert found.note.startswith("Not divided by ARS: word_counts.csv: no counts for 'zebra'")


def test_coverage_needs_speech() -> None:
    items = [item(0, speech="the red dog"), item(1, speech="dog"), item(2), item(3)]
    found = divided(items, "speech coverage (SCR)")
    assert found.of == {
        "c0": "SCR % > 33.3", "c1": "SCR % to 33.3", "c2": "SCR % ≤ 0", "c3": "SCR % ≤ 0",
    }  # fmt: skip
    bare = divided([item(0), item(1)], "speech coverage (SCR)")
    assert bare.note == "Not divided by SCR: no clip has speech text."


def test_sound_of_a_video_is_that_of_any_of_its_clips() -> None:
    items = [
        item(0),
        item(1, sound=(SoundState.SILENT,)),
        item(2, sound=(SoundState.ABSENT, SoundState.PRESENT)),
        item(3, sound=()),
        item(4, sound=(SoundState.UNDECODABLE, SoundState.PRESENT)),
        item(5, sound=(SoundState.UNDECODABLE,)),
    ]
    assert divided(items, "presence of sound").of == {
        "c0": "sound present", "c1": "sound silent", "c2": "sound present", "c3": "sound absent",
        "c4": "sound present", "c5": "sound undecodable",
    }  # fmt: skip


def test_slot_evidence_counts_what_the_sound_alone_tells() -> None:
    items = [
        item(0, slots=(slot("video"), slot("video", "audio"))),
        item(1, slots=(slot("video"), slot("audio"))),
        item(2, slots=(slot("audio", "text"), slot("audio"), slot("audio"))),
        item(3, slots=(slot(),)),
    ]
    assert list(divided(items, "slot evidence").of.values()) == [
        "0 heard only",
        "1 heard only",
        "2+ heard only",
        "0 heard only",
    ]
    assert "slot evidence" not in {s.title for s in strata([item(0)], COUNTS)}


# ------------------------------------------------------------------------ figures


@pytest.mark.java
@pytest.mark.usefixtures("warm_meteor")
@pytest.mark.slow
def test_a_stratums_figures_are_those_of_its_items_scored_alone() -> None:
    """But for CIDEr, whose document frequencies stay those of the whole set."""
    texts = ["a dog barks at the red car", "a man sings", "the bell rings twice in the snow",
             "a woman slices garlic", "rain falls on a roof", "a child laughs loudly"]  # fmt: skip
    captions = {f"c{i}": (text, f"{text} again") for i, text in enumerate(texts)}
    said = {f"c{i}": text.replace("a ", "the ") for i, text in enumerate(texts)}
    part = ["c0", "c2", "c5"]
    metric = CocoCaption()
    try:
        (whole,) = metric.score([said], References(captions=captions))
        (alone,) = metric.score(
            [{i: said[i] for i in part}], References(captions={i: captions[i] for i in part})
        )
    finally:
        metric.close()
    for score, expected in zip(whole, alone, strict=True):
        inside = [i in part for i in score.per_item]
        sums = score.statistics[inside].sum(axis=0, keepdims=True)
        figure = float(metric.from_sums(score.name, sums)[0])
        if score.name == "cider":
            assert figure == pytest.approx(np.mean([score.per_item[i] for i in part]))
            assert abs(figure - expected.value) > 0.1
        else:
            assert figure == pytest.approx(expected.value, rel=1e-9), score.name


# ------------------------------------------------------------------------ variety


def test_diversity_by_hand() -> None:
    found = diversity(["A dog's bark.", "a dog's bark", "Zwölf Hunde"])
    assert (found.vocabulary, found.words) == (5, pytest.approx(8 / 3))
    assert found.distinct1 == pytest.approx(100 * 5 / 8)
    assert found.distinct2 == pytest.approx(100 * 3 / 5)


def test_captions_without_words_have_no_variety() -> None:
    for captions in ([], [""], ["...", "!"]):
        found = diversity(captions)
        assert (found.distinct1, found.distinct2, found.vocabulary, found.words) == (0, 0, 0, 0)


# ------------------------------------------------------------------------ tables

SUITE = """
name: s
title: T
rows:
  - {label: one, fusion: merged}
  - {label: two, fusion: global}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex, activitynet]}
seeds: 2
table: {metrics: [cider, bleu4], most_frequent: true}
"""

TEXTS = ("a bell", "the red bell rings", "a dog barks at the red star now", "a man slides")


def clips(dataset: str) -> tuple[Clip, ...]:
    """Four clips; in the paragraph protocol two of one video, and one each of two others."""
    videos = ("v0", "v0", "v1", "v2") if dataset == "activitynet" else ("w0", "w1", "w2", "w3")
    return tuple(
        Clip(
            id=f"{dataset[0]}{i}",
            video=videos[i],
            media=Path("media") / f"{i}.mp4",
            captions=(text, f"{text} loudly"),
            start=float(i),
            end=i + 1.0,
            speech="the red bell" if i < 2 else None,
        )
        for i, text in enumerate(TEXTS)
    )


class Made:
    """A planned suite of which everything is done; the figures are written by hand."""

    def __init__(self, folder: Path) -> None:
        (folder / "s.yaml").write_text(SUITE)
        self.registry = load()
        suite = read_suite(str(folder / "s.yaml"), self.registry, Overrides())
        self.plan = make_plan(suite, self.registry)
        self.store = Store(results=folder / "results", cache=folder / "cache")
        for dataset, id_ in self.plan.prepared.items():
            self.prepared(self.plan.stages[id_], dataset)
        for trial in self.plan.trials:
            for cell in trial.cells:
                value = 10.0 if trial.label == "one" else 20.0
                self.scored(cell.score, cell.dataset, value + trial.seed)
        for dataset, id_ in self.plan.baselines.items():
            self.scored(id_, dataset, 1.0)

    def write(self, stage: Stage, results: dict[str, Any]) -> Path:
        folder = self.store.directory(stage)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"kind": stage.kind, "id": stage.id, "status": "done", "results": results}
        write_json(folder / RECORD, {**record, "error": None, "provenance": {}})
        return folder

    def prepared(self, stage: Stage, dataset: str) -> None:
        results = {"split": "test", "kept": 4, "list_hash": "x", "lost": {}}
        folder = self.write(stage, results)
        paragraphs = dataset == "activitynet"
        split = {
            "root": str(folder),
            "role": "report",
            "protocol": "paragraph" if paragraphs else "coco",
            "input": plain(InputSpec()),
            "read": "stored",
            "list_hash": "",
            "rows": 4,
        }
        write_json(folder / SPLIT, split)
        states = [SoundState.PRESENT, SoundState.SILENT, SoundState.PRESENT, SoundState.ABSENT]
        lines = [
            json.dumps({"clip": clip_to_json(clip, folder), **entry_to_json(self.entry(i, state))})
            for i, (clip, state) in enumerate(zip(clips(dataset), states, strict=True))
        ]
        (folder / CLIPS).write_text("\n".join(lines) + "\n")
        told = {"v0": "a bell. the red bell rings", "v1": TEXTS[2], "v2": TEXTS[3]}
        write_json(folder / PARAGRAPHS, {v: [t] for v, t in told.items()} if paragraphs else {})

    @staticmethod
    def entry(row: int, state: SoundState) -> Entry:
        timeline = Timeline((0.0,), 0.0, 1.0)
        return Entry(row=row, timeline=timeline, mel_frames=1, sound=state, notes=())

    def scored(self, id_: str, dataset: str, value: float) -> None:
        """cider: value + the item's number; bleu4 has no statistics."""
        stage = self.plan.stages[id_]
        said = [json.dumps({"id": c.id, "caption": f"a {value:g}"}) for c in clips(dataset)]
        told = self.write(self.plan.stages[stage.parents["predictions"]], {})
        (told / PREDICTIONS).write_text("\n".join(said) + "\n")
        joined = dataset == "activitynet"
        items = {c.video if joined else c.id: c.video for c in clips(dataset)}
        each = value + np.arange(float(len(items)))
        common = {"unit": "x100", "metric": {"name": "coco_caption", "options": {}}}
        scores = [
            {"name": n, "value": float(each.mean()), "signature": f"{n}|v:1", **common,
             "statistics": n == "cider"}
            for n in ("cider", "bleu4")
        ]  # fmt: skip
        folder = self.write(stage, {"scores": scores})
        values = np.stack([each, np.ones_like(each)], axis=1)
        kept = Sufficient(ids=tuple(items), videos=tuple(items.values()), values=values)
        sufficient.write(folder, items, {"cider": kept})

    def sheets(self) -> dict[str, Sheet]:
        return {sheet.title: sheet for sheet in strata_sheets(self.statistics())}

    def statistics(self) -> ScoreStatistics:
        return ScoreStatistics(Records.read(self.plan, self.store), self.registry)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.chdir(tmp_path)
    return Made(tmp_path)


def figures(sheet: Sheet) -> dict[str, list[str]]:
    """Row → its CIDEr in each stratum."""
    wanted = [i for i, column in enumerate(sheet.columns) if column == "CIDEr"]
    return {title: [cells[i].text for i in wanted] for title, cells in sheet.rows}


def test_strata_of_stored_scores(made: Made) -> None:
    sheet = made.sheets()["T: vatex by presence of sound"]
    assert [name for name, _ in sheet.groups] == [
        "sound present (n 2)", "sound absent (n 1)", "sound silent (n 1)",
    ]  # fmt: skip
    # Items 0 and 2, 3, 1; mean over the seeds' 10 and 11, and 20 and 21.
    assert figures(sheet) == {
        "one": ["11.5", "13.5", "11.5"],
        "two": ["21.5", "23.5", "21.5"],
        MOST_FREQUENT: ["2.0", "4.0", "2.0"],
    }
    assert "Mean ± standard deviation over 2 seeds." in sheet.notes
    assert sheet.notes[-1].startswith("Clips used: ")
    assert sheet.notes[-4:-1] == (
        "CIDEr's document frequencies are those of the whole set.",
        "vatex: cider; v:1",
        "A stratum's signature adds stratum: and a hash of its items.",
    )
    bleu = [cells[i].text for _, cells in sheet.rows for i in (1, 3, 5)]
    assert set(bleu) == {"–"}  # it kept no statistics
    frame = sheet.table.frame
    assert set(frame["dataset"]) == {"vatex"}
    assert set(frame["stratum"]) == {"sound present", "sound absent", "sound silent"}
    assert set(frame["unit"]) == {"x100"}


def test_a_stratum_is_signed_by_its_items(made: Made) -> None:
    frames = [sheet.table.frame for sheet in made.sheets().values()]
    signed = {
        (row.stratum, row.signature)
        for frame in frames
        if "stratum" in frame
        for row in frame.itertuples()
        if row.dataset == "vatex"
    }
    found = dict(signed)
    assert len(found) == len(signed)  # all systems of a stratum alike
    for name, number in (("sound present", 2), ("sound silent", 1), ("words ≤ 3.5", 2)):
        assert found[name].startswith(f"cider|v:1|stratum:{number}-")
    assert found["sound present"] != found["words ≤ 3.5"]  # clips 0 and 2, clips 0 and 3


def test_a_score_of_a_stratum_shares_no_column_with_that_of_the_whole_set(made: Made) -> None:
    sheets = made.sheets()
    rows = sheets["T: vatex by presence of sound"].table.frame
    whole = sheets["T: how varied the captions are"].table.frame
    both = pd.concat([whole[whole["metric"] == "cider"], rows[rows["stratum"] == "sound silent"]])
    assert "refused" in set(agreed(both.reset_index())["status"])


def test_strata_of_the_paragraph_protocol_are_of_videos(made: Made) -> None:
    sheet = made.sheets()["T: activitynet by speech coverage (SCR)"]
    # Only v0 has speech; of v1's and v2's words it covers none.
    assert [name for name, _ in sheet.groups] == ["SCR % ≤ 0 (n 2)", "SCR % > 0 (n 1)"]
    assert figures(sheet)["one"] == ["12.0", "10.5"]


def test_every_sheet_says_which_clips_it_is_of_and_how_many_are_lost(made: Made) -> None:
    stage = made.plan.stages[made.plan.prepared["vatex"]]
    results = {"split": "test", "expected": 6, "kept": 4, "list_hash": "x", "lost": {"missing": 2}}
    made.write(stage, results)
    sheets = made.sheets()
    assert {title.split()[1] for title in sheets} == {"how", "vatex", "activitynet"}
    for title, sheet in sheets.items():
        (said,) = (note for note in sheet.notes if note.startswith("Clips used: "))
        assert "vatex test 4 (list x)" in said, title
        assert said.endswith("; lost: vatex test 2 (2 missing)."), title


def test_strata_do_not_change_with_what_a_model_says(made: Made) -> None:
    before = {title: sheet.groups for title, sheet in made.sheets().items()}
    for trial in made.plan.trials:
        made.scored(trial.cells[0].score, "vatex", 99.0)
    assert {title: sheet.groups for title, sheet in made.sheets().items()} == before


def test_variety_stands_beside_the_scores_and_tells_what_was_not_divided(made: Made) -> None:
    sheet = made.sheets()["T: how varied the captions are"]
    assert sheet.columns[:6] == (
        "CIDEr", "BLEU-4", "Distinct-1 (%)", "Distinct-2 (%)", "Vocabulary", "Words",
    )  # fmt: skip
    rows = {title: [cell.text for cell in cells] for title, cells in sheet.rows}
    # Four times "a 10" (seed 0) or "a 11" (seed 1).
    assert rows["one"][:6] == ["12.0", "–", "25.0", "25.0", "2", "2.0"]
    first = diversity(TEXTS)
    assert rows["References, the first of each"][4:6] == [
        str(first.vocabulary), f"{first.words:.1f}",
    ]  # fmt: skip
    assert {"vatex: cider; v:1", "activitynet: cider; v:1"} <= {*sheet.notes}
    assert "T: vatex by slot evidence" not in made.sheets()


def test_strata_are_written_printed_and_given_as_json(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_reports(
        [strata_report(made.plan, made.store, tmp_path / "out")], ["md", "long"], False, {}
    )
    assert "vatex by caption length" in capsys.readouterr().out
    written = (tmp_path / "out" / "strata.md").read_text()
    assert "### T: activitynet by presence of sound" in written
    report = strata_report(made.plan, made.store, tmp_path / "out")
    write_reports([report], [], True, {})
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {"sound silent", ""} <= {row["stratum"] for row in rows}


def test_nothing_scored_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = Made(tmp_path)
    empty = Store(results=tmp_path / "none", cache=tmp_path / "none")
    with pytest.raises(
        AvbenchError, match="s: nothing has been scored yet; use 'avbench run' first"
    ):
        strata_report(made.plan, empty, tmp_path / "out")
    folder = made.store.directory(made.plan.stages[made.plan.trials[0].cells[0].score])
    (folder / sufficient.STATISTICS).unlink()
    with pytest.raises(DataError, match=r"statistics\.npz: no such file; score again"):
        made.sheets()


def test_a_tables_intervals_over_videos_come_from_the_same_statistics(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.evaluation.statistics.videos.FEWEST", 3)
    statistics = made.statistics()
    layout, table, _ = next(layouts(collect(made.plan, made.store)))
    layout = replace(layout, delta_to="one")
    found = inferred(table, layout, "videos", statistics)
    systems = statistics.systems("vatex", "cider")
    known = over_videos([systems["one", 0], systems["one", 1]]).estimate()
    assert found.intervals["one", "vatex", "cider"] == (known.low, known.high)
    assert ("one", "vatex", "bleu4") not in found.intervals  # it kept no statistics
    # The rows differ by 10 on every clip, which 4 and 3 videos cannot tell from chance.
    assert {place[1] for place in found.differences} == {"vatex", "activitynet"}
    for place, tested in found.differences.items():
        few = 2.0 ** (1 - tested.estimate.n)  # share of the exchanges as far from 0, both sides
        assert tested.estimate.p == pytest.approx(few, rel=0.1), place
    assert found.significant == frozenset()


def test_few_videos_give_no_interval_and_the_table_says_why(made: Made) -> None:
    layout, table, _ = next(layouts(collect(made.plan, made.store)))
    found = inferred(table, layout, "videos", made.statistics())
    assert found.intervals == {}
    assert found.notes == (
        "No interval over videos in vatex CIDEr: 4 videos; an interval needs at least 10.",
        "No interval over videos in activitynet CIDEr: 3 videos; an interval needs at least 10.",
    )


def test_reports_show_the_intervals_that_are_asked_for(
    made: Made,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("avbench.evaluation.statistics.videos.FEWEST", 3)
    for what, said in (
        ("videos", "over videos (Student's t by the jackknife"),
        ("seeds", "over seeds (Student's t)"),
    ):
        write_reports(
            [suite_report(made.plan, made.store, tmp_path / "out", intervals=what)],
            ["md"],
            False,
            {},
        )
        assert said in (tmp_path / "out" / "table.md").read_text()
    report = suite_report(made.plan, made.store, tmp_path / "out")
    write_reports([report], ["md"], False, {})
    assert "In brackets" not in (tmp_path / "out" / "table.md").read_text()
    capsys.readouterr()


def test_rows_are_tested_against_the_one_that_the_command_line_names(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    asked = ["report", "s.yaml", "--intervals", "videos", "--json"]

    def told(*more: str) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*asked, *more])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    bare = told()
    assert bare["differences"] == []
    assert bare["intervals"] == []  # of 4 and 3 videos
    tested = {x["dataset"]: x for x in told("--delta-to", "one")["differences"]}
    assert set(tested) == {"vatex", "activitynet"}
    ten = pytest.approx(10)
    # 10 more on every clip: 2 of 2⁴ and of 2³ exchanges are as far from 0.
    for dataset, videos in (("vatex", 4), ("activitynet", 3)):
        p = 2.0 ** (1 - videos)
        assert tested[dataset] == {
            "table": "T", "label": "two", "dataset": dataset, "metric": "cider", "to": "one",
            "difference": ten, "low": None, "high": None, "n": videos,
            "reason": f"{videos} videos; an interval needs at least 10",
            "p": pytest.approx(p, rel=0.1), "p_corrected": pytest.approx(0.25, rel=0.1),
        }  # fmt: skip
    found = told("--delta-to", "one", "--intervals", "seeds")
    assert [x["p"] for x in found["differences"]] == [1.0, 1.0]  # 10 with both seeds: no spread
    assert {(x["low"], x["high"]) for x in found["differences"]} == {(None, None)}
