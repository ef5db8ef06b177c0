"""What is done to a model's streams when captions are generated, to see what it uses them for.

The one place for what an alteration is and what it is called: ``video zeroed`` in long rows, and
``LABEL – video zeroed`` as the name of a row. ``avbench.evaluation.perturb`` does it. Nothing here
needs torch.
"""

from dataclasses import dataclass
from typing import Literal

How = Literal["zeroed", "swapped", "noised"]
"""``zeroed``: zeros stand for the stream's tokens (Eq. 2). ``swapped``: its input is another
clip's. ``noised``: noise is added to its input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alteration:
    """What is done to which streams."""

    how: How
    streams: tuple[str, ...]
    """In the order of the row's configuration."""
    noise_db: float | None = None
    """Of noise: signal over noise, dB."""
    seed: int | None = None
    """Of what is drawn: which clip comes from where, or the noise."""

    @property
    def name(self) -> str:
        """What long rows call it."""
        return f"{'+'.join(self.streams)} {self.how}"


def altered_label(label: str, name: str) -> str:
    """What a row is called under an alteration."""
    return f"{label} – {name}"
