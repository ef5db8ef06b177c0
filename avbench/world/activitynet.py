"""The mixed set, in the form of ActivityNet-Captions: segments, paragraphs, two references.

Sources: Dense-Captioning Events in Videos (Krishna et al., ICCV 2017); the ae-val / ae-test
re-split of Zhou et al., "Grounded Video Description" (CVPR 2019).
"""

from typing import Any

from avbench.settings import WorldSettings
from avbench.world import chance
from avbench.world.corpus import (
    Corpus,
    Entry,
    Mix,
    dump,
    groups,
    plan,
    segment,
    sentence,
    validation_clips,
)
from avbench.world.film import Film
from avbench.world.phrases import SCENE, TALK_SPEECH
from avbench.world.render import SECONDS

KEY = __name__.rpartition(".")[2]
SEGMENTS = 3
"""Clips a video."""
MIX = Mix(scene=SCENE, speech=0.32, lines=TALK_SPEECH, sound=0.5, references=2)
_RESPLIT = "anet_entities"


def make(settings: WorldSettings) -> Corpus:
    """Plan the set; clip ids are ``<v_id>#<segment>``, in the first annotator's order."""
    first: dict[str, dict[str, Any]] = {}
    second: dict[str, dict[str, Any]] = {}
    films, entries = [], []
    of: dict[str, list[str]] = {}
    for split, name, n in (
        ("train", "train", settings.clips),
        ("validation", "val", validation_clips(settings)),
        ("test", "test", settings.test_clips),
    ):
        of[name] = []
        for number, clips in enumerate(groups(plan(KEY, split, n, MIX, settings), SEGMENTS)):
            video = f"v_{chance.video_id(settings.seed, KEY, split, number)}"
            of[name].append(video)
            films.append(Film(video=video, scenes=tuple(clip.scene for clip in clips)))
            used = 1 if name == "train" else 2
            for i, clip in enumerate(clips):
                entries.append(
                    Entry(
                        id=f"{video}#{i}",
                        split=name,
                        captions=tuple(map(sentence, clip.captions[:used])),
                        words=clip.scene.words,
                        facts=clip.facts,
                    )
                )
            for annotator, annotation in enumerate((first, second)[:used]):
                annotation[video] = {
                    "duration": round(len(clips) * SECONDS, 2),
                    "timestamps": [segment(i, SECONDS) for i in range(len(clips))],
                    # from the second sentence on the official files have a blank before it
                    "sentences": [
                        " " * (i > 0) + sentence(clip.captions[annotator])
                        for i, clip in enumerate(clips)
                    ],
                }
    files: dict[str, dict[str, Any]] = {
        "train.json": {video: first[video] for video in of["train"]},
        "val_1.json": {video: first[video] for video in of["val"] + of["test"]},
        "val_2.json": {video: second[video] for video in of["val"] + of["test"]},
    }
    for name in ("val", "test"):
        for annotator, annotation in enumerate((first, second), start=1):
            part = {video: annotation[video] for video in of[name]}
            files[f"{_RESPLIT}_{name}_{annotator}.json"] = part
            files[f"{_RESPLIT}_{name}_{annotator}_para.json"] = {
                video: " ".join(row["sentences"]) for video, row in part.items()
            }
    return Corpus(
        annotations={name: dump(data) for name, data in files.items()},
        films=tuple(films),
        entries=tuple(entries),
    )
