"""The claims of a suite (``claims``): differences that it expects between its rows.

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

A claim changes no result and enters no stage's id. ``avbench.analysis.claims.judge`` gives the
verdicts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from avbench.config.strict_yaml import Document, Problems
from avbench.core.errors import unknown
from avbench.core.numbers import Number
from avbench.evaluation.perturbation import altered_label

About = Literal["methods", "models"]
"""``methods``: would the claim hold if all were trained again (other seeds, this test set)?
``models``: does it hold for these trained models (other videos)? See
``avbench.evaluation.statistics``."""

PLURAL = {"cost": "costs", "loss": "losses"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """One expected difference: ``row`` compared with each of ``over``, by each metric."""

    says: str
    """The claim in words, e.g. a sentence of a paper."""
    source: str = ""
    """Place of the sentence, e.g. a section or table of the paper."""
    row: str
    """Label of a row; with altered streams ``LABEL – ALTERATION``, e.g. ``plain – video
    zeroed``."""
    over: tuple[str, ...]
    """Labels of the rows that it is compared with; the claim must hold for each."""
    metrics: tuple[str, ...] = ("cider",)
    """Names of scores, of costs, or of losses at the end of pre-training; the claim must hold for
    each. Losses are ``L`` and ``L_STREAM``, in nats per token, and ``gap_STREAM``, the second
    minus the first (``avbench.analysis.pretraining``)."""
    datasets: tuple[str, ...] = ()
    """Datasets that the claim is about; empty: all that the suite fine-tunes on."""
    holds_on: Literal["all", "any"] = "all"
    """``all``: the claim must hold on each of the datasets; ``any``: on at least one."""
    than_on: tuple[str, ...] = ()
    """An interaction: the difference on each of ``datasets`` minus that on each of these."""
    expect: Literal["more", "less", "same"] = "more"
    """Expected figure of ``row`` relative to ``over``."""
    by: Annotated[float, Number(unit="points or percent", least=0, most=1000000)] = 0.0
    """Least difference (``more``, ``less``) or largest difference (``same``), in points of the
    metric or in percent."""
    percent: bool = False
    """True: differences are in percent of ``over``'s figure."""
    about: About = "methods"

    def __post_init__(self) -> None:
        for name in ("over", "metrics"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one, got none")
        if self.expect == "same" and self.by == 0:
            raise ValueError(
                "expect: same needs the largest difference that counts as none (by), got 0"
            )


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
    """Check every name in claims, and that the fields of each claim fit together.

    Args:
        claims: the claims as read.
        labels: the labels of all rows, each with its alterations.
        datasets: the datasets that the suite fine-tunes on.
        scores: the scores that its tables show.
        costs: the costs that its table shows; they belong to no dataset.
        losses: the losses of its pre-trainings; they belong to no dataset either.
        doc: the suite.
        problems: collects errors.
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
                    f"claim on {PLURAL[what]} must name no datasets and no other metrics",
                )
        lossy = next((m for m in claim.metrics if m in losses), None)
        if lossy is not None and claim.about == "models":
            problems.add(
                doc.mark(("claims", i, "about")),
                f"claims.{i}.about: the loss '{lossy}' has no videos to resample, got 'models'; "
                "allowed: methods",
            )
        if claim.row in claim.over:
            problems.add(
                doc.mark(("claims", i, "over")),
                f"claims.{i}.over: '{claim.row}' is compared with itself",
            )
