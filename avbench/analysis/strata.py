"""The strata of scored items, by properties that do not depend on any model.

An item is a clip, or a video if the protocol joins its clips. Strata by a number are terciles, cut
at the values that a third and two thirds of the items do not exceed. Equal values stay together:
strata may differ in size, and a frequent value leaves fewer than three.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from avbench.core.errors import DataError
from avbench.core.types import Clip, Slot, SoundState
from avbench.data.prepared.split import PreparedSplit
from avbench.data.text.counts import WordCounts, audio_relevance, speech_coverage
from avbench.data.text.words import tokens

SHARES = (1 / 3, 2 / 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """The properties of a scored item."""

    id: str
    captions: tuple[str, ...]
    """Its references."""
    speech: str
    """ASR text; empty: none."""
    sound: tuple[SoundState, ...]
    """The state of the sound in each of its clips."""
    slots: tuple[Slot, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Strata:
    """One way to divide the items."""

    title: str
    names: tuple[str, ...]
    """Strata in order: at least two, or none with the reason in ``note``."""
    of: Mapping[str, str]
    """Item id → name."""
    note: str


def clip_items(split: PreparedSplit) -> list[Item]:
    """Return the clips of a split as items."""
    return [
        Item(
            id=clip.id,
            captions=clip.captions,
            speech=clip.speech or "",
            sound=(split.sound[clip.id],),
            slots=tuple(clip.slots.values()),
        )
        for clip in split.clips
    ]


def video_items(split: PreparedSplit) -> list[Item]:
    """Return the videos of a split as items; their references are paragraphs."""
    of_video: dict[str, list[Clip]] = {video: [] for video in split.paragraphs}
    for clip in split.clips:
        of_video.setdefault(clip.video, []).append(clip)
    return [
        Item(
            id=video,
            captions=split.paragraphs.get(video, ()),
            speech=" ".join(clip.speech or "" for clip in clips),
            sound=tuple(split.sound[clip.id] for clip in clips),
            slots=tuple(slot for clip in clips for slot in clip.slots.values()),
        )
        for video, clips in of_video.items()
    ]


def strata(items: Sequence[Item], counts: WordCounts) -> list[Strata]:
    """Divide items in every way.

    Args:
        items: of one level, clips or videos.
        counts: of words in audio and image captions, for ARS.
    """
    made = [_relevance(items, counts), _coverage(items), _sound(items), _length(items)]
    if any(item.slots for item in items):
        made.append(_evidence(items))
    return made


def _relevance(items: Sequence[Item], counts: WordCounts) -> Strata:
    title = "audio relevance (ARS)"
    words = f"; words counted in {counts.origin}" if counts.origin else ""
    note = f"ARS of a clip's references, mean (Eq. 13){words}; terciles."
    try:
        return _terciles(title, "ARS", items, lambda i: audio_relevance(i.captions, counts), note)
    except DataError as error:
        return Strata(title=title, names=(), of={}, note=f"Not divided by ARS: {error}.")


def _coverage(items: Sequence[Item]) -> Strata:
    note = "SCR: share of the references' words that occur in the clip's speech; terciles."
    if not any(item.speech for item in items):
        note = "Not divided by SCR: no clip has speech text."
        return Strata(title="speech coverage (SCR)", names=(), of={}, note=note)
    return _terciles("speech coverage (SCR)", "SCR %", items, _covered, note)


def _covered(item: Item) -> float:
    if not any(map(tokens, item.captions)):
        return 0.0
    return speech_coverage((caption, item.speech) for caption in item.captions)


def _length(items: Sequence[Item]) -> Strata:
    note = "Words of a clip's references, mean; terciles."
    return _terciles(
        "caption length", "words", items, lambda i: fmean(map(words, i.captions)), note
    )


def words(text: str) -> int:
    """Count the words of a text, separated by blanks."""
    return len(text.split())


def _sound(items: Sequence[Item]) -> Strata:
    """Divide by sound; a video takes the first ``SoundState`` that any of its clips has."""
    of = {}
    for item in items:
        states = [s for s in SoundState if s in item.sound]
        of[item.id] = f"sound {states[0] if states else SoundState.ABSENT}"
    names = [name for state in SoundState if (name := f"sound {state}") in of.values()]
    note = "Sound: present if the clip has a sound track that is not silent throughout."
    return _complete("presence of sound", names, of, note)


def _evidence(items: Sequence[Item]) -> Strata:
    """Divide by the number of slots that only the sound reveals."""
    names = ["0 heard only", "1 heard only", "2+ heard only"]
    of = {}
    for item in items:
        heard = sum("audio" in s.evidence and "video" not in s.evidence for s in item.slots)
        of[item.id] = names[min(heard, 2)]
    note = "Heard only: facts of the caption that the sound reveals and the picture does not."
    return _complete("slot evidence", [n for n in names if n in of.values()], of, note)


def _terciles(
    title: str, short: str, items: Sequence[Item], value: Callable[[Item], float], note: str
) -> Strata:
    values = {item.id: value(item) for item in items if item.captions}
    low, high = np.quantile(list(values.values()), SHARES, method="inverted_cdf").tolist()
    lines = [f"{short} ≤ {low:.3g}", f"{short} to {high:.3g}", f"{short} > {high:.3g}"]
    of = {i: lines[(v > low) + (v > high)] for i, v in values.items()}
    return _complete(title, [name for name in lines if name in of.values()], of, note)


def _complete(title: str, names: Sequence[str], of: Mapping[str, str], note: str) -> Strata:
    if len(names) < 2:
        same = f"Not divided by {title}: the same for all ({', '.join(names)})."
        return Strata(title=title, names=(), of={}, note=same)
    return Strata(title=title, names=tuple(names), of=of, note=note)
