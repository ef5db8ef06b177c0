"""The paper's Fig. 5 and Fig. C from trained captioners: the picture's parts that sound draws on.

The attention of a captioner's fusion is rolled out (``avbench.models.rollout``). The rows of the
sound tokens are averaged, and their weights on the picture's tokens summed over frames.

Source: Exploring the Role of Audio in Video Captioning (Shen et al.), Fig. 5 and Fig. C
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from avbench.analysis.attention_picture import Overlay, attention_picture
from avbench.core.components import ComponentRef
from avbench.core.errors import AvbenchError, unknown
from avbench.core.options import build, make
from avbench.core.registry import Registry, load
from avbench.core.types import SoundState
from avbench.data.dataset import ClipData, Key, collate, generator
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.models import weights
from avbench.models.captioner import Captioner
from avbench.models.compute import place
from avbench.models.rollout import Rollout, rollouts
from avbench.models.settings import ComputeSettings
from avbench.reports.long_table import Measurement, Table
from avbench.reports.pivot import pivot
from avbench.reports.records import Records
from avbench.reports.table import Column, Picture, Sheet, TableLayout, TableRow
from avbench.runner.plan import Cell, Plan, Stage, Store, Trial

SOUND, PICTURE = "audio", "video"
TOGETHER = "together"
"""The name of the rollout over all branches."""
CLIPS = 4
"""Clips that are drawn, unless they are named."""
FRAMES = 3
"""Frames of a clip that are shown beside its maps."""
LONGEST = 300
"""Characters of a message on an unknown clip."""
SHARE, PEAK = "attention_", "attention_peak_"
"""Prefixes of the figures of a rollout."""

NOTE = (
    "Attention rollout (Abnar and Zuidema 2020): each layer is 0.5·A + 0.5·I with heads averaged "
    "and rows normalised; the product over layers runs over all tokens, global tokens included. "
    "Share: of a sound token's rolled-out attention, the part on picture tokens (%), mean over "
    "sound tokens. Peak: the largest place of the map over its mean; 1 is a flat map. A branch's "
    "rollout follows its layers alone; together, a stream's branches are averaged (Eq. 12)."
)


def attention_sheets(
    plan: Plan,
    store: Store,
    *,
    clips: Sequence[str] = (),
    count: int = CLIPS,
    seed: int = 0,
    plugins_dir: Path | None = None,
) -> list[Sheet]:
    """Return a table and pictures of each dataset; empty: the suite fine-tunes nothing.

    Args:
        plan: the suite's plan.
        store: the folders of its stages.
        clips: ids of test clips; empty: some with sound are drawn.
        count: how many of each dataset are drawn.
        seed: fixes the draw.
        plugins_dir: a folder of plugins, whose components the captioners may need.

    Raises:
        AvbenchError: no dataset has a clip of that id.
    """
    maker = _Maker(Records.read(plan, store), load(plugins_dir), tuple(clips), count, seed)
    found = [(dataset, maker.rows(dataset)) for dataset in plan.datasets]
    if maker.seen and (strange := [c for c in clips if c not in maker.seen]):
        # A test split has thousands of clips: only the beginning of the list is shown.
        said = (unknown("clip", c, sorted(maker.seen))[:LONGEST] for c in strange)
        raise AvbenchError("\n".join(f"clips: {text}" for text in said))
    pictures = 0
    sheets = []
    for dataset, rows in found:
        if not rows:
            continue
        sheet, pictures = maker.sheet(dataset, rows, pictures)
        sheets.append(sheet)
    return sheets


def overlay(captioner: Captioner, data: ClipData, index: int) -> Overlay:
    """Return the attention from sound to picture in a clip.

    Args:
        captioner: in eval mode; it reads sound and picture, and its picture encoder says how its
            tokens lie.
        data: the clips.
        index: the clip's place among them.
    """
    sample = data[Key(index, 0)]
    with torch.inference_mode(), captioner.autocast():
        encoded = captioner.encode(collate([sample]))
        streams = captioner.streams(encoded, [captioner.joint])
        rolled = rollouts(captioner.fusion, streams)  # type: ignore[arg-type]
    named = dict(rolled.branches)
    if len(named) > 1:
        named[TOGETHER] = rolled.together
    encoder: Any = captioner.encoders[PICTURE]
    keep = streams[SOUND].keep
    real = None if keep is None else keep[0]
    return Overlay(
        clip=sample.id,
        frames=sample.video[_spread(len(sample.video))],
        maps={name: _summed(one, encoder.layout, real) for name, one in named.items()},
    )


def _summed(
    rolled: Rollout, layout: tuple[int, int, int], real: Tensor | None
) -> Float64[Tensor, "h w"]:
    """Return the mean over real sound tokens, summed over frames."""
    weights_ = rolled.between(SOUND, PICTURE)[0]
    mean = (weights_ if real is None else weights_[real]).mean(0)
    return mean.view(layout).sum(0)


def _spread(frames: int) -> list[int]:
    """Return ``FRAMES`` places among the frames of a clip, from the first to the last."""
    count = min(FRAMES, frames)
    return [round(i * (frames - 1) / max(count - 1, 1)) for i in range(count)]


def chosen(
    split: PreparedSplit, dataset: str, clips: Sequence[str], count: int, seed: int
) -> list[int]:
    """Return the places of the named clips, or of ``count`` clips with sound, drawn by a seed."""
    places = {clip.id: i for i, clip in enumerate(split.clips)}
    if clips:
        return [places[id_] for id_ in clips if id_ in places]
    heard = sorted(id_ for id_, sound in split.sound.items() if sound is SoundState.PRESENT)
    order = torch.randperm(len(heard), generator=generator(seed, "attention", dataset)).tolist()
    return [places[heard[i]] for i in order[:count]]


@dataclass(slots=True)
class _Row:
    """A row of the suite on one dataset: its figures, and its overlays if it has any."""

    label: str
    base: dict[str, Any]
    absence: dict[str, Any] | None
    overlays: Sequence[Overlay] = ()
    record: str = ""


class _Maker:
    def __init__(
        self,
        records: Records,
        registry: Registry,
        clips: tuple[str, ...],
        count: int,
        seed: int,
    ) -> None:
        self.records, self.registry = records, registry
        self.clips, self.count, self.seed = clips, count, seed
        self.plan = records.plan
        self.seen: set[str] = set()
        """The ids of all clips of the splits that were opened."""

    def rows(self, dataset: str) -> list[_Row]:
        """Return every row's overlays, or the reason why it has none; of the first seed."""
        rows = []
        for trial in self.plan.trials:
            if trial.seed != self.plan.seeds[0]:
                continue
            cell = next((c for c in trial.cells if c.dataset == dataset), None)
            name = {"suite": self.plan.suite, "trial": trial.id, "seed": trial.seed}
            base = {**name, "axes": dict(trial.axes), "dataset": dataset}
            row = _Row(trial.label, base, None)
            row.absence = self._absence(trial, cell)
            if row.absence is None and cell is not None:
                row.overlays, row.absence = self._overlays(cell)
                row.record = cell.finetune
            rows.append(row)
        return rows

    def _absence(self, trial: Trial, cell: Cell | None) -> dict[str, Any] | None:
        """Say why a row has no captioner that reads sound and picture; None: it has."""
        if cell is None:
            return _skipped(trial.skipped or "nothing is fine-tuned")
        model = self.plan.stages[cell.finetune]
        ref = build(ComponentRef, model.spec["modalities"])
        encoded = make(self.registry.get("modalities", ref.name), ref.options).encoded
        if lacking := [m for m in (SOUND, PICTURE) if m not in encoded]:
            return _skipped(f"the captioner reads no {' and no '.join(lacking)}")
        for stage in self._needed(cell):
            if self.records.results(stage.id) is None:
                return self.records.absence(stage)
            damage = self.records.store.examine(stage, contents=stage is model).damage
            if damage:
                return {"status": "pending", "reason": f"{stage.kind} to do again: {damage}"}
        return None

    def _needed(self, cell: Cell) -> list[Stage]:
        """Return the stages of a cell's weights, vocabulary and test clips."""
        model, tested = (self.plan.stages[id_] for id_ in (cell.finetune, cell.generate))
        of = (model.parents["vocabulary"], tested.parents["data"])
        return [model, *(self.plan.stages[id_] for id_ in of)]

    def _overlays(self, cell: Cell) -> tuple[list[Overlay], dict[str, Any] | None]:
        """Return a trained cell's overlays, or the reason why there are none."""
        folders = [self.records.store.directory(stage) for stage in self._needed(cell)]
        captioner, architecture = weights.load(folders[0], self.registry)
        place(captioner, ComputeSettings(), torch.device("cpu")).eval()
        if getattr(captioner.encoders[PICTURE], "layout", None) is None:
            name = architecture.model.encoders[PICTURE].name
            return [], _skipped(f"encoder '{name}' does not say how its tokens lie (layout)")
        if not captioner.fusion.sites():  # type: ignore[operator]
            return [], _skipped(f"fusion '{architecture.fusion.name}' names no attention sites")
        split = PreparedSplit.open(folders[2])
        self.seen.update(clip.id for clip in split.clips)
        vocabulary = Vocabulary.open(folders[1])
        data = ClipData(split, vocabulary, architecture.input, sampling=None)
        places = chosen(split, cell.dataset, self.clips, self.count, self.seed)
        if not places:
            why = "has none of these clips" if self.clips else "has no clip with sound"
            return [], _skipped(f"{cell.dataset} {why}")
        return [overlay(captioner, data, i) for i in places], None

    def sheet(self, dataset: str, rows: Sequence[_Row], drawn: int) -> tuple[Sheet, int]:
        """Return a dataset's table, with a picture of each row, and the pictures so far."""
        long = [line for row in rows for line in _measured(row)]
        branches = dict.fromkeys(b for row in rows for o in row.overlays for b in o.maps)
        columns = [
            Column(metric=f"{prefix}{b}", title=f"{b.capitalize()}, {word}", decimals=2)
            for b in branches
            for prefix, word in ((SHARE, "share (%)"), (PEAK, "peak"))
        ] or [Column(metric=SHARE, title="Share (%)")]
        layout = TableLayout(
            title=f"{self.plan.title or self.plan.suite}: attention from sound to the picture",
            columns=tuple(replace(c, ranked=False, delta=False) for c in columns),
            datasets=(dataset,),
            rows=tuple(TableRow(label=label) for label in dict.fromkeys(m.label for m in long)),
            corner="Row, clip",
        )
        sheet = pivot(Table.of(long, axes=self.plan.axes), layout, [NOTE, self._rule()])
        pictures: list[Picture] = []
        for row in rows:
            if row.overlays:
                name = f"attention-{drawn + len(pictures) + 1}"
                title = f"{row.label}, {dataset}: attention from sound to the picture"
                pictures.append(attention_picture(name, title, row.overlays))
        return replace(sheet, pictures=tuple(pictures)), drawn + len(pictures)

    def _rule(self) -> str:
        seeds = self.plan.seeds
        of = (
            f" Captioners of seed {seeds[0]}, the first of {len(seeds)}." if len(seeds) > 1 else ""
        )
        if self.clips:
            return f"Clips, by name: {', '.join(self.clips)}.{of}"
        return (
            f"Clips: {self.count} test clips with sound of each dataset, drawn without "
            f"replacement with seed {self.seed}.{of}"
        )


def _measured(row: _Row) -> Iterator[Measurement]:
    """Yield the figures of a row, clip by clip."""
    if row.absence is not None:
        yield Measurement(label=row.label, **{**row.base, **row.absence})
        return
    for one in row.overlays:
        base = {**row.base, "label": f"{row.label}, {one.clip}", "record": row.record}
        for branch in one.maps:
            yield Measurement(**base, metric=f"{SHARE}{branch}", value=one.share(branch), unit="%")
            peak = one.peak(branch)
            if peak is None:
                why = "sound does not reach the picture"
                yield Measurement(**base, metric=f"{PEAK}{branch}", status="missing", reason=why)
            else:
                yield Measurement(**base, metric=f"{PEAK}{branch}", value=peak)


def _skipped(reason: str) -> dict[str, Any]:
    return {"status": "skipped", "reason": reason}


__all__ = ["attention_sheets", "chosen", "overlay"]
