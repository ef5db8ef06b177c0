"""The work of trainings as a plan states it: steps, clips and FLOPs, before anything runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.components import ComponentRef
from avbench.core.registry import Registry, load
from avbench.models.captioner import build_captioner
from avbench.runner.plan import Plan
from avbench.runner.planning.planner import make_plan
from avbench.training.contracts import build_loss
from avbench.training.profile import Profile

SUITE = {
    "name": "name: s",
    "rows": "rows: [{label: one, fusion: merged}]",
    "defaults": "defaults: {loss: mbp, modalities: V+A, tasks: [pcc, pnc]}",
    "pretrain": "pretrain: {dataset: howto100m}",
}
"""Lines of the suite, by field; a test gives others."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


@pytest.fixture
def planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> Callable[..., Plan]:
    """Plans a suite of one row, or of the given rows."""
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))

    def plan(more: str, registry: Registry = registry, **overrides: Any) -> Plan:
        suite = tmp_path / "s.yaml"
        given = {line.partition(":")[0] for line in more.splitlines()}
        own = [
            line
            for key, line in SUITE.items()
            if key not in given and (key != "rows" or "grid" not in given)
        ]
        suite.write_text("\n".join([*own, more]))
        return make_plan(read_suite(str(suite), registry, Overrides(**overrides)), registry)

    return plan


def sizes(plan: Plan) -> dict[tuple[str, str], dict[str, Any]]:
    """By kind and dataset; each has one size in these suites."""
    found = {}
    for id_, size in plan.trainings.items():
        key = plan.stages[id_].kind, size["dataset"]
        assert found.setdefault(key, size) == size
    return found


def msrvtt(root: Path, clips: int, sentences: int) -> None:
    """Official annotations of some training clips, and one of each other split."""
    splits = ["train"] * clips + ["validate", "test"]
    (root / "MSRVTT_data.json").write_text(
        json.dumps({
            "videos": [{"video_id": f"video{i}", "split": s} for i, s in enumerate(splits)],
            "sentences": [
                {"video_id": f"video{i}", "caption": f"clip {i} seen {k}"}
                for i in range(len(splits)) for k in range(sentences)
            ],
        })
    )  # fmt: skip


def howto100m(root: Path, videos: int, sentences: int) -> None:
    """ASR sentences of four seconds each."""
    entry = {
        "text": [f"step {i}" for i in range(sentences)],
        "start": [4.0 * i for i in range(sentences)],
        "end": [4.0 * (i + 1) for i in range(sentences)],
    }
    (root / "raw_caption.json").write_text(json.dumps({f"v{n}": entry for n in range(videos)}))


def data_file(folder: Path) -> str:
    lines = ["datasets:"]
    for key in ("howto100m", "msrvtt"):
        (folder / key / "videos").mkdir(parents=True)
        lines.append(f"  {key}: {{reader: {key}, root: {key}}}")
    (folder / "data.yaml").write_text("\n".join(lines) + "\n")
    return str(folder / "data.yaml")


