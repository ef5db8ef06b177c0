"""HowTo100M: narrated instructional videos; the ASR of the narration is the caption.

It reads ``raw_caption.json`` or ``caption.json`` (the same without stop words) as released:
``{video: {"text": […], "start": […], "end": […]}}``; or a folder of ``<video>.csv`` with the
columns ``start``, ``end`` and ``text``, or of subtitles as downloaded (``<video>.<language>.vtt``
or ``.srt``), where a file that cannot be read costs its video; and ``HowTo100M_v1.csv`` if
categories are chosen. An ASR sentence is short, so clips are made as the
paper says (Sec. 4.1): start with one sentence, and extend it by neighbouring sentences until the
clip is longer than five seconds.

The paper leaves open the starts of clips. By default, ``starts: every``, there is a clip for every
sentence, extended to the side that keeps it shorter, as in UniVL (Luo et al., 2020), whose code
the paper follows; its next caption is that of the first sentence after it. The alternative,
``starts: uncovered``, starts a clip at the first sentence that no clip holds yet and extends it
forward; the last one of a video grows backward. Then clips overlap only at a video's end, there
are about half as many, and the next caption is the following clip's.

Source: HowTo100M: Learning a text-video embedding by watching hundred million narrated video
clips (Miech et al., 2019), https://www.di.ens.fr/willow/research/howto100m.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, final

from avbench.api import Clip, DataError, Number, Register, hookimpl, unknown
from avbench.data.annotations.json_stream import stream_fields
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import Node, checked_id, open_csv
from avbench.data.annotations.subtitles import open_speech, speech_files

SPLITS = ("train",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and the making of clips."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the videos, from the root: ``<video id>.<extension>`` at any depth."""
    file: str = "raw_caption.json"
    """``raw_caption.json``, ``caption.json``, or a folder of csv, vtt or srt."""
    videos: str = "HowTo100M_v1.csv"
    """File of the videos' categories."""
    categories: tuple[str, ...] = ()
    """Keep the videos of these first-level categories (``category_1``); none: keep all."""
    min_seconds: Annotated[float, Number(unit="s", least=0, most=86400, source="Sec. 4.1")] = 5.0
    """A clip is extended until it is longer than this, seconds (paper: 5)."""
    starts: Literal["uncovered", "every"] = "every"
    """Sentences that start a clip: every one, as in UniVL, or those that no clip holds yet. The
    paper does not say."""


class Sentence(NamedTuple):
    """One line of the ASR (a tuple, because there are a hundred million)."""

    text: str
    start: float
    end: float


SentenceRange = tuple[int, int]
"""A clip as the indices of its first and last sentence."""


@final
class HowTo100M(FileDataset):
    """Reader of HowTo100M. Clip ids are ``<video>#<place in the video>``."""

    train = "train"
    report = None
    _ids_are_distinct = True  # a video comes once in the file, and its clips are numbered

    def __init__(self, options: Options) -> None:
        files = LocalFiles("howto100m", options.root, options.annotations, options.media)
        super().__init__(files, SPLITS)
        self._options = options

    def splits(self) -> tuple[str, ...]:
        """Return the only split, as it is a pre-training corpus."""
        return SPLITS

    def _names(self) -> Sequence[str]:
        names = [self._options.file]
        return [*names, self._options.videos] if self._options.categories else names

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:  # noqa: ARG002
        """Yield the clips of all videos with speech; the narration is caption and speech."""
        chosen = self._chosen_videos()
        path = self._files.annotation(self._options.file)
        for video, lines in _videos_of_folder(path) if path.is_dir() else _videos_of_file(path):
            if chosen is not None and video not in chosen:
                continue
            with defects.skip_malformed(video):
                found = self._make_clips(checked_id(video, str(path)), lines())
                if not found:
                    defects.add(f"{path}: {video}", "no words are spoken, so it gives no clip")
                yield from found

    def _make_clips(self, video: str, sentences: Sequence[Sentence]) -> list[Clip]:
        least = self._options.min_seconds
        if self._options.starts == "uncovered":
            runs = partition(sentences, least)
            follows: Sequence[int] = range(1, len(runs) + 1)
        else:
            runs = around_every(sentences, least)
            follows = [last + 1 for _, last in runs]
        if not runs:
            return []
        texts = [" ".join([s.text for s in sentences[i : j + 1]]) for i, j in runs]
        bounds = [_bounds(sentences, run) for run in runs]
        media = self._files.media_or_missing(video)
        return [
            Clip(
                id=f"{video}#{i}",
                video=video,
                media=media,
                captions=(texts[i],),
                start=bounds[i][0],
                end=bounds[i][1],
                next_caption=texts[follows[i]] if follows[i] < len(texts) else None,
                speech=texts[i],
            )
            for i in range(len(runs))
        ]

    def _chosen_videos(self) -> frozenset[str] | None:
        """Return the videos of the chosen categories; None: all."""
        wanted = self._options.categories
        if not wanted:
            return None
        path = self._files.annotation(self._options.videos)
        known: dict[str, set[str]] = {}
        for row in open_csv(path, ("video_id", "category_1")):
            known.setdefault(str(row["category_1"].value), set()).add(str(row["video_id"].value))
        for category in wanted:
            if category not in known:
                raise DataError(f"{path}: {unknown('category', category, known)}")
        return frozenset().union(*(known[category] for category in wanted))


