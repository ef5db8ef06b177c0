"""Pre-trained weights: named by content in plans, by place on a machine, from data files."""

import json
from pathlib import Path
from typing import Any

import pytest

from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.components import ComponentRef
from avbench.core.digest import digest
from avbench.core.errors import AvbenchError, DataError, SuiteError
from avbench.core.options import build, plain
from avbench.core.registry import load
from avbench.data.tokenizer import Vocabulary
from avbench.models import pretrained
from avbench.models.contracts import InitialWeights
from avbench.models.settings import ModelSettings
from avbench.reports.notes import initial_weight_notes
from avbench.runner.plan import Plan
from avbench.runner.planning.plan_cache import plan_for
from avbench.runner.planning.planner import make_plan

SUITE = """
name: s
rows: [{label: one, fusion: merged}]
defaults: {loss: mbp, modalities: V+A+T, fusion: merged, tasks: [pcc]}
model:
  encoders:
    video: {name: video_swin, weights: swin.pth}
    text: {name: bert, pretrained: some/bert, revision: v1}
vocabulary: {file: vocab.txt}
pretrain: {dataset: howto100m}
finetune: {datasets: [vatex]}
"""

DATA = """
datasets:
  vatex: {reader: vatex, root: vatex}
weights:
  video: weights/swin.pth
  text: {pretrained: some/bert, revision: v2}
  audio: null
"""

WORDS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "cone"]

REGISTRY = load()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "s.yaml").write_text(SUITE)
    (tmp_path / "swin.pth").write_bytes(b"one")
    write_words(tmp_path / "vocab.txt", WORDS)
    return tmp_path


def write_words(path: Path, words: list[str]) -> None:
    path.write_text("\n".join(words), encoding="utf-8")


def planned() -> Plan:
    return make_plan(read_suite("s.yaml", REGISTRY), REGISTRY)


