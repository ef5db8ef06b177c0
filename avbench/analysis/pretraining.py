"""The logs of a plan's pre-trainings: final figures, and losses step by step.

Every step logs the losses that it trains. The losses of single modalities that are not trained
are measured every ``measure_every`` steps, and so are the norms of the encoders' gradients.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from avbench.reports.records import Records
from avbench.runner.plan import Plan, Stage, Store, Trial
from avbench.training import loss_log
from avbench.training.names import JOINT, loss_names

LAST = 0.1
"""Final figures are means over this last share of a pre-training."""

POINTS = 60
"""The most points of a line; with more measured steps, a point is the mean of several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One loss of one pre-training."""

    name: str
    """``L``, or ``L_`` and the modality."""
    points: tuple[tuple[float, float], ...]
    """Step, and nats per token."""
    measured: int
    """Measured steps in a point."""


def stages(records: Records) -> dict[str, tuple[Trial, Stage]]:
    """Return the finished pre-trainings, each once, with the first trial that needs it."""
    found: dict[str, tuple[Trial, Stage]] = {}
    for trial in records.plan.trials:
        id_ = trial.pretrain
        if id_ is not None and id_ not in found and records.results(id_) is not None:
            found[id_] = trial, records.plan.stages[id_]
    return found


def single(stage: Stage, names: Iterable[str]) -> list[str]:
    """Return the modalities with a loss of their own; none if the model has one modality."""
    known = set(names)
    return sorted(m for m in stage.spec["model"]["encoders"] if f"L_{m}" in known)


def closing(store: Store, stage: Stage) -> dict[str, float]:
    """Return the final figures of a pre-training: means over the last ``LAST`` of its steps.

    Returns:
        ``L`` and ``L_m`` in nats per token; ``gap_m``, ``L_m − L`` at the steps that have both;
        ``w`` of the joint loss and ``w_m``; ``gradient_m``, the norm of an encoder's gradient.
    """
    found = loss_log.tail(store.directory(stage), LAST)
    streams = single(stage, found)
    gaps = {}
    for m in streams:
        both = [found[f"L_{m}"][s] - found[JOINT][s] for s in found[f"L_{m}"] if s in found[JOINT]]
        if both:
            gaps[f"gap_{m}"] = fmean(both)
    named = {name: fmean(values.values()) for name, values in found.items()}
    own = [f"w_{m}" for m in streams]
    joint = [name for name in named if name.startswith("w_") and name not in own]
    encoders = [f"gradient_{m}" for m in stage.spec["model"]["encoders"]]
    shown = [JOINT, *(f"L_{m}" for m in streams), *own, *encoders]
    figures = {name: named[name] for name in shown if name in named}
    return {**figures, **gaps, **({"w": named[joint[0]]} if joint else {})}


def figures(plan: Plan) -> list[str]:
    """Return the names of losses and gaps that a plan's pre-trainings may log."""
    trained = {t.pretrain for t in plan.trials if t.pretrain is not None}
    streams = {m: None for id_ in trained for m in plan.stages[id_].spec["model"]["encoders"]}
    return loss_names(streams) if trained else []


def of_trial(records: Records, trial: Trial) -> dict[str, float]:
    """Return the losses and gaps at the end of a trial's pre-training; none if it is not done."""
    if trial.pretrain is None or records.results(trial.pretrain) is None:
        return {}
    known = figures(records.plan)
    ends = closing(records.store, records.plan.stages[trial.pretrain])
    return {name: value for name, value in ends.items() if name in known}


def weighs(store: Store, stage: Stage) -> bool:
    """Tell whether a pre-training trains losses of single modalities, and not only measures."""
    names = {name for _, name, _ in loss_log.read(store.directory(stage))}
    return any(f"w_{m}" in names for m in single(stage, names))


def lines(store: Store, stage: Stage) -> list[Line]:
    """Return the losses of a pre-training: the joint one, then each modality's.

    Only the steps count at which a strategy that trains the joint loss alone measures the others.
    So all lines of a seed are of the same batches, whatever each strategy trains.
    """
    rows = loss_log.read(store.directory(stage))
    every, last = stage.spec["train"]["measure_every"], max((s for s, _, _ in rows), default=0)
    names = (JOINT, *(f"L_{m}" for m in single(stage, {name for _, name, _ in rows})))
    found: dict[int, dict[str, float]] = {}
    for step, name, value in rows:
        if name in names and (step % every == 0 or step == last):
            found.setdefault(step, {})[name] = value
    steps = [step for step, of in found.items() if len(of) == len(names)]
    size = -(-len(steps) // POINTS)
    windows = [steps[i : i + size] for i in range(0, len(steps), max(1, size))]
    return [
        Line(
            name=name,
            points=tuple((fmean(w), fmean(found[s][name] for s in w)) for w in windows),
            measured=max(1, size),
        )
        for name in names
    ]
