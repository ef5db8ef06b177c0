"""The settings of evaluation: metrics, and alterations of a row's streams.

Frozen dataclasses. Each field states its unit and the paper's value, which is the default if there
is one. They are part of stages' specs and therefore hashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

from avbench.core.components import ComponentRef
from avbench.core.numbers import SEED, Number
from avbench.evaluation.perturbation import Alteration


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSettings:
    """Metrics, and generations with altered streams."""

    metrics: tuple[ComponentRef, ...] = ()
    zeroed: tuple[str, ...] = ()
    """Streams to zero, one at a time, in additional generations (modality use)."""
    swapped: tuple[str, ...] = ()
    """Streams to take from another clip, one at a time, in additional generations."""
    noised: tuple[str, ...] = ()
    """Streams to add noise to, one at a time, in additional generations."""
    noise_db: Annotated[float, Number(unit="dB", least=-200, most=200)] = 0.0
    """Signal-to-noise ratio of noised streams, dB; 0: noise of the clip input's variance."""
    alteration_seed: Annotated[int, SEED] = 0
    """Seed of swapped clips and of noise; the same for all rows."""
    shapley: bool = False
    """Zero every set of the row's streams, each in an additional generation, for the Shapley
    values of the modalities."""

    def alterations(self, encoded: Sequence[str]) -> tuple[Alteration, ...]:
        """Return the alterations of a row's streams, each once.

        Args:
            encoded: the row's streams that are not always zeroed. A single stream is zeroed only
                for Shapley values, because nothing is left without it.
        """
        asked = [
            *((m,) for m in self.zeroed if m in encoded and len(encoded) > 1),
            *(
                s
                for n in range(len(encoded) if self.shapley else 0)
                for s in combinations(encoded, n + 1)
            ),
        ]
        swapped = [m for m in self.swapped if m in encoded]
        noised = [m for m in self.noised if m in encoded]
        seed, db = self.alteration_seed, self.noise_db
        made = [
            *(Alteration(how="zeroed", streams=streams) for streams in asked),
            *(Alteration(how="swapped", streams=(m,), seed=seed) for m in swapped),
            *(Alteration(how="noised", streams=(m,), seed=seed, noise_db=db) for m in noised),
        ]
        return tuple(dict.fromkeys(made))
