"""The set of sound events, in VATEX's form: 10 English references a clip.

Source: VATEX (Wang et al., ICCV 2019), annotation files v1.0 and v1.1.
"""

import math

from avbench.data.settings import WorldSettings
from avbench.data.world import chance
from avbench.data.world.corpus import Corpus, Entry, Mix, dump, plan, sentence, validation_clips
from avbench.data.world.film import Film
from avbench.data.world.phrases import SCENE, TALK_SPEECH
from avbench.data.world.render import SECONDS

KEY = __name__.rpartition(".")[2]
MIX = Mix(scene=SCENE, speech=0.143, lines=TALK_SPEECH, sound=0.8, references=10)


def make(settings: WorldSettings) -> Corpus:
    """Plan the set; clip ids are the videoIDs, ``<id>_<start>_<end>`` in six digits each."""
    annotations = {}
    films, entries = [], []
    for split, name, file, n in (
        ("train", "training", "vatex_training_v1.0.json", settings.clips),
        ("validation", "validation", "vatex_validation_v1.0.json", validation_clips(settings)),
        ("test", "public_test", "vatex_public_test_english_v1.1.json", settings.test_clips),
    ):
        rows = []
        for number, clip in enumerate(plan(KEY, split, n, MIX, settings)):
            start = chance.choices(settings.seed, KEY, split, number, "start").randrange(100)
            end = start + math.ceil(SECONDS)
            video = f"{chance.video_id(settings.seed, KEY, split, number)}_{start:06}_{end:06}"
            said = tuple(map(sentence, clip.captions))
            row = {"videoID": video, "enCap": said}
            if split != "test":  # the public test file holds English alone
                row["chCap"] = ()
            rows.append(row)
            films.append(Film(video=video, scenes=(clip.scene,)))
            entries.append(
                Entry(
                    id=video,
                    split=name,
                    captions=said,
                    words=clip.scene.words,
                    facts=clip.facts,
                )
            )
        annotations[file] = dump(rows)
    return Corpus(annotations=annotations, films=tuple(films), entries=tuple(entries))
