"""The narrated corpus, in HowTo100M's form: long videos whose only captions are what is said.

A plan makes the next step predictable (predict next caption): in the narration the object and
the place stay, and colour, motion, ingredient and wording move on by one value a step. The
picture follows the narration slot by slot with probability ``agreement``, else it shows another
value. Files: HowTo100M (Miech et al., 2019), https://www.di.ens.fr/willow/research/howto100m/
"""

import random

from avbench.data.settings import WorldSettings
from avbench.data.text.words import STOP_WORDS
from avbench.data.world import chance
from avbench.data.world.corpus import Corpus, Entry, dump, segment
from avbench.data.world.film import Film, Scene
from avbench.data.world.phrases import NARRATION
from avbench.data.world.render import SECONDS
from avbench.data.world.slots import SLOTS, VISUAL, Values, facts
from avbench.data.world.speech import VOICES

KEY = __name__.rpartition(".")[2]
ONSET = 0.2
"""Seconds from a step's start to its narration."""
_MOVING = ("colour", "motion", "ingredient")


def make(settings: WorldSettings) -> Corpus:
    """Plan the corpus; clip ids are ``<video>#<step>``."""
    films, entries = [], []
    raw: dict[str, dict[str, list[str] | list[float]]] = {}
    table = ["video_id,category_1,category_2,rank,task_id"]
    for number in range(settings.narrated_videos):
        draw = chance.choices(settings.seed, KEY, number)
        video = chance.video_id(settings.seed, KEY, number)
        voice = VOICES[number % settings.voices]
        start = {slot: draw.randrange(len(SLOTS[slot])) for slot in (*VISUAL, *_MOVING)}
        turn = draw.randrange(len(NARRATION))
        scenes, texts, times = [], [], []
        for step in range(settings.steps_per_video):
            values = {
                slot: SLOTS[slot][(at + step * (slot in _MOVING)) % len(SLOTS[slot])]
                for slot, at in start.items()
            }
            words = NARRATION[(turn + step) % len(NARRATION)].format_map(values)
            shown = _seen(values, settings.agreement, draw)
            onset = ONSET + draw.uniform(0, settings.onset_jitter)
            spoken = draw.random() < settings.spoken
            scenes.append(
                Scene(
                    seed=chance.seed_of(settings.seed, KEY, number, step),
                    shown=shown,
                    words=words if spoken else None,
                    voice=voice,
                    onset=onset,
                )
            )
            texts.append(words)
            times.append(segment(step, SECONDS))
            known = facts(values, shown=shown, words=words if spoken else None)
            entries.append(
                Entry(
                    id=f"{video}#{step}",
                    split="train",
                    captions=(words,),
                    words=words,
                    facts=known,
                )
            )
        films.append(Film(video=video, scenes=tuple(scenes)))
        raw[video] = {
            "text": texts,
            "start": [first for first, _ in times],
            "end": [last for _, last in times],
        }
        table.append(f"{video},Toys,Moving Toys,1,{number}")
    short = {
        video: {**columns, "text": [_without_stop_words(str(t)) for t in columns["text"]]}
        for video, columns in raw.items()
    }
    return Corpus(
        annotations={
            "caption.json": dump(short),
            "raw_caption.json": dump(raw),
            "HowTo100M_v1.csv": "\n".join(table) + "\n",
        },
        films=tuple(films),
        entries=tuple(entries),
    )


def _seen(values: Values, agreement: float, draw: random.Random) -> Values:
    """What the picture shows while these values are told."""
    shown = {}
    for slot in VISUAL:
        others = [value for value in SLOTS[slot] if value != values[slot]]
        agrees = draw.random() < agreement
        shown[slot] = values[slot] if agrees else draw.choice(others)
    return shown


def _without_stop_words(text: str) -> str:
    return " ".join(word for word in text.split() if word not in STOP_WORDS)
