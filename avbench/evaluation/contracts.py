"""The abstract class of metrics, with its input and output.

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
    """References for scoring, by id: clips, or videos in the paragraph protocol."""

    captions: Mapping[str, tuple[str, ...]]
    protocol: str = "coco"
    slots: Mapping[str, Mapping[str, Slot]] = field(default_factory=dict)
    """Known facts of each clip, if the dataset states them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One figure, ready for a table."""

    name: str
    value: float
    unit: str
    """``x100`` for the four caption metrics, ``%`` for accuracies."""
    signature: str
    """Signature: ``metric|option:value|…|version:…``."""
    per_item: Mapping[str, float] = field(default_factory=dict)
    """Id → the same figure for it alone; without the ids for which it is undefined."""
    higher_is_better: bool = True
    statistics: Float64[np.ndarray, "items K"] | None = field(default=None, compare=False)
    """One row for each id of ``per_item``, in its order. ``Metric.from_sums`` makes the figure of
    any multiset of ids from the sum of their rows. None: (figure, 1), so the figure is a mean."""


class Metric(ABC):
    """Scores hypotheses against references."""

    only: frozenset[str] | None = None
    """Set by the caller if it needs only these scores; others may be returned or left out."""
    clip_by_clip: bool = False
    """True: always scored by clip, even if the protocol joins the clips of a video."""

    @abstractmethod
    def score(
        self, hypotheses: Sequence[Mapping[str, str]], references: References
    ) -> Sequence[Sequence[Score]]:
        """Score several systems against the same references in one call.

        Args:
            hypotheses: for each system a mapping id → caption, with the ids of ``references``.
            references: of the hypotheses.

        Returns:
            The scores of each system; an empty sequence if the metric does not apply.
        """

    def from_sums(
        self,
        name: str,  # noqa: ARG002
        sums: Float64[np.ndarray, "R K"],
    ) -> Float64[np.ndarray, " R"]:
        """Make the figures of R resamples from the sums of their items' statistics.

        By default the mean, from the sum of the figures and their number.

        Args:
            name: the score's name.
            sums: one row a resample, see ``Score.statistics``.

        Returns:
            The figures, on the scale of ``Score.value``; NaN if undefined for a resample.
        """
        mean = np.full(len(sums), np.nan)
        np.divide(sums[:, 0], sums[:, 1], out=mean, where=sums[:, 1] > 0)
        return mean

    def close(self) -> None:  # noqa: B027
        """Release resources kept between calls, e.g. a process; by default nothing."""
