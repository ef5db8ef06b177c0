"""What a suite may state under ``claims``: differences between its rows that it expects.

::

    claims:
      - says: "MBP improves the performance by a large margin on four datasets."
        source: "Sec. 4.3, Multi-modal pre-training objectives; Table 2"
        row: MBP
        over: [plain]
      - says: "Global fusion helps on the sound events more than on the speech."
        row: Global
        over: [Merged]
        datasets: [vatex]
        than_on: [youcook2]

A claim changes no result and is part of no stage's id. ``avbench.analysis.claims.judge`` gives the
verdicts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from avbench.config.strict_yaml import Document, Problems
from avbench.core.errors import unknown
from avbench.evaluation.perturbation import altered_label

About = Literal["methods", "models"]
"""``methods``: would it hold if all were trained again (other seeds, this test set)?
``models``: does it hold of these trained models (other videos)? See
``avbench.evaluation.statistics``."""

PLURAL = {"cost": "costs", "loss": "losses"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One expectation: ``row`` compared with each of ``over``, by each metric."""

    says: str
    """The claim in words; a paper's sentence where it is one."""
    source: str = ""
    """The place of the sentence."""
    row: str
    """The label of a row; altered ones are ``LABEL – ALTERATION``: ``plain – video zeroed``."""
    over: tuple[str, ...]
    """The labels of the rows that it is compared with; the claim must hold for each."""
    metrics: tuple[str, ...] = ("cider",)
    """Scores, or costs, or figures at the end of pre-training, by name; the claim must hold for
    each. The last are ``L`` and ``L_STREAM``, losses in nats a token, and ``gap_STREAM``, the
    second less the first (``avbench.analysis.pretraining``)."""
    datasets: tuple[str, ...] = ()
    """The datasets that it speaks of; empty: all that the suite fine-tunes on."""
    holds_on: Literal["all", "any"] = "all"
    """Whether it must hold on all of the datasets, or on any of them."""
    than_on: tuple[str, ...] = ()
    """An interaction: the difference on each of ``datasets`` less that on each of these."""
    expect: Literal["more", "less", "same"] = "more"
    """What ``row`` gives beside ``over``."""
    by: float = 0.0
    """By more than this (``more``, ``less``), or by at most this (``same``), in the metric's
    points, or percent."""
    percent: bool = False
    """Whether differences are in percent of ``over``'s figure."""
    about: About = "methods"

    def __post_init__(self) -> None:
        for name in ("over", "metrics"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one, got none")
        if self.by < 0:
            raise ValueError(f"by must not be negative, got {self.by}; expect says the direction")
        if self.expect == "same" and self.by == 0:
            raise ValueError("expect: same needs the largest difference that is none (by), got 0")


def check_claims(
    claims: Sequence[Claim],
    *,
    labels: Mapping[str, Collection[str]],
    datasets: Collection[str],
    scores: Collection[str],
    costs: Collection[str],
    losses: Collection[str],
    doc: Document,
    problems: Problems,
) -> None:
    """Note every name in claims that is none.

    Args:
        claims: as read.
        labels: of all rows, each with the alterations that it is evaluated under.
        datasets: that the suite fine-tunes on.
        scores: that its tables show.
        costs: that its table shows; they belong to no dataset.
        losses: figures of its pre-trainings; nor do they.
        doc: the suite.
        problems: what is wrong so far.
    """
    rows = [*labels, *(altered_label(label, a) for label, given in labels.items() for a in given)]
    for i, claim in enumerate(claims):
        named = {
            "row": ("row", [claim.row], rows),
            "over": ("row", claim.over, rows),
            "datasets": ("dataset", claim.datasets, datasets),
            "than_on": ("dataset", claim.than_on, datasets),
            "metrics": ("metric of this suite's table", claim.metrics, [*scores, *costs, *losses]),
        }
        for field, (what, names, allowed) in named.items():
            for j, name in enumerate(names):
                if name not in allowed:
                    mark = doc.mark(("claims", i, field, j))
                    problems.add(mark, f"claims.{i}.{field}: {unknown(what, name, allowed)}")
        for what, known in (("cost", costs), ("loss", losses)):
            of_none = [m for m in claim.metrics if m in known]
            if of_none and (claim.datasets or claim.than_on or len(of_none) < len(claim.metrics)):
                problems.add(
                    doc.mark(("claims", i, "metrics")),
                    f"claims.{i}.metrics: the {what} '{of_none[0]}' belongs to no dataset; a "
                    f"claim on {PLURAL[what]} names no datasets and nothing else",
                )
        lossy = next((m for m in claim.metrics if m in losses), None)
        if lossy is not None and claim.about == "models":
            problems.add(
                doc.mark(("claims", i, "about")),
                f"claims.{i}.about: the loss '{lossy}' has no videos to draw from, got 'models'; "
                "allowed: methods",
            )
        if claim.row in claim.over:
            problems.add(
                doc.mark(("claims", i, "over")),
                f"claims.{i}.over: '{claim.row}' is compared with itself",
            )
