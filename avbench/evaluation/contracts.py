"""The abstract class of metrics, what it scores and what it gives.

Every class that implements it is final.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from avbench.core.types import Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """What hypotheses are scored against; ids are clips, or videos in the paragraph protocol."""

    captions: Mapping[str, tuple[str, ...]]
    protocol: str = "coco"
    slots: Mapping[str, Mapping[str, Slot]] = field(default_factory=dict)
    """Known facts per clip, where the dataset states them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One figure, ready for a table."""

    name: str
    value: float
    unit: str
    """``x100`` for the four caption metrics, ``%`` for accuracies."""
    signature: str
    """How it was made: ``metric|option:value|…|version:…``."""
    per_item: Mapping[str, float] = field(default_factory=dict)
    """The same figure for each id, where it is defined."""
    higher_is_better: bool = True
    statistics: Float64[np.ndarray, "items K"] | None = field(default=None, compare=False)
    """One row an id of ``per_item``, in its order, whose sum over any multiset of ids gives the
    figure of these by ``Metric.from_sums``. None: (figure, 1), so the figure is a mean."""


class Metric(ABC):
    """Hypotheses and references to scores."""

    only: frozenset[str] | None = None
    """Set by the host where it wants these scores alone; others may be given or left out."""
    clip_by_clip: bool = False
    """True: always scored by clip, also where the protocol joins the clips of a video."""

    @abstractmethod
    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """Score several systems against the same references, in one go.

        Args:
            hypotheses: one mapping id → caption a system; ids equal those of ``references``.
            references: what they are scored against.

        Returns:
            For each system its scores; the empty sequence where the metric does not apply.
        """

    def from_sums(
        self,
        name: str,  # noqa: ARG002
        sums: Float64[np.ndarray, "R K"],
    ) -> Float64[np.ndarray, " R"]:
        """A figure of R resamples from the sums of their items' statistics.

        By default the mean, from (sum of the figures, their number).

        Args:
            name: the score's name.
            sums: one row a resample, see ``Score.statistics``.

        Returns:
            The figures, on the scale of ``Score.value``; NaN where a resample defines none.
        """
        mean = np.full(len(sums), np.nan)
        np.divide(sums[:, 0], sums[:, 1], out=mean, where=sums[:, 1] > 0)
        return mean

    def close(self) -> None:  # noqa: B027
        """End what was kept between calls, e.g. a process; by default nothing."""
