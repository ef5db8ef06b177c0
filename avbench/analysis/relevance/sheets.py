"""The tables of ``avbench analyse relevance``, and the picture of words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from avbench.analysis.relevance.analysis import Analysis, Variant, by_key, paper, swapped
from avbench.analysis.relevance.figures import SetFigures, interval
from avbench.analysis.relevance.picture import words_picture
from avbench.analysis.relevance.sets import ALL
from avbench.analysis.relevance.written import ARS, SCR, corpora
from avbench.evaluation.statistics.estimate import Estimate
from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.table import Column, Inferred, Sheet, TableLayout

SUITE = "relevance"
SWAPPED = "swapped_pairs"
_UNHEARD = {"zero": "zero (they cover nothing)", "skip": "skip (SCR leaves them out)"}
SIZES = (
    Column(metric="videos", title="videos", decimals=0),
    Column(metric="clips", title="clips", decimals=0),
    Column(metric="captions", title="captions", decimals=0),
    Column(metric="spoken", title="clips with speech (%)", decimals=1),
    Column(metric="unseen", title="ARS of unseen words (%)", decimals=1),
)


def sheets(analysis: Analysis) -> list[Sheet]:
    """Return the paper's Table 1 with the picture of words, then the effect of each choice."""
    first = _table(analysis)
    if analysis.words:
        rule = f"unseen: {analysis.choices.unseen}"
        words = [(w.shown, w.ars, w.image > 0) for w in analysis.words]
        picture = words_picture(words, " ".join(_reading(analysis)), unseen=rule)
        first = replace(first, pictures=(picture,))
    return [first, *_sensitivity(analysis)]


def _table(analysis: Analysis) -> Sheet:
    """Sets and their splits, beside the paper's figures."""
    layout = TableLayout(
        title="Speech coverage (SCR) and audio relevance (ARS) of captions",
        columns=(),
        cost_columns=(
            *_pair(SCR, "SCR (%)", 2),
            *_pair(ARS, "ARS", 3),
            *(replace(c, group="Counted", exact=True, ranked=False) for c in SIZES),
        ),
    )
    long, shown = [], []
    intervals: dict[tuple[str, str, str], tuple[float, float]] = {}
    for f in analysis.figures:
        rows = list(_measured(f, analysis))
        long += rows
        shown += [replace(row, dataset="", split="", signature="") for row in rows]
        for metric, estimate in ((SCR, f.scr), (ARS, f.ars)):
            ends = interval(estimate)
            if ends is not None:
                intervals[f.title, "", metric] = ends
    sheet = pivot(Table.of(shown), layout, _notes(analysis), Inferred(intervals=intervals))
    return replace(sheet, table=Table.of(long))


def _pair(metric: str, group: str, decimals: int) -> Iterator[Column]:
    for name, title in ((metric, "here"), (f"{metric}_paper", "paper")):
        yield Column(
            metric=name, title=title, decimals=decimals, group=group, exact=True, ranked=False
        )


def _measured(f: SetFigures, analysis: Analysis) -> Iterator[Measurement]:
    """The long rows of one line of the table."""

    def row(metric: str, value: float | None, reason: str = "", **more: Any) -> Measurement:
        status = "ok" if value is not None else "missing"
        return Measurement(
            suite=SUITE,
            trial="",
            label=f.title,
            dataset=f.key,
            split=f.split,
            metric=metric,
            value=value,
            status=status,  # type: ignore[arg-type]
            reason=reason,
            **more,
        )

    signed = (
        (SCR, f.scr, f.scr_reason, "%", _scr_made(analysis)),
        (ARS, f.ars, f.ars_reason, "nats", _counted_from(analysis)),
    )
    for metric, estimate, reason, unit, how in signed:
        value = estimate.value if estimate else None
        made = f"{metric}|{analysis.choices.reading.signature}|{how}|captions:{f.list_hash}"
        yield row(metric, value, reason, unit=unit, signature=made if estimate else "")
    printed = paper(f) if f.split == ALL or _alone(f, analysis) else None
    if printed is not None:
        yield row(f"{SCR}_paper", printed[0], unit="%")
        yield row(f"{ARS}_paper", printed[1], unit="nats")
    yield row("videos", float(f.videos))
    yield row("clips", float(f.clips))
    yield row("captions", float(f.captions))
    yield row("spoken", 100 * f.spoken / f.clips, unit="%")
    if f.unseen is not None:
        yield row("unseen", f.unseen, unit="%")


def _scr_made(analysis: Analysis) -> str:
    return f"of:{analysis.choices.coverage}|pooled|unheard:{analysis.choices.unheard}"


def _alone(f: SetFigures, analysis: Analysis) -> bool:
    """Tell whether a set has only this split."""
    return sum(other.key == f.key for other in analysis.figures) == 1


def _counted_from(analysis: Analysis) -> str:
    counts = analysis.counts
    if counts is None:
        return ""
    return f"unseen:{counts.unseen}|audio:{counts.audio_total}|image:{counts.image_total}"


def _reading(analysis: Analysis) -> list[str]:
    """The notes on words and ARS."""
    said = [analysis.choices.reading.says()]
    counts = analysis.counts
    if counts is not None:
        rule = {
            "add": f"{counts.unseen.amount:g} is added to every count",
            "once": "they count as seen once",
            "zero": "they are worth 0",
            "highest": "they are worth as much as the highest of the others",
        }[counts.unseen.rule]
        said.append(
            f"ARS (Eq. 13): natural logarithm; words that no image caption has: {counts.unseen} "
            f"({rule}); words that no audio caption has are worth 0."
        )
        said += [
            f"{name.capitalize()} captions: {', '.join(corpus.titles)}; "
            + (f"{len(corpus.texts)} captions, " if corpus.texts else "")
            + f"{words} words."
            for name, corpus, words in corpora(analysis)
        ]
    return said


