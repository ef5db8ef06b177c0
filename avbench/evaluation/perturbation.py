"""What is done to a model's streams when captions are generated, to see what it uses them for.

The one place for what an alteration is and what it is called: ``video zeroed`` in long rows, and
``LABEL – video zeroed`` as the name of a row. ``avbench.evaluation.perturb`` does it. Nothing here
needs torch.
"""

from collections.abc import Iterable
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


def explained(alterations: Iterable[Alteration]) -> list[str]:
    """What stands under a table that shows them."""
    notes: dict[str, None] = {}
    for made in alterations:
        match made.how:
            case "zeroed":
                text = "A zeroed stream is zeros at the cross-modal encoder (Eq. 2)."
            case "swapped":
                text = (
                    "A swapped stream is that of another clip, of another video as far as the "
                    f"split allows (a permutation without fixed points, seed {made.seed})."
                )
            case "noised":
                db = made.noise_db or 0.0
                share = 100 / (1 + 10 ** (db / 10))
                text = (
                    f"A noised stream has Gaussian noise added, {db:g} dB below the clip's own "
                    f"variance (frames then rounded to pixels; of words {share:.3g} % are "
                    f"replaced; seed {made.seed})."
                )
        notes[text] = None
    return list(notes)
