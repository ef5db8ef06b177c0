"""The settings of what a suite shows: which reports, and their choices. They change no result."""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from avbench.core.numbers import SEED, Number

Show = Literal["table", "strata", "modality-use", "captions", "attention", "relevance"]
"""The reports of ``avbench report``."""

SHOWN: tuple[str, ...] = get_args(Show)

UNTRAINED = frozenset({"relevance"})
"""Reports that need no row."""

CLIPS = Number(unit="clips", least=1, most=1000)
WORDS = Number(unit="words", least=1, most=10_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionSettings:
    """Clips whose captions stand beside the ground truth."""

    clips: Annotated[int, CLIPS] = 3
    """Clips of each dataset, drawn from those on which the rows' captions differ."""
    seed: Annotated[int, SEED] = 0
    """Seed of the draw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelevanceSettings:
    """Captions and words of the analysis of audio relevance (Table 1, Fig. A)."""

    datasets: tuple[str, ...] = field(default_factory=tuple)
    """Datasets whose captions are analysed; none: all but those below."""
    audio: tuple[str, ...] = field(default_factory=tuple)
    """Captions of sound: datasets of the data file. The embedded world brings its own counts."""
    image: tuple[str, ...] = field(default_factory=tuple)
    """Captions of images, the same."""
    top: Annotated[int, WORDS] = 100
    """Words with the highest ARS in the picture."""
    sensitivity: bool = True
    """Show the results of other choices too."""
