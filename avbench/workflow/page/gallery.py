"""The clips and captions of a report page.

The clips of each set are drawn by the hash of a seed, the set and the clip's id, so that a larger
number only adds clips. Captions are of unaltered rows and of rows with streams altered.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avbench.core.errors import AvbenchError, DataError
from avbench.core.visible import of_cell
from avbench.data.prepared.split import PreparedSplit
from avbench.evaluation.perturbation import altered_label
from avbench.evaluation.predictions import PREDICTIONS, read_predictions
from avbench.evaluation.score import PER_CLIP
from avbench.reports.collect import MOST_FREQUENT
from avbench.reports.page.contents import CLIPS, ClipCaptions, Gallery, Row
from avbench.reports.records import Records
from avbench.reports.table import TITLES
from avbench.runner.plan import Plan
from avbench.workflow.page import previews

SEED = 0

BUDGET = 18_000_000
"""The most characters of embedded frames and sound."""


def gallery(records: Records, clips: int = CLIPS) -> Gallery | None:
    """Return clips with the captions of every row; None if none are asked for.

    Args:
        records: of a plan.
        clips: the most clips, shared equally among the sets.

    Raises:
        AvbenchError: no set has clips and captions here, or a file is damaged.
    """
    if clips < 1 or not records.plan.datasets:
        return None
    made, sets = _Gallery(records), records.plan.datasets
    shares = [(clips + i) // len(sets) for i in reversed(range(len(sets)))]
    found = tuple(
        clip
        for dataset, share in zip(sets, shares, strict=True)
        for clip in made.of(dataset, share)
    )
    if not found:
        raise AvbenchError(" ".join(made.notes))
    return Gallery(
        rows=tuple(row for row, _ in made.rows),
        clips=found,
        score=TITLES.get(made.score, made.score),
        notes=(*made.notes, made.media_note(found)),
    )


Stages = dict[str, str]
"""Dataset → id of a score stage."""


@dataclass(slots=True)
class _Gallery:
    records: Records
    rows: list[tuple[Row, Stages]] = field(init=False)
    score: str = field(init=False)
    notes: list[str] = field(default_factory=list)
    spent: int = 0

    def __post_init__(self) -> None:
        self.rows = list(_rows(self.plan))
        asked = self.plan.table["metrics"]
        self.score = "cider" if "cider" in asked else next(iter(asked), "")

    @property
    def plan(self) -> Plan:
        return self.records.plan

    def of(self, dataset: str, share: int) -> Iterator[ClipCaptions]:
        """Yield some clips of a set with their captions, at most ``share``."""
        try:
            directory = self.records.store.directory(self.plan.stages[self.plan.prepared[dataset]])
            split = PreparedSplit.open(directory)
        except DataError:
            self.notes.append(f"{dataset}: its clips are not prepared here.")
            return
        said, scores = self._captions(dataset, split)
        if not said:
            self.notes.append(f"{dataset}: no row has captions yet.")
            return
        places = range(len(split))
        drawn = sorted(places, key=lambda i: _draw(dataset, split.clips[i].id))[:share]
        self.notes.append(f"{dataset}: {len(drawn)} of {len(split)} clips.")
        for i in drawn:
            clip = split.clips[i]
            strip = self._within(previews.strip(split, i))
            yield ClipCaptions(
                dataset=dataset,
                id=clip.id,
                references=clip.captions,
                speech=clip.speech or "",
                captions={row: of[clip.id] for row, of in said.items()},
                scores={
                    row: of[item]
                    for row, of in scores.items()
                    for item in (clip.id if clip.id in of else clip.video,)
                    if item in of
                },
                strip=strip,
                sound=self._within(previews.sound(clip)) if self._has_room else "",
            )

    def media_note(self, clips: tuple[ClipCaptions, ...]) -> str:
        """Return how the clips were drawn, and how many have frames and sound."""
        strips, sounds = (
            sum(bool(x) for x in of)
            for of in zip(*((c.strip, c.sound) for c in clips), strict=True)
        )
        return (
            f"Clips are drawn by the hash of seed {SEED}, the set and the clip's id; --clips sets "
            f"their number. Of these {len(clips)} clips, {strips} have frames and {sounds} have "
            f"sound here (the first {previews.SECONDS:g} s), in {self.spent / 1e6:.1f} MB of at "
            f"most {BUDGET / 1e6:g} MB; the others' were removed, cannot be read, or exceed it. "
            "Marked words are in no reference of the clip."
        )

    @property
    def _has_room(self) -> bool:
        return self.spent < BUDGET

    def _within(self, media: str) -> str:
        """Return an embedded file, or nothing if it would exceed the budget."""
        if self.spent + len(media) > BUDGET:
            return ""
        self.spent += len(media)
        return media

    def _captions(
        self, dataset: str, split: PreparedSplit
    ) -> tuple[dict[int, Mapping[str, str]], dict[int, Mapping[str, float]]]:
        """Return the captions and scores of each row, by clip."""
        said: dict[int, Mapping[str, str]] = {}
        scores: dict[int, Mapping[str, float]] = {}
        store, stages = self.records.store, self.plan.stages
        for place, (_, of) in enumerate(self.rows):
            if dataset not in of:
                continue
            score = stages[of[dataset]]
            generate = stages[score.parents["predictions"]]
            if self.records.results(generate.id) is None:
                continue
            said[place] = read_predictions(store.directory(generate) / PREDICTIONS, split.clips)
            if self.records.results(score.id) is not None:
                scores[place] = _per_item(store.directory(score) / PER_CLIP, self.score)
        return said, scores


def _rows(plan: Plan) -> Iterator[tuple[Row, Stages]]:
    """Yield the rows with captions, one a seed, then their alterations, and their score stages."""
    several = len(plan.seeds) > 1
    place = 0
    for trial in plan.trials:
        if not trial.cells:
            continue
        base = place
        suffix = f" (seed {trial.seed})" if several else ""
        name = trial.name if several else trial.label
        yield Row(label=trial.label, name=name), {c.dataset: c.score for c in trial.cells}
        place += 1
        for altered in dict.fromkeys(name for cell in trial.cells for name in cell.altered):
            label = altered_label(trial.label, altered)
            ids = {c.dataset: c.altered[altered] for c in trial.cells if altered in c.altered}
            yield Row(label=label, name=label + suffix, altered=altered, base=base), ids
            place += 1
    if plan.baselines:
        yield Row(label=MOST_FREQUENT, name=MOST_FREQUENT), dict(plan.baselines)


def _draw(dataset: str, id_: str) -> bytes:
    return hashlib.blake2b(f"{SEED}\n{dataset}\n{id_}".encode(), digest_size=8).digest()


def _per_item(path: Path, score: str) -> dict[str, float]:
    """Read a score of single clips or videos; empty if the file has none."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = csv.DictReader(io.StringIO(text))
        return {of_cell(line["id"]): float(line[score]) for line in lines if line.get(score)}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
