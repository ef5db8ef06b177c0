"""What a corpus at scale asks of machines, out of measured rates: shares, and the bottleneck."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a task takes of one thing, and how much of that there is."""

    of: str
    """In the plural, with its unit, e.g. ``cores``."""
    needed: float
    there: float

    @property
    def share(self) -> float:
        """Of what is there; above 1 it does not suffice."""
        return self.needed / self.there

    def __str__(self) -> str:
        return f"{self.needed:,.3g} of {self.there:,.4g} {self.of} ({self.share:.0%})"


def bottleneck(uses: Sequence[Use]) -> Use:
    """What is used up first."""
    return max(uses, key=lambda use: use.share)


def feeding(way: str, uses: Sequence[Use]) -> str:
    """Whether machines keep up with a training, and what would stop them first."""
    first = bottleneck(uses)
    verdict = (
        f"{1 / first.share:.1f} × what is needed is there, so training does not wait"
        if first.share <= 1
        else f"training runs at {1 / first.share:.0%} of its speed"
    )
    return f"{way}: {' and '.join(map(str, uses))}: {first.of} are the bottleneck; {verdict}."


@dataclass(frozen=True, kw_only=True)
class Time:
    """How long one thing is busy with a task."""

    of: str
    hours: float


def preparing(way: str, times: Sequence[Time]) -> str:
    """How long a task takes where everything is busy at once, and with what."""
    longest = max(times, key=lambda time: time.hours)
    said = ", ".join(f"{time.of} {time.hours:,.1f} h" for time in times)
    return f"{way}: {said}: {longest.of} are the bottleneck."
