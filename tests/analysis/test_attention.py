"""Fig. 5 over a suite that really ran: rollout from sound to the picture, drawn over frames."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import pytest
import torch

from avbench.analysis.attention import CLIPS, attention_sheets, chosen, overlay
from avbench.analysis.attention_picture import Overlay, attention_picture, upsampled
from avbench.cli.reports import write_reports
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError
from avbench.core.registry import load
from avbench.core.types import SoundState
from avbench.data.dataset import ClipData, Key, collate
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.models import weights
from avbench.models.attention_maps import attention_maps
from avbench.reports.table import Sheet
from avbench.runner.planning.planner import make_plan
from avbench.workflow.further_reports import attention_report
from avbench.workflow.planning import SuitePlan
from tests.records import TINY_WORLD, Recorded

SUITE = (
    """
name: small
title: One step
rows:
  - {label: both, fusion: local_global_merged}
  - {label: speech, fusion: global_va_merged_vt, modalities: V+A+T}
  - {label: picture, fusion: merged, modalities: V}
  - {label: never, fusion: merged}
  - {label: impossible, fusion: cross, modalities: V+A+T}
defaults: {loss: plain, modalities: V+A}
"""
    + TINY_WORLD.replace("cross_layers: 1", "cross_layers: 2")
    + """
pretrain: null
finetune: {datasets: [vatex], steps: 1, batch: 2}
evaluate: {metrics: [slot_accuracy]}
table: {metrics: [slot_visual]}
"""
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A suite of which the first two rows are trained, and its test clips are prepared."""
    folder = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = Recorded(folder, SUITE)
        for trial in made.plan.trials[:2]:
            made.run(trial.cells[0].finetune)
        made.run(made.plan.prepared["vatex"])
        yield made


@pytest.fixture(scope="module")
def sheet(made: Recorded) -> Sheet:
    (sheet,) = attention_sheets(made.plan, made.store)
    return sheet


def split_of(made: Recorded) -> PreparedSplit:
    stage = made.plan.stages[made.plan.prepared["vatex"]]
    return PreparedSplit.open(made.store.directory(stage))


def by_hand(made: Recorded, clip: str, branch: str) -> np.ndarray:
    """The map of a clip for one branch, written out over the whole graph of two layers."""
    plan, store = made.plan, made.store
    model = plan.stages[plan.trials[0].cells[0].finetune]
    captioner, architecture = weights.load(store.directory(model), load())
    captioner.eval()
    words = Vocabulary.open(store.directory(plan.stages[model.parents["vocabulary"]]))
    split = split_of(made)
    data = ClipData(split, words, architecture.input, sampling=None)
    sample = data[Key([c.id for c in split.clips].index(clip), 0)]
    with torch.inference_mode():
        encoded = captioner.encode(collate([sample]))
        streams = captioner.streams(encoded, [captioner.joint])
        _, maps = attention_maps(captioner.fusion, streams)
    a, v = (streams[m].values.shape[1] for m in ("audio", "video"))
    at = {
        ("tokens", "audio"): list(range(a)),
        ("tokens", "video"): list(range(a, a + v)),
        ("global", "audio"): [a + v],
        ("global", "video"): [a + v + 1],
    }
    product = np.eye(a + v + 2)
    for layer in (0, 1):
        matrix = np.eye(a + v + 2)
        for map_ in maps:
            if (map_.layer, map_.branch) == (layer, branch):
                rows = [i for block in map_.queries for i in at[block]]
                columns = [i for block in map_.keys for i in at[block]]
                matrix[rows] *= 0.5
                matrix[np.ix_(rows, columns)] += 0.5 * map_.weights[0].mean(0).double().numpy()
        product = matrix @ product
    assert np.allclose(product.sum(1), 1)
    found: np.ndarray = product[:a, a : a + v].mean(0).reshape(2, 2, 2).sum(0)
    return found


def figures(sheet: Sheet) -> dict[tuple[str, str], float]:
    frame = sheet.table.frame
    frame = frame[frame["status"] == "ok"]
    keys = zip(frame["label"], frame["metric"], strict=True)
    return dict(zip(keys, frame["value"], strict=True))


