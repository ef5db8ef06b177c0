"""Share of known facts that a caption states correctly (datasets that annotate slots).

A caption is right about a slot if it contains the clip's value, as whole words, and none of the
slot's other values in the dataset. Scores are in percent, higher is better. A caption that names
no value, or two, is wrong, so listing all values does not pay. ``slot_<name>`` is the share of the
clips that have the slot; ``slot_visual`` is the mean over the slots that only the picture shows,
``slot_audible`` over those that the sound shows. For each of the two means, ``…_chance`` is the
mean of one over the number of values, and ``…_frequent`` the score of always naming the most
frequent value of the scored clips.

Source: the slots of the embedded world; the rule is ours.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from statistics import fmean

import numpy as np
from jaxtyping import Float64

from avbench.api import DataError, Metric, References, Register, Score, Slot, hookimpl

Slots = Mapping[str, Mapping[str, Slot]]
"""Clip id → slot name → slot."""

RULE = "rule:value-and-no-other|case:lc|version:1"

MEANS: Mapping[str, Callable[[Slot], bool]] = {
    "slot_visual": lambda slot: slot.evidence == {"video"},
    "slot_audible": lambda slot: "audio" in slot.evidence,
}
"""Slots of each mean: those that only the picture shows, those that the sound shows."""


def right(caption: str, slot: Slot) -> bool:
    """Return True if a caption states the slot's value and none of its other choices.

    The longest of overlapping choices counts: ``dark red`` does not state ``red``.
    """
    return set(_values(slot.choices).findall(caption.lower())) == {slot.value.lower()}


def by_name(slots: Slots, takes: Callable[[Slot], bool] | None = None) -> dict[str, list[Slot]]:
    """Return the slots of all clips by name, sorted."""
    found: dict[str, list[Slot]] = {}
    for of_clip in slots.values():
        for name, slot in of_clip.items():
            if takes is None or takes(slot):
                found.setdefault(name, []).append(slot)
    return dict(sorted(found.items()))


def chance(slots: Slots) -> dict[str, float]:
    """Return the score of guessing among the choices, percent, for each slot name."""
    return {
        name: 100 * fmean(1 / len(slot.choices) for slot in group)
        for name, group in by_name(slots).items()
    }


def most_frequent(slots: Slots) -> dict[str, float]:
    """Return the score of always naming the most frequent value, percent, for each slot name."""
    return {
        name: 100 * max(Counter(slot.value for slot in group).values()) / len(group)
        for name, group in by_name(slots).items()
    }


class SlotAccuracy(Metric):
    """Accuracy for each slot, its two means, and their values without looking at the clip."""

    clip_by_clip = True

    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """See ``Metric.score``; without slots it does not apply.

        Raises:
            DataError: a slot's value is none of its choices, or a caption is missing.
        """
        slots = {i: of_clip for i, of_clip in references.slots.items() if of_clip}
        for clip, of_clip in slots.items():
            for name, slot in of_clip.items():
                if slot.value not in slot.choices:
                    raise DataError(
                        f"slot_accuracy: clip '{clip}', slot '{name}': value '{slot.value}' is "
                        f"none of its choices: {', '.join(slot.choices)}"
                    )
        return [_scores(system, slots) if slots else [] for system in hypotheses]

    def from_sums(self, name: str, sums: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
        """See ``Metric.from_sums``; a mean over slots leaves out those that no clip has."""
        if name not in MEANS:
            return super().from_sums(name, sums)
        hits, clips = sums[:, 0::2], sums[:, 1::2]
        shares = np.divide(hits, clips, out=np.zeros_like(hits), where=clips > 0)
        slots = (clips > 0).sum(1)
        mean = np.full(len(sums), np.nan)
        np.divide(shares.sum(1), slots, out=mean, where=slots > 0)
        return mean


def _scores(system: Mapping[str, str], slots: Slots) -> list[Score]:
    absent = next((clip for clip in slots if clip not in system), None)
    if absent is not None:
        raise DataError(f"slot_accuracy: no hypothesis for '{absent}'")
    hits = {
        (clip, name): 100.0 * right(system[clip], slot)
        for clip, of_clip in slots.items()
        for name, slot in of_clip.items()
    }
    signature = f"{RULE}|clips:{_clips_hash(slots)}"
    scores = []
    for name in by_name(slots):
        each = {clip: hits[clip, name] for clip in slots if name in slots[clip]}
        scores.append(_score(f"slot_{name}", fmean(each.values()), signature, each))
    for mean, takes in MEANS.items():
        part = {c: {n: s for n, s in group.items() if takes(s)} for c, group in slots.items()}
        part = {clip: group for clip, group in part.items() if group}
        if not part:
            continue
        names = list(by_name(part))
        of_name = [
            fmean(hits[clip, name] for clip in part if name in part[clip]) for name in names
        ]
        each = {clip: fmean(hits[clip, name] for name in part[clip]) for clip in part}
        rows = np.array(
            [
                [x for n in names for x in ((hits[c, n], 1.0) if n in group else (0.0, 0.0))]
                for c, group in part.items()
            ]
        )
        scores.append(_score(mean, fmean(of_name), signature, each, rows))
        scores.append(_score(f"{mean}_chance", fmean(chance(part).values()), signature))
        scores.append(_score(f"{mean}_frequent", fmean(most_frequent(part).values()), signature))
    return scores


def _score(
    name: str,
    value: float,
    signature: str,
    each: Mapping[str, float] | None = None,
    statistics: Float64[np.ndarray, "items K"] | None = None,
) -> Score:
    return Score(
        name=name,
        value=value,
        unit="%",
        signature=f"{name}|{signature}",
        per_item=each or {},
        statistics=statistics,
    )


def _clips_hash(slots: Slots) -> str:
    """Return the number of scored clips, and a hash of them and of their slots."""
    known = [
        [clip, name, slot.value, sorted(slot.choices), sorted(slot.evidence)]
        for clip in sorted(slots)
        for name, slot in sorted(slots[clip].items())
    ]
    listed = json.dumps(known, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return f"{len(slots)}-{hashlib.sha256(listed).hexdigest()[:8]}"


@lru_cache(maxsize=1024)
def _values(choices: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that finds any of the choices as whole words, the longest first."""
    longest = sorted({choice.lower() for choice in choices}, key=lambda c: (-len(c), c))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)")


@hookimpl
def register_metrics(register: Register) -> None:
    """Register the accuracy of known facts."""
    register(
        "slot_accuracy",
        lambda _options: SlotAccuracy(),
        source="avbench's embedded world AVScenes (docs/embedded-world.md)",
    )
