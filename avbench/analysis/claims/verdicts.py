"""The verdicts on a suite's claims as plain data, and the sentences that say them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avbench.analysis import pretraining
from avbench.analysis.claims.evidence import POWER, Compared, Figures
from avbench.analysis.claims.judge import Judgement, judge
from avbench.config.claims import About, Claim
from avbench.core.options import build
from avbench.evaluation.statistics.estimate import LEVEL
from avbench.evaluation.statistics.resampling import EXCHANGES
from avbench.reports.collect import Report, collect
from avbench.reports.signatures import agreed, figures_by_seed
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import TITLES
from avbench.runner.plan import Plan, Store


def claims_data(
    plan: Plan, store: Store, *, about: About | None = None, plugins_dir: Path | None = None
) -> dict[str, Any]:
    """Return the verdicts on a plan's claims.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        about: the question for all claims; None: each claim's own.
        plugins_dir: a folder of plugins, for their metrics.
    """
    return verdicts(collect(plan, store), about=about, plugins_dir=plugins_dir)


def verdicts(
    report: Report, *, about: About | None = None, plugins_dir: Path | None = None
) -> dict[str, Any]:
    """Return the verdicts on the claims of a report's plan, as ``claims_data``."""
    claims = [build(Claim, dict(claim)) for claim in report.plan.claims]
    statistics = None
    if "models" in (about, *(claim.about for claim in claims if about is None)):
        from avbench.core.registry import load

        statistics = ScoreStatistics(report.records, load(plugins_dir))
    judgements = judge(claims, figures_of(report), statistics, about)
    return {
        "suite": report.plan.suite,
        "level": LEVEL,
        "power": POWER,
        "claims": [_plain(judgement) for judgement in judgements],
    }