def ids(plan: Plan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for stage in plan.stages.values():
        found.setdefault(stage.kind, set()).add(stage.id)
    return found


def options_in(plan: Plan, kind: str, modality: str) -> dict[str, Any]:
    stage = next(s for s in plan.stages.values() if s.kind == kind)
    options: dict[str, Any] = stage.spec["model"]["encoders"][modality]["options"]
    return options


# ------------------------------------------------------------------ plans


def test_a_file_counts_by_its_contents_not_by_its_place(folder: Path) -> None:
    first = planned()
    (folder / "moved").mkdir()
    (folder / "swin.pth").rename(folder / "moved" / "kinetics.pth")
    text = (folder / "s.yaml").read_text()
    (folder / "s.yaml").write_text(text.replace("swin.pth", "moved/kinetics.pth"))
    second = planned()
    assert ids(second) == ids(first)
    place = folder / "moved" / "kinetics.pth"
    stage = next(s for s in second.stages.values() if s.kind == "pretrain")
    assert stage.local == {"initial": {f"content:{digest(place)}": str(place)}}
    assert str(folder) not in json.dumps(plain(stage.spec))
    assert options_in(second, "pretrain", "video")["weights"] == f"content:{digest(place)}"
    place.write_bytes(b"two")
    third = planned()
    for kind in ("pretrain", "finetune", "generate", "score"):
        assert ids(third)[kind].isdisjoint(ids(first)[kind]), kind
    for kind in ("prepare", "vocabulary", "profile"):
        assert ids(third)[kind] == ids(first)[kind], kind


def test_names_count_by_name_and_revision(folder: Path) -> None:
    first = planned()
    assert options_in(first, "pretrain", "text")["pretrained"] == "some/bert"
    text = (folder / "s.yaml").read_text()
    (folder / "s.yaml").write_text(text.replace("v1", "v2"))
    assert ids(planned())["pretrain"].isdisjoint(ids(first)["pretrain"])


def test_what_loads_trained_weights_does_not_name_initial_ones(folder: Path) -> None:
    plan = planned()
    for kind in ("finetune", "profile"):
        assert options_in(plan, kind, "video")["weights"] is None
        text = options_in(plan, kind, "text")
        assert (text["pretrained"], text["revision"]) == (None, None)
    assert all(s.local == {} for s in plan.stages.values() if s.kind == "finetune")
    scratch = SUITE.replace(", weights: swin.pth", "").replace(
        ", pretrained: some/bert, revision: v1", ""
    )
    (folder / "s.yaml").write_text(scratch)
    assert ids(planned())["profile"] == ids(plan)["profile"]
    # Without pre-training it is fine-tuning that starts from them.
    (folder / "s.yaml").write_text(
        SUITE.replace("pretrain: {dataset: howto100m}", "pretrain: null").replace(
            "loss: mbp, ", "loss: plain, "
        )
    )
    assert options_in(planned(), "finetune", "video")["weights"].startswith("content:")


def test_a_missing_file_is_told_when_planning(folder: Path) -> None:
    (folder / "swin.pth").unlink()
    with pytest.raises(AvbenchError) as caught:
        planned()
    assert str(caught.value).startswith(
        f"model.encoders.video.weights: no such file or folder: {folder / 'swin.pth'}. Allowed: "
        "a local path"
    )


def test_a_remembered_plan_notices_other_contents(folder: Path) -> None:
    first = plan_for("s.yaml", Overrides())
    assert plan_for("s.yaml", Overrides()).stages.keys() == first.stages.keys()
    (folder / "swin.pth").write_bytes(b"two")
    assert plan_for("s.yaml", Overrides()).stages.keys() != first.stages.keys()
    (folder / "swin.pth").unlink()
    with pytest.raises(AvbenchError, match=r"no such file or folder: .*swin\.pth"):
        plan_for("s.yaml", Overrides())


def rewrite(folder: Path, old: str, new: str) -> None:
    text = (folder / "s.yaml").read_text()
    assert old in text
    (folder / "s.yaml").write_text(text.replace(old, new))


def test_weights_over_words_need_their_vocabulary(folder: Path) -> None:
    """Otherwise embeddings would stand on the ids of other words, and nothing would tell."""
    rewrite(folder, "vocabulary: {file: vocab.txt}\n", "")
    with pytest.raises(DataError) as caught:
        planned()
    assert str(caught.value) == (
        "model.encoders.text.pretrained: the embeddings of 'some/bert' are of its own vocabulary, "
        "and the suite would train another: vocabulary.file is not set. Give it the weights' "
        "vocab.txt or tokenizer.json"
    )
    (folder / "bert").mkdir()
    write_words(folder / "bert" / "vocab.txt", WORDS)
    rewrite(folder, "some/bert, revision: v1", "bert")
    with pytest.raises(DataError, match=f"Give it the weights' {folder}/bert/vocab.txt$"):
        planned()
    # A row that reads no text starts from no such weights, and one from scratch needs no file.
    rewrite(folder, "V+A+T", "V+A")
    planned()
    rewrite(folder, "V+A", "V+A+T")
    rewrite(folder, ", pretrained: bert", "")
    planned()


@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_weights_over_other_words_are_refused(folder: Path, kind: str) -> None:
    (folder / "bert").mkdir()
    theirs = folder / "bert" / kind
    rewrite(folder, "some/bert, revision: v1", "bert")

    def write(words: list[str]) -> None:
        write_words(folder / "words.txt", words)
        tokenizer = Vocabulary.from_file(folder / "words.txt", 30)
        tokenizer.save(folder / "bert")
        if kind == "vocab.txt":
            (folder / "bert" / "tokenizer.json").unlink()
            write_words(theirs, words)

    write(WORDS)
    planned()
    for words, said in (
        ([*WORDS[:-2], "blue", "ball"], f"token 7 is 'red' in vocab.txt, 'blue' in {theirs}"),
        (WORDS[:-1], f"token 8 is 'cone' in vocab.txt, None in {theirs}"),
        ([*WORDS, "ball"], f"token 9 is None in vocab.txt, 'ball' in {theirs}"),
    ):
        write(words)
        with pytest.raises(DataError) as caught:
            planned()
        assert str(caught.value) == (
            "model.encoders.text.pretrained: the embeddings of 'bert' are of another vocabulary "
            f"than vocabulary.file: {said}"
        )


def test_a_folder_counts_by_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"x")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    (tmp_path / "b" / ".hidden").touch()
    (tmp_path / "b" / "inside").mkdir()
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    (tmp_path / "b" / "config.json").rename(tmp_path / "b" / "other.json")
    assert digest(tmp_path / "a") != digest(tmp_path / "b")


# ------------------------------------------------------------------ on the machine


def model(weights: str | None) -> ModelSettings:
    return ModelSettings(
        encoders={"video": ComponentRef(name="video_swin", options={"weights": weights})}
    )


def test_places_are_found_again_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(b"x")
    located, places = pretrained.located(model(str(file)), REGISTRY)
    assert pretrained.placed(located, REGISTRY, places) == model(str(file))
    with pytest.raises(DataError, match=r"weights: the path of content:\w+ is not known; plan"):
        pretrained.placed(located, REGISTRY, {})
    file.write_bytes(b"y")
    with pytest.raises(DataError, match=r"a\.pth changed after the suite was planned; plan it"):
        pretrained.placed(located, REGISTRY, places)
    file.unlink()
    with pytest.raises(DataError, match=r"weights: no such file or folder: .*a\.pth"):
        pretrained.placed(located, REGISTRY, places)
    bare = pretrained.cleared(located, REGISTRY).encoders["video"].options
    assert bare == {"weights": None, "resize_tables": False}
    assert pretrained.located(model(None), REGISTRY) == (model(None), {})


