"""Collects a trained cell of a suite into a folder of its own (``avbench.models.portable``)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench import __version__
from avbench.core import options
from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import LOG
from avbench.core.registry import Registry
from avbench.models import portable
from avbench.models.portable import Manifest
from avbench.models.settings import ComputeSettings, DecodeSettings
from avbench.models.weights import read_architecture
from avbench.runner.plan import Cell, Plan, Stage, Store, Trial


def export(
    plan: Plan,
    store: Store,
    registry: Registry,
    out: Path,
    *,
    dataset: str | None = None,
    seed: int | None = None,
) -> Manifest:
    """Write the captioner of a cell to a folder, and read it back as a check.

    Args:
        plan: the plan, restricted to one row.
        store: the folders of its stages.
        registry: the components that the captioner was made with.
        out: the folder to write; it must be new or empty.
        dataset: the dataset of the fine-tuning; None: the only one.
        seed: the trial's seed; None: the only one.

    Raises:
        AvbenchError: the cell is ambiguous or has not been trained, or the folder is not empty.
    """
    trial, cell = choose(plan, dataset, seed)
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AvbenchError(f"--out {out}: exists and is not empty; give a new folder")
    model = plan.stages[cell.finetune if cell else str(trial.pretrain)]
    folder = _finished(model, store, trial)
    words = _finished(plan.stages[model.parents["vocabulary"]], store, trial)
    manifest = _manifest(plan, store, registry, trial, cell, model)
    try:
        return portable.write(out, manifest, registry, model=folder, vocabulary=words)
    except OSError as error:
        raise AvbenchError(f"--out {out}: cannot be written: {error}") from error


def choose(plan: Plan, dataset: str | None, seed: int | None) -> tuple[Trial, Cell | None]:
    """Return the trial and the cell to export; the cell is None if nothing is fine-tuned.

    Raises:
        AvbenchError: the choice is ambiguous, unknown, or a skipped row.
    """
    labels = plan.labels
    _only_one("--only", "row", labels)
    seeds = {str(trial.seed): trial for trial in plan.trials}
    trial = seeds[_one("--seed", "seed", seeds, None if seed is None else str(seed))]
    if trial.skipped is not None:
        raise AvbenchError(f"row '{trial.label}' is skipped: {trial.skipped}")
    if not trial.cells and dataset is None and trial.pretrain is not None:
        return trial, None
    cells = {cell.dataset: cell for cell in trial.cells}
    return trial, cells[_one("--dataset", "dataset", cells, dataset)]


def _one(option: str, what: str, known: Iterable[str], asked: str | None) -> str:
    names = list(known)
    if asked is None:
        _only_one(option, what, names)
        return names[0]
    if asked not in names:
        raise AvbenchError(f"{option}: {unknown(what, asked, names)}")
    return asked


def _only_one(option: str, what: str, names: Sequence[str]) -> None:
    if len(names) != 1:
        raise AvbenchError(
            f"{option}: the suite has {len(names)} {what}s; name one of: {', '.join(names)}"
        )


def _finished(stage: Stage, store: Store, trial: Trial) -> Path:
    """Return the folder of a finished stage, whose outputs are what its record says.

    Raises:
        AvbenchError: the stage failed, has not run or is damaged.
    """
    found, folder = store.examine(stage, contents=True), store.directory(stage)
    record = found.record
    if found.damage:
        raise AvbenchError(
            f"row '{trial.label}', seed {trial.seed}: stage {stage.folder} is damaged: "
            f"{found.damage}. Make it again by 'avbench run' with the same options"
        )
    if record is None:
        raise AvbenchError(
            f"row '{trial.label}', seed {trial.seed}: {store.results} has no stage "
            f"{stage.folder}: it has not been trained with these settings and this code. Train "
            "it by 'avbench run' with the same options"
        )
    if record["status"] != "done":
        raise AvbenchError(
            f"row '{trial.label}', seed {trial.seed}: stage {stage.folder} failed: "
            f"{record['error']} (log: {folder / LOG})"
        )
    return folder


def _manifest(
    plan: Plan,
    store: Store,
    registry: Registry,
    trial: Trial,
    cell: Cell | None,
    model: Stage,
) -> Manifest:
    """Return what the folder says of the captioner, its files' hashes aside."""
    generate = plan.stages[cell.generate] if cell else None
    asked = generate.spec if generate else {}
    tested = (generate or model).parents["data"]
    compute = options.build(ComputeSettings, asked.get("compute", model.spec["compute"]))
    architecture = read_architecture(store.directory(model), registry)
    return Manifest(
        architecture=architecture,
        decode=options.build(DecodeSettings, asked.get("decode", {})),
        # Any machine must be able to: kernels are chosen there, and nothing is compiled.
        compute=ComputeSettings(
            precision=compute.precision,
            attention="auto" if compute.attention == "xformers" else compute.attention,
        ),
        read=plan.stages[tested].spec["read"],
        components=portable.origins(architecture, registry),
        provenance=_provenance(plan, store, trial, cell, model),
    )


def _provenance(
    plan: Plan, store: Store, trial: Trial, cell: Cell | None, model: Stage
) -> dict[str, Any]:
    stages = {"vocabulary": model.parents["vocabulary"], "pretrain": trial.pretrain}
    if cell is not None:
        stages |= {"finetune": cell.finetune, "generate": cell.generate, "score": cell.score}
    ids = {kind: id_ for kind, id_ in stages.items() if id_ is not None}
    record = store.record(model) or {}
    training = {
        kind: {
            "dataset": plan.stages[plan.stages[ids[kind]].parents["data"]].spec["dataset"],
            **plan.stages[ids[kind]].spec["train"],
        }
        for kind in ("pretrain", "finetune")
        if kind in ids
    }
    scored = (store.record(plan.stages[cell.score]) if cell else None) or {}
    shown = {*plan.table["metrics"], *plan.table["use_metrics"]}
    made: Mapping[str, Any] = record.get("provenance", {})
    return {
        "suite": plan.suite,
        "title": plan.title,
        "row": trial.label,
        "axes": dict(trial.axes),
        "seed": trial.seed,
        "dataset": cell.dataset if cell else None,
        "preset": Path(plan.preset).name,
        "data": Path(plan.data).name,
        "stages": ids,
        "training": training,
        "encoders": record.get("results", {}).get("encoders", {}),
        "scores": [
            {k: score[k] for k in ("name", "value", "unit", "signature")}
            for score in (scored.get("results") or {}).get("scores", [])
            if score["name"] in shown
        ],
        "versions": made.get("versions", {}),
        "python": made.get("python"),
        "commit": made.get("commit"),
        "exported_by": f"avbench {__version__}",
    }
