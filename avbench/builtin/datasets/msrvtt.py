"""MSR-VTT: short clips of the web, 20 sentences each.

The ``videodatainfo`` form as released: ``train_val_videodatainfo.json`` and
``test_videodatainfo.json``, or one file of all (``MSRVTT_data.json``). The media are the released
clips ``video<N>.mp4``; the times in the annotations are those in the videos they were cut from.

Source: MSR-VTT: A large video description dataset for bridging video and language (Xu et al.,
2016).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, DataError, Dataset, Register, hookimpl, unknown
from avbench.media.annotations import Node, open_json
from avbench.media.local import LocalFiles

SPLITS = ("train", "validate", "test")

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
    train: str = "train"
    report: str = "test"


@final
class MsrVtt(Dataset):
    """Reads MSR-VTT. Clip ids are ``video<N>``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._files = LocalFiles("msrvtt", options.root, options.annotations, options.media)
        self.train = options.train
        self.report = options.report

    def splits(self) -> tuple[str, ...]:
        """Those that the files name."""
        held = {self._split(video) for path in self._paths() for video in _videos(path)}
        return tuple(s for s in SPLITS if s in held)

    def clips(self, split: str) -> Sequence[Clip]:
        """The clips of a split, with all their sentences in the files' order."""
        if split not in SPLITS:
            raise DataError(f"msrvtt: {unknown('split', split, SPLITS)}")
        videos: dict[str, str] = {}
        sentences: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._paths():
            top = open_json(path)
            for video in top["videos"].items():
                video_id = video["video_id"].id()
                if video_id in videos:
                    raise video["video_id"].wrong("an id that no other video has")
                videos[video_id] = self._split(video)
            for sentence in top["sentences"].items():
                video_id = sentence["video_id"].id()
                if video_id not in videos:
                    raise sentence["video_id"].wrong("the id of a video of the file")
                if videos[video_id] == split:
                    sentences[video_id].append(sentence["caption"].text())
        chosen = [video_id for video_id, held in videos.items() if held == split]
        names = ", ".join(path.name for path in self._paths())
        if not chosen:
            raise DataError(f"{names}: split '{split}' holds no videos")
        bare = [video_id for video_id in chosen if video_id not in sentences]
        if bare:
            raise DataError(
                f"{names}: {len(bare)} of {len(chosen)} videos of split '{split}' have no "
                f"sentence, e.g. '{bare[0]}'; each needs at least one"
            )
        return [self._clip(video_id, sentences[video_id]) for video_id in chosen]

    def fingerprint(self) -> str:
        """Of the annotation files, the sidecars and the media."""
        return self._files.fingerprint([path.name for path in self._paths()])

    def _clip(self, video_id: str, sentences: Sequence[str]) -> Clip:
        return Clip(
            id=video_id,
            video=video_id,
            media=self._files.media_or_missing(video_id),
            captions=tuple(sentences),
            speech=self._files.speech.get(video_id),
        )

    def _paths(self) -> list[Path]:
        if self._options.files:
            return [self._files.annotation(name) for name in self._options.files]
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
