"""Captions of a suite's rows beside the ground truth, as in Figs. 1 and B of the paper."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from avbench.core.errors import AvbenchError, DataError, unknown
from avbench.core.types import Clip
from avbench.data.prepared.clips import PreparedClips
from avbench.evaluation.predictions import PREDICTIONS, read_predictions
from avbench.reports.long_table import Table
from avbench.reports.records import Records
from avbench.reports.table import Sheet, TableCell

TRUTH = "Ground truth"


@dataclass(frozen=True, slots=True)
class Choice:
    """The clips whose captions are shown."""

    count: int = 3
    """Clips of each dataset."""
    seed: int = 0
    """Of the draw."""
    ids: tuple[str, ...] = ()
    """These clips, in place of a draw."""

    def of(self, clips: Sequence[Clip], captions: Mapping[str, Mapping[str, str]]) -> list[Clip]:
        """Return the clips of a dataset: those asked for, or drawn by the rule.

        The rule: of the clips whose captions by the rows are not all equal, ``count`` are drawn
        with the seed, in the order of the annotations. Where too few differ, equal ones follow.

        Args:
            clips: all clips of the dataset.
            captions: label → clip id → caption.
        """
        if self.ids:
            known = {clip.id: clip for clip in clips}
            return [known[id_] for id_ in self.ids if id_ in known]
        differ: list[int] = []
        equal: list[int] = []
        for place, clip in enumerate(clips):
            said = {of_row[clip.id] for of_row in captions.values()}
            (differ if len(said) > 1 else equal).append(place)
        draw = random.Random(self.seed)
        drawn = draw.sample(differ, min(self.count, len(differ)))
        drawn += draw.sample(equal, min(self.count - len(drawn), len(equal)))
        return [clips[place] for place in sorted(drawn)]

    @property
    def rule(self) -> str:
        """The note on the choice."""
        if self.ids:
            return f"Clips as asked for: {', '.join(self.ids)}."
        return (
            f"{self.count} clips of each dataset, drawn with seed {self.seed} from those on which "
            "the rows' captions differ; chosen by nothing else."
        )


@dataclass(slots=True)
class _Dataset:
    """The clips of a dataset, and the captions of every row that has some."""

    clips: Sequence[Clip] = ()
    captions: dict[str, Mapping[str, str]] = field(default_factory=dict)


def caption_sheets(records: Records, choice: Choice) -> list[Sheet]:
    """Return, for each dataset with captions, a table of clips: the truth, then each row.

    Each row's first seed is shown.

    Raises:
        AvbenchError: a clip that was asked for is in no dataset.
    """
    plan = records.plan
    found = {dataset: _read(records, dataset) for dataset in plan.datasets}
    found = {dataset: of for dataset, of in found.items() if of.captions}
    known = {clip.id for of in found.values() for clip in of.clips}
    for id_ in choice.ids if found else ():
        if id_ not in known:
            raise AvbenchError(f"--clips: {unknown('clip', id_, sorted(known))}")
    sheets = []
    for dataset, of in found.items():
        chosen = choice.of(of.clips, of.captions)
        if not chosen:
            continue
        lines = [
            (f"{label}: {text}", (TableCell(status=clip.id if label == TRUTH else ""),))
            for clip in chosen
            for label, text in [
                (TRUTH, clip.captions[0]),
                *((label, said[clip.id]) for label, said in of.captions.items()),
            ]
        ]
        several = any(len(clip.captions) > 1 for clip in chosen)
        notes = [choice.rule]
        if several:
            notes.append("Ground truth: the first of several captions.")
        if len(plan.seeds) > 1:
            notes.append(f"Captions of seed {plan.seeds[0]}.")
        missing = [label for label in plan.labels if label not in of.captions]
        if missing:
            notes.append(f"No captions yet: {', '.join(missing)}.")
        sheets.append(
            Sheet(
                title=f"{plan.title or plan.suite}: captions, {dataset}",
                corner="caption",
                groups=((dataset, 1),),
                columns=("clip",),
                rows=tuple(lines),
                short=tuple(title for title, _ in lines),
                footnotes=(),
                legend=(),
                notes=tuple(notes),
                table=Table.of([], axes=plan.axes),
            )
        )
    return sheets


def _read(records: Records, dataset: str) -> _Dataset:
    """Read the captions of a dataset; a row without them is left out."""
    plan, store = records.plan, records.store
    made = _Dataset()
    for trial in plan.trials:
        for cell in trial.cells:
            if cell.dataset != dataset or trial.label in made.captions:
                continue
            if records.results(cell.generate) is None:
                continue
            stage = plan.stages[cell.generate]
            try:
                if not made.clips:
                    data = store.directory(plan.stages[stage.parents["data"]])
                    made.clips = PreparedClips.open(data).clips
                path = store.directory(stage) / PREDICTIONS
                made.captions[trial.label] = read_predictions(path, made.clips)
            except DataError:
                continue
    return made
