"""A cell of a suite that has been run, as a folder of its own (``avbench.models.portable``)."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avbench import __version__
from avbench.core import options
from avbench.core.errors import AvbenchError, unknown
from avbench.core.job import LOG, read_json
from avbench.core.registry import Registry
from avbench.data.tokenizer import FILE as TOKENIZER
from avbench.models.portable import (
    README,
    Manifest,
    Origin,
    components_of,
    hash_file,
    load_parts,
    read_manifest,
    write_manifest,
)
from avbench.models.settings import ComputeSettings, DecodeSettings
from avbench.models.weights import MODEL, WEIGHTS, Architecture
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
    temporary = out.parent / f".{out.name}.{os.getpid()}"
    try:
        temporary.mkdir(parents=True)
        shutil.copyfile(folder / WEIGHTS, temporary / WEIGHTS)
        shutil.copyfile(words / TOKENIZER, temporary / TOKENIZER)
        architecture = options.build(Architecture, read_json(folder / MODEL)["architecture"])
        made = _manifest(plan, store, registry, trial, cell, model, architecture.bare(registry))
        hashes = {name: hash_file(temporary / name) for name in (TOKENIZER, WEIGHTS)}
        manifest = Manifest(**made, files=hashes)
        write_manifest(temporary, manifest)
        (temporary / README).write_text(card(manifest), encoding="utf-8")
        load_parts(temporary, read_manifest(temporary), registry)
        temporary.replace(out)
    except OSError as error:
        raise AvbenchError(f"--out {out}: cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def choose(plan: Plan, dataset: str | None, seed: int | None) -> tuple[Trial, Cell | None]:
    """Return the trial and the cell to export; the cell is None if nothing is fine-tuned.

    Raises:
        AvbenchError: the choice is ambiguous, unknown, or a skipped row.
    """
    labels = list(dict.fromkeys(trial.label for trial in plan.trials))
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


def _only_one(option: str, what: str, names: list[str]) -> None:
    if len(names) != 1:
        raise AvbenchError(
            f"{option}: the suite has {len(names)} {what}s; name one of: {', '.join(names)}"
        )


def _finished(stage: Stage, store: Store, trial: Trial) -> Path:
    """Return the folder of a finished stage.

    Raises:
        AvbenchError: the stage failed or has not run.
    """
    record, folder = store.record(stage), store.directory(stage)
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
    architecture: Architecture,
) -> dict[str, Any]:
    """All fields of the manifest but the files."""
    generate = plan.stages[cell.generate] if cell else None
    said = generate.spec if generate else {}
    tested = (generate or model).parents["data"]
    compute = options.build(ComputeSettings, said.get("compute", model.spec["compute"]))
    origins = []
    for family, ref in components_of(architecture):
        found = registry.get(family, ref.name)
        origins.append(
            Origin(
                family=family,
                name=ref.name,
                module=found.module,
                distribution=_portable_name(found.distribution),
            )
        )
    return {
        "architecture": architecture,
        "decode": options.build(DecodeSettings, said.get("decode", {})),
        # Any machine must be able to: kernels are chosen there, and nothing is compiled.
        "compute": ComputeSettings(
            precision=compute.precision,
            attention="auto" if compute.attention == "xformers" else compute.attention,
        ),
        "read": plan.stages[tested].spec["read"],
        "components": tuple(origins),
        "provenance": _provenance(plan, store, trial, cell, model),
    }


def _portable_name(distribution: str) -> str:
    """What brought a plugin: a distribution, or a file without its folder."""
    return Path(distribution).name if os.sep in distribution else distribution


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


def card(manifest: Manifest) -> str:
    """The folder's README: what it is, how it is used, what it was made from."""
    made, spec = manifest.provenance, manifest.architecture.input
    streams = ", ".join(made["encoders"])
    rows = [
        *((axis, value) for axis, value in made["axes"].items() if value),
        ("preset, data", f"{made['preset']}, {made['data']}"),
        *((k, f"{t['dataset']}, loss {t['loss']['name']}") for k, t in made["training"].items()),
        *((f"{m} encoder started from", text) for m, text in made["encoders"].items()),
        (
            "input",
            f"{spec.frames} frames of {spec.size}×{spec.size}, {spec.mel_frames}×"
            f"{spec.mel_bins} log-mel at {spec.sample_rate} Hz",
        ),
        ("decoding", f"beam {manifest.decode.beam}"),
        *((s["name"], f"{s['value']:.2f} ({s['unit']})") for s in made["scores"]),
    ]
    lines = [
        f"# {made['row']}" + (f", fine-tuned on {made['dataset']}" if made["dataset"] else ""),
        "",
        f"A video captioner that reads {streams}. Exported by {made['exported_by']} from the "
        f"suite `{made['suite']}` ({made['title'] or 'untitled'}), seed {made['seed']}.",
        "",
        "    avbench caption THIS_FOLDER clip.mp4",
        "",
        "    import avbench",
        '    captioner = avbench.load_captioner("THIS_FOLDER")',
        '    print(captioner.caption("clip.mp4"))',
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {what} | {value} |".replace("\n", " ") for what, value in rows),
        "",
        f"`{WEIGHTS}` holds the weights, `{TOKENIZER}` the tokenizer, `{MODEL}` architecture, "
        "inputs, decoding, provenance and the hashes of both, which loading checks.",
        "",
    ]
    return "\n".join(lines)
