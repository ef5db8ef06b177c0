"""SCR and ARS of sets, with intervals over videos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from avbench.analysis.relevance.reading import Reading, Texts
from avbench.analysis.relevance.sets import ALL, Caption, CaptionSet
from avbench.core.errors import DataError
from avbench.data.text.counts import WordCounts
from avbench.evaluation.statistics.estimate import Estimate
from avbench.evaluation.statistics.resampling import System
from avbench.evaluation.statistics.videos import over_videos

Of = Literal["tokens", "lemmas", "content"]
"""Units that SCR compares: tokens as they stand (the paper), lemmas, or lemmas without stop
words."""

Unheard = Literal["zero", "skip"]
"""Captions of clips without a transcript: nothing is covered, or SCR leaves them out."""

NO_CORPORA = "ARS needs captions of sound and of images: --audio and --image"
NO_SPEECH = "no clip has speech text: --asr"


@dataclass(frozen=True, kw_only=True, slots=True)
class SetFigures:
    """SCR and ARS of one split, or of all splits together."""

    key: str
    reader: str
    split: str
    videos: int
    clips: int
    captions: int
    spoken: int
    """Clips with speech text that is not empty."""
    list_hash: str
    """Of clips and captions."""
    scr: Estimate | None
    """Percent."""
    ars: Estimate | None
    scr_reason: str = ""
    """The reason for a missing SCR."""
    ars_reason: str = ""
    unseen: float | None = None
    """Percent of the summed ARS that comes from words of no image caption."""

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.key if self.split == ALL else f"{self.key}, {self.split}"


class Measured:
    """SCR and ARS of one set's captions, word by word; every text is read once.

    Args:
        whole: the set.
        reading: texts to words.
        counts: for ARS; None: SCR alone.
        of: units that SCR compares.
        unheard: treatment of clips without a transcript.
        known: cache of tokenised texts.
    """

    def __init__(
        self,
        whole: CaptionSet,
        reading: Reading,
        counts: WordCounts | None,
        *,
        of: Of = "tokens",
        unheard: Unheard = "zero",
        known: Texts | None = None,
    ) -> None:
        self._set = whole
        self._unheard = unheard
        captions = whole.captions(ALL)
        texts = list(dict.fromkeys(c.text for c in captions))
        spoken = list(dict.fromkeys(c.speech for c in captions if c.speech))
        words = (known or Texts()).tokens([*texts, *spoken], reading)
        compared = [_compared(w, reading, of) for w in words]
        self._compared = dict(zip(texts, compared, strict=False))
        self._heard = {t: set(w) for t, w in zip(spoken, compared[len(texts) :], strict=True)}
        self._ars: dict[str, tuple[float, float]] = {}
        self.ars_reason = "" if counts else NO_CORPORA
        if counts is not None:
            try:
                self._ars = {
                    t: _relevance(reading.words(w), counts)
                    for t, w in zip(texts, words, strict=False)
                }
            except DataError as error:
                self.ars_reason = str(error)

    def figures(self, split: str) -> SetFigures:
        """Return the figures of one split, or of all together."""
        captions, sizes = self._set.captions(split), self._set.sizes(split)
        videos = sizes.videos
        systems: dict[str, System] = {}
        unseen = None
        if not self.ars_reason:
            rows = [(self._ars[c.text][0], 1.0) for c in captions]
            systems["ars"] = _system(captions, rows, videos, 1.0)
            total = sum(value for value, _ in rows)
            share = sum(self._ars[c.text][1] for c in captions)
            unseen = 100 * share / total if total else 0.0
        if sizes.spoken:
            heard = [c for c in captions if c.speech is not None or self._unheard == "zero"]
            systems["scr"] = _system(heard, list(map(self._covered, heard)), videos, 100.0)
        found = {name: over_videos([system]).estimate() for name, system in systems.items()}
        return SetFigures(
            key=self._set.key,
            reader=self._set.reader,
            split=split,
            videos=len(videos),
            clips=sizes.clips,
            captions=len(captions),
            spoken=sizes.spoken,
            list_hash=sizes.list_hash,
            scr=found.get("scr"),
            ars=found.get("ars"),
            scr_reason="" if sizes.spoken else NO_SPEECH,
            ars_reason=self.ars_reason,
            unseen=unseen,
        )

    def _covered(self, caption: Caption) -> tuple[float, float]:
        """Count the words of a caption that are said in its clip, and all its words."""
        words = self._compared[caption.text]
        heard = self._heard.get(caption.speech or "", ())
        return float(sum(word in heard for word in words)), float(len(words))


def _compared(tokens: Sequence[str], reading: Reading, of: Of) -> Sequence[str]:
    if of == "tokens":
        return tokens
    return list(map(reading.lemma, tokens)) if of == "lemmas" else reading.words(tokens)


def _relevance(words: Sequence[str], counts: WordCounts) -> tuple[float, float]:
    """Return the ARS of a caption, and the part of it from words of no image caption."""
    whole = unseen = 0.0
    for word in words:
        value = counts.table.get(word)
        if value is None:
            value = counts.ars(word)  # 0, or an error
        whole += value
        if value and not counts.image.get(word, 0):
            unseen += value
    return whole, unseen


def _system(
    captions: Sequence[Caption],
    rows: Sequence[tuple[float, float]],
    videos: Mapping[str, int],
    scale: float,
) -> System:
    """Make a system whose figure is a ratio of two sums over videos."""
    sums = np.zeros((len(videos), 2))
    np.add.at(sums, [videos[c.video] for c in captions], np.array(rows))
    return System(sums=sums, from_sums=_ratio(scale))


def _ratio(
    scale: float,
) -> Callable[[Float64[np.ndarray, "R K"]], Float64[np.ndarray, " R"]]:
    def ratio(sums: Float64[np.ndarray, "R K"]) -> Float64[np.ndarray, " R"]:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares: Float64[np.ndarray, " R"] = scale * sums[:, 0] / sums[:, 1]
        return shares

    return ratio


def interval(estimate: Estimate | None) -> tuple[float, float] | None:
    """Return the ends of a figure's interval, or None."""
    if estimate is None or estimate.reason:
        return None
    return estimate.low, estimate.high
