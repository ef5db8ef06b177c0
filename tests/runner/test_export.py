"""A captioner that leaves its suite: exported, loaded elsewhere, captioning any file."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
import torch
from safetensors.torch import load_file, save_file

import avbench
from avbench.cli.caption import speech_of
from avbench.config.overrides import Overrides
from avbench.config.suite import read_suite
from avbench.core.errors import AvbenchError
from avbench.core.job import Job, read_json, write_json
from avbench.core.options import build
from avbench.core.registry import Registry, load
from avbench.core.types import InputSpec
from avbench.data.dataset import ClipData
from avbench.data.loader import Feed
from avbench.data.prepared.single import read_single
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.evaluation.generate import PREDICTIONS, captions
from avbench.models.contracts import EncoderContext
from avbench.models.inference import Request, TrainedCaptioner
from avbench.models.portable import read_manifest
from avbench.models.settings import DecodeSettings
from avbench.models.weights import MODEL, WEIGHTS
from avbench.models.weights import load as load_stage
from avbench.runner.export import choose, export
from avbench.runner.plan import Plan, Store
from avbench.runner.planning.planner import make_plan
from avbench.runner.stage_process import run_stages
from tests import processes
from tests.records import TINY_WORLD, write_record

SUITE = (
    """
name: small
title: A few steps
rows:
  - {label: one, fusion: merged}
  - {label: text, fusion: merged, modalities: V+T}
  - {label: never, fusion: cross, modalities: V+A+T}
defaults: {loss: plain, modalities: V+A, tasks: [pcc]}
"""
    + TINY_WORLD.replace("2, 2, 2]}", "2, 2, 2], weights: initial/swin.safetensors}")
    + """
vocabulary: {size: 300, datasets: [activitynet]}
pretrain: {dataset: activitynet, steps: 60, batch: 6, lr: 5e-3}
finetune: {datasets: [activitynet], steps: 60, batch: 6, lr: 5e-3}
decode: {beam: 2}
evaluate: {metrics: [slot_accuracy]}
seeds: 2
"""
)


@dataclass(frozen=True)
class Trained:
    """A suite of which some cells have been trained, and its exported rows."""

    folder: Path
    registry: Registry
    store: Store
    plans: dict[str, Plan] = field(default_factory=dict)

    def plan(self, label: str) -> Plan:
        if label not in self.plans:
            only = (label,) if label else ()
            with contextlib.chdir(self.folder):
                suite = read_suite("s.yaml", self.registry, Overrides(only=only))
                self.plans[label] = make_plan(suite, self.registry)
        return self.plans[label]

    def model(self, label: str) -> Path:
        return self.folder / "models" / label

    def run(self, plan: Plan, id_: str) -> None:
        """Run a stage and all that it reads, as the runner's processes would."""
        stage = plan.stages[id_]
        if self.store.done(stage):
            return
        for parent in stage.parents.values():
            self.run(plan, parent)
        directory = self.store.directory(stage)
        directory.mkdir(parents=True, exist_ok=True)
        job = Job(
            kind=stage.kind,
            id=stage.id,
            spec=stage.spec,
            directory=directory,
            parents={r: self.store.directory(plan.stages[p]) for r, p in stage.parents.items()},
            local={**stage.local, "workers": 1, "device": "cpu"},
        )
        assert run_stages([job]), self.store.record(stage)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        (folder / "s.yaml").write_text(SUITE)
        registry = load()
        initial_swin(folder / "initial", registry)
        store = Store(results=folder / "results", cache=folder / "cache")
        made = Trained(folder, registry, store)
        plans = {label: made.plan(label) for label in ("one", "text")}
        for plan in plans.values():
            made.run(plan, str(plan.trials[0].pretrain))
        # What follows loads trained weights: the initial ones are not needed any more.
        (folder / "initial").rename(folder / "gone")
        for label, plan in plans.items():
            made.run(plan, plan.trials[0].cells[0].generate)
            export(plan, store, registry, made.model(label), seed=0)
        (folder / "gone").rename(folder / "initial")
        yield made