def test_the_papers_schedule_on_official_annotations_without_media(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    data = data_file(tmp_path)
    howto100m(tmp_path / "howto100m", videos=640, sentences=12)
    msrvtt(tmp_path / "msrvtt", clips=100, sentences=20)
    found = sizes(planned("finetune: {datasets: [msrvtt]}\n", preset="paper", data=data))
    pretrain, finetune = found["pretrain", "howto100m"], found["finetune", "msrvtt"]
    assert pretrain["steps"] == 100 * (640 * 3 // 192)
    assert pretrain["clips"] == pretrain["steps"] * 192
    assert finetune["steps"] == 5 * (100 * 20 // 64)
    assert finetune["clips"] == finetune["steps"] * 64
    # The literal alternatives: of clips, one caption each, and consecutive clips.
    others = "pretrain: {epoch: clips}\nfinetune: {datasets: [msrvtt], captions: one}\n"
    found = sizes(planned(others, preset="paper", data=data))
    assert found["pretrain", "howto100m"]["steps"] == 100 * (640 * 12 // 192)
    assert found["finetune", "msrvtt"]["steps"] == 5 * (100 // 64)
    text = Path(data).read_text().replace("root: howto100m", "root: howto100m, starts: uncovered")
    Path(data).write_text(text)
    found = sizes(planned(others, preset="paper", data=data))
    assert found["pretrain", "howto100m"]["steps"] == 100 * (640 * 6 // 192)


def test_the_paper_preset_follows_univl_and_tiny_does_not(registry: Registry) -> None:
    def read(preset: str) -> tuple[str, set[str]]:
        settings = read_suite("table3", registry, Overrides(preset=preset)).rows[0].settings
        assert settings.pretrain is not None
        assert settings.pretrain.train.captions == "one"
        assert {t.train.epoch for t in settings.finetune} == {"clips"}
        captions: set[str] = {t.train.captions for t in settings.finetune}
        return settings.pretrain.train.epoch, captions

    assert read("paper") == ("videos", {"all"})
    assert read("tiny") == ("clips", {"one"})
    starts = registry.get("datasets", "howto100m").config().starts
    assert starts == "every"


@pytest.fixture(scope="module")
def profile(registry: Registry) -> Profile:
    """The counted network of the suite, at the geometry of the preset tiny."""
    row = read_suite("smoke", registry).rows[0]
    settings = row.settings
    captioner = build_captioner(
        settings.model, settings.input, settings.vocabulary.size, ComponentRef(name="merged"),
        row.modalities, registry,
    )  # fmt: skip
    return Profile(captioner, settings.input)


@pytest.mark.parametrize(
    ("loss", "tasks", "steps"),
    [("plain", ["pcc"], 40), ("mbp", ["pcc", "pnc"], 30), ("gblend", ["pcc", "pnc"], 20)],
)
def test_flops_are_those_that_the_profile_counts(
    planned: Callable[..., Plan],
    registry: Registry,
    profile: Profile,
    loss: str,
    tasks: list[str],
    steps: int,
) -> None:
    """The same views, captions and probes: counted by fvcore there, by formula here."""
    plan = planned(
        f"grid: {{fusion: [merged], loss: [{loss}], tasks: [{tasks}]}}\n"
        f"pretrain: {{steps: {steps}, batch: 6}}\nfinetune: null\n"
    )
    (size,) = plan.trainings.values()
    strategy = build_loss(ComponentRef(name=loss), ("audio", "video"), registry)
    counted = profile.training(strategy, captions=len(tasks), steps=steps)
    assert size["flops"] == pytest.approx(2 * counted * steps * 6, rel=1e-3)
    assert (size["steps"], size["clips"]) == (steps, steps * 6)


def test_videos_that_a_loss_keeps_out_are_left_out_of_the_steps(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    data = data_file(tmp_path)
    howto100m(tmp_path / "howto100m", videos=50, sentences=12)
    given = "finetune: null\npretrain: {steps: null, epochs: 2, batch: 6, epoch: EPOCH}\n"
    rows = "grid: {fusion: [merged], loss: [gblend]}\n"
    (size,) = planned(rows + given.replace("EPOCH", "clips"), data=data).trainings.values()
    assert (size["steps"], size["rough"]) == (2 * (46 * 12 // 6), True)  # 8 % of 50 videos
    (size,) = planned(rows + given.replace("EPOCH", "videos"), data=data).trainings.values()
    assert (size["steps"], size["rough"]) == (2 * (46 * 3 // 6), False)


def test_videos_kept_for_selection_are_left_out_of_the_steps(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    data = data_file(tmp_path)
    text = Path(data).read_text().replace("root: msrvtt", "root: msrvtt, select: null")
    Path(data).write_text(text)
    msrvtt(tmp_path / "msrvtt", clips=100, sentences=2)
    (size,) = planned(
        "pretrain: null\ndefaults: {fusion: merged, modalities: V+A}\n"
        "finetune: {datasets: [msrvtt], select: best, steps: null, epochs: 1, batch: 5}\n",
        data=data,
    ).trainings.values()
    assert (size["steps"], size["clips"], size["rough"]) == (18, 90, True)


def test_a_training_without_targets_has_no_size_and_says_why(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    data = data_file(tmp_path)
    howto100m(tmp_path / "howto100m", videos=5, sentences=1)  # so no clip has a next caption
    (size,) = planned(
        "grid: {fusion: [merged], loss: [gblend], tasks: [[pnc]]}\nfinetune: null\n", data=data
    ).trainings.values()
    assert (size["steps"], size["clips"], size["flops"]) == (None, None, None)
    assert size["unknown"] == "0 clips do not fill 1 micro-batches"


def test_epochs_on_the_embedded_world_are_known_before_it_is_made(
    planned: Callable[..., Plan],
) -> None:
    found = sizes(
        planned(
            "world: {narrated_videos: 10, steps_per_video: 4, clips: 24, test_clips: 12}\n"
            "pretrain: {steps: null, epochs: 3, batch: 6}\n"
            "finetune: {datasets: [vatex, msrvtt], steps: null, epochs: 2, batch: 10, "
            "captions: all}\n"
        )
    )
    assert {key: size["steps"] for key, size in found.items()} == {
        ("pretrain", "howto100m"): 3 * (40 // 6),
        ("finetune", "vatex"): 2 * (24 * 10 // 10),
        ("finetune", "msrvtt"): 2 * (24 * 20 // 10),
    }


def test_a_batch_holds_no_more_than_an_epoch(planned: Callable[..., Plan]) -> None:
    (size,) = planned(
        "world: {clips: 12, test_clips: 12}\npretrain: null\n"
        "defaults: {fusion: merged, modalities: V+A}\n"
        "finetune: {datasets: [youcook2], steps: 7, batch: 16}\n"
    ).trainings.values()
    assert (size["steps"], size["clips"]) == (7, 7 * 12)


PLUGIN = '''"""A fusion without a formula, and an encoder that reads values as it is built."""

import torch
from avbench.api import Encoder, Fusion, Register, Tokens, hookimpl, join


class Odd(Fusion):
    """Source: a test."""

    def __init__(self, options, context):
        super().__init__()

    def forward(self, tokens):
        return join(list(tokens.values()))


class Mean(Encoder):
    """Source: a test."""

    modality = "audio"

    def __init__(self, options, context):
        super().__init__()
        self.n_tokens = int(torch.ones(3).sum())

    @classmethod
    def closed_form(cls, options, context):
        return 1000

    def forward(self, batch):
        return Tokens(values=batch.audio.new_zeros(len(batch.audio), 3, 128))


@hookimpl
def register_fusions(register: Register) -> None:
    register("odd", Odd, source="test")


@hookimpl
def register_encoders(register: Register) -> None:
    register("mean", Mean, source="test")
'''


def test_a_component_without_a_formula_leaves_the_flops_unknown(
    planned: Callable[..., Plan], tmp_path: Path
) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "odd.py").write_text(PLUGIN)
    found = planned(
        "grid: {fusion: [odd, merged], model.encoders.audio: [{name: mean}]}\nfinetune: null\n",
        registry=load(tmp_path / "plugins"),
    ).trainings.values()
    odd, merged = found
    assert (odd["flops"], odd["unknown"]) == (None, "no closed form: fusion")
    assert odd["steps"] == merged["steps"] == 1500
    assert merged["flops"] > 0
    assert merged["unknown"] == ""
