"""The notes under tables: what was used, how figures were made, and what to beware of.

Notes on a plan's data and training are made once from its records (``Notes``). Those on
signatures, costs, intervals and alterations depend on the figures that a table shows.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avbench.evaluation.perturbation import Alteration
from avbench.evaluation.statistics.estimate import LEVEL
from avbench.evaluation.statistics.resampling import EXCHANGES
from avbench.reports.cost_columns import BASE, COLUMNS, WITHOUT, RowCosts, percent
from avbench.reports.records import Records
from avbench.reports.table import Sheet
from avbench.runner.plan import Plan

STAMP = "SELECTED ON THE REPORTED SPLIT"
PAPER = "The paper's figures, on the real datasets at full scale (Shen et al.)."
MARKS = "†*‡§¶‖"
"""Marks of the reservations about published figures, in their order."""

# ---------------------------------------------------------------------- from a plan's records


@dataclass(frozen=True, kw_only=True, slots=True)
class Notes:
    """The notes on a plan's data and training, from its records."""

    clips: tuple[str, ...]
    """The clips used and lost; see ``clip_notes``."""
    initial_weights: tuple[str, ...]
    """See ``initial_weight_notes``."""
    selection: tuple[str, ...]
    """The selected checkpoints; see ``selection_notes``."""
    without_clip: tuple[str, ...]
    """The videos that count as ``""`` because they have no usable clip, by dataset."""

    @classmethod
    def of(cls, records: Records) -> "Notes":
        """Make the notes from records."""
        return cls(
            clips=tuple(clip_notes(records)),
            initial_weights=tuple(initial_weight_notes(_initial_weights(records))),
            selection=tuple(selection_notes(_selections(records))),
            without_clip=tuple(_without_clip_notes(records)),
        )


def preset_notes(plan: Plan) -> list[str]:
    """Return the suite's own notes, then its preset and data."""
    data = f"data: {plan.data}" if plan.datasets else "nothing is trained"
    return [*plan.notes, f"Preset {plan.preset}; {data}."]


def system_marks(plan: Plan) -> dict[str, str]:
    """Return the marks behind the label of each row with published figures only."""
    marks = _mark_of(plan)
    found: dict[str, dict[str, None]] = {}
    for figure in plan.published:
        if figure["note"]:
            found.setdefault(figure["label"], {})[marks[figure["note"]]] = None
    return {label: "".join(of) for label, of in found.items()}


def system_notes(plan: Plan, datasets: Container[str]) -> list[str]:
    """Return the sources of published figures on some datasets, and what is said of them."""
    shown = [figure for figure in plan.published if figure["dataset"] in datasets]
    if not shown:
        return []
    sources = "; ".join(dict.fromkeys(figure["source"] for figure in shown)).rstrip(".")
    marks = _mark_of(plan)
    reserved = dict.fromkeys(figure["note"] for figure in shown if figure["note"])
    return [
        f"Published figures are not measured here, and are never marked as best: {sources}.",
        *(f"{marks[note]} {note}." for note in reserved),
    ]


