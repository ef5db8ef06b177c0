"""The contents of a report page, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from avbench.reports.table import Picture, Place, Sheet

CLIPS = 48
"""The most clips with captions, by default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """One line of the page's head."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One comparison of a claim, in words."""

    of: str
    difference: str
    interval: str
    n: str
    p: str
    published: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """A claim, its verdict and its evidence."""

    verdict: str
    says: str
    background: str
    """The source of the claim, its question and what it expects."""
    unit: str
    """The unit of ``Evidence.n``."""
    conclusion: str
    """The corrected p, or why the claim is open and what would decide it."""
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Some tables under one heading."""

    title: str
    sheets: tuple[Sheet, ...]
    folded: bool = False
    """Each table opens on a click."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line or set of points of a plot."""

    name: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Lower ends of a band around ``y``; empty: no band."""
    high: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    """A name of each point; empty: the series' name."""
    colour: int = 0
    """Number of a colour of the page; colours repeat."""
    dash: str = "solid"
    """``solid``, ``dashed``, ``dotted``, ``dotdash`` or ``dashdot``; empty: points alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """A plot that the page draws."""

    title: str
    caption: str
    x: str
    """Title of the axis."""
    y: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    """The values of x in order, if they are names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageFacts:
    """The provenance of one stage."""

    kind: str
    folder: str
    status: str
    facts: Mapping[str, str]
    """Commit, time, duration, machine and the like."""
    parents: Mapping[str, str]
    """Role → id of a stage."""
    options: str
    """Its settings, as JSON."""
    log: str
    """The end of its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """The origin of one figure with one seed."""

    seed: int | None
    value: float | None
    status: str
    reason: str
    record: str
    """Id of the stage whose record holds it."""
    signature: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row with one seed, whose captions the page shows."""

    label: str
    name: str
    """The label, with the seed if there are several."""
    altered: str = ""
    """Name of the alteration of its streams; empty: none."""
    base: int | None = None
    """Place of the same row without the alteration; None: this is that row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipCaptions:
    """A clip and its captions."""

    dataset: str
    id: str
    references: tuple[str, ...]
    speech: str
    captions: Mapping[int, str]
    """Place of a row → its caption."""
    scores: Mapping[int, float]
    """Place of a row → its score on this clip alone."""
    strip: str = ""
    """Frames side by side, as a data URL; empty: none is embedded."""
    sound: str = ""
    """The sound, as a data URL; empty: none is embedded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Clips with the captions of every row."""

    rows: tuple[Row, ...]
    clips: tuple[ClipCaptions, ...]
    score: str
    """Title of the score of single clips; empty: there is none."""
    notes: tuple[str, ...]
    """How the clips were chosen, and how many of how many are embedded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A report page; every part may be empty."""

    title: str
    facts: tuple[Fact, ...] = ()
    missing: tuple[str, ...] = ()
    """Figures that are missing, and why."""
    verdicts: tuple[Verdict, ...] = ()
    verdict_notes: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    plots: tuple[Plot, ...] = ()
    pictures: tuple[Picture, ...] = ()
    """Pictures that belong to no table, e.g. drawn by an analysis."""
    figures: Mapping[Place, tuple[Figure, ...]] = field(default_factory=dict)
    """The origin of the tables' figures, one a seed."""
    stages: Mapping[str, StageFacts] = field(default_factory=dict)
    """Stage id → its provenance."""
    commands: Mapping[str, str] = field(default_factory=dict)
    """Label → the command that runs its row again."""
    gallery: Gallery | None = None
