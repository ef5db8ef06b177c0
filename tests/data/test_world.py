"""The embedded world: what it says, what it shows, and that official readers read it."""

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from avbench.core.errors import UnknownNameError
from avbench.core.job import Job, read_json
from avbench.core.options import build, plain
from avbench.core.registry import load
from avbench.data.settings import WorldSettings
from avbench.data.world import chance, render, slots, sounds
from avbench.data.world.corpus import EVIDENCE, SPEECH
from avbench.data.world.film import SAMPLES, TAIL, Film, Scene, sound, write
from avbench.data.world.howto100m import ONSET
from avbench.data.world.phrases import (
    COOKING_SPEECH,
    NARRATION,
    TALK_SPEECH,
    all_templates,
    captions,
)
from avbench.data.world.render import SECONDS
from avbench.data.world.slots import SLOTS, VISUAL
from avbench.data.world.speech import CHILD, RATE, VOICES, Engine
from avbench.data.world.stage import FORMS, MEDIA, run

SMALL = WorldSettings(narrated_videos=3, steps_per_video=3, clips=12, test_clips=12, size=32)
NARRATED, *CAPTIONED = FORMS
SHOWN = {"colour": "red", "object": "ball", "motion": "slides", "place": "kitchen"}


def job(directory: Path, settings: WorldSettings, workers: int = 1) -> Job:
    return Job(
        kind="world",
        id="test",
        spec=plain(settings),
        directory=directory,
        local={"workers": workers},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world")
    return directory, run(job(directory, SMALL))


def hashes(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((directory / "data").rglob("*"))
        if path.is_file()
    }


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


# ------------------------------------------------------------------ language


def test_a_slot_value_is_one_word_of_one_slot():
    values = [value for choices in SLOTS.values() for value in choices]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch("[a-z]+", value) for value in values)


def test_no_template_contains_a_slot_value():
    values = {value for choices in SLOTS.values() for value in choices}
    for template in (*all_templates(), *COOKING_SPEECH, *TALK_SPEECH):
        assert not words(re.sub(r"\{\w*\}", " ", template)) & values, template


def test_captions_of_a_clip_differ_and_state_the_same_facts():
    values = {"colour": "red", "sound": "bell"}
    parts = [("a {colour} ball", "one {colour} ball"), ("a {sound} rings",)]
    said = captions(parts, values, 10, chance.choices("x"))
    assert len(set(said)) == 10
    assert all({"red", "bell"} <= words(caption) for caption in said)
    with pytest.raises(ValueError, match="11 captions wanted, but there are only 10 wordings"):
        captions(parts, values, 11, chance.choices("x"))


@pytest.mark.parametrize("key", FORMS)
def test_every_caption_states_all_facts_of_its_clip(key):
    for entry in FORMS[key].make(SMALL).entries:
        values = {fact.value for fact in entry.facts.values()}
        assert entry.captions
        for caption in entry.captions:
            assert values <= words(caption), (entry.id, caption)


@pytest.mark.parametrize("key", CAPTIONED)
@pytest.mark.parametrize("settings", [WorldSettings(), WorldSettings(clips=48, test_clips=12)])
def test_no_test_caption_stands_in_the_training_set_but_every_value_does(key, settings):
    entries = FORMS[key].make(settings).entries
    names = list(dict.fromkeys(entry.split for entry in entries))
    train, report = names[0], names[-1]
    said, values = defaultdict(set), defaultdict(set)
    for entry in entries:
        said[entry.split] |= {caption.strip(" .").lower() for caption in entry.captions}
        values[entry.split] |= {(slot, fact.value) for slot, fact in entry.facts.items()}
    for split in names[1:]:
        assert not said[split] & said[train]
        assert values[split] <= values[train]
    assert not said[names[1]] & said[report] or names[1] == report
    visual = {(slot, value) for slot in VISUAL for value in SLOTS[slot]}
    assert visual <= values[train]
    assert visual <= values[report]


def test_the_combinations_are_parted_among_the_splits():
    parts = [slots.combinations(split) for split in ("train", "validation", "test")]
    every_one = [tuple(sorted(values.items())) for part in parts for values in part]
    assert len(set(every_one)) == len(every_one) == 6**4
    assert [len(part) for part in parts] == [972, 108, 216]


# ------------------------------------------------------------------ the narrated corpus


def narrated(**changes):
    return FORMS[NARRATED].make(replace(WorldSettings(narrated_videos=100), **changes))