def _mark_of(plan: Plan) -> dict[str, str]:
    """Return the mark of each reservation."""
    reserved = dict.fromkeys(figure["note"] for figure in plan.published if figure["note"])
    return {note: MARKS[i % len(MARKS)] * (1 + i // len(MARKS)) for i, note in enumerate(reserved)}


def clip_notes(records: Records) -> list[str]:
    """Return one note: the clips of each prepared split, and those lost, with reasons.

    There is none where nothing was prepared.
    """
    used, lost = [], []
    for stage in records.plan.stages.values():
        results = records.results(stage.id) if stage.kind == "prepare" else None
        if results is None:
            continue
        name = f"{stage.spec['dataset']} {results['split']}"
        used.append(f"{name} {results['kept']} (list {results['list_hash']})")
        if results["lost"]:
            reasons = ", ".join(f"{n} {why}" for why, n in results["lost"].items())
            lost.append(f"{name} {results['expected'] - results['kept']} ({reasons})")
    if not used:
        return []
    # Worlds that differ in what a picture shows have the same clips.
    used, lost = list(dict.fromkeys(used)), list(dict.fromkeys(lost))
    return [f"Clips used: {', '.join(used)}; lost: {', '.join(lost) or 'none'}."]


def initial_weight_notes(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one note on the encoders' initial weights, or none; it names rows that differ.

    Args:
        found: row, modality, and the weights that its encoder started from.

    >>> initial_weight_notes([("a", "video", "k.pth"), ("a", "audio", "none")])
    ['Initial weights of encoders: audio: none; video: k.pth.']
    >>> initial_weight_notes([("a", "video", "k.pth"), ("b", "video", "scratch")])
    ['Initial weights of encoders: video: k.pth (a), scratch (b).']
    """
    rows: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
    for row, modality, weights in found:
        rows[modality][weights][row] = None
    parts = []
    for modality, by_weights in sorted(rows.items()):
        listed = [
            f"{weights} ({', '.join(labels)})" if len(by_weights) > 1 else weights
            for weights, labels in by_weights.items()
        ]
        parts.append(f"{modality}: {', '.join(listed)}")
    return [f"Initial weights of encoders: {'; '.join(parts)}."] if parts else []


def _initial_weights(records: Records) -> Iterator[tuple[str, str, str]]:
    """Row, modality and initial weights of every encoder that has been trained."""
    for trial in records.plan.trials:
        first = [trial.pretrain] if trial.pretrain else [c.finetune for c in trial.cells]
        for id_ in first:
            for modality, weights in (records.results(id_) or {}).get("encoders", {}).items():
                yield trial.label, modality, weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The selection of a checkpoint, as the record of its training has it."""

    row: str
    """The row's label, with its seed if the suite has several."""
    dataset: str
    record: Mapping[str, Any]
    """``results.selection`` of the training."""


def selection_notes(found: Iterable[Selection]) -> list[str]:
    """Return one note for each way in which checkpoints were selected, with each row's curve."""
    ways: dict[str, list[str]] = defaultdict(list)
    for one in found:
        record = one.record
        split = {
            "own": "the dataset's split for selection",
            "carved": f"{record['videos']} videos kept out of training",
            "reported": "THE REPORTED SPLIT",
        }[record["split"]]
        search = "greedy" if record["beam"] == 1 else f"beam {record['beam']}"
        way = (
            f"{one.dataset}: the step with the best {record['by']} ({search}, every "
            f"{record['every']} steps) on {split}, {record['clips']} clips "
            f"(list {record['list_hash']})"
        )
        curve = ", ".join(
            f"{step}: {value:.1f}{'*' * (step == record['step'])}"
            for step, value in record["curve"]
        )
        ways[way].append(f"{one.row} step {record['step']} ({curve})")
    return [f"{way}: {'; '.join(rows)}." for way, rows in ways.items()]


def _selections(records: Records) -> Iterator[Selection]:
    """The selection of each fine-tuning that made one."""
    several = len(records.plan.seeds) > 1
    for trial in records.plan.trials:
        for cell in trial.cells:
            made = (records.results(cell.finetune) or {}).get("selection")
            if made is not None:
                row = trial.name if several else trial.label
                yield Selection(row=row, dataset=cell.dataset, record=made)


def _without_clip_notes(records: Records) -> list[str]:
    plan = records.plan
    scored = [
        (cell.dataset, id_)
        for trial in plan.trials
        for cell in trial.cells
        for id_ in (cell.score, *cell.altered.values())
    ]
    videos: dict[str, int] = {}
    for dataset, id_ in (*scored, *plan.baselines.items()):
        if number := (records.results(id_) or {}).get("without_clip"):
            videos[dataset] = number
    return [
        f"{dataset}: {number} videos without a usable clip count as empty captions."
        for dataset, number in videos.items()
    ]


# ---------------------------------------------------------------------- checkpoints that leaked


def leaking(plan: Plan) -> tuple[str, ...]:
    """Return the datasets whose reported split also chose the checkpoints, in order."""
    found = set()
    for trial in plan.trials:
        for cell in trial.cells:
            train = plan.stages[cell.finetune].spec["train"]
            if train["select"] == "best" and train["selection"]["on_report"]:
                found.add(cell.dataset)
    return tuple(dataset for dataset in plan.datasets if dataset in found)


def stamp(plan: Plan, sheets: Iterable[Sheet]) -> list[Sheet]:
    """Mark every table of a suite whose checkpoints were selected on a reported split.

    The tables of other suites are returned as they are.
    """
    datasets = leaking(plan)
    if not datasets:
        return list(sheets)
    warning = (
        f"WARNING: checkpoints of {', '.join(datasets)} were selected on the reported split "
        "(selection.on_report). Their scores are not of unseen clips: they are too good, and must "
        "not be compared with others."
    )
    return [
        replace(sheet, title=f"{STAMP}: {sheet.title}", notes=(warning, *sheet.notes))
        for sheet in sheets
    ]


# ---------------------------------------------------------------------- of the figures shown


def signature_notes(
    signatures: Mapping[str, Mapping[str, str]], metrics: Sequence[str]
) -> list[str]:
    """Return one note a dataset: the signatures of metrics, with what they share said once.

    Args:
        signatures: dataset → metric → signature.
        metrics: those that the table shows.

    >>> bleu, cider = "bleu4|ref:closest|tok:ptb", "cider|n:4|tok:ptb"
    >>> signature_notes({"d": {"bleu4": bleu, "cider": cider}}, ["bleu4", "cider"])
    ['d: bleu4 ref:closest, cider n:4; tok:ptb']
    """
    return [
        f"{dataset}: {text}"
        for dataset, made in signatures.items()
        for text in condensed([made[name] for name in metrics if name in made])
    ]


def condensed(signatures: Iterable[str]) -> list[str]:
    """Return signatures as text; those with equal ends are put together.

    >>> condensed(["bleu4|ref:closest|tok:ptb", "cider|n:4|tok:ptb"])
    ['bleu4 ref:closest, cider n:4; tok:ptb']
    """
    by_tail: dict[str, list[str]] = {}
    split = [tuple(signature.split("|")) for signature in dict.fromkeys(signatures)]
    for parts in split:
        same = [p for p in parts[1:] if all(p in q for q in split if q[-1] == parts[-1])]
        own = [p for p in parts[1:] if p not in same]
        by_tail.setdefault("|".join(same), []).append(" ".join([parts[0], "|".join(own)]))
    return [
        f"{', '.join(name.strip() for name in names)}; {tail}".removesuffix("; ")
        for tail, names in by_tail.items()
    ]


def alteration_notes(alterations: Iterable[Alteration]) -> list[str]:
    """Return one note for each kind of alteration."""
    notes: dict[str, None] = {}
    for made in alterations:
        match made.how:
            case "zeroed":
                text = "A zeroed stream enters the cross-modal encoder as zeros (Eq. 2)."
            case "swapped":
                text = (
                    "A swapped stream comes from another clip, of another video if the split "
                    f"allows it (a permutation without fixed points, seed {made.seed})."
                )
            case "noised":
                db = made.noise_db or 0.0
                share = 100 / (1 + 10 ** (db / 10))
                text = (
                    f"A noised stream has added Gaussian noise, {db:g} dB below the variance of "
                    "the clip's input (frames are then rounded to pixels; of words "
                    f"{share:.3g} % are replaced; seed {made.seed})."
                )
        notes[text] = None
    return list(notes)


def cost_notes(
    rows: Mapping[str, RowCosts], asked: Sequence[str], base: Mapping[str, str]
) -> list[str]:
    """Return the notes under a table of costs, from its figures.

    Args:
        rows: label → recorded costs.
        asked: the metrics that the table shows.
        base: the axes on which the base row differs.
    """
    notes: list[str] = []
    if any(metric.startswith("flops") for metric in asked) and rows:
        notes.append("For one clip. FLOPs are 2 × MACs (multiply-accumulates).")
    if "closed_form_g" in asked:
        differences = [
            abs(percent(row.values["macs_g"], row.values["closed_form_g"]))
            for row in rows.values()
            if "closed_form_g" in row.values
        ]
        if differences:
            notes.append(
                f"Counts agree with the closed form to {_bound(max(differences))} % "
                f"in {len(differences)} of {len(rows)} rows."
            )
        norms = [row.values["norms_g"] for row in rows.values() if "norms_g" in row.values]
        if norms:
            notes.append(
                "Counts include matrix products, convolutions and attention, but no norms. At "
                "five operations an element, as in fvcore, norms would add "
                f"{_range(norms, 2)} G to the MACs."
            )
    if any(COLUMNS[metric].group == BASE for metric in asked):
        notes.append(
            f"Over {', '.join(base.values())}: relative to the row that differs only in "
            f"{' and '.join(base)}."
        )
    return notes


def part_notes(rows: Mapping[str, RowCosts]) -> list[str]:
    """Return the notes under the table by parts, from its figures."""
    notes = [
        "Caption positions: positions that the decoder reads under teacher forcing. Decoder: its "
        "layers, with the keys and values of the fused tokens. Output projection: from caption "
        "positions to the vocabulary."
    ]
    for label, row in rows.items():
        if "flops_g" not in row.paper:
            continue
        excess = row.values["flops_g"] - row.paper["flops_g"]
        share = sum(row.parts.get(part, 0.0) for part in WITHOUT["decoder"])
        notes.append(
            f"{label}: {abs(excess):.1f} G {'above' if excess >= 0 else 'below'} the paper's "
            f"{row.paper['flops_g']:.0f} G; decoder and output projection are {share:.1f} G."
        )
    return notes


def seed_notes(seeds: Mapping[str, Sequence[int]], *, deviation: bool) -> list[str]:
    """Return the notes on the number of seeds behind a table's scores.

    Args:
        seeds: title of each trained row → the seeds in each of its scores.
        deviation: the table shows standard deviations.
    """
    counts = [n for of_row in seeds.values() for n in of_row]
    if not counts:
        return []
    if max(counts) == 1:
        return ["One seed a row: differences between rows may be chance."]
    count = " to ".join(map(str, dict.fromkeys((min(counts), max(counts)))))
    notes = [f"Mean{' ± standard deviation' if deviation else ''} over {count} seeds."]
    if alone := [title for title, of_row in seeds.items() if of_row and max(of_row) == 1]:
        notes.append(f"Only one seed, so differences may be chance: {', '.join(alone)}.")
    return notes


def interval_notes(
    what: str,
    *,
    found: bool,
    reasons: Mapping[str, Iterable[str]],
    seeds: int,
    tests: int,
    base: str,
) -> list[str]:
    """Return the notes on a table's intervals and on the marks of significance.

    Args:
        what: ``seeds`` or ``videos``.
        found: the table has intervals.
        reasons: for intervals over videos: a reason for there being none → the columns.
        seeds: the most that a score has.
        tests: the differences that were tested.
        base: title of the row that they refer to.
    """
    why = "one seed a row" if seeds < 2 else "the seeds of each row agree"
    texts = []
    by = ""
    if what == "videos":
        by = f" by approximate randomisation over videos ({EXCHANGES} exchanges)"
        if found:
            texts.append(
                "In brackets: 95 % interval of these trained models over videos (Student's t by "
                "the jackknife, corrected for skewness); other seeds may give other models."
            )
        elif not reasons:
            said = "the scores' sufficient statistics were not kept"
            texts.append(f"No intervals over videos: {said}.")
        texts += [
            f"No interval over videos in {', '.join(columns)}: {reason}."
            for reason, columns in reasons.items()
        ]
    elif found:
        texts.append(
            "In brackets: 95 % interval of the method over seeds (Student's t), on this test set."
        )
    else:
        texts.append(f"No intervals over seeds: {why}.")
    if tests:
        texts.append(
            f"†: differs from {base} at {100 * LEVEL:g} %{by}, with Holm's correction over the "
            f"{tests} differences of this table."
        )
    return texts


def _bound(value: float) -> str:
    """Return the least of 0.001, 0.01 and 0.1 that is not below a percentage, or itself."""
    return next(
        (text for text in ("0.001", "0.01", "0.1") if value <= float(text)), f"{value:.1f}"
    )


def _range(values: Sequence[float], decimals: int) -> str:
    low, high = f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"
    return low if low == high else f"{low} to {high}"
