"""The reports of a suite beside its tables: strata, use of modalities, captions, relevance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avbench.analysis.captions import Choice, caption_sheets
from avbench.config.overrides import EMBEDDED
from avbench.config.showing import Show
from avbench.core.errors import AvbenchError
from avbench.reports.collect import collect
from avbench.reports.formats import long
from avbench.reports.notes import stamp
from avbench.reports.page.contents import CLIPS
from avbench.reports.records import Records
from avbench.reports.table import Sheet
from avbench.runner.plan import Plan, Store
from avbench.workflow.reporting import SuiteReport, suite_report


def strata_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    plugins_dir: Path | None = None,
    words: Path | None = None,
) -> SuiteReport:
    """Return the scores by stratum and the diversity of captions.

    ``words``: the file of ``avbench analyse relevance`` with counts of words, for ARS. Without it
    only the embedded world's words have an ARS.

    Raises:
        AvbenchError: no captions have been scored yet.
    """
    from avbench.analysis.relevance.reading import counts_of
    from avbench.analysis.strata_tables import strata_sheets
    from avbench.core.registry import load
    from avbench.reports.systems import ScoreStatistics

    counts = counts_of(words) if words is not None else None
    statistics = ScoreStatistics(Records.read(plan, store), load(plugins_dir))
    sheets = stamp(plan, strata_sheets(statistics, counts))
    if not sheets:
        raise AvbenchError(f"{plan.suite}: nothing has been scored yet; use 'avbench run' first")
    return _other("strata", plan, sheets, folder)


def modality_use_report(plan: Plan, store: Store, folder: Path) -> SuiteReport:
    """Return tables and figures on the modalities that the models use.

    Raises:
        AvbenchError: the suite pre-trains nothing and alters no streams.
    """
    from avbench.analysis.modality_use import use_sheets

    sheets = stamp(plan, use_sheets(collect(plan, store)))
    if not sheets:
        raise AvbenchError(
            f"{plan.suite}: no data on modality use: no row is pre-trained, and evaluate has "
            "none of zeroed, swapped, noised, shapley"
        )
    return _other("modality-use", plan, sheets, folder)


def captions_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    clips: int | Sequence[str] | None = None,
    seed: int | None = None,
) -> SuiteReport:
    """Return the captions of the rows beside the ground truth (Figs. 1 and B).

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the usual folder of its files.
        clips: how many of each dataset, or their ids; None: as the suite says.
        seed: of the draw; None: as the suite says.

    Raises:
        AvbenchError: there are no captions yet, or a clip is in no dataset.
    """
    asked = plan.shown["captions"]
    drawn = asked["seed"] if seed is None else seed
    choice = Choice(clips if isinstance(clips, int) else asked["clips"], drawn)
    if clips is not None and not isinstance(clips, int):
        if seed is not None:
            raise AvbenchError(f"clip seed {seed}: clips are named, so none is drawn")
        choice = Choice(ids=tuple(clips))
    sheets = stamp(plan, caption_sheets(Records.read(plan, store), choice))
    if not sheets:
        raise AvbenchError(f"{plan.suite}: there are no captions yet; use 'avbench run' first")
    return _other("captions", plan, sheets, folder)


def attention_report(
    plan: Plan,
    store: Store,
    folder: Path,
    *,
    clips: int | Sequence[str] | None = None,
    seed: int | None = None,
    plugins_dir: Path | None = None,
) -> SuiteReport:
    """Return the attention from sound to the picture (Fig. 5), rolled out and drawn over frames.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the usual folder of its files.
        clips: how many clips with sound are drawn from each dataset, or ids; None: the usual
            number.
        seed: fixes the draw; None: 0.
        plugins_dir: a folder of plugins, whose components the captioners may need.

    Raises:
        AvbenchError: the suite fine-tunes nothing, no dataset has a clip of that id, or a seed is
            given with clips.
    """
    from avbench.analysis.attention import CLIPS as USUAL
    from avbench.analysis.attention import attention_sheets

    ids = () if clips is None or isinstance(clips, int) else tuple(clips)
    if ids and seed is not None:
        raise AvbenchError(f"clip seed {seed}: clips are named, so none is drawn")
    made = attention_sheets(
        plan,
        store,
        clips=ids,
        count=clips if isinstance(clips, int) else USUAL,
        seed=seed or 0,
        plugins_dir=plugins_dir,
    )
    sheets = stamp(plan, made)
    if not sheets:
        raise AvbenchError(f"{plan.suite}: no captioner to look into: the suite fine-tunes none")
    return _other("attention", plan, sheets, folder)


def relevance_report(plan: Plan, folder: Path, *, plugins_dir: Path | None = None) -> SuiteReport:
    """Return the speech coverage and audio relevance of captions (Table 1, Fig. A).

    Raises:
        AvbenchError: the captions or the speech of a dataset are missing or malformed.
    """
    from avbench.analysis.relevance.asked import analysis
    from avbench.analysis.relevance.sets import sources
    from avbench.analysis.relevance.sheets import sheets
    from avbench.core.registry import load

    asked, registry = plan.shown["relevance"], load(plugins_dir)
    words = {name: asked[name] for name in ("audio", "image")}
    absent: list[str] = []
    if plan.data == EMBEDDED:
        words = dict.fromkeys(words, ())  # the world comes with counts of words
    else:
        known = sources(plan.data, registry)
        absent = [key for keys in words.values() for key in keys if key not in known]
    found = analysis(
        registry,
        data=plan.data,
        keys=asked["datasets"],
        **(dict.fromkeys(words, ()) if absent else words),
        top=asked["top"],
        sensitivity=asked["sensitivity"],
    )
    first, *others = sheets(found)
    if absent:
        said = f"ARS is not measured: the data file has no {', '.join(absent)}."
        first = replace(first, notes=(said, *first.notes))
    return _other("relevance", plan, [first, *others], folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The choices of a report; each belongs to some kinds, and other kinds leave it alone."""

    intervals: str | None = None
    """Of ``table``: see ``avbench.report``."""
    published: bool = False
    """Of ``table``: published figures of rows beside ours."""
    words: Path | None = None
    """Of ``strata``: counts of words."""
    clips: int | Sequence[str] | None = None
    """Of the page of ``table``, how many; of ``captions`` and ``attention``, how many of each
    dataset or their ids."""
    clip_seed: int | None = None
    """Of ``captions`` and ``attention``: seed of the draw."""