def test_the_picture_agrees_with_the_narration_as_often_as_it_should():
    facts = [fact for entry in narrated().entries for fact in entry.facts.items()]
    seen = ["video" in fact.evidence for slot, fact in facts if slot in VISUAL]
    assert np.mean(seen) == pytest.approx(0.4, abs=0.03)
    spoken = {fact.evidence for slot, fact in facts if slot not in VISUAL}
    assert spoken == {("audio", "text")}


@pytest.mark.parametrize("agreement", [0.0, 1.0])
def test_evidence_says_what_the_picture_shows(agreement):
    corpus = narrated(agreement=agreement)
    scenes = [scene for film in corpus.films for scene in film.scenes]
    for entry, scene in zip(corpus.entries, scenes, strict=True):
        for slot in VISUAL:
            shows_it = scene.shown[slot] == entry.facts[slot].value
            assert shows_it == ("video" in entry.facts[slot].evidence) == bool(agreement)


def test_the_next_narration_follows_from_the_present_one():
    follows = defaultdict(set)
    entries = narrated().entries
    for now, after in pairwise(entries):
        if now.id.split("#")[0] == after.id.split("#")[0]:
            follows[now.captions[0]].add(after.captions[0])
    assert len(follows) > 300
    assert {len(nexts) for nexts in follows.values()} == {1}


def test_the_narration_can_fall_silent():
    corpus = narrated(spoken=0.5)
    scenes = [scene for film in corpus.films for scene in film.scenes]
    silent = [scene.words is None for scene in scenes]
    assert np.mean(silent) == pytest.approx(0.5, abs=0.06)
    for entry, mute in zip(corpus.entries, silent, strict=True):
        assert ("audio" in entry.facts["ingredient"].evidence) != mute


def test_voices_take_turns_and_the_onset_is_steady():
    scenes = [scene for film in narrated().films for scene in film.scenes]
    assert {scene.voice for scene in scenes} == set(VOICES[:2])
    assert {scene.onset for scene in scenes} == {ONSET}
    jittered = [s.onset for f in narrated(onset_jitter=0.3).films for s in f.scenes]
    assert ONSET <= min(jittered) < ONSET + 0.05
    assert ONSET + 0.25 < max(jittered) <= ONSET + 0.3


def test_every_narration_fits_into_its_clip():
    latest = ONSET + 0.4  # the most jitter that the settings allow
    with Engine() as engine:
        for voice in VOICES:
            values = {slot: choices[0] for slot, choices in SLOTS.items()}
            for slot in (*VISUAL, "ingredient"):
                values[slot] = max(
                    SLOTS[slot],
                    key=lambda v, s=slot: len(
                        engine.say(NARRATION[0].format_map({**values, s: v}), voice)
                    ),
                )
            for template in NARRATION:
                longest = len(engine.say(template.format_map(values), voice)) / RATE
                assert latest + longest + TAIL < SECONDS


# ------------------------------------------------------------------ sound and picture


def test_speech_does_not_depend_on_what_was_said_before():
    with Engine() as engine:
        alone = engine.say("a red ball", VOICES[0])
    with Engine() as engine:
        engine.say("in the kitchen", VOICES[1])
    with Engine() as engine:
        again = engine.say("a red ball", VOICES[0])
    assert np.array_equal(alone, again)
    assert np.sqrt(np.mean(alone**2)) == pytest.approx(0.1, rel=1e-3)
    assert 0.4 < len(alone) / RATE < 1.2


def test_the_engine_is_unloaded_when_a_film_is_done(tmp_path):
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see which libraries are loaded")
    with Engine():
        assert "espeak" in maps.read_text(encoding="utf-8")
    assert "libespeak" not in maps.read_text(encoding="utf-8")


def test_an_unknown_voice_is_an_error():
    with Engine() as engine, pytest.raises(RuntimeError, match="no voice 'xx-none'"):
        engine.say("a red ball", replace(CHILD, name="xx-none"))


def test_speech_is_never_cut_off():
    scene = Scene(seed=1, shown=SHOWN, words="a red ball " * 9, voice=VOICES[0])
    with Engine() as engine, pytest.raises(ValueError, match=r"does not fit in 3\.4 s"):
        sound(scene, engine)


@pytest.mark.parametrize("word", SLOTS["sound"])
def test_sound_events_are_loud_and_vary(word):
    one, other = (sounds.event(word, SAMPLES, chance.noise(seed)) for seed in (1, 2))
    assert len(one) == SAMPLES
    assert np.sqrt(np.mean(one**2)) == pytest.approx(0.06, rel=1e-3)
    assert not np.allclose(one, other)