def initial_swin(folder: Path, registry: Registry) -> None:
    """Weights of a Video Swin of the suite's geometry."""
    folder.mkdir()
    component = registry.get("encoders", "video_swin")
    options = {"patch_size": (2, 8, 8), "embed_dim": 8, "depths": (1, 1)}
    swin = component.config(num_heads=(2, 2), window_size=(2, 2, 2), **options)
    spec = InputSpec(frames=4, size=32)
    torch.manual_seed(1)
    encoder = component.build(swin, EncoderContext(D=32, input=spec, vocabulary=9, pad=0))
    save_file(encoder.state_dict(), folder / "swin.safetensors")


def clips_of(trained: Trained, label: str) -> tuple[PreparedSplit, list[dict[str, str]]]:
    """The test clips of a row, and the captions that the suite gave them."""
    plan = trained.plan(label)
    stage = plan.stages[plan.trials[0].cells[0].generate]
    lines = (trained.store.directory(stage) / PREDICTIONS).read_text().splitlines()
    split = trained.store.directory(plan.stages[stage.parents["data"]])
    return PreparedSplit.open(split), [json.loads(line) for line in lines]


def requests_of(split: PreparedSplit, *, speech: bool) -> list[Request]:
    return [
        Request(file=c.media, start=c.start, end=c.end, speech=c.speech or "" if speech else None)
        for c in split.clips
    ]


# ------------------------------------------------------------------ what it gives


@pytest.mark.slow
@pytest.mark.parametrize("label", ["one", "text"])
def test_a_loaded_captioner_says_what_its_suite_said(trained: Trained, label: str) -> None:
    split, said = clips_of(trained, label)
    captioner = avbench.load_captioner(trained.model(label))
    assert any(clip.start for clip in split.clips)
    found = list(captioner.describe(requests_of(split, speech=label == "text")))
    assert [d.caption for d in found] == [line["caption"] for line in said]
    assert len({d.caption for d in found}) > 1
    # The scores are those of the stage's own captioner on the prepared clips, to the bit.
    plan = trained.plan(label)
    cell = plan.trials[0].cells[0]
    network, architecture = load_stage(
        trained.store.directory(plan.stages[cell.finetune]), trained.registry
    )
    words = plan.stages[plan.stages[cell.finetune].parents["vocabulary"]]
    vocabulary = Vocabulary.open(trained.store.directory(words))
    data = ClipData(split, vocabulary, architecture.input, sampling=None)
    rows = range(len(data))
    feed = Feed(data=data, rows=rows, batch=32, group=1, device=torch.device("cpu"))
    settings = build(DecodeSettings, plan.stages[cell.generate].spec["decode"])
    network.eval()
    with torch.inference_mode():
        expected = [
            pair
            for batch in feed.in_order(rows, 0)
            for pair in captions(
                network, vocabulary, batch, settings, view=network.joint, length=12
            )
        ]
    assert [(d.caption, d.score) for d in found] == expected


@pytest.mark.slow
def test_batches_and_places_change_no_caption(trained: Trained, tmp_path: Path) -> None:
    """Moved away from everything, one clip at a time."""
    split, said = clips_of(trained, "one")
    moved = tmp_path / "a model with spaces"
    shutil.copytree(trained.model("one"), moved)
    captioner = avbench.load_captioner(moved)
    alone = list(captioner.describe(requests_of(split, speech=False), batch=1))
    assert [d.caption for d in alone] == [line["caption"] for line in said]


@pytest.mark.slow
@pytest.mark.parametrize("read", ["stored", "raw"])
def test_a_single_clip_is_read_as_the_prepared_one(trained: Trained, read: str) -> None:
    split, _ = clips_of(trained, "one")
    plan = trained.plan("one")
    spec = build(InputSpec, plan.stages[plan.trials[0].cells[0].finetune].spec["input"])
    split.read = read  # type: ignore[assignment]
    same = []
    for i, clip in enumerate(split.clips):
        single = read_single(clip.media, spec, read=read, start=clip.start, end=clip.end)
        assert torch.equal(single.frames, split.frames(i, spec))
        assert torch.equal(single.mel, split.mel(i))
        assert single.sound is split.entries[i].sound
        other = "raw" if read == "stored" else "stored"
        otherwise = read_single(clip.media, spec, read=other, start=clip.start, end=clip.end)
        same.append(torch.equal(otherwise.frames, single.frames))
    assert not all(same)  # 6 stored frames are no odd multiple of 4: the two ways differ