def report_of(
    kind: str,
    plan: Plan,
    store: Store,
    folder: Path,
    asked: Asked,
    *,
    plugins_dir: Path | None = None,
) -> SuiteReport:
    """Return a report of a suite.

    Raises:
        AvbenchError: its data are not there yet, or are at fault.
    """
    match kind:
        case "strata":
            return strata_report(plan, store, folder, plugins_dir=plugins_dir, words=asked.words)
        case "modality-use":
            return modality_use_report(plan, store, folder)
        case "captions":
            return captions_report(plan, store, folder, clips=asked.clips, seed=asked.clip_seed)
        case "attention":
            return attention_report(
                plan,
                store,
                folder,
                clips=asked.clips,
                seed=asked.clip_seed,
                plugins_dir=plugins_dir,
            )
        case "relevance":
            return relevance_report(plan, folder, plugins_dir=plugins_dir)
    return suite_report(
        plan,
        store,
        folder,
        intervals=asked.intervals,
        published=asked.published,
        clips=asked.clips if isinstance(asked.clips, int) else CLIPS,
        plugins_dir=plugins_dir,
    )


def _other(kind: Show, plan: Plan, sheets: Sequence[Sheet], folder: Path) -> SuiteReport:
    return SuiteReport(
        suite=plan.suite,
        kind=kind,
        sheets=tuple(sheets),
        rows=long.whole(sheets),
        failures={},
        unfinished=0,
        folder=folder,
    )
