"""Alterations of a model's streams during generation, which show how it uses them.

This module defines alterations and their names: ``video zeroed`` in long rows, and
``LABEL – video zeroed`` as a row's label. ``avbench.evaluation.perturb`` applies them. This module
does not need torch.
"""

from dataclasses import dataclass
from typing import Literal

How = Literal["zeroed", "swapped", "noised"]
"""``zeroed``: zeros replace the stream's tokens (Eq. 2). ``swapped``: its input comes from another
clip. ``noised``: noise is added to its input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alteration:
    """One alteration of some streams."""

    how: How
    streams: tuple[str, ...]
    """In the order of the row's configuration."""
    noise_db: float | None = None
    """Signal-to-noise ratio of noise, dB."""
    seed: int | None = None
    """Seed of the swapped clips or of the noise."""

    @property
    def name(self) -> str:
        """Name in long rows."""
        return f"{'+'.join(self.streams)} {self.how}"


def altered_label(label: str, name: str) -> str:
    """Return the label of a row under an alteration."""
    return f"{label} – {name}"
