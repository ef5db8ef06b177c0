"""Demands of a corpus at scale on machines, from measured rates: shares, and the bottleneck."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Use:
    """A task's demand on one resource, and the amount that there is."""

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
    """The resource that is used up first."""
    return max(uses, key=lambda use: use.share)


def feeding(way: str, uses: Sequence[Use]) -> str:
    """Return the load of machines that feed a training, and their first bottleneck."""
    first = bottleneck(uses)
    verdict = (
        f"{1 / first.share:.1f} × what is needed is there, so training does not wait"
        if first.share <= 1
        else f"training runs at {1 / first.share:.0%} of its speed"
    )
    return f"{way}: {' and '.join(map(str, uses))}: {first.of} are the bottleneck; {verdict}."


@dataclass(frozen=True, kw_only=True)
class Time:
    """The time for which one resource is busy with a task."""

    of: str
    hours: float


def preparing(way: str, times: Sequence[Time]) -> str:
    """The time of a task where everything is busy at once, and its bottleneck."""
    longest = max(times, key=lambda time: time.hours)
    said = ", ".join(f"{time.of} {time.hours:,.1f} h" for time in times)
    return f"{way}: {said}: {longest.of} are the bottleneck."
