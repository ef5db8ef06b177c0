"""The facts that captions state, their values, and which combinations are kept for testing."""

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
"""Every value is one word, stands as it is in captions, and belongs to one slot alone."""

VISUAL = ("colour", "object", "motion", "place")
"""Told by the picture (and by speech where a voice says the word)."""
HEARD = ("speaker", "sound")
"""Told by the sound itself: whose voice it is, what makes the noise."""
SPOKEN = ("ingredient", "tool")
"""Told by speech alone: nothing of them is ever seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One slot of one clip."""

    value: str
    choices: tuple[str, ...]
    evidence: tuple[str, ...]
    """Modalities that tell the value, sorted."""


def facts(values: Values, *, shown: Values, words: str | None) -> dict[str, Fact]:
    """What each slot of a caption can be known from.

    Args:
        values: the words of the caption.
        shown: what the picture shows; a caption's word that it does not show has no evidence
            in the picture.
        words: what is spoken in the clip, or None.
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
"""Share of all combinations of visual values kept for each split; the rest is for training."""


def combinations(split: str) -> list[Values]:
    """The combinations of visual values that belong to a split: ``train`` or one held out.

    Captions state all four, so no caption of one split can stand word for word in another. The
    partition is part of the world, the same for every seed.
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
    """``n`` combinations of a split: as few as cover all values, the others at random.

    A dozen covers every value of every slot. Where the split has fewer than ``n``, they repeat.
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
