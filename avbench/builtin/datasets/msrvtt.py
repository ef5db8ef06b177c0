"""MSR-VTT: short clips of the web, 20 sentences each.

It reads the released ``videodatainfo`` form: ``train_val_videodatainfo.json`` and
``test_videodatainfo.json``, or one file of all (``MSRVTT_data.json``). The media are the released
clips ``video<N>.mp4``; the annotations' times refer to the videos that they were cut from. The
split ``1k-A`` of retrieval papers comes from its csv, with that file's one sentence a clip.

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
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import Node, open_csv, open_json

SPLITS = ("train", "validate", "test")

TEST_1K = "1k-A"
"""The thousand test clips of JSFusion (Yu et al., 2018), with the one sentence of its csv each."""

ALIASES = {"val": "validate", "validation": "validate"}
"""Other names of splits in some versions of the file."""

KNOWN = (("train_val_videodatainfo.json", "test_videodatainfo.json"), ("MSRVTT_data.json",))
"""Sets of files to look for if the options name none, in this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

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
    """The split for selection; null: keep videos of the training split for it."""


@final
class MsrVtt(FileDataset):
    """Reader of MSR-VTT. Clip ids are ``video<N>``."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles("msrvtt", options.root, options.annotations, options.media)
        super().__init__(files, (*SPLITS, TEST_1K))
        self._given = options.files
        self._csv = options.test_1k
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return the splits that the files name."""
        held = {self._split(video) for path in self._paths() for video in _videos(path)}
        sets = tuple(s for s in SPLITS if s in held)
        return (*sets, TEST_1K) if self._files.existing([self._csv]) else sets

    def _names(self) -> Sequence[str]:
        known = next((names for names in KNOWN if self._files.existing(names)), sum(KNOWN, ()))
        return [*(self._given or known), self._csv]

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the clips of a split, with all their sentences in the files' order."""
        if split == TEST_1K:
            yield from self._read_1k(defects)
            return
        videos: dict[str, Node] = {}
        sentences: defaultdict[str, list[Node]] = defaultdict(list)
        for path in self._paths():
            top = open_json(path)
            for video in top["videos"].items():
                video_id = video["video_id"].id()
                if video_id in videos:
                    raise video["video_id"].wrong("an id that no other video has")
                videos[video_id] = video
            for sentence in top["sentences"].items():
                sentences[sentence["video_id"].id()].append(sentence["caption"])
        for video_id, nodes in sentences.items():
            if video_id not in videos:
                problem = (
                    f"'{video_id}' is none of the videos; its {len(nodes)} sentences are lost"
                )
                defects.add(nodes[0].place, problem)
        for video_id, video in videos.items():
            if self._split(video) != split:
                continue
            if video_id not in sentences:
                problem = "no sentence has this video's id; each video needs at least one"
                defects.add(video.place, problem, clip=video_id, reason="no_caption")
                continue
            with defects.skip_malformed(video_id):
                captions = defects.captions(sentences[video_id], video_id, video.place)
                if captions:
                    yield self._clip(video_id, captions)

    def _read_1k(self, defects: DefectLog) -> Iterator[Clip]:
        for row in open_csv(self._files.annotation(self._csv), ("video_id", "sentence")):
            with defects.skip_malformed(str(row["video_id"].value)):
                yield self._clip(row["video_id"].id(), [row["sentence"].text()])

    def _clip(self, video_id: str, sentences: Sequence[str]) -> Clip:
        return Clip(
            id=video_id,
            video=video_id,
            media=self._files.media_or_missing(video_id),
            captions=tuple(sentences),
            speech=self._files.speech(video_id),
        )

    def _paths(self) -> list[Path]:
        if self._given:
            return [self._files.annotation(name) for name in self._given]
        for names in KNOWN:
            if self._files.existing(names):
                return self._files.existing(names)
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
