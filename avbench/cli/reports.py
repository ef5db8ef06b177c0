"""``avbench report``: writes tables to a folder, and prints them as text or JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from avbench.cli.commands.common import print_json, say
from avbench.cli.progress import console as make_console
from avbench.core.errors import AvbenchError
from avbench.runner.plan import Plan, Store
from avbench.workflow.reporting import (
    READ_ONLY,
    SuiteReport,
    Written,
    attention_report,
    modality_use_report,
    strata_report,
    suite_report,
    write_sheets,
)

if TYPE_CHECKING:
    from avbench.analysis.relevance.analysis import Analysis
    from avbench.reports.table import Sheet


def _conclude(written: Written) -> None:
    """Say after the tables that they were not written, if so.

    Raises:
        AvbenchError: they were not, and the folder is not just read-only.
    """
    if written.fault is None:
        return
    said = f"{written.folder}: the tables are only printed, not written: {written.fault.strerror}"
    if written.fault.errno not in READ_ONLY:
        raise AvbenchError(said)
    say(f"note: {said}", stderr=True)


def _print_report(
    made: SuiteReport,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    places: Mapping[str, str],
) -> None:
    """Write a report, and print its tables, or its plain data as JSON."""
    written = made.written(formats, folder)
    if as_json:
        print_json({**made.to_json(), "files": written.files})
    else:
        _show(made.sheets, made.failures, {**written.files, **places})
    _conclude(written)


def write_strata(
    plan: Plan,
    store: Store,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    plugins_dir: Path | None = None,
    words: Path | None = None,
) -> None:
    """Write and print the scores by stratum and the diversity of captions.

    ``words``: the file of ``avbench analyse relevance`` with counts of words, for ARS. Without it
    only the embedded world's words have an ARS.

    Raises:
        AvbenchError: no captions have been scored yet.
    """
    made = strata_report(plan, store, folder, plugins_dir=plugins_dir, words=words)
    _print_report(made, folder, formats, as_json, {})


def write_modality_use(
    plan: Plan, store: Store, folder: Path, formats: Sequence[str], as_json: bool
) -> None:
    """Write and print tables and figures on the modalities that the models use.

    Raises:
        AvbenchError: the suite pre-trains nothing and alters no streams.
    """
    _print_report(modality_use_report(plan, store, folder), folder, formats, as_json, {})


def write_attention(
    plan: Plan,
    store: Store,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    *,
    clips: Sequence[str] = (),
    seed: int | None = None,
    plugins_dir: Path | None = None,
) -> None:
    """Write and print the attention from sound to the picture, with its pictures.

    Raises:
        AvbenchError: the suite fine-tunes nothing, or no dataset has a clip of that id.
    """
    made = attention_report(plan, store, folder, clips=clips, seed=seed, plugins_dir=plugins_dir)
    _print_report(made, folder, formats, as_json, {})


def write_relevance(
    analysis: "Analysis", folder: Path, formats: Sequence[str], as_json: bool
) -> None:
    """Write and print the tables of an analysis of relevance; write its words as well."""
    from avbench.analysis.relevance.sheets import sheets
    from avbench.analysis.relevance.written import to_json, words_csv

    made = sheets(analysis)
    written = write_sheets(made, folder, "table", formats)
    if analysis.words:
        written.write("words", "words.csv", words_csv(analysis))
    if as_json:
        print_json({**to_json(analysis), "files": written.files})
    else:
        _show(made, {}, written.files)
    _conclude(written)


def print_sheets(sheets: Sequence["Sheet"]) -> None:
    """Print tables."""
    _show(sheets, {}, {})


def _show(
    sheets: Sequence["Sheet"], failures: Mapping[str, str], files: Mapping[str, str]
) -> None:
    """Print tables, failed stages, and the paths of files."""
    from avbench.reports.formats import renderables

    console = make_console()
    for item in renderables(sheets, console.width):
        console.print(item)
    for stage, reason in failures.items():
        console.print(Text(f"failed: {stage}: {reason}", "bold red"), soft_wrap=True)
    for name, file in files.items():
        console.print(Text(f"{name:<6} {file}"), soft_wrap=True)


def write_report(
    plan: Plan,
    store: Store,
    folder: Path,
    formats: Sequence[str],
    as_json: bool,
    *,
    intervals: str | None = None,
    plugins_dir: Path | None = None,
) -> int:
    """Write the tables to a folder and print them.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        folder: the folder to write to.
        formats: the formats to write.
        as_json: True: print JSON instead of text.
        intervals: ``none``, ``seeds`` or ``videos``; None: as the suite says.
        plugins_dir: a folder of plugins, whose metrics intervals over videos need.

    Returns:
        The number of cells without a figure.
    """
    made = suite_report(plan, store, folder, intervals=intervals, plugins_dir=plugins_dir)
    places = {"stages": str(store.results / "stages")}
    _print_report(made, folder, formats, as_json, places)
    return made.unfinished