@pytest.mark.slow
def test_the_example_of_the_package(trained: Trained, tmp_path, monkeypatch) -> None:
    shutil.copytree(trained.model("one"), tmp_path / "model")
    split, _ = clips_of(trained, "one")
    shutil.copyfile(split.clips[0].media, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    example = str(avbench.__doc__).rpartition("::")[2].replace("\n    ", "\n")
    code = compile(example.replace("12.0", "0.5").replace("19.5", "2.5"), "example", "exec")
    exec(code, {"avbench": avbench})


# ------------------------------------------------------------------ the folder


@pytest.mark.slow
def test_the_folder_is_whole_and_names_nothing_outside(trained: Trained) -> None:
    folder = trained.model("one")
    assert {p.name for p in folder.iterdir()} == {
        *("README.md", "model.json", "tokenizer.json", "weights.safetensors"),
    }
    text = (folder / MODEL).read_text()
    assert str(trained.folder) not in text
    assert "/" not in "".join(strings(json.loads(text)["architecture"]))
    data = json.loads(text)
    assert data["architecture"]["model"]["encoders"]["video"]["options"]["weights"] is None
    made = data["provenance"]
    plan = trained.plan("one")
    trial = plan.trials[0]
    assert made["stages"]["finetune"] == trial.cells[0].finetune
    assert made["stages"]["pretrain"] == trial.pretrain
    assert (made["row"], made["dataset"], made["seed"]) == ("one", "activitynet", 0)
    assert made["encoders"]["audio"] == "scratch"
    assert made["encoders"]["video"].startswith("swin.safetensors")
    assert torch.__version__.startswith(made["versions"]["torch"])
    card = (folder / "README.md").read_text()
    assert f"| video encoder started from | {made['encoders']['video']} |" in card
    assert "avbench caption" in card
    plan_weights = trained.store.directory(plan.stages[trial.cells[0].finetune]) / WEIGHTS
    assert (folder / WEIGHTS).read_bytes() == plan_weights.read_bytes()


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.slow
def test_exporting_twice_gives_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    export(trained.plan("one"), trained.store, trained.registry, tmp_path / "again", seed=0)
    for path in (tmp_path / "again").iterdir():
        assert path.read_bytes() == (trained.model("one") / path.name).read_bytes()


@pytest.mark.slow
def test_a_table_can_say_what_a_fine_tuned_encoder_started_from(trained: Trained) -> None:
    plan = trained.plan("one")
    cell = plan.trials[0].cells[0]
    tuned, first = (
        trained.store.record(plan.stages[id_]) for id_ in (cell.finetune, plan.trials[0].pretrain)
    )
    assert tuned is not None
    assert first is not None
    assert tuned["results"]["encoders"] == first["results"]["encoders"]
    assert tuned["results"]["encoders"]["video"] != "scratch"


def edited(trained: Trained, tmp_path: Path, change: Callable[[dict], None]) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(trained.model("one"), folder)
    data = read_json(folder / MODEL)
    change(data)
    write_json(folder / MODEL, data)
    return folder


def raised(folder: Path, **options: object) -> str:
    with pytest.raises(AvbenchError) as caught:
        avbench.load_captioner(folder, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.slow
def test_what_is_no_captioner(trained: Trained, tmp_path: Path) -> None:
    assert raised(tmp_path / "none").endswith(
        "none: no such folder; give one that 'avbench export' wrote"
    )
    assert "is no exported captioner: model.json is missing" in raised(tmp_path)
    plan = trained.plan("one")
    stage = trained.store.directory(plan.stages[plan.trials[0].cells[0].finetune])
    assert "format must be 'avbench captioner', got None" in raised(stage)
    (tmp_path / MODEL).write_text("{")
    assert "model.json: cannot be read: Expecting property name" in raised(tmp_path)
    (tmp_path / MODEL).write_text("[]")
    assert "format must be 'avbench captioner', got []" in raised(tmp_path)


@pytest.mark.slow
def test_a_later_format_is_told(trained: Trained, tmp_path: Path) -> None:
    said = raised(edited(trained, tmp_path, lambda data: data.update(version=2, new=1)))
    assert said.endswith(
        f"model.json: version 2 of the format is not known; avbench {avbench.__version__} reads "
        "versions 1 to 1; a later avbench wrote it: update avbench"
    )


@pytest.mark.slow
def test_a_damaged_file_is_told(trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained.model("one"), folder)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    said = raised(folder)
    assert f"{folder / WEIGHTS}: is damaged or was replaced: {len(data)} bytes with " in said
    assert read_manifest(folder).files[WEIGHTS].sha256 in said
    (folder / WEIGHTS).unlink()
    assert raised(folder) == (
        f"{folder / WEIGHTS}: is missing; copy the whole folder, or export it again"
    )


@pytest.mark.slow
def test_files_are_not_looked_for_elsewhere(trained: Trained, tmp_path: Path) -> None:
    def elsewhere(data: dict) -> None:
        data["files"]["../weights.safetensors"] = data["files"].pop(WEIGHTS)

    said = raised(edited(trained, tmp_path, elsewhere))
    assert "files: must be tokenizer.json, weights.safetensors, got ../weights" in said


@pytest.mark.slow
def test_a_missing_plugin_is_named(trained: Trained, tmp_path: Path) -> None:
    def other(data: dict) -> None:
        data["architecture"]["fusion"]["name"] = "mergad"
        fusion = next(c for c in data["components"] if c["family"] == "fusions")
        fusion |= {"name": "mergad", "module": "their_fusion", "distribution": "theirs 1.2"}

    said = raised(edited(trained, tmp_path, other))
    assert "unknown fusion 'mergad'; did you mean 'merged'? Allowed: " in said
    assert said.splitlines()[1] == (
        "The captioner was made with the fusion 'mergad' of 'their_fusion' (theirs 1.2): install "
        "what brings it, or name the folder of its file by --plugins-dir"
    )


@pytest.mark.slow
def test_a_plugin_that_has_changed_is_named(trained: Trained, tmp_path: Path) -> None:
    def option(data: dict) -> None:
        data["architecture"]["fusion"]["options"]["depth"] = 3

    said = raised(edited(trained, tmp_path, option))
    assert "model.json: fusion 'merged': unknown field 'depth'" in said
    assert "It was made with 'avbench_plugins.fusions.merged' (avbench" in said

    def wider(data: dict) -> None:
        data["architecture"]["model"]["decoder_layers"] = 2

    said = raised(edited(trained, tmp_path / "wider", wider))
    assert "weights.safetensors: does not fit the captioner that is installed" in said
    assert "Missing key(s) in state_dict" in said


@pytest.mark.slow
def test_a_device_that_is_not_there(trained: Trained) -> None:
    said = raised(trained.model("one"), device="gpu")
    assert said.startswith("device 'gpu' cannot be used: ")
    assert said.endswith(". Allowed: cpu, cuda, auto")
    with pytest.raises(AvbenchError, match=r"beam: must be from 1 to 1,000 hypotheses, got -1"):
        avbench.load_captioner(trained.model("one")).caption("x.mp4", beam=-1)


@pytest.mark.slow
def test_an_unknown_field_is_told(trained: Trained, tmp_path: Path) -> None:
    said = raised(edited(trained, tmp_path, lambda data: data.update(beem=3)))
    assert "model.json: unknown field 'beem'. Allowed: architecture, components, " in said


# ------------------------------------------------------------------ which cell


@pytest.mark.slow
def test_the_cell_must_be_clear_and_trained(trained: Trained, tmp_path: Path) -> None:
    plan = trained.plan("one")

    def asked(plan: Plan = plan, **options: object) -> str:
        given = {"seed": 0, **options}
        with pytest.raises(AvbenchError) as caught:
            export(plan, trained.store, trained.registry, tmp_path / "x", **given)  # type: ignore[arg-type]
        return str(caught.value)

    whole = trained.plan("")
    assert asked(whole) == "--only: the suite has 3 rows; name one of: one, text, never"
    assert asked(seed=None) == "--seed: the suite has 2 seeds; name one of: 0, 1"
    assert asked(seed=7) == "--seed: unknown seed '7'. Allowed: 0, 1"
    assert asked(dataset="vatex").startswith("--dataset: unknown dataset 'vatex'")
    untrained = plan.trials[1].cells[0].finetune
    assert asked(seed=1) == (
        f"row 'one', seed 1: {trained.store.results} has no stage finetune-{untrained}: it has "
        "not been trained with these settings and this code. Train it by 'avbench run' with the "
        "same options"
    )
    assert asked(trained.plan("never")).startswith("row 'never' is skipped: ")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").touch()
    assert asked() == f"--out {tmp_path / 'x'}: exists and is not empty; give a new folder"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    trial, cell = choose(plan, None, 0)
    assert cell is trial.cells[0]


@pytest.mark.slow
def test_a_failed_cell_is_told_with_its_log(trained: Trained, tmp_path: Path) -> None:
    plan = trained.plan("one")
    stage = plan.stages[plan.trials[1].cells[0].finetune]
    store = Store(results=tmp_path, cache=trained.store.cache)
    write_record(store, stage, status="failed", error="no clips")
    with pytest.raises(AvbenchError) as caught:
        export(plan, store, trained.registry, tmp_path / "x", seed=1)
    log = store.directory(stage) / "log.txt"
    assert str(caught.value) == (
        f"row 'one', seed 1: stage {stage.folder} failed: no clips (log: {log})"
    )


# ------------------------------------------------------------------ speech


@pytest.mark.slow
def test_speech_is_asked_for_where_it_is_read(trained: Trained, tmp_path: Path) -> None:
    split, said = clips_of(trained, "text")
    reads = avbench.load_captioner(trained.model("text"))
    deaf = avbench.load_captioner(trained.model("one"))
    clip = split.clips[0]

    def asked(captioner: TrainedCaptioner, **options: str) -> str:
        return captioner.caption(clip.media, start=clip.start, end=clip.end, **options)

    assert asked(reads, speech=clip.speech or "") == said[0]["caption"]
    with pytest.raises(AvbenchError, match=r"reads video, text: give the clip's speech as text"):
        asked(reads)
    with pytest.raises(AvbenchError, match=r"reads audio, video and no text: speech has no eff"):
        asked(deaf, speech="hello")
    files = [Path("-a.mp4"), Path("b c/d.mkv")]
    table = tmp_path / "speech.json"
    table.write_text('{"-a": "one", "d.mkv": "two"}')
    assert speech_of(reads, files, None, table) == ["one", "two"]
    assert speech_of(deaf, files, None, None) == [None, None]
    assert speech_of(reads, files[:1], "", None) == [""]
    for options, message in (
        ((files, None, None), r"reads video, text: give --speech TEXT .* got none"),
        ((files, "x", table), r"give --speech TEXT .* got both"),
        ((files, "x", None), r"--speech: needs exactly one file, got 2; use --speech-file"),
        (([Path("e.mp4")], None, table), r"speech.json: has no text for e.mp4; keys may be"),
    ):
        with pytest.raises(AvbenchError, match=message):
            speech_of(reads, *options)
    with pytest.raises(AvbenchError, match=r"--speech-file: the captioner reads .* no effect"):
        speech_of(deaf, files, None, table)


# ------------------------------------------------------------------ the command


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(trained: Trained, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    folder = tmp_path_factory.mktemp("said")
    shutil.copytree(trained.model("one"), tmp_path / "model")

    def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AVBENCH_CACHE": str(trained.folder / "cache")}
        done = processes.run("avbench.cli.main", arguments, folder, cwd=tmp_path, env=environment)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


@pytest.mark.slow
def test_the_command_captions_the_good_and_names_the_bad(
    trained: Trained, command: Command, tmp_path: Path
) -> None:
    split, said = clips_of(trained, "one")
    media = split.clips[0].media
    for name in ("-clip.mp4", "a clip.mp4"):
        shutil.copyfile(media, tmp_path / name)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film")
    alone = command("caption", "model", "--", "-clip.mp4")
    assert alone.stderr == ""
    caption = alone.stdout.rstrip("\n")
    assert caption == avbench.load_captioner(tmp_path / "model").caption(media)
    names = ("-clip.mp4", "empty.mp4", "a clip.mp4", "text.mp4", "none.mp4")
    done = command("caption", "model", "--", *names, status=1)
    assert done.stdout == f"-clip.mp4\t{caption}\na clip.mp4\t{caption}\n"
    errors = done.stderr.splitlines()
    assert [e.split(": ")[0] for e in errors] == ["error"] * 3
    assert errors[0] == f"error: {tmp_path / 'empty.mp4'}: the file is empty"
    assert errors[1].startswith(f"error: {tmp_path / 'text.mp4'}: not a media file: ")
    assert errors[2] == f"error: {tmp_path / 'none.mp4'}: no such file"
    data = json.loads(command("caption", "model", *names[1:3], "--json", status=1).stdout)
    assert [entry["file"] for entry in data] == list(names[1:3])
    assert data[0]["caption"] is None
    assert data[0]["error"].endswith("the file is empty")
    assert (data[1]["caption"], data[1]["error"]) == (caption, None)
    assert data[1]["sound"] == "present"
    clip = split.clips[1]
    cut = ("--start", str(clip.start), "--end", str(clip.end))
    assert command("caption", "model", str(clip.media), *cut).stdout == said[1]["caption"] + "\n"
    past = command("caption", "model", str(media), "--start", "900", status=1)
    assert "the clip starts at 900.00 s, the picture ends at" in past.stderr


@pytest.mark.slow
def test_the_command_exports(trained: Trained, command: Command, tmp_path: Path) -> None:
    for name in ("s.yaml", "initial"):
        (tmp_path / name).symlink_to(trained.folder / name)
    results = str(trained.folder / "results")
    arguments = ("export", "s.yaml", "--results", results, "--out", "there/model")
    done = command(*arguments, "--only", "one", "--seed", "0")
    assert done.stdout == "wrote there/model\nnext: avbench caption there/model FILE\n"
    again = command(*arguments, "--only", "one", "--seed", "0", status=2)
    assert "exists and is not empty" in again.stderr
    assert "--only: the suite has 3 rows" in command(*arguments, status=2).stderr
    assert "Traceback" not in again.stderr
    wrong = command("caption", "model", "x.mp4", "--speech", "hello", status=2)
    assert wrong.stderr == (
        "error: --speech: the captioner reads audio, video, no text: no effect\n"
    )


@pytest.mark.slow
def test_undecodable_sound_is_a_warning(trained: Trained, tmp_path: Path) -> None:
    split, _ = clips_of(trained, "one")
    media = split.clips[0].media
    with av.open(str(media)) as container:
        places = [p.pos for p in container.demux(audio=0) if p.size]
    data = bytearray(media.read_bytes())
    for place in places:  # every audio packet starts with a reserved element
        data[place : place + 8] = b"\xff" * 8
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    captioner = avbench.load_captioner(trained.model("one"))
    (found,) = captioner.describe([Request(file=broken)])
    assert found.caption
    assert found.sound is not None
    assert found.sound.value == "undecodable"
    assert found.warnings[-1] == "captioned from video alone"
    assert found.warnings[0].startswith("the sound breaks at once: ")


@pytest.mark.slow
def test_every_real_clip_that_decodes_has_a_caption(command: Command, test_data: Path) -> None:
    probed = read_json(test_data / "videos" / "probe.json")
    decodable = {e["file"] for e in probed if e["nv"] and e["v"].get("decoded", 0)}
    assert len(decodable) > 30
    files = [str(test_data / "videos" / entry["file"]) for entry in probed]
    said = json.loads(command("caption", "model", *files, "--json", status=1).stdout)
    assert [entry["file"] for entry in said] == files
    for entry, found in zip(probed, said, strict=True):
        assert found["caption" if entry["file"] in decodable else "error"], found


@pytest.mark.slow
def test_weights_are_plain_tensors(trained: Trained) -> None:
    tensors = load_file(trained.model("one") / WEIGHTS)
    assert sum(t.numel() for t in tensors.values()) > 50_000