def test_a_path_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = InitialWeights(named=lambda text: text == "known")
    assert pretrained.local_path("known", named, "w") is None
    (tmp_path / "known").mkdir()
    assert pretrained.local_path("known", named, "w") == tmp_path / "known"  # a folder comes first
    with pytest.raises(DataError) as caught:
        pretrained.local_path("other", named, "w")
    assert str(caught.value) == (
        f"w: no such file or folder: {tmp_path / 'other'}. Allowed: a local path, or a name of "
        "published weights that the encoder knows"
    )
    mark = pretrained.marked(REGISTRY.get("encoders", "bert").config)["pretrained"]
    assert mark.named is not None
    assert all(map(mark.named, ("bert-base-uncased", "google-bert/bert-base-uncased")))
    assert not any(map(mark.named, ("a/b/c", "./bert", "/bert", "~/bert", "weights/bert.bin")))


def test_encoders_that_take_weights_bear_the_mark() -> None:
    bearing = {
        name: list(pretrained.marked(REGISTRY.get("encoders", name).config))
        for name in REGISTRY.names("encoders")
    }
    assert bearing["video_swin"] == ["weights"]
    assert bearing["bert"] == bearing["timm_frames"] == ["pretrained"]
    assert bearing["audio_transformer"] == []
    config: Any = REGISTRY.get("encoders", "bert").config
    assert build(config, {"pretrained": "some/bert"}).pretrained == "some/bert"


# ------------------------------------------------------------------ data files


@pytest.fixture
def data(folder: Path) -> Path:
    (folder / "vatex").mkdir()
    (folder / "weights").mkdir()
    (folder / "weights" / "swin.pth").write_bytes(b"three")
    (folder / "sub").mkdir()
    (folder / "s.yaml").write_text(
        SUITE.replace("{dataset: howto100m}", "{dataset: vatex}").replace("swin.pth", "none.pth")
    )
    (folder / "data.yaml").write_text(DATA)
    return folder / "data.yaml"


def read(data: Path) -> ModelSettings:
    suite = read_suite(str(data.parent / "s.yaml"), REGISTRY, Overrides(data=str(data)))
    return suite.rows[0].settings.model


def test_a_data_file_names_the_weights(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent / "sub")  # paths are relative to the file, not to here
    encoders = read(data).encoders
    assert encoders["video"].options["weights"] == str(data.parent / "weights" / "swin.pth")
    assert encoders["text"].options["pretrained"] == "some/bert"
    assert encoders["text"].options["revision"] == "v2"
    data.write_text(DATA.replace("{pretrained: some/bert, revision: v2}", "other/bert"))
    text = read(data).encoders["text"].options
    assert (text["pretrained"], text["revision"]) == ("other/bert", "v1")
    data.write_text(DATA.replace("weights/swin.pth", "null"))
    assert read(data).encoders["video"].options["weights"] is None


def test_everything_wrong_with_weights_is_told_with_its_line(data: Path) -> None:
    data.write_text(
        DATA.replace("video: weights/swin.pth", "vidio: weights/swin.pth\n  video: no.pth")
        .replace("{pretrained: some/bert, revision: v2}", "{pretraind: x, revision: 3}")
        .replace("audio: null", "audio: ast.pth")
    )
    with pytest.raises(SuiteError) as caught:
        read(data)
    name = data.name  # as errors show files below the current folder
    assert str(caught.value).splitlines() == [
        f"{name}:5: weights.vidio: unknown modality 'vidio'; did you mean 'video'? Allowed: "
        "audio, text, video",
        f"{name}:6: weights.video: no such file or folder: {data.parent / 'no.pth'}. Allowed: "
        "a local path, or a name of published weights that the encoder knows",
        f"{name}:7: weights.text: unknown option 'pretraind'; did you mean 'pretrained'? "
        "Allowed: pretrained, revision",
        f"{name}:7: model.encoders.text.bert.revision: Input should be a valid string, got 3",
        f"{name}:8: weights.audio: encoder 'audio_transformer' has no option for initial "
        "weights, got 'ast.pth'",
    ]


def test_weights_must_be_a_mapping(data: Path) -> None:
    data.write_text(DATA.partition("weights:\n")[0] + "weights: swin.pth\n")
    with pytest.raises(SuiteError, match=r"data\.yaml:4: weights: .*got 'swin\.pth'"):
        read(data)


# ------------------------------------------------------------------ tables


def test_notes_say_what_rows_started_from() -> None:
    same = [("one", "video", "k.pth"), ("two", "video", "k.pth"), ("one", "audio", "scratch")]
    assert initial_weight_notes(same) == [
        "Initial weights of encoders: audio: scratch; video: k.pth."
    ]
    several = [*same, ("three", "video", "scratch")]
    assert initial_weight_notes(several) == [
        "Initial weights of encoders: audio: scratch; video: k.pth (one, two), scratch (three)."
    ]
    assert initial_weight_notes([]) == []