def test_sound_events_have_spectra_of_their_own():
    spectra = {}
    for word in SLOTS["sound"]:
        power = np.abs(np.fft.rfft(sounds.event(word, SAMPLES, chance.noise(3)))) ** 2
        bands = np.add.reduceat(power, np.geomspace(20, len(power) - 1, 24).astype(int))
        spectra[word] = bands / bands.sum()
    for word, bands in spectra.items():
        for other, theirs in spectra.items():
            if word != other:
                assert 0.5 * np.abs(bands - theirs).sum() > 0.3, (word, other)


def test_the_world_can_draw_and_play_every_value():
    for drawn, slot in (
        (render.COLOURS, "colour"),
        (render.SHAPES, "object"),
        (render.MOTIONS, "motion"),
        (render.PLACES, "place"),
        (sounds.EVENTS, "sound"),
    ):
        assert tuple(drawn) == SLOTS[slot]


def draw(**changes):
    return render.frames(
        {**SHOWN, **changes}, size=64, fps=10, distractors=0, draw=chance.noise(1)
    )


@pytest.mark.parametrize("slot", VISUAL)
def test_pictures_of_two_values_differ(slot):
    pictures = [draw(**{slot: value}).astype(int) for value in SLOTS[slot]]
    assert pictures[0].shape == (34, 64, 64, 3)
    for i, one in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(one - other).mean() > 2


@pytest.mark.parametrize("colour", SLOTS["colour"])
@pytest.mark.parametrize("shape", SLOTS["object"])
def test_the_object_is_big_and_of_its_colour(colour, shape):
    picture = draw(colour=colour, object=shape)[0].astype(int)
    near = np.abs(picture - np.array(render.COLOURS[colour])).max(axis=-1) < 12
    assert near.mean() > 0.05


def test_a_blinking_object_comes_and_goes():
    red = (np.abs(draw(motion="blinks").astype(int) - render.COLOURS["red"]).max(-1) < 12).mean(
        (1, 2)
    )
    assert (red == 0).any()
    assert (red > 0.1).any()


def test_distractors_are_small_and_grey():
    plain_one, busy = (
        render.frames(SHOWN, size=64, fps=4, distractors=n, draw=chance.noise(1)) for n in (0, 4)
    )
    grey = [(np.abs(f.astype(int) - 130).max(-1) < 3).mean() for f in (plain_one, busy)]
    assert grey[0] < grey[1] < 0.2


# ------------------------------------------------------------------ files


