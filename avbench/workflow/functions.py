"""The functions of ``import avbench``: plan, run, results, report, diff.

Options are those of the command line: ``rows`` is ``--only``, ``additional`` is ``--with``.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.config.overrides import Overrides
from avbench.core.errors import AvbenchError, unknown
from avbench.core.paths import RESULTS
from avbench.core.versions import check_versions
from avbench.workflow.machine import Machine, Strategy
from avbench.workflow.planning import SuitePlan, store_in

if TYPE_CHECKING:
    import pandas as pd

    from avbench.config.showing import Show
    from avbench.workflow.comparing import ResultsDiff
    from avbench.workflow.progress import Tell
    from avbench.workflow.reporting import SuiteReport
    from avbench.workflow.running import RunResult

Seeds = int | str | Sequence[int] | None
Texts = str | Sequence[str] | None


def plan(
    suite: str | Path | SuitePlan,
    *,
    preset: str | Path | None = None,
    data: str | Path | None = None,
    seeds: Seeds = None,
    rows: Texts = None,
    additional: Texts = None,
    results: Path | str = RESULTS,
    plugins_dir: Path | str | None = None,
) -> SuitePlan:
    """Plan a suite; nothing runs.

    Args:
        suite: name of a predefined suite or collection of suites, or the path of a file; a plan
            is returned as it is, and then takes no changes.
        preset: another preset, by name or path.
        data: path of a data file, or ``embedded``.
        seeds: their number, or a list of them.
        rows: label of a row to keep, or several; None: all.
        additional: name of a component that gets a row of its own, or several; each row is a copy
            of the first one.
        results: folder of stages and tables.
        plugins_dir: a folder of plugins; None: ``./plugins`` if there is one.

    Raises:
        AvbenchError: the suite, a plugin or the data have errors; lists all of the suite's.
    """
    if isinstance(suite, SuitePlan):
        given = {
            "preset": preset,
            "data": data,
            "seeds": seeds,
            "rows": rows,
            "additional": additional,
            "plugins_dir": plugins_dir,
        }
        changed = [name for name, value in given.items() if value is not None]
        if changed or Path(results) != RESULTS:
            name = (changed or ["results"])[0]
            raise AvbenchError(f"{name}: a plan takes no changes; give it to avbench.plan instead")
        return suite
    check_versions()
    overrides = Overrides(
        preset=None if preset is None else str(preset),
        data=None if data is None else str(data),
        seeds=_seeds(seeds),
        additional=_texts(additional),
        only=_texts(rows),
    )
    folder = None if plugins_dir is None else Path(plugins_dir)
    return SuitePlan.of(str(suite), overrides, store_in(Path(results)), folder)


def run(
    suite: str | Path | SuitePlan,
    *,
    preset: str | Path | None = None,
    data: str | Path | None = None,
    seeds: Seeds = None,
    rows: Texts = None,
    additional: Texts = None,
    results: Path | str = RESULTS,
    plugins_dir: Path | str | None = None,
    jobs: int | None = None,
    threads: int = 1,
    device: str = "auto",
    processes: int = 1,
    strategy: Strategy = "ddp",
    workers: int = 0,
    checkpoint_minutes: float = 0.5,
    checkpoint_steps: int | None = None,
    checkpoint_keep: int = 2,
    tensorboard: bool = False,
    progress: "Tell | None" = None,
    strict: bool = False,
) -> "RunResult":
    """Run a suite; finished stages are not run again.

    Stages run in processes of their own, as by ``avbench run``. A failed stage costs the cells
    that need it; the others go on.

    Args:
        suite: as of ``plan``, like all up to ``plugins_dir``.
        preset: another preset.
        data: a data file, or ``embedded``.
        seeds: their number, or a list of them.
        rows: labels of the rows to keep.
        additional: components that get a row of their own.
        results: folder of stages and tables.
        plugins_dir: a folder of plugins.
        jobs: processes at once; None: one per core.
        threads: threads per process; results may depend on them.
        device: ``cpu``, ``cuda``, or ``auto``.
        processes: processes that share each training, one per device.
        strategy: each process holds the whole model (``ddp``) or a part of it (``fsdp``).
        workers: data-loading workers per training process.
        checkpoint_minutes: minutes between a training's checkpoints.
        checkpoint_steps: steps between further checkpoints.
        checkpoint_keep: checkpoints to keep.
        tensorboard: also write TensorBoard files of trainings.
        progress: takes each event of the run, e.g. ``print``; None: the run is quiet.
        strict: raise an error if a stage has failed, once the others have ended.

    Returns:
        The end of the run, with ``results()`` and ``report()``.

    Raises:
        AvbenchError: the suite has errors, or this machine cannot run it; with ``strict``, a
            stage failed.
        KeyboardInterrupt: the run was interrupted (SIGINT, SIGTERM, SIGUSR1): its stages have
            stopped, and the same call continues from there.

    Warns:
        UserWarning: stages failed; ``failures`` of the result has their errors and logs.
    """
    from avbench.workflow.progress import Events
    from avbench.workflow.running import go, prepare

    machine = Machine(
        jobs=jobs,
        threads=threads,
        device=device,
        processes=processes,
        strategy=strategy,
        workers=workers,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_steps=checkpoint_steps,
        checkpoint_keep=checkpoint_keep,
        tensorboard=tensorboard,
    )
    planned = plan(
        suite,
        preset=preset,
        data=data,
        seeds=seeds,
        rows=rows,
        additional=additional,
        results=results,
        plugins_dir=plugins_dir,
    )
    prepared = prepare(planned, machine)
    watcher = Events(progress or _nothing)
    watcher.begin(prepared)
    ended = go(planned, prepared, watcher)
    if ended.interrupted:
        raise KeyboardInterrupt(ended.text())
    if not ended.ok:
        if strict:
            raise AvbenchError(ended.text())
        warnings.warn(ended.text(), UserWarning, stacklevel=2)
    return ended


def results(
    suite: str | Path | SuitePlan,
    *,
    preset: str | Path | None = None,
    data: str | Path | None = None,
    seeds: Seeds = None,
    rows: Texts = None,
    additional: Texts = None,
    results: Path | str = RESULTS,
    plugins_dir: Path | str | None = None,
    intervals: str | None = None,
) -> "pd.DataFrame":
    """Return a suite's figures as a tidy table, one a line; nothing runs.

    Args:
        suite: as of ``plan``, like all up to ``plugins_dir``.
        preset: another preset.
        data: a data file, or ``embedded``.
        seeds: their number, or a list of them.
        rows: labels of the rows to keep.
        additional: components that get a row of their own.
        results: folder of stages and tables.
        plugins_dir: a folder of plugins.
        intervals: ``none``, ``seeds`` (about the methods) or ``videos`` (about these trained
            models); None: as the suite says.

    Returns:
        Columns: ``row`` (label), one an axis, ``seed`` (missing: the figure depends on none),
        ``dataset`` (empty: costs), ``metric``, ``value`` (NaN: none, see ``status``),
        ``interval`` (95 %, of the row's mean over its seeds, the same in the lines of each; of
        the scores that the suite's tables show), ``unit``, ``split``, ``status`` (``ok``,
        ``failed``, ``skipped``, ``missing`` or ``pending``), ``reason``, ``signature``,
        ``record`` (id of the stage) and ``log``. Of a collection, ``suite`` comes first.

    Raises:
        AvbenchError: the suite has errors, or ``intervals`` is unknown.
    """
    import pandas as pd

    from avbench.config.suite import INTERVALS
    from avbench.workflow.reporting import tidy

    _check("intervals", "kind", intervals, INTERVALS)
    made = plan(
        suite,
        preset=preset,
        data=data,
        seeds=seeds,
        rows=rows,
        additional=additional,
        results=results,
        plugins_dir=plugins_dir,
    )
    if not made.parts:
        return tidy(made.plan, made.store, intervals=intervals, plugins_dir=made.plugins_dir)
    frames = [
        tidy(part, made.store, intervals=intervals, plugins_dir=made.plugins_dir).assign(
            suite=part.suite
        )
        for part in made.parts
    ]
    found = pd.concat(frames, ignore_index=True)
    return found[["suite", *(name for name in found.columns if name != "suite")]]


def report(
    suite: str | Path | SuitePlan,
    *,
    preset: str | Path | None = None,
    data: str | Path | None = None,
    seeds: Seeds = None,
    rows: Texts = None,
    additional: Texts = None,
    results: Path | str = RESULTS,
    plugins_dir: Path | str | None = None,
    kind: "Show" = "table",
    intervals: str | None = None,
    delta_to: str | None = None,
    published: bool = False,
    words: Path | str | None = None,
    clips: int | Texts = None,
    clip_seed: int | None = None,
) -> "SuiteReport":
    """Return a suite's tables from finished stages; ``write`` of the report writes files.

    Args:
        suite: as of ``plan``, like all up to ``plugins_dir``.
        preset: another preset.
        data: a data file, or ``embedded``.
        seeds: their number, or a list of them.
        rows: labels of the rows to keep.
        additional: components that get a row of their own.
        results: folder of stages and tables.
        plugins_dir: a folder of plugins.
        kind: ``table``: the suite's own tables; ``strata``: scores by stratum, and diversity of
            captions; ``modality-use``: losses by modality, scores with streams altered;
            ``captions``: captions beside the ground truth (Figs. 1 and B); ``attention``: maps of
            the attention from sound to the picture (Fig. 5); ``relevance``: speech coverage and
            audio relevance of the data's captions (Table 1, Fig. A).
        intervals: of ``table``: 95 % intervals ``none``, over ``seeds`` or over ``videos``; None:
            as the suite says.
        delta_to: of ``table``: label of the row that others are compared with; None: as the suite
            says.
        published: of ``table``: show published figures of rows in columns beside ours, with the
            rank correlation of the rows.
        words: of ``strata``: the file ``words.csv`` of ``avbench analyse relevance``.
        clips: of ``table``: the most clips with captions on the page of the format ``html``, None:
            48; of ``captions`` and ``attention``: how many of each dataset, or an id, or several,
            None: as the suite says.
        clip_seed: of ``captions`` and ``attention``: seed that draws clips; None: as the suite
            says, or 0.

    Raises:
        AvbenchError: the suite has errors, or an option is unknown or of another kind.
    """
    from avbench.config.showing import SHOWN
    from avbench.config.suite import INTERVALS
    from avbench.workflow.further_reports import Asked, report_of

    _check("kind", "kind", kind, SHOWN)
    _check("intervals", "kind", intervals, INTERVALS)
    given = {
        "intervals": (intervals, ("table",)),
        "delta_to": (delta_to, ("table",)),
        "published": (published or None, ("table",)),
        "words": (words, ("strata",)),
        "clips": (clips, ("table", "captions", "attention")),
        "clip_seed": (clip_seed, ("captions", "attention")),
    }
    for name, (value, kinds) in given.items():
        if value is not None and kind not in kinds:
            raise AvbenchError(
                f"{name}: only of kind {' or '.join(map(repr, kinds))}, got kind '{kind}'"
            )
    if kind == "table" and not isinstance(clips, int | None):
        raise AvbenchError(f"clips: ids are for kinds 'captions' and 'attention', got {clips!r}")
    made = plan(
        suite,
        preset=preset,
        data=data,
        seeds=seeds,
        rows=rows,
        additional=additional,
        results=results,
        plugins_dir=plugins_dir,
    )
    made.refuse_collection("report")
    _check("delta_to", "row", delta_to, made.rows)
    table = {**made.plan.table, "delta_to": delta_to or made.plan.table["delta_to"]}
    return report_of(
        kind,
        replace(made.plan, table=table),
        made.store,
        made.folder,
        Asked(
            intervals=intervals,
            published=published,
            words=None if words is None else Path(words),
            clips=clips if isinstance(clips, int | None) else _texts(clips),
            clip_seed=clip_seed,
        ),
        plugins_dir=made.plugins_dir,
    )


def diff(
    first: Path | str,
    second: Path | str,
    *,
    suite: str | None = None,
    plugins_dir: Path | str | None = None,
) -> "ResultsDiff":
    """Compare the figures of two results folders, cell by cell.

    The folders' own tables count, as ``avbench report`` last wrote them. Where both keep the
    statistics by video, a paired randomisation test decides; otherwise seeds do. p is corrected
    over all tested cells.

    Args:
        first: results folder A.
        second: results folder B; differences are B − A.
        suite: name of a suite; None: every suite that either folder has tables of.
        plugins_dir: a folder of plugins, whose metrics tests over videos need.

    Raises:
        AvbenchError: a folder or its tables are missing or damaged, or have no such suite.
    """
    from avbench.workflow.comparing import results_diff

    folder = None if plugins_dir is None else Path(plugins_dir)
    return results_diff(Path(first), Path(second), suite, folder)


def _check(name: str, what: str, value: str | None, allowed: Sequence[str]) -> None:
    if value is not None and value not in allowed:
        raise AvbenchError(f"{name}: {unknown(what, value, allowed)}")


def _seeds(seeds: Seeds) -> str | None:
    """Return seeds as the command line takes them: a number of seeds, or a list."""
    if seeds is None or isinstance(seeds, str):
        return seeds
    if isinstance(seeds, int):
        return str(seeds)
    return f"{','.join(map(str, seeds))}," if len(seeds) else "[]"  # the comma marks a list


def _texts(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def _nothing(event: object) -> None:
    """Take no notice of an event."""