def _scr(analysis: Analysis) -> str:
    of = {
        "tokens": "tokens as they stand, stop words too (App. B)",
        "lemmas": "lemmas, stop words too",
        "content": "lemmas without stop words",
    }[analysis.choices.coverage]
    return (
        f"SCR compares {of}; pooled over captions; clips without a transcript: "
        f"{_UNHEARD[analysis.choices.unheard]}."
    )


def _swaps(variants: Sequence[Variant]) -> Iterator[str]:
    """The notes on choices that change the order by ARS from the paper's."""
    for variant in variants:
        pairs = swapped(variant.figures)
        if pairs:
            said = "; ".join(f"{one} and {other}" for one, other in pairs)
            yield f"{variant.title}: not in the paper's order: {said}."


def _notes(analysis: Analysis) -> list[str]:
    notes = [*_reading(analysis), _scr(analysis)]
    if any(interval(f.ars) or interval(f.scr) for f in analysis.figures):
        notes.append(
            "[…]: 95 % interval over videos (Student's t by the jackknife, corrected for "
            "skewness); word lists are fixed."
        )
    for f in analysis.figures:
        notes += [
            f"No interval of {title} in {f.title}: {estimate.reason}."
            for title, estimate in (("SCR", f.scr), ("ARS", f.ars))
            if estimate is not None and estimate.reason
        ]
    if any(len(s.splits) > 1 for s in analysis.sets):
        notes.append(
            "A set's own line: all its splits; captions that several of them hold count once."
        )
    notes += [f"{s.key}: speech from {s.speech_from}." for s in analysis.sets if s.speech_from]
    return [*notes, *_used(analysis), *_order(analysis.figures, analysis)]


def _used(analysis: Analysis) -> list[str]:
    """The note on the captions used and the clips lost."""
    lists = ", ".join(f"{f.title} {f.list_hash}" for f in analysis.figures)
    lost = ", ".join(f"{s.key} {s.lost} (malformed annotations)" for s in analysis.sets if s.lost)
    return [f"Lists of captions: {lists}; lost: {lost or 'none'}."]


def _order(figures: Sequence[SetFigures], analysis: Analysis) -> list[str]:
    """The note on the order of the sets by ARS, compared with the paper's."""
    whole = [f for f in figures if f.split == ALL or _alone(f, analysis)]
    known = [f for f in whole if f.ars is not None and paper(f) is not None]
    if len(known) < 2:
        return []
    pairs = swapped(whole)
    if not pairs:
        return ["The sets have the paper's order by ARS."]
    said = ", ".join(f"{one} and {other}" for one, other in pairs)
    return [f"The sets do not have the paper's order by ARS: {said} are swapped."]


def _sensitivity(analysis: Analysis) -> Iterator[Sheet]:
    """The tables of what the choices change: ARS, then SCR, if there is any."""
    for metric, title, decimals in ((ARS, "ARS", 3), (SCR, "SCR (%)", 2)):
        chosen = [v for v in analysis.variants if getattr(v, metric) or v is analysis.variants[0]]
        keys = [s.key for s in analysis.sets]
        rows = [row for v in chosen for row in _varied(v, metric)]
        if not any(row.status == "ok" and row.metric != SWAPPED for row in rows):
            continue
        columns = tuple(
            Column(metric=key, title=key, decimals=decimals, group=title, exact=True, ranked=False)
            for key in keys
        )
        if any(row.metric == SWAPPED for row in rows):
            swaps = Column(
                metric=SWAPPED, title="pairs swapped", decimals=0, group="Paper's order",
                exact=True, ranked=False, delta=False,
            )  # fmt: skip
            columns = (*columns, swaps)
        layout = TableLayout(
            title=f"How the choices that the paper leaves open move {metric.upper()}",
            columns=(),
            cost_columns=columns,
            delta_to=chosen[0].title if len(chosen) > 1 else None,
        )
        notes = _reading(analysis) if metric == ARS else [_reading(analysis)[0], _scr(analysis)]
        if metric == ARS:
            notes = [*_swaps(analysis.variants), *notes]
        if analysis.counts is not None and analysis.counts.closed:
            notes.append("Other choices of words need captions to count: --audio and --image.")
        sheet = pivot(
            Table.of([_shown(row) for row in rows]),
            layout,
            [
                "One choice changes at a time; all splits together.",
                *notes,
                *_used(analysis),
            ],
        )
        yield replace(sheet, table=Table.of(rows))


def _varied(variant: Variant, metric: str) -> Iterator[Measurement]:
    """The long rows of one choice."""

    def row(dataset: str, name: str, value: float | None, reason: str) -> Measurement:
        return Measurement(
            suite=SUITE,
            trial="",
            label=variant.title,
            axes={"choice": variant.title},
            dataset=dataset,
            split=ALL if dataset else "",
            metric=name,
            value=value,
            status="ok" if value is not None else "skipped" if variant.problem else "missing",
            reason=reason,
        )

    if variant.problem:
        yield row("", "", None, variant.problem)
        return
    found: Mapping[str, SetFigures] = by_key(variant.figures)
    for key, f in found.items():
        estimate: Estimate | None = getattr(f, metric)
        reason: str = getattr(f, f"{metric}_reason")
        yield row(key, metric, estimate.value if estimate else None, reason)
    if (
        metric == ARS
        and sum(paper(f) is not None and f.ars is not None for f in found.values()) > 1
    ):
        yield row("", SWAPPED, float(len(swapped(variant.figures))), "")


def _shown(row: Measurement) -> Measurement:
    """Make the dataset of a row its column."""
    metric = row.dataset if row.dataset else row.metric
    return replace(row, dataset="", split="", metric=metric, axes={})
