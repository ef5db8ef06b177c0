"""Which frames of a clip are read: by time stamps, so that a variable frame rate is no matter.

A clip's time, from its first frame to the end of its last, is cut into n equal segments. In
training one frame is drawn at random from each; in testing the frame that is on the screen at
each segment's centre is taken ("uniform"). A frame belongs to the segment in which its time
stamp lies. A segment in which no frame begins gives the frame on the screen at its centre, so a
clip of fewer frames than n repeats some. A clip of exactly n frames at an even rate gives each
once.

Source: the paper, Sec. 4.2 ("one random frame from each of 16 equal segments", uniform in
testing); it leaves open what uniform means, and what a short clip gives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

EPSILON = 1e-6
"""Seconds by which a frame may come late and still count as on the screen."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The frames of a clip in time.

    Attributes:
        times: when each frame comes on, seconds in the file, ascending.
        start: where the first segment begins, seconds.
        end: where the last segment ends, seconds; after ``start``.
    """

    times: Sequence[float]
    start: float
    end: float

    def __post_init__(self) -> None:
        if not len(self.times) or not self.end > self.start:
            raise ValueError(
                "a timeline needs a frame and a positive length, "
                f"got {len(self.times)} frames from {self.start} to {self.end}"
            )


def uniform(timeline: Timeline, n: int) -> list[int]:
    """The frames on the screen at the centres of n equal segments: indices, ascending."""
    return _shown(timeline, _edges(timeline, n)[:-1] + _length(timeline, n) / 2)


def random_in_segments(timeline: Timeline, n: int, generator: torch.Generator) -> list[int]:
    """One random frame of each of n equal segments: indices, ascending.

    The generator is advanced by n draws, whatever the frames are.
    """
    edges = _edges(timeline, n)
    times = np.asarray(timeline.times, dtype=np.float64)
    first = np.searchsorted(times, edges[:-1] - EPSILON, side="left")
    last = np.searchsorted(times, edges[1:] - EPSILON, side="left")
    centres = _shown(timeline, edges[:-1] + _length(timeline, n) / 2)
    draws = torch.rand(n, generator=generator, dtype=torch.float64).numpy()
    drawn = first + np.floor(draws * (last - first)).astype(np.int64)
    return [int(d) if m > f else c for d, f, m, c in zip(drawn, first, last, centres, strict=True)]


def _length(timeline: Timeline, n: int) -> float:
    if n < 1:
        raise ValueError(f"the number of frames must be at least 1, got {n}")
    return (timeline.end - timeline.start) / n


def _edges(timeline: Timeline, n: int) -> NDArray[np.float64]:
    return timeline.start + _length(timeline, n) * np.arange(n + 1, dtype=np.float64)


def _shown(timeline: Timeline, at: NDArray[np.float64]) -> list[int]:
    """The frame on the screen at each time; before the first frame, the first."""
    times = np.asarray(timeline.times, dtype=np.float64)
    found = np.searchsorted(times, at + EPSILON, side="right") - 1
    return [int(i) for i in np.maximum(found, 0)]
