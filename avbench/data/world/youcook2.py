"""The speech-heavy set, in YouCook2's form: several segments a video, one sentence each.

Source: YouCook2 (Zhou et al., 2018), http://youcook2.eecs.umich.edu/download
"""

from typing import Any

from avbench.data.settings import WorldSettings
from avbench.data.world import chance
from avbench.data.world.corpus import Corpus, Entry, Mix, dump, groups, plan, segment
from avbench.data.world.film import Film
from avbench.data.world.phrases import COOKING_SPEECH, RECIPE
from avbench.data.world.render import SECONDS

KEY = __name__.rpartition(".")[2]
SEGMENTS = 4
"""Clips a video."""
MIX = Mix(scene=RECIPE, speech=1.0, lines=COOKING_SPEECH, told=False)


def make(settings: WorldSettings) -> Corpus:
    """Plan the set; clip ids are ``<video>#<segment id>``."""
    database: dict[str, Any] = {}
    films, entries = [], []
    for split, subset, n in (
        ("train", "training", settings.clips),
        ("test", "validation", settings.test_clips),
    ):
        for number, clips in enumerate(groups(plan(KEY, split, n, MIX, settings), SEGMENTS)):
            video = chance.video_id(settings.seed, KEY, split, number)
            films.append(Film(video=video, scenes=tuple(clip.scene for clip in clips)))
            annotations = []
            for i, clip in enumerate(clips):
                annotations.append(
                    {"segment": segment(i, SECONDS), "id": i, "sentence": clip.captions[0]}
                )
                entries.append(
                    Entry(
                        id=f"{video}#{i}",
                        split=subset,
                        captions=clip.captions,
                        words=clip.scene.words,
                        facts=clip.facts,
                    )
                )
            database[video] = {
                "duration": round(len(clips) * SECONDS, 2),
                "subset": subset,
                "recipe_type": str(101 + number % 10),
                "annotations": annotations,
                "video_url": f"https://www.youtube.com/watch?v={video}",
            }
    return Corpus(
        annotations={"youcookii_annotations_trainval.json": dump({"database": database})},
        films=tuple(films),
        entries=tuple(entries),
    )