def test_media_are_h264_and_aac_and_hold_what_they_should(tmp_path):
    mute = Scene(seed=2, shown=SHOWN)
    spoken = Scene(seed=1, shown=SHOWN, words="a red ball", voice=VOICES[0], onset=1.0)
    path = write(Film(video="film", scenes=(spoken, mute)), tmp_path, WorldSettings())
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.average_rate, video.width, video.height) == (10, 64, 64)
        assert (audio.rate, audio.channels) == (RATE, 1)
        assert container.duration / 1e6 == pytest.approx(2 * SECONDS, abs=0.1)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    with av.open(str(path)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    assert len(pictures) == 2 * 34
    drawn = render.frames(SHOWN, size=64, fps=10, distractors=0, draw=chance.noise(1, "picture"))
    assert np.abs(np.stack(pictures[:34]).astype(int) - drawn).mean() < 6
    samples = np.concatenate(blocks)[: 2 * SAMPLES]
    loudness = [float(np.sqrt(np.mean(s**2))) for s in np.array_split(samples, 34)]  # 0.2 s each
    assert max(loudness[:4]) < 0.01, "nothing before the onset"
    assert min(loudness[5:8]) > 0.03, "speech after it"
    assert max(loudness[17:]) < 0.01, "a clip without speech has noise alone"
    assert min(loudness) > 1e-5, "but it is not silent"


def test_the_stage_writes_every_set(world):
    directory, results = world
    assert list(results["sets"]) == list(FORMS)
    assert results["sets"][NARRATED]["clips"] == {"train": 9}
    for key, found in results["sets"].items():
        folder = directory / "data" / key
        media = list((folder / MEDIA).iterdir())
        assert len(media) == found["videos"]
        assert found["bytes"] == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        assert found["seconds"] == pytest.approx(SECONDS * sum(found["clips"].values()), abs=0.1)
        assert set(found) >= {"scr_percent", "ars", "captions"}
    progress = read_json(directory / "progress.json")
    assert (
        progress["done"]
        == progress["total"]
        == sum(found["videos"] for found in results["sets"].values())
    )


def test_an_interrupted_generation_goes_on(world, tmp_path):
    first, _ = world
    settings = replace(SMALL, datasets=(NARRATED,))
    run(job(tmp_path, settings))
    folder = tmp_path / "data" / NARRATED / MEDIA
    lost, *kept = sorted(folder.iterdir())
    written = {path: path.stat().st_mtime_ns for path in kept}
    lost.unlink()
    (folder / ".x.1.part").write_bytes(b"half a film")
    run(job(tmp_path, settings))
    assert {path: path.stat().st_mtime_ns for path in kept} == written
    mine = hashes(tmp_path)
    assert mine == {n: h for n, h in hashes(first).items() if f"data/{NARRATED}/" in n}


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(world, tmp_path):
    directory, results = world
    assert run(job(tmp_path, SMALL, workers=2)) == results
    assert hashes(tmp_path) == hashes(directory)


def test_another_seed_is_another_world():
    for form in FORMS.values():
        assert form.make(SMALL).annotations == form.make(SMALL).annotations
        assert form.make(SMALL).annotations != form.make(replace(SMALL, seed=1)).annotations


def test_an_unknown_set_is_refused(tmp_path):
    with pytest.raises(
        UnknownNameError, match="unknown dataset 'youcok2'; did you mean 'youcook2'"
    ):
        run(job(tmp_path, replace(SMALL, datasets=("youcok2",))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agreement": 1.2}, r"must be from 0 to 1 \(share\), got 1.2"),
        ({"clips": 5}, "must be from 12 to 1,000,000 clips, got 5"),
        ({"size": 33}, "size must be even .*, got 33"),
        ({"voices": 7}, r"must be from 1 to 6 speakers, got 7"),
        ({"onset_jitter": 1.0}, r"must be from 0 to 0.4 s, got 1.0"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(WorldSettings, changes)


# ------------------------------------------------------------------ the official readers


def reader(key, directory):
    entry = yaml.safe_load(files("avbench.data.world").joinpath("data.yaml").read_text())[key]
    component = load().get("datasets", entry["reader"])
    root = str(directory / "data" / key)
    return component.build(component.config(root=root, **entry.get("options", {})))


def test_the_data_file_names_every_set():
    text = files("avbench.data.world").joinpath("data.yaml").read_text(encoding="utf-8")
    assert list(yaml.safe_load(text)) == list(FORMS)


@pytest.mark.parametrize("key", FORMS)
def test_the_official_reader_reads_the_set(world, key):
    directory, results = world
    dataset = reader(key, directory)
    evidence = json.loads((directory / "data" / key / EVIDENCE).read_text(encoding="utf-8"))
    spoken = json.loads((directory / "data" / key / SPEECH).read_text(encoding="utf-8"))
    entries = {entry.id: entry for entry in FORMS[key].make(SMALL).entries}
    counts = results["sets"][key]["clips"]
    assert dataset.train in counts
    for split in filter(None, (dataset.train, dataset.report)):
        clips = dataset.clips(split)
        assert clips
        for clip in clips:
            entry = entries[clip.id]
            assert clip.media.is_file()
            assert clip.captions[0].strip() == entry.captions[0]
            assert clip.speech == entry.words == spoken.get(clip.id)
            assert set(evidence[clip.id]) == set(entry.facts)
            if clip.start is not None:
                assert clip.end - clip.start == pytest.approx(SECONDS)
    assert {split: len(dataset.clips(split)) for split in counts} == counts


def test_narrated_clips_do_not_depend_on_the_starts_of_clips(tmp_path):
    """A sentence is a clip, so the results of suites are those of either option."""
    folder = tmp_path / "data" / "howto100m"
    (folder / MEDIA).mkdir(parents=True)
    corpus = FORMS["howto100m"].make(replace(SMALL, onset_jitter=0.4))
    for name, text in corpus.annotations.items():
        (folder / name).write_text(text, encoding="utf-8")
    component = load().get("datasets", "howto100m")
    every, uncovered = (
        component.build(component.config(root=str(folder), min_seconds=2.0, starts=starts))
        for starts in ("every", "uncovered")
    )
    assert (
        every.clips("train")
        == uncovered.clips("train")
        == reader("howto100m", tmp_path).clips("train")
    )
    assert len(every.clips("train")) == len(corpus.entries)


def test_paragraphs_have_two_references(world):
    directory, _ = world
    key = next(key for key in FORMS if reader(key, directory).protocol == "paragraph")
    dataset = reader(key, directory)
    clips = dataset.clips(dataset.report)
    references = dataset.paragraphs(dataset.report)
    assert set(references) == {clip.video for clip in clips}
    for video, (first, second) in references.items():
        assert first != second
        parts = [clip.captions[0].strip() for clip in clips if clip.video == video]
        assert words(first) == words(" ".join(parts))
        assert all(part in first for part in parts)