def partition(sentences: Sequence[Sentence], least: float) -> list[SentenceRange]:
    """Cut a video into consecutive clips, each longer than ``least`` seconds if the video is.

    Each starts at the first sentence left and grows forward; the last grows backward.
    """
    runs: list[SentenceRange] = []
    first = 0
    while first < len(sentences):
        i = j = first
        while _seconds(sentences, (i, j)) <= least and (i > 0 or j + 1 < len(sentences)):
            i, j = (i, j + 1) if j + 1 < len(sentences) else (i - 1, j)
        runs.append((i, j))
        first = j + 1
    return runs


def around_every(sentences: Sequence[Sentence], least: float) -> list[SentenceRange]:
    """Make a clip around each sentence, longer than ``least`` seconds if the video is.

    Each grows to the side that keeps it shorter, backward on a tie.
    """
    runs: list[SentenceRange] = []
    for start in range(len(sentences)):
        run = (start, start)
        while _seconds(sentences, run) <= least:
            i, j = run
            wider = [r for r in ((i - 1, j), (i, j + 1)) if r[0] >= 0 and r[1] < len(sentences)]
            if not wider:
                break
            run = min(wider, key=lambda r: _seconds(sentences, r))
        runs.append(run)
    return runs


def _bounds(sentences: Sequence[Sentence], run: SentenceRange) -> tuple[float, float]:
    """Return start and end; lines overlap, so the last to start need not be the last to end."""
    held = sentences[run[0] : run[1] + 1]
    return min([s.start for s in held]), max([s.end for s in held])


def _seconds(sentences: Sequence[Sentence], run: SentenceRange) -> float:
    start, end = _bounds(sentences, run)
    return end - start


Lines = Callable[[], list[Sentence]]
"""Reads the lines of a video's ASR that hold words; raises what is malformed in them."""


def _videos_of_file(path: Path) -> Iterator[tuple[str, Lines]]:
    """Yield the videos of the released file, which is too large for memory."""
    for video, entry in stream_fields(path):
        yield video, partial(_sentences, entry)


def _sentences(entry: Node) -> list[Sentence]:
    texts = entry["text"].strings()
    starts = entry["start"].numbers(len(texts))
    ends = entry["end"].numbers(len(texts))
    return [Sentence(*line) for line in zip(texts, starts, ends, strict=True) if line[0]]


def _videos_of_folder(path: Path) -> Iterator[tuple[str, Lines]]:
    """Yield the videos of a folder with one csv, vtt or srt file a video."""
    for video, files in speech_files(path).items():
        yield video, partial(_sentences_of_files, files)


def _sentences_of_files(files: Sequence[Path]) -> list[Sentence]:
    return [Sentence(*cue) for cue in open_speech(files)]


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("howto100m", HowTo100M, config=Options, source="Miech et al., 2019; HowTo100M")