def figures_of(report: Report) -> Figures:
    """Return a report's figures and the losses of its pre-trainings, as claims read them."""
    plan = report.plan
    absent: dict[tuple[str, str], str] = {}
    shown = agreed(report.figures.frame)
    for row in shown[shown["status"] != "ok"].to_dict("records"):
        status = row["status"]
        why = f"{status}: {row['reason']}" if row["reason"] else status
        place = (row["label"], row["dataset"])
        absent.setdefault(place, "has not run" if status == "pending" else why)
    for label in {str(x) for claim in plan.claims for x in (claim["row"], *claim["over"])}:
        if label not in set(report.figures.frame["label"]):
            absent[label, ""] = "is no row of this run"
    values = figures_by_seed(shown)
    for trial in plan.trials:
        logged = pretraining.of_trial(report.records, trial)
        for name, value in logged.items():
            values.setdefault((trial.label, "", name), {})[trial.seed] = value
        if not logged:
            why = (reason for (label, _), reason in absent.items() if label == trial.label)
            absent.setdefault((trial.label, ""), next(why, "has not run"))
    # The paper's tables spell the datasets in their own way.
    names = {dataset.lower(): dataset for dataset in plan.datasets}
    return Figures(
        values=values,
        published={
            (row["label"], names[row["dataset"].lower()], row["metric"]): row["value"]
            for row in report.paper.frame.to_dict("records")
            if row["dataset"].lower() in names
        },
        absent=absent,
        datasets=plan.datasets,
        cost_metrics=frozenset(plan.table["costs"]),
        loss_metrics=frozenset(pretraining.figures(plan)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One comparison of a claim, in words."""

    of: str
    """Dataset, metric, unit and rows."""
    difference: str = ""
    interval: str = ""
    """The 95 % interval."""
    n: str = ""
    """Seeds or videos."""
    p: str = ""
    """Two-sided; or the reason why there is no difference."""
    published: str = ""
    """The paper's difference."""


def lines(claim: Mapping[str, Any]) -> list[Line]:
    """Return the comparisons of a claim, as ``claims_data`` gives it, in words."""
    made = []
    for part in claim["comparisons"]:
        cost, unit = part["exact"], part["unit"]
        paper = _signed(part["published"]) if part["published"] is not None else ""
        of = _title(claim, part)
        if part["difference"] is None:
            made.append(Line(of=of, p=part["reason"], published=paper))
            continue
        p = "" if cost else _p(min(1.0, 2 * min(part["p_for"], part["p_against"])))
        made.append(
            Line(
                of=of,
                difference=_signed(part["difference"], unit),
                interval="" if cost else _interval(part["interval"], unit),
                n="" if cost else str(part["n"]),
                p=p,
                published=paper,
            )
        )
    return made


def background(claim: Mapping[str, Any]) -> str:
    """Return the source of a claim, its question and what it expects."""
    return "; ".join(
        filter(None, [claim["source"], f"about the {claim['about']}", _expected(claim)])
    )


def conclusion(claim: Mapping[str, Any]) -> str:
    """Return why a claim is open and what would decide it, or its corrected p; may be empty."""
    if claim["verdict"] in ("inconclusive", "not run"):
        return _open_reason(claim)
    return _corrected_p(claim) if claim["tested"] else ""


def _title(claim: Mapping[str, Any], part: Mapping[str, Any]) -> str:
    """Return the title of a comparison: dataset, metric, unit and rows."""
    metric = TITLES.get(part["metric"], part["metric"])
    where = f"{part['dataset']} " if part["dataset"] else ""
    unit = "%" if claim["percent"] else part["unit"]
    rows = f"{claim['row']} − {part['over']}"
    than = f", minus that on {part['than_on']}" if part["than_on"] else ""
    return f"{where}{metric}{f' ({unit})' if unit else ''}: {rows}{than}"


def _corrected_p(claim: Mapping[str, Any]) -> str:
    return f"corrected p {_p(claim['p'])}"


def _open_reason(claim: Mapping[str, Any]) -> str:
    """Return why a claim is open, and the number of seeds or videos that would decide it."""
    found = all(part["difference"] is not None for part in claim["comparisons"])
    p = f"{_corrected_p(claim)}; " if found and claim["tested"] else ""
    text: str = p + claim["reason"]
    if claim["needed"] is None:
        return text
    both = " in the smaller set, and proportionally more in the other" if claim["than_on"] else ""
    of_set = both if claim["unit"] == "videos" else ""
    return f"{text}; about {claim['needed']} {claim['unit']}{of_set} would decide it"


def notes(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield how the verdicts of ``claims_data`` were reached."""
    claims: Sequence[Mapping[str, Any]] = data["claims"]
    questions = {claim["about"] for claim in claims if claim["tested"]}
    tested = sum(claim["tested"] for claim in claims)
    if tested:
        yield (
            "p (two-sided) belongs to one comparison, corrected p to a claim. Verdicts are at "
            f"{100 * data['level']:g} %, with Holm's correction over these {tested} claims. "
            "Intervals belong to one comparison each."
        )
    if any(part["exact"] for claim in claims for part in claim["comparisons"]):
        yield "Costs do not vary: a claim on them is not tested, it holds or not."
    if "methods" in questions:
        yield (
            "About the methods: Student's t over the seeds that the rows share, on this test "
            "set. `--about models` asks whether a claim holds for these trained models alone."
        )
    if "models" in questions:
        yield (
            "About the models: p of a plain difference by approximate randomisation over videos "
            f"({EXCHANGES} exchanges), else by Student's t, as intervals are (jackknife over "
            "videos, corrected for skewness). Other seeds may give other models."
        )
    if any(claim["needed"] for claim in claims):
        yield (
            "To decide: the total number with which a test detects the measured difference, if it "
            f"is real, with a power of {100 * data['power']:g} %, at the level that remains after "
            "the correction."
        )


def _interval(ends: Sequence[float | None], unit: str) -> str:
    low, high = ends
    if low is None or high is None:
        return "unknown"
    return f"[{_signed(low, unit)}, {_signed(high, unit)}]"


def _signed(value: float, unit: str = "") -> str:
    # Losses differ by hundredths of a nat.
    places = 2 if unit == "nats" else 1
    return f"{round(value, places) + 0.0:+.{places}f}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plain(judgement: Judgement) -> dict[str, Any]:
    said = asdict(judgement.claim)
    return {
        **{k: list(v) if isinstance(v, tuple) else v for k, v in said.items()},
        "verdict": judgement.verdict,
        "p": judgement.p,
        "p_uncorrected": judgement.p_alone,
        "tested": judgement.tested,
        "needed": judgement.needed,
        "unit": judgement.unit,
        "reason": judgement.reason,
        "comparisons": [_part(part) for part in judgement.compared],
    }


def _part(part: Compared) -> dict[str, Any]:
    """Return a comparison as data; infinite ends of an interval, which JSON lacks, are null."""
    found = part.estimate
    ends = (
        [] if found is None else [x if math.isfinite(x) else None for x in (found.low, found.high)]
    )
    return {
        "over": part.over,
        "metric": part.metric,
        "dataset": part.dataset,
        "than_on": part.than_on,
        "unit": "nats" if not part.exact and not part.dataset else "",
        "exact": part.exact,
        "difference": None if found is None else found.value,
        "interval": ends or None,
        "n": 0 if found is None else found.n,
        "p_for": part.favours,
        "p_against": part.opposes,
        "randomised": part.exchanged,
        "published": part.published,
        "reason": part.reason,
    }


def _expected(claim: Mapping[str, Any]) -> str:
    unit = " %" if claim["percent"] else ""
    by = f"{claim['by']:g}{unit}"
    match claim["expect"]:
        case "same":
            text = f"expected: within {by}"
        case direction:
            text = f"expected: {direction}" + (f" by {by}" if claim["by"] else "")
    return text + (" on any dataset" if claim["holds_on"] == "any" else "")
