"""The facts in captions, their values, and the combinations kept for testing."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass

from avbench.data.world.chance import choices

Values = Mapping[str, str]
"""Slot to word, e.g. ``{"colour": "red"}``."""

SLOTS: Mapping[str, tuple[str, ...]] = {
    "colour": ("red", "green", "blue", "yellow", "purple", "white"),
    "object": ("ball", "box", "star", "cone", "wheel", "ladder"),
    "motion": ("slides", "jumps", "circles", "falls", "grows", "blinks"),
    "place": ("kitchen", "garden", "forest", "street", "desert", "snow"),
    "ingredient": ("garlic", "butter", "tomato", "onion", "lemon", "sugar"),
    "tool": ("spoon", "knife", "fork", "brush", "whisk", "needle"),
    "speaker": ("man", "woman", "child"),
    "sound": ("bell", "dog", "drum", "clock", "motor", "siren"),
}
"""Every value is one word, occurs unchanged in captions, and belongs to one slot alone."""

VISUAL = ("colour", "object", "motion", "place")
"""Slots that the picture shows (and speech, if a voice says the word)."""
HEARD = ("speaker", "sound")
"""Slots that the sound itself shows: the voice, the source of the noise."""
SPOKEN = ("ingredient", "tool")
"""Slots that speech alone shows; they are never seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One slot of one clip."""

    value: str
    choices: tuple[str, ...]
    evidence: tuple[str, ...]
    """Modalities that show the value, sorted."""


def facts(values: Values, *, shown: Values, words: str | None) -> dict[str, Fact]:
    """Return each slot of a caption with its evidence.

    Args:
        values: the words of the caption.
        shown: the values in the picture; a caption's word that is not among them has no evidence
            there.
        words: the speech of the clip, or None.
    """
    spoken = set((words or "").split())
    known = {}
    for slot, value in values.items():
        evidence = set()
        if slot in VISUAL and shown.get(slot) == value:
            evidence.add("video")
        if slot in HEARD:
            evidence.add("audio")
        if value in spoken:
            evidence |= {"audio", "text"}
        known[slot] = Fact(value=value, choices=SLOTS[slot], evidence=tuple(sorted(evidence)))
    return known


# ------------------------------------------------------------------ combinations and splits

_SHARES = {"test": 1 / 6, "validation": 1 / 12}
"""Share of all combinations of visual values in each held-out split; training has the rest."""


def combinations(split: str) -> list[Values]:
    """Return the combinations of visual values of a split: ``train`` or one held out.

    Captions state all four values, so no caption occurs word for word in two splits. The partition
    is part of the world, equal for every seed.
    """
    every = [
        dict(zip(VISUAL, values, strict=True))
        for values in itertools.product(*(SLOTS[slot] for slot in VISUAL))
    ]
    choices("combinations").shuffle(every)
    bounds = {}
    start = 0
    for name, share in _SHARES.items():
        bounds[name] = (start, start + round(share * len(every)))
        start = bounds[name][1]
    first, last = bounds.get(split, (start, len(every)))
    return list(every[first:last])


def deal(split: str, n: int, draw: random.Random) -> list[Values]:
    """Return ``n`` combinations of a split: a few that cover all values, the others at random.

    A dozen covers every value of every slot. If the split has fewer than ``n``, they repeat.
    """
    pool = combinations(split)
    draw.shuffle(pool)
    seen: set[str] = set()
    first: list[Values] = []
    while len(seen) < sum(len(SLOTS[slot]) for slot in VISUAL):
        best = max(pool, key=lambda values: len(set(values.values()) - seen))
        pool.remove(best)
        first.append(best)
        seen |= set(best.values())
    ordered = first + pool
    dealt = [ordered[i % len(ordered)] for i in range(n)]
    draw.shuffle(dealt)
    return dealt
