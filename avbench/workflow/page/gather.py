"""A suite's report page from its report and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from avbench.analysis.attention import attention_sheets
from avbench.analysis.claims.verdicts import background, conclusion, lines, notes, verdicts
from avbench.analysis.modality_use import use_sheets
from avbench.analysis.strata_tables import strata_sheets
from avbench.core.errors import AvbenchError
from avbench.core.registry import load
from avbench.reports.collect import Report
from avbench.reports.notes import stamp
from avbench.reports.page.contents import CLIPS, Evidence, Page, Plot, Section, Verdict
from avbench.reports.systems import ScoreStatistics
from avbench.reports.table import Picture, Sheet
from avbench.workflow.page import head, plots, provenance
from avbench.workflow.page.gallery import gallery

T = TypeVar("T")


def suite_page(
    report: Report,
    sheets: Sequence[Sheet],
    *,
    clips: int = CLIPS,
    plugins_dir: Path | None = None,
) -> Page:
    """Return the contents of a suite's page.

    Args:
        report: what the suite's records say.
        sheets: its tables.
        clips: the most clips with captions; 0: none.
        plugins_dir: a folder of plugins, whose metrics claims and strata need.
    """
    plan, absent = report.plan, list(head.missing(report))

    def part(name: str, make: Callable[[], T], otherwise: T) -> T:
        """Return a part of the page; one that cannot be made is left out, and the page says so."""
        try:
            return make()
        except AvbenchError as error:
            absent.append(f"{name}: {error}")
            return otherwise

    def stratified() -> list[Sheet]:
        return strata_sheets(ScoreStatistics(report.records, load(plugins_dir)))

    def attention() -> list[Picture]:
        made = attention_sheets(plan, report.records.store, plugins_dir=plugins_dir)
        return [picture for sheet in made for picture in sheet.pictures]

    shown, none = {sheet.title for sheet in sheets}, list[Sheet]()
    strata = list(stamp(plan, part("strata", stratified, none)))
    use = list(stamp(plan, part("modality use", lambda: use_sheets(report), none)))
    use = [sheet for sheet in use if sheet.title not in shown]
    sections = (
        Section(title="Tables", sheets=tuple(sheets)),
        Section(title="Modality use", sheets=tuple(use), folded=True),
        Section(title="Strata", sheets=tuple(strata), folded=True),
    )
    nothing: dict[str, Any] = {"claims": []}
    judged = part("claims", lambda: verdicts(report, plugins_dir=plugins_dir), nothing)
    divided = [sheet for sheet in strata if not {key[0] for key in sheet.keys} & {*plan.datasets}]
    drawn = part("plots", lambda: plots.plots(report, divided), tuple[Plot, ...]())
    captions = part("captions", lambda: gallery(report.records, clips), None)
    overlays = list[Picture]()
    if "attention" in plan.show:
        overlays = part("attention", attention, overlays)
    return Page(
        title=plan.title or plan.suite,
        facts=head.facts(report),
        missing=tuple(absent),
        verdicts=tuple(_verdict(claim) for claim in judged["claims"]),
        verdict_notes=tuple(notes(judged)) if judged["claims"] else (),
        sections=sections,
        plots=drawn,
        pictures=tuple(overlays),
        figures=provenance.figures(sheet for section in sections for sheet in section.sheets),
        stages=provenance.stages(report.records),
        commands=provenance.commands(report),
        gallery=captions,
    )


def _verdict(claim: Mapping[str, Any]) -> Verdict:
    return Verdict(
        verdict=claim["verdict"],
        says=claim["says"],
        background=background(claim),
        unit="seeds" if claim["about"] == "methods" else "videos",
        conclusion=conclusion(claim),
        evidence=tuple(Evidence(**asdict(line)) for line in lines(claim)),
    )
