"""Tables of scores by stratum and of the variety of captions; nothing is scored again.

The figure of a stratum comes from the sum of its items' sufficient statistics, like that of the
whole set. CIDEr's document frequencies stay those of the whole set; frequencies of each stratum
would give other figures.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise

import numpy as np

from avbench.analysis.strata import Strata, clip_items, strata, video_items
from avbench.data.annotations.clip_list import clip_list_hash
from avbench.data.prepared.split import PreparedSplit
from avbench.data.text.counts import WordCounts
from avbench.data.world.word_counts import shipped_counts
from avbench.evaluation.predictions import PREDICTIONS, read_predictions
from avbench.reports.collect import MOST_FREQUENT
from avbench.reports.long_table import Measurement, Table
from avbench.reports.notes import clip_notes, condensed, signature_notes
from avbench.reports.pivot import pivot
from avbench.reports.signatures import signatures
from avbench.reports.systems import Key, ScoreStatistics, SystemScore
from avbench.reports.table import Column, Sheet, TableLayout, TableRow
from avbench.runner.plan import Plan

REFERENCES = "References, the first of each"
STRATUM = "stratum"
"""The name of the axis in long rows."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

VARIETY = (
    Column(metric="distinct1", title="Distinct-1 (%)", ranked=False, delta=False),
    Column(metric="distinct2", title="Distinct-2 (%)", ranked=False, delta=False),
    Column(metric="vocabulary", title="Vocabulary", ranked=False, delta=False, decimals=0),
    Column(metric="words", title="Words", ranked=False, delta=False),
)


def strata_sheets(statistics: ScoreStatistics, counts: WordCounts | None = None) -> list[Sheet]:
    """Return the variety of captions, then each dataset's scores by every kind of stratum.

    Args:
        statistics: of a plan's scores.
        counts: of words in audio and image captions, for ARS; None: those of the embedded world.

    Returns:
        The tables; none if nothing has been scored.

    Raises:
        DataError: a file that a stage wrote is missing or damaged.
    """
    tables = _Tables(statistics, counts or shipped_counts())
    divided = list(tables.by_strata())  # first: it finds the notes that the other table shows
    return [*tables.variety(), *divided]


