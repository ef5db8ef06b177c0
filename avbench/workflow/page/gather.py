"""A suite's report page from its report and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avbench.reports.collect import Report
from avbench.reports.page.contents import Evidence, Page, Section, Verdict
from avbench.reports.table import Picture, Sheet
from avbench.workflow.page import head, plots, provenance
from avbench.workflow.page.gallery import CLIPS, gallery


def suite_page(
    report: Report,
    sheets: Sequence[Sheet],
    *,
    clips: int = CLIPS,
    plugins_dir: Path | None = None,
    pictures: Sequence[Picture] = (),
) -> Page:
    """Return the contents of a suite's page.

    Args:
        report: what the suite's records say.
        sheets: its tables.
        clips: the most clips with captions; 0: none.
        plugins_dir: a folder of plugins, whose metrics claims and strata need.
        pictures: further pictures.
    """
    from avbench.analysis.claims.verdicts import notes, verdicts
    from avbench.analysis.modality_use import use_sheets
    from avbench.analysis.strata_tables import strata_sheets
    from avbench.core.registry import load
    from avbench.reports.systems import ScoreStatistics

    plan = report.plan
    statistics = ScoreStatistics(report.records, load(plugins_dir))
    use, strata = use_sheets(report), strata_sheets(statistics)
    shown = {sheet.title for sheet in sheets}
    sections = (
        Section(title="Tables", sheets=tuple(sheets)),
        Section(title="Modality use", sheets=tuple(s for s in use if s.title not in shown)),
        Section(title="Strata", sheets=tuple(strata)),
    )
    judged = verdicts(report, plugins_dir=plugins_dir)
    every = [sheet for section in sections for sheet in section.sheets]
    return Page(
        title=plan.title or plan.suite,
        suite=plan.suite,
        facts=head.facts(report),
        missing=head.missing(report),
        verdicts=tuple(_verdict(claim) for claim in judged["claims"]),
        verdict_notes=tuple(notes(judged)),
        sections=sections,
        plots=plots.plots(report, [s for s in strata if s.keys and s.keys[0][0] not in plan.datasets]),
        pictures=tuple(pictures),
        figures=provenance.figures(every),
        stages=provenance.stages(report.records),
        commands=provenance.commands(report),
        gallery=gallery(report.records, clips),
    )


def _verdict(claim: Mapping[str, Any]) -> Verdict:
    from avbench.analysis.claims.verdicts import background, conclusion, lines

    return Verdict(
        verdict=claim["verdict"],
        says=claim["says"],
        background=background(claim),
        unit="seeds" if claim["about"] == "methods" else "videos",
        conclusion=conclusion(claim),
        evidence=tuple(Evidence(**asdict(line)) for line in lines(claim)),
    )
