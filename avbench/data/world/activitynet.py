"""The mixed set, in the form of ActivityNet-Captions: segments, paragraphs, two references.

Sources: Dense-Captioning Events in Videos (Krishna et al., ICCV 2017); the ae-val / ae-test
re-split of Zhou et al., "Grounded Video Description" (CVPR 2019).
"""

from collections.abc import Sequence
from typing import Any

from avbench.data.settings import WorldSettings
from avbench.data.world import chance
from avbench.data.world.corpus import (
    Corpus,
    Entry,
    Mix,
    Planned,
    dump,
    groups,
    plan,
    segment,
    sentence,
    validation_clips,
)
from avbench.data.world.film import Film
from avbench.data.world.phrases import SCENE, TALK_SPEECH
from avbench.data.world.render import SECONDS

KEY = __name__.rpartition(".")[2]
SEGMENTS = 3
"""Clips a video."""
MIX = Mix(scene=SCENE, speech=0.32, lines=TALK_SPEECH, sound=0.5, references=2)


def make(settings: WorldSettings) -> Corpus:
    """Plan the set; clip ids are ``<v_id>#<segment>``."""
    files: dict[str, dict[str, Any]] = {"train.json": {}, "val_1.json": {}, "val_2.json": {}}
    films, entries = [], []
    for split, name, n in (
        ("train", "train", settings.clips),
        ("validation", "ae-val", validation_clips(settings)),
        ("test", "ae-test", settings.test_clips),
    ):
        annotators = 1 if split == "train" else 2
        both: list[dict[str, Any]] = [{} for _ in range(annotators)]
        for number, clips in enumerate(groups(plan(KEY, split, n, MIX, settings), SEGMENTS)):
            video = f"v_{chance.video_id(settings.seed, KEY, split, number)}"
            films.append(Film(video=video, scenes=tuple(clip.scene for clip in clips)))
            for annotator, annotations in enumerate(both):
                annotations[video] = _annotation(clips, annotator)
            entries += [
                Entry(
                    id=f"{video}#{i}",
                    split=name,
                    captions=tuple(map(sentence, clip.captions[:annotators])),
                    words=clip.scene.words,
                    facts=clip.facts,
                )
                for i, clip in enumerate(clips)
            ]
        if split == "train":
            files["train.json"] = both[0]
            continue
        for annotator, annotations in enumerate(both, start=1):
            files[f"val_{annotator}.json"] |= annotations
            resplit = f"anet_entities_{name.removeprefix('ae-')}_{annotator}"
            files[f"{resplit}.json"] = annotations
            files[f"{resplit}_para.json"] = {
                video: " ".join(row["sentences"]) for video, row in annotations.items()
            }
    return Corpus(
        annotations={name: dump(data) for name, data in files.items()},
        films=tuple(films),
        entries=tuple(entries),
    )


def _annotation(clips: Sequence[Planned], annotator: int) -> dict[str, Any]:
    """One annotator's entry of a video; from the second on, sentences begin with a blank."""
    said = [sentence(clip.captions[annotator]) for clip in clips]
    return {
        "duration": round(len(clips) * SECONDS, 2),
        "timestamps": [segment(i, SECONDS) for i in range(len(clips))],
        "sentences": [text if i == 0 else f" {text}" for i, text in enumerate(said)],
    }
