"""Parts of every set of the world, and the planning of captioned sets' clips."""

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
"""Clip id to its slots: value, choices and the modalities that show it."""
SPEECH = "asr.json"
"""Clip id to its speech, if any; the official formats have no place for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedClip:
    """One clip in the annotations and the side files."""

    id: str
    """Id of the clip in the format's reader."""
    split: str
    captions: tuple[str, ...]
    words: str | None
    """The speech."""
    facts: Mapping[str, Fact]


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """One set, before its media exist."""

    annotations: Mapping[str, str]
    """File name to content, in the official format."""
    films: tuple[Film, ...]
    entries: tuple[AnnotatedClip, ...]

    def files(self) -> dict[str, str]:
        """Return all text files: the annotations and the two side files."""
        evidence = {
            e.id: {slot: asdict(fact) for slot, fact in e.facts.items()} for e in self.entries
        }
        speech = {e.id: e.words for e in self.entries if e.words is not None}
        return {**self.annotations, EVIDENCE: dump(evidence), SPEECH: dump(speech)}


def dump(value: Any) -> str:
    """Return JSON text in the order of construction."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mix:
    """Content of a captioned set, which decides its speech coverage and audio relevance."""

    scene: Sequence[str]
    """Templates of the picture's content."""
    speech: float
    """Share of clips in which somebody speaks."""
    lines: Sequence[str]
    """Templates of the speech."""
    names_speaker: bool = True
    """True: captions name the speaker; False: the scene's templates use the spoken words."""
    sound: float = 0.0
    """Share of clips with a sound event."""
    references: int = 1
    """Captions of a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedClip:
    """One clip of a captioned set, not yet placed in a video."""

    captions: tuple[str, ...]
    facts: Mapping[str, Fact]
    scene: Scene


def plan(key: str, split: str, n: int, mix: Mix, settings: WorldSettings) -> list[PlannedClip]:
    """Plan ``n`` clips of one split; the same for the same key, split, n, mix and seed."""
    draw = chance.choices(settings.seed, key, split)
    shown = deal(split, n, draw)
    speaks = chance.shares(n, mix.speech, draw)
    sounds = chance.shares(n, mix.sound, draw)
    slots = ("speaker", "ingredient") if mix.names_speaker else ("ingredient", "tool")
    dealt = {
        slot: iter(chance.balanced(SLOTS[slot], sum(flags), draw))
        for slot, flags in [*((slot, speaks) for slot in slots), ("sound", sounds)]
    }
    clips = []
    for i in range(n):
        values = dict(shown[i])
        parts = [mix.scene]
        words = voice = None
        if speaks[i]:
            values |= {slot: next(dealt[slot]) for slot in slots}
            parts += [TALK] if mix.names_speaker else []
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
            PlannedClip(
                captions=captions(parts, values, mix.references, draw),
                facts=facts(values, shown=shown[i], words=words),
                scene=scene,
            )
        )
    return clips


def _voice(speaker: str | None, settings: WorldSettings, draw: Any) -> Voice:
    """Choose a voice that captions call ``speaker``; None: any of the narrated corpus."""
    narrators = VOICES[: settings.voices]
    if speaker is None:
        voice: Voice = draw.choice(narrators)
    else:
        pool = [*VOICES[: max(2, settings.voices)], CHILD]
        voice = draw.choice([v for v in pool if v.speaker == speaker])
    return voice


def sentence(text: str) -> str:
    """Return a caption with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def groups(items: Sequence[PlannedClip], size: int) -> list[Sequence[PlannedClip]]:
    """Group clips into videos of ``size`` clips; the last may have fewer."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def validation_clips(settings: WorldSettings) -> int:
    """Return the number of clips of the small third split, if a format has one."""
    return max(4, settings.test_clips // 5)


def segment(i: int, seconds: float) -> list[float]:
    """Return start and end of the i-th clip of a video, seconds."""
    return [round(i * seconds, 2), round((i + 1) * seconds, 2)]