def test_figures_are_those_of_the_rollout_by_hand(made: Recorded, sheet: Sheet) -> None:
    found = figures(sheet)
    labels = dict.fromkeys(label for label, _ in found if label.startswith("both, "))
    clips = [label.removeprefix("both, ") for label in labels]
    assert len(clips) == CLIPS
    for clip in clips:
        for branch in ("global", "local"):
            map_ = by_hand(made, clip, branch)
            share, peak = (
                found[f"both, {clip}", f"{prefix}{branch}"]
                for prefix in ("attention_", "attention_peak_")
            )
            assert share == pytest.approx(100 * map_.sum(), rel=1e-5)
            assert peak == pytest.approx(map_.max() / map_.mean(), rel=1e-5)
        assert found[f"both, {clip}", "attention_together"] > 0


def test_a_row_without_a_picture_says_why(sheet: Sheet) -> None:
    titles = [title for title, _ in sheet.rows]
    assert titles[2 * CLIPS :] == ["picture", "never", "impossible"]
    assert sheet.footnotes[1] == "skipped: the captioner reads no audio"
    assert sheet.footnotes[2] == "pending: has not run"
    assert sheet.footnotes[3].startswith("skipped: cross fusion is defined for 2 streams")
    assert [p.name for p in sheet.pictures] == ["attention-1", "attention-2"]


def test_a_branch_in_which_sound_never_meets_the_picture_has_an_empty_map(sheet: Sheet) -> None:
    titles, cells = zip(*sheet.rows[CLIPS : 2 * CLIPS], strict=True)
    assert all(title.startswith("speech, ") for title in titles)
    at = sheet.columns.index("Local, share (%)")
    for line in cells:
        assert line[at].mean == 0
        assert line[at + 1].status == "missing"
        assert line[sheet.columns.index("Global, share (%)")].mean > 0
    assert sheet.footnotes[0] == "missing: sound does not reach the picture"


def test_the_picture_shows_the_clips_that_the_rule_draws(made: Recorded, sheet: Sheet) -> None:
    split = split_of(made)
    heard = {id_ for id_, sound in split.sound.items() if sound is SoundState.PRESENT}
    ids = [split.clips[i].id for i in chosen(split, "vatex", (), 4, 0)]
    assert len(set(ids)) == CLIPS
    assert set(ids) <= heard
    assert [title for title, _ in sheet.rows][:CLIPS] == [f"both, {id_}" for id_ in ids]
    assert any(
        chosen(split, "vatex", (), 4, seed) != chosen(split, "vatex", (), 4, 0) for seed in (1, 2)
    )
    picture = sheet.pictures[0]
    assert f"Clips: {', '.join(ids)}." in picture.caption
    assert any("4 test clips with sound of each dataset" in note for note in sheet.notes)
    assert any("with seed 0." in note for note in sheet.notes)


def test_named_clips_are_drawn_in_their_order(made: Recorded) -> None:
    ids = [clip.id for clip in split_of(made).clips][:2][::-1]
    (sheet,) = attention_sheets(made.plan, made.store, clips=ids)
    assert [title for title, _ in sheet.rows][:2] == [f"both, {id_}" for id_ in ids]
    with pytest.raises(AvbenchError, match=f"clips: unknown clip '{ids[0]}x'; did you mean"):
        attention_sheets(made.plan, made.store, clips=[ids[0], f"{ids[0]}x"])


def test_a_clip_without_sound_is_drawn_only_if_named(made: Recorded) -> None:
    split = split_of(made)
    gone = split.clips[0].id
    split.sound = {**split.sound, gone: SoundState.SILENT}  # type: ignore[misc]
    for seed in range(8):
        assert 0 not in chosen(split, "vatex", (), 4, seed)
    assert chosen(split, "vatex", (gone,), 4, 0) == [0]


def test_padded_sound_tokens_are_no_rows_of_the_mean(made: Recorded) -> None:
    plan, store = made.plan, made.store
    model = plan.stages[plan.trials[0].cells[0].finetune]
    captioner, architecture = weights.load(store.directory(model), load())
    words = Vocabulary.open(store.directory(plan.stages[model.parents["vocabulary"]]))
    data = ClipData(split_of(made), words, architecture.input, sampling=None)
    encoder = captioner.eval().encoders["audio"]
    plain = encoder.forward

    def padded(batch):
        tokens = plain(batch)
        keep = torch.ones(tokens.values.shape[:2], dtype=torch.bool)
        keep[:, 3:] = False
        return replace(tokens, keep=keep)

    whole = overlay(captioner, data, 0)
    encoder.forward = padded
    part = overlay(captioner, data, 0)
    # Each of the three real tokens keeps more for the others than it would for sixteen.
    assert part.share("local") > whole.share("local")


