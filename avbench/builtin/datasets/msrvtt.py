"""MSR-VTT: short clips of the web, 20 sentences each.

The ``videodatainfo`` form as released: ``train_val_videodatainfo.json`` and
``test_videodatainfo.json``, or one file of all (``MSRVTT_data.json``). The media are the released
clips ``video<N>.mp4``; the times in the annotations are those in the videos they were cut from.
The split ``1k-A`` of retrieval papers is read from its csv, with that file's one sentence a clip.

Source: MSR-VTT: A large video description dataset for bridging video and language (Xu et al.,
2016).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, DataError, Register, hookimpl
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.reader import FileDataset, Notes
from avbench.data.annotations.strict_json import Node, open_csv, open_json

SPLITS = ("train", "validate", "test")

TEST_1K = "1k-A"
"""The thousand test clips of JSFusion (Yu et al., 2018), with one sentence each: its csv's own."""

ALIASES = {"val": "validate", "validation": "validate"}
"""Names that versions of the file use."""

KNOWN = (("train_val_videodatainfo.json", "test_videodatainfo.json"), ("MSRVTT_data.json",))
"""Sets of files looked for where the options name none, in this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the clips, from the root: ``video<N>.<extension>`` at any depth."""
    files: tuple[str, ...] = ()
    """Annotation files that together hold the dataset; none: the released names."""
    test_1k: str = "MSRVTT_JSFUSION_test.csv"
    """File of the split ``1k-A``: ``key,vid_key,video_id,sentence``."""
    train: str = "train"
    report: str = "test"
    select: str | None = "validate"
    """The split for selection; null: videos of the training split are kept for it."""


@final
class MsrVtt(FileDataset):
    """Reads MSR-VTT. Clip ids are ``video<N>``."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles("msrvtt", options.root, options.annotations, options.media)
        super().__init__(files, (*SPLITS, TEST_1K))
        self._given = options.files
        self._csv = options.test_1k
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Those that the files name."""
        held = {self._split(video) for path in self._paths() for video in _videos(path)}
        sets = tuple(s for s in SPLITS if s in held)
        return (*sets, TEST_1K) if self._files.present([self._csv]) else sets

    def _names(self) -> Sequence[str]:
        known = next((names for names in KNOWN if self._files.present(names)), sum(KNOWN, ()))
        return [*(self._given or known), self._csv]

    def _read(self, split: str, notes: Notes) -> Iterator[Clip]:
        """The clips of a split, with all their sentences in the files' order."""
        if split == TEST_1K:
            yield from self._read_1k(notes)
            return
        videos: dict[str, Node] = {}
        sentences: defaultdict[str, list[Node]] = defaultdict(list)
        for path in self._paths():
            top = open_json(path)
            held: dict[str, bool] = {}
            for video in top["videos"].items():
                video_id = video["video_id"].id()
                if video_id in held or video_id in videos:
                    raise video["video_id"].wrong("an id that no other video has")
                held[video_id] = self._split(video) == split
                if held[video_id]:
                    videos[video_id] = video
            for sentence in top["sentences"].items():
                video_id = sentence["video_id"].id()
                if video_id not in held:
                    raise sentence["video_id"].wrong("the id of a video of the file")
                if held[video_id]:
                    sentences[video_id].append(sentence["caption"])
        for video_id, video in videos.items():
            if not sentences[video_id]:
                problem = "no sentence has this video's id; each video needs at least one"
                notes.add(video.place, problem, clip=video_id, reason="no_caption")
                continue
            with notes.costing(video_id):
                yield self._clip(video_id, [node.text() for node in sentences[video_id]])

    def _read_1k(self, notes: Notes) -> Iterator[Clip]:
        for row in open_csv(self._files.annotation(self._csv), ("video_id", "sentence")):
            with notes.costing(str(row["video_id"].value)):
                yield self._clip(row["video_id"].id(), [row["sentence"].text()])

    def _clip(self, video_id: str, sentences: Sequence[str]) -> Clip:
        return Clip(
            id=video_id,
            video=video_id,
            media=self._files.media_or_missing(video_id),
            captions=tuple(sentences),
            speech=self._files.speech.get(video_id),
        )

    def _paths(self) -> list[Path]:
        if self._given:
            return [self._files.annotation(name) for name in self._given]
        for names in KNOWN:
            if self._files.present(names):
                return self._files.present(names)
        looked = ", ".join(name for names in KNOWN for name in names)
        raise DataError(
            f"msrvtt: no annotation file in {self._files.annotation('')}; looked for {looked}"
        )

    @staticmethod
    def _split(video: Node) -> str:
        found = video["split"].choice((*SPLITS, *ALIASES))
        return ALIASES.get(found, found)


def _videos(path: Path) -> list[Node]:
    return open_json(path)["videos"].items()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register("msrvtt", MsrVtt, config=Options, source="Xu et al., 2016; MSR-VTT")
