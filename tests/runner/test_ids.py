"""Ids follow what matters: which edited file changes the ids of which kinds of stages."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from avbench.core import code_hash
from avbench.core.registry import Registry, load
from avbench.runner.planning.stage_book import Component, StageBook

NETWORK: list[Component] = [
    ("fusions", "merged"),
    ("modalities", "V+A"),
    ("encoders", "video_swin"),
    ("encoders", "audio_transformer"),
]
LOSS, METRICS = ("losses", "mbp"), [("metrics", "coco_caption"), ("metrics", "slot_accuracy")]

COMPONENTS: Mapping[str, list[Component]] = {
    "world": [],
    "prepare": [("datasets", "vatex")],
    "shards": [],
    "vocabulary": [],
    "pretrain": [*NETWORK, LOSS],
    "finetune": [*NETWORK, LOSS],
    "selecting": [*NETWORK, LOSS, *METRICS],
    "generate": NETWORK,
    "baseline": [],
    "score": METRICS,
    "profile": [*NETWORK, LOSS],
}
"""Components that each kind of stage uses; ``selecting``: a fine-tuning that selects."""

TRAINING = {"pretrain", "finetune", "selecting"}
RUNNING = TRAINING | {"generate"}
BUILDING = RUNNING | {"profile"}
ALL = set(COMPONENTS)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def codes(registry: Registry) -> dict[str, Mapping[str, str]]:
    """The hashes of the modules that each kind runs, as a new process would find them."""
    book = StageBook(registry)
    keys = {
        kind: book.code(
            "finetune" if kind == "selecting" else kind, parts, selects=kind == "selecting"
        )
        for kind, parts in COMPONENTS.items()
    }
    return {kind: book.codes[key]["modules"] for kind, key in keys.items()}


@pytest.fixture(scope="module")
def before(registry: Registry) -> dict[str, Mapping[str, str]]:
    return codes(registry)


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("avbench.core.types", ALL - {"world"}),
        ("avbench.core.options", ALL),
        ("avbench.core.errors", set()),
        ("avbench.data.settings", ALL - {"baseline", "score"}),
        ("avbench.data.world.render", {"world"}),
        ("avbench.data.annotations.reader", {"prepare"}),
        ("avbench.builtin.datasets.vatex", {"prepare"}),
        ("avbench.builtin.datasets.msrvtt", set()),
        ("avbench.data.media.clip", {"prepare", "shards"}),
        ("avbench.data.media.video", {"prepare", "shards"} | RUNNING),
        ("avbench.data.prepared.stage", {"prepare"}),
        ("avbench.data.prepared.split", {"prepare"} | RUNNING),
        ("avbench.data.prepared.clips", ALL - {"world"}),
        ("avbench.data.shards.shard", {"shards"}),
        ("avbench.data.tokenizer", {"vocabulary"} | BUILDING),
        ("avbench.data.dataset", RUNNING),
        ("avbench.models.kernels.attention", BUILDING),
        ("avbench.models.kernels.onednn", BUILDING),
        ("avbench.models.attention_maps", BUILDING),
        ("avbench.models.settings", BUILDING),
        ("avbench.models.generation", {"generate", "selecting"}),
        ("avbench.models.closed_form", {"profile"}),
        ("avbench.models.macs", {"profile"}),
        ("avbench_plugins.fusions.merged", BUILDING),
        ("avbench_plugins.fusions.cross", set()),
        ("avbench_plugins.losses.mbp", TRAINING | {"profile"}),
        ("avbench.training.trainer", TRAINING),
        ("avbench.training.selection", {"selecting"}),
        ("avbench.training.settings", TRAINING),
        ("avbench.evaluation.settings", set()),
        ("avbench.evaluation.perturbation", {"generate"}),
        ("avbench.evaluation.generate", {"generate"}),
        ("avbench.evaluation.score", {"score"}),
        ("avbench.evaluation.references", {"score", "selecting"}),
        ("avbench.builtin.metrics._ngrams", {"score", "selecting"}),
        ("avbench.runner.planning.planner", set()),
        ("avbench.config.rows", set()),
        ("avbench.reports.formats.html", set()),
    ],
)
def test_a_harmless_line_changes_the_ids_of_the_kinds_that_run_the_file(
    registry: Registry,
    before: dict[str, Mapping[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    changed: set[str],
) -> None:
    edit(module, "\nHARMLESS = 1\n", tmp_path, monkeypatch)
    after = codes(registry)
    assert {kind for kind in COMPONENTS if after[kind] != before[kind]} == changed
    for kind in changed:
        differ = {m for m, h in after[kind].items() if before[kind].get(m) != h}
        assert differ == {module}


@pytest.mark.parametrize(
    "module", ["avbench.core.types", "avbench.data.media.video", "avbench_plugins.fusions.merged"]
)
def test_a_comment_or_a_docstring_changes_no_id(
    registry: Registry,
    before: dict[str, Mapping[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
) -> None:
    edit(module, '\n# why\n"""A text."""\n', tmp_path, monkeypatch)
    assert codes(registry) == before


def test_another_name_in_the_api_changes_no_id(
    registry: Registry,
    before: dict[str, Mapping[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "\nfrom avbench.data.annotations.clip_list import clip_list_hash\n"
    edit("avbench.api", line, tmp_path, monkeypatch)
    assert codes(registry) == before


def edit(module: str, more: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hashes see a module with more text at its end."""
    real = code_hash.source_file
    path = real(module)
    assert path is not None, module
    (folder / path.name).write_text(path.read_text() + more)
    edited = folder / path.name
    monkeypatch.setattr(
        code_hash, "source_file", lambda name: edited if name == module else real(name)
    )


@pytest.mark.parametrize(
    ("kind", "rooms"),
    [
        ("world", {"core", "data"}),
        ("prepare", {"core", "data"}),
        ("shards", {"core", "data"}),
        ("vocabulary", {"core", "data"}),
        ("pretrain", {"core", "data", "models", "training"}),
        ("finetune", {"core", "data", "models", "training"}),
        ("selecting", {"core", "data", "models", "evaluation", "training"}),
        ("generate", {"core", "data", "models", "evaluation"}),
        ("baseline", {"core", "data", "evaluation"}),
        ("score", {"core", "data", "evaluation"}),
        ("profile", {"core", "data", "models", "training"}),
    ],
)
def test_the_rooms_that_a_kind_of_stage_hashes(
    before: dict[str, Mapping[str, str]], kind: str, rooms: set[str]
) -> None:
    names = [module.split(".") for module in before[kind]]
    own = {name[1] for name in names if name[0] == "avbench"}
    assert own - {"builtin"} == rooms
    # Of components only the stage's own.
    parts = {name[-1] for name in names if name[0] == "avbench_plugins" or name[1] == "builtin"}
    public = {name for name in parts if not name.startswith("_")}
    named = {load_name(*part) for part in COMPONENTS[kind]}
    assert public == named


def load_name(family: str, name: str) -> str:
    """The module of a component, without its package."""
    return load().get(family, name).module.rpartition(".")[2]


def test_scoring_and_the_tokenizer_know_nothing_of_decoding(
    before: dict[str, Mapping[str, str]],
) -> None:
    decoding = {module for module in before["prepare"] if module.startswith("avbench.data.media.")}
    assert len(decoding) >= 8
    for kind in ("score", "baseline", "vocabulary", "profile"):
        assert not decoding & before[kind].keys()
