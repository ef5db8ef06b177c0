"""What every set of the world consists of, and how the clips of captioned sets are planned."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from avbench.data.settings import WorldSettings
from avbench.data.world import chance
from avbench.data.world.film import Film, Scene
from avbench.data.world.phrases import NOISE, TALK, captions
from avbench.data.world.slots import SLOTS, Fact, deal, facts
from avbench.data.world.speech import CHILD, VOICES, Voice

EVIDENCE = "evidence.json"
"""Clip id to its slots: value, choices and the modalities that tell it."""
SPEECH = "asr.json"
"""Clip id to what is said in it, where something is: no official format has a place for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One clip as the annotations and the side files tell of it."""

    id: str
    """As the reader of the format names the clip."""
    split: str
    captions: tuple[str, ...]
    words: str | None
    """What is said."""
    facts: Mapping[str, Fact]


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """One set, before any media are made."""

    annotations: Mapping[str, str]
    """File name to content, in the official format."""
    films: tuple[Film, ...]
    entries: tuple[Entry, ...]

    def files(self) -> dict[str, str]:
        """All text files: the annotations and the two side files."""
        evidence = {
            e.id: {slot: asdict(fact) for slot, fact in e.facts.items()} for e in self.entries
        }
        speech = {e.id: e.words for e in self.entries if e.words is not None}
        return {**self.annotations, EVIDENCE: dump(evidence), SPEECH: dump(speech)}


def dump(value: Any) -> str:
    """JSON text, in the order in which it was built."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """What a captioned set is about: this decides its speech coverage and audio relevance."""

    scene: Sequence[str]
    """Templates of what the picture shows."""
    speech: float
    """Share of clips in which somebody speaks."""
    lines: Sequence[str]
    """Templates of what is said."""
    told: bool = True
    """Whether captions tell of the speaker; else the scene's templates use what is said."""
    sound: float = 0.0
    """Share of clips with a sound event."""
    references: int = 1
    """Captions a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One clip of a captioned set, not yet placed in a video."""

    captions: tuple[str, ...]
    facts: Mapping[str, Fact]
    scene: Scene


def plan(key: str, split: str, n: int, mix: Mix, settings: WorldSettings) -> list[Planned]:
    """Plan ``n`` clips of one split; the same for the same key, split, n, mix and seed."""
    draw = chance.choices(settings.seed, key, split)
    shown = deal(split, n, draw)
    speaks = chance.shares(n, mix.speech, draw)
    sounds = chance.shares(n, mix.sound, draw)
    told = ("speaker", "ingredient") if mix.told else ("ingredient", "tool")
    dealt = {
        slot: iter(chance.balanced(SLOTS[slot], sum(flags), draw))
        for slot, flags in [*((slot, speaks) for slot in told), ("sound", sounds)]
    }
    clips = []
    for i in range(n):
        values = dict(shown[i])
        parts = [mix.scene]
        words = voice = None
        if speaks[i]:
            values |= {slot: next(dealt[slot]) for slot in told}
            parts += [TALK] if mix.told else []
            voice = _voice(values.get("speaker"), settings, draw)
            words = draw.choice(mix.lines).format_map(values)
        if sounds[i]:
            values["sound"] = next(dealt["sound"])
            parts.append(NOISE)
        scene = Scene(
            seed=chance.seed_of(settings.seed, key, split, i),
            shown=shown[i],
            words=words,
            voice=voice,
            onset=draw.uniform(0.1, 0.4),
            sound=values.get("sound"),
        )
        clips.append(
            Planned(
                captions=captions(parts, values, mix.references, draw),
                facts=facts(values, shown=shown[i], words=words),
                scene=scene,
            )
        )
    return clips


def _voice(speaker: str | None, settings: WorldSettings, draw: Any) -> Voice:
    """A narrator that the captions call ``speaker``; any of the narrated corpus' if None."""
    narrators = VOICES[: settings.voices]
    if speaker is None:
        voice: Voice = draw.choice(narrators)
    else:
        pool = [*VOICES[: max(2, settings.voices)], CHILD]
        voice = draw.choice([v for v in pool if v.speaker == speaker])
    return voice


def sentence(text: str) -> str:
    """A caption as annotators who punctuate write it."""
    return f"{text[0].upper()}{text[1:]}."


def groups(items: Sequence[Planned], size: int) -> list[Sequence[Planned]]:
    """Clips put into videos of ``size`` clips; the last may have fewer."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def validation_clips(settings: WorldSettings) -> int:
    """Clips of the small third split, where a format has one."""
    return max(4, settings.test_clips // 5)


def segment(i: int, seconds: float) -> list[float]:
    """Start and end of the i-th clip of a video, seconds."""
    return [round(i * seconds, 2), round((i + 1) * seconds, 2)]