def test_files_are_written_like_those_of_other_reports(made: Recorded, tmp_path: Path) -> None:
    report = attention_report(made.plan, made.store, tmp_path)
    write_reports([report], ["md", "long"], False, {})
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {f"attention-{i}.{kind}" for i in (1, 2) for kind in ("svg", "png")}
    assert names == {"attention.md", "attention.long.csv", *pictures}
    assert "Abnar and Zuidema" in (tmp_path / "attention.md").read_text()
    planned = SuitePlan(plan=made.plan, store=made.store)
    again = planned.report(kind="attention").sheets[0].pictures[0]
    assert again.png == (tmp_path / "attention-1.png").read_bytes()
    assert again.svg == (tmp_path / "attention-1.svg").read_bytes()


def test_a_seed_with_named_clips_is_told(made: Recorded) -> None:
    planned = SuitePlan(plan=made.plan, store=made.store)
    with pytest.raises(AvbenchError, match="clip seed 1: clips are named, so none is drawn"):
        planned.report(kind="attention", clips=["a"], clip_seed=1)
    with pytest.raises(AvbenchError, match="clips: ids are for kinds 'captions' and"):
        planned.report(clips=["a"])


def test_a_suite_without_captioners_has_no_such_picture(tmp_path: Path) -> None:
    made = Recorded(tmp_path, "name: s\npreset: tiny\nrows: [{label: a, fusion: merged}]\n"
                    "pretrain: null\nfinetune: null\n")  # fmt: skip
    with pytest.raises(AvbenchError, match="s: no captioner to look into"):
        write_reports(
            [attention_report(made.plan, made.store, tmp_path / "out")], ["md"], False, {}
        )


# ------------------------------------------------------------------ the drawing


def drawn(maps: dict[str, list[list[float]]]) -> Overlay:
    """A grey clip with given maps."""
    return Overlay(
        clip="a$b",
        frames=torch.full((1, 3, 32, 32), 128, dtype=torch.uint8),
        maps={name: torch.tensor(m, dtype=torch.float64) for name, m in maps.items()},
    )


def test_a_map_is_stretched_over_the_frame() -> None:
    one = drawn({"local": [[0.1, 0.1], [0.1, 0.3]]})
    large = upsampled(one.maps["local"], one.frame)
    assert large.shape == (32, 32)
    assert float(large[31, 31]) == pytest.approx(1)
    assert not large[:8].any()
    assert one.share("local") == pytest.approx(60)
    assert one.peak("local") == pytest.approx(2)


def test_a_flat_map_is_dark_and_an_empty_one_has_no_peak() -> None:
    one = drawn({"global": [[0.0, 0.0], [0.0, 0.0]], "local": [[0.2, 0.2], [0.2, 0.2]]})
    assert not upsampled(one.maps["local"], one.frame).any()
    assert one.peak("local") == pytest.approx(1)
    assert one.peak("global") is None


def test_the_brightest_place_of_the_picture_is_that_of_the_map() -> None:
    one = drawn({"local": [[0.0, 0.9], [0.0, 0.0]]})
    picture = attention_picture("p", "t", [one])
    image = mpimg.imread(io.BytesIO(picture.png))
    height, width = image.shape[:2]
    right = image[:height, width // 2 :, :3]
    half = right.shape[1] // 2
    # Bright yellow: much red, little blue. It lies in the map's upper right.
    yellow = right[..., 0] - right[..., 2]
    row, column = np.unravel_index(yellow.argmax(), yellow.shape)
    assert column > half
    assert row < height // 2
    assert picture.svg.startswith(b"<?xml")


# ------------------------------------------------------------------ the suite


def test_fig5_has_the_stages_of_its_row_in_table3() -> None:
    registry = load()
    fig5, table3 = (
        make_plan(read_suite(name, registry, Overrides()), registry) for name in ("fig5", "table3")
    )
    (trial,) = fig5.trials
    same = next(t for t in table3.trials if t.label == trial.label)
    assert (trial.pretrain, trial.profile, trial.cells) == (
        same.pretrain,
        same.profile,
        same.cells,
    )
    assert set(fig5.stages) <= set(table3.stages)