@dataclass(slots=True)
class _Tables:
    statistics: ScoreStatistics
    counts: WordCounts
    notes: list[str] = field(default_factory=list)
    """The reasons why datasets were not divided."""

    @property
    def plan(self) -> Plan:
        return self.statistics.records.plan

    def by_strata(self) -> Iterator[Sheet]:
        """Yield the scores of every dataset by every kind of stratum that divides it."""
        for dataset in self.plan.datasets:
            split = self._split(dataset)
            if split is None or not self.statistics.scores(dataset):
                continue
            joined = split.protocol != "coco"
            for parts in strata(video_items(split) if joined else clip_items(split), self.counts):
                if parts.names:
                    yield self._divided(dataset, parts, joined)
                else:
                    self.notes.append(f"{dataset}: {parts.note}")

    def _divided(self, dataset: str, parts: Strata, joined: bool) -> Sheet:
        metrics = self.plan.table["metrics"]
        long = [
            row
            for metric in metrics
            for key, held in self.statistics.scores(dataset).get(metric, {}).items()
            for row in self._figures(dataset, metric, key, held, parts, joined)
        ]
        sizes = Counter(parts.of.values())
        names = {name: f"{name} (n {sizes[name]})" for name in parts.names}
        layout = TableLayout(
            title=f"{self._title}: {dataset} by {parts.title}",
            columns=tuple(Column(metric=metric, delta=False) for metric in metrics),
            datasets=tuple(names.values()),
            rows=self._rows(long),
        )
        shown = Table.of([replace(row, dataset=names[row.axes[STRATUM]]) for row in long])
        notes = [parts.note]
        if "cider" in metrics:
            notes.append("CIDEr's document frequencies are those of the whole set.")
        made = signatures(shown.frame).values()
        whole = [_whole(of_stratum[m]) for of_stratum in made for m in metrics if m in of_stratum]
        if whole:
            notes += [f"{dataset}: {text}" for text in condensed(whole)]
            notes.append(f"A stratum's signature adds {STRATUM}: and a hash of its items.")
        notes += clip_notes(self.statistics.records)
        return replace(pivot(shown, layout, notes), table=Table.of(long))

    def _figures(
        self, dataset: str, metric: str, key: Key, held: SystemScore, parts: Strata, joined: bool
    ) -> Iterator[Measurement]:
        """Yield one system's figure in every stratum; a clip's score goes with its video."""
        statistics = held.statistics
        items = statistics.videos if joined else statistics.ids
        places = np.array([parts.of.get(item, "") for item in items])
        for name in parts.names:
            inside = places == name
            sums = statistics.values[inside].sum(axis=0, keepdims=True)
            value = float(held.from_sums(sums)[0]) if inside.any() else np.nan
            if np.isfinite(value):
                of = dict.fromkeys((i for i, at in parts.of.items() if at == name), ())
                signed = f"{held.signature}|{STRATUM}:{len(of)}-{clip_list_hash(of)}"
                row = self._row(key, dataset, metric, value, held, stratum=name)
                yield replace(row, signature=signed)

    def variety(self) -> Iterator[Sheet]:
        """Yield the table of caption variety beside the scores, if there are captions."""
        rows: list[Measurement] = []
        for dataset in self.plan.datasets:
            split = self._split(dataset)
            records = self.statistics.records
            systems = self.statistics.stages(dataset) if split is not None else {}
            found = {k: s for k, s in systems.items() if records.results(s.id) is not None}
            if split is None or not found:
                continue
            for key, stage in found.items():
                told = self.plan.stages[stage.parents["predictions"]]
                path = records.store.directory(told) / PREDICTIONS
                rows += self._varied(key, dataset, read_predictions(path, split.clips).values())
                for metric in self.plan.table["metrics"]:
                    held = self.statistics.scores(dataset).get(metric, {}).get(key)
                    if held is not None:
                        whole = float(
                            held.from_sums(held.statistics.values.sum(0, keepdims=True))[0]
                        )
                        rows.append(self._row(key, dataset, metric, whole, held))
            firsts = [clip.captions[0] for clip in split.clips if clip.captions]
            rows += self._varied((REFERENCES, None), dataset, firsts)
        if not rows:
            return
        scores = tuple(Column(metric=m, delta=False) for m in self.plan.table["metrics"])
        layout = TableLayout(
            title=f"{self._title}: how varied the captions are",
            columns=(*scores, *VARIETY),
            datasets=self.plan.datasets,
            rows=(*self._rows(rows), TableRow(label=REFERENCES, ranked=False)),
        )
        notes = [
            "Distinct-n: share of distinct n-grams in all captions of a test set. Vocabulary: "
            "distinct words. Words: mean per caption. Clip by clip.",
            *signature_notes(signatures(Table.of(rows).frame), self.plan.table["metrics"]),
            *self.notes,
            *clip_notes(self.statistics.records),
        ]
        yield pivot(Table.of(rows), layout, notes)

    def _varied(self, key: Key, dataset: str, captions: Iterable[str]) -> Iterator[Measurement]:
        for metric, value in asdict(diversity(captions)).items():
            yield self._row(key, dataset, metric, float(value))

    def _row(
        self,
        key: Key,
        dataset: str,
        metric: str,
        value: float,
        held: SystemScore | None = None,
        stratum: str = "",
    ) -> Measurement:
        label, seed = key
        axes = next((dict(t.axes) for t in self.plan.trials if t.label == label), {})
        return Measurement(
            suite=self.plan.suite,
            trial="",
            label=label,
            seed=seed,
            axes={**axes, **({STRATUM: stratum} if stratum else {})},
            dataset=dataset,
            metric=metric,
            value=value,
            unit=held.unit if held else "",
            signature=held.signature if held else "",
            record=held.record if held else "",
        )

    def _rows(self, found: Sequence[Measurement]) -> tuple[TableRow, ...]:
        """Return the suite's rows with figures, then the baseline."""
        has = {row.label for row in found}
        rows = [TableRow(label=label) for label in self.plan.labels if label in has]
        return (*rows, *(TableRow(label=x, ranked=False) for x in (MOST_FREQUENT,) if x in has))

    @property
    def _title(self) -> str:
        return self.plan.title or self.plan.suite

    def _split(self, dataset: str) -> PreparedSplit | None:
        """Open the clips that are scored; None if they are not prepared yet."""
        stage = self.plan.stages[self.plan.prepared[dataset]]
        records = self.statistics.records
        if records.results(stage.id) is None:
            return None
        return PreparedSplit.open(records.store.directory(stage))


def _whole(signature: str) -> str:
    """Return the signature of the whole set from that of a stratum."""
    return signature.rpartition(f"|{STRATUM}:")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """The variety and length of one model's captions of a test set.

    Distinct-n is the share of different n-grams among all n-grams of all captions, in percent.
    It falls as the number of captions grows, so only figures of one test set compare. Words are
    runs of letters and digits, lower-cased.

    Source: A Diversity-Promoting Objective Function for Neural Conversation Models (Li et al.,
        2016).
    """

    distinct1: float
    distinct2: float
    """Percent."""
    vocabulary: int
    """Different words."""
    words: float
    """Mean number of words in a caption."""


def diversity(captions: Iterable[str]) -> Diversity:
    """Measure the variety of captions; all zero if they have no word.

    >>> diversity(["A dog barks.", "a dog runs"])
    Diversity(distinct1=66.66666666666667, distinct2=75.0, vocabulary=4, words=3.0)
    """
    split = [_WORD.findall(caption.lower()) for caption in captions]
    single = [word for words in split for word in words]
    pairs = [pair for words in split for pair in pairwise(words)]
    return Diversity(
        distinct1=100 * len(set(single)) / max(1, len(single)),
        distinct2=100 * len(set(pairs)) / max(1, len(pairs)),
        vocabulary=len(set(single)),
        words=len(single) / max(1, len(split)),
    )
