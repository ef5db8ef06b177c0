"""ActivityNet-Captions: overlapping segments of long videos, one sentence each.

``train.json``, ``val_1.json`` and ``val_2.json`` as released, and the re-split of the validation
videos that the literature reports on (``anet_entities_{val,test}_{1,2}.json`` with ``…_para``):
ae-val and ae-test. Training is by sentence. Reporting is by paragraph: the segments of the first
annotator are captioned, joined per video, and scored against the paragraphs of both annotators
(of one where the second is missing).

In ``train.json`` as released four of 37,421 segments end where or before they start: a reversed
one is turned round and logged, one of no length is kept and lost in preparation, with its reason.

Source: Dense-captioning events in videos (Krishna et al., 2017),
https://cs.stanford.edu/people/ranjaykrishna/densevid; re-split: Grounded video description (Zhou
et al., 2019), https://github.com/facebookresearch/ActivityNet-Entities.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import final

from avbench.api import Clip, DataError, Dataset, Register, hookimpl, unknown
from avbench.media.annotations import Node, checked_id, open_json
from avbench.media.local import LocalFiles

SEGMENTS = {
    "train": "train.json",
    "val_1": "val_1.json",
    "val_2": "val_2.json",
    "ae-val": "anet_entities_val_1.json",
    "ae-test": "anet_entities_test_1.json",
}
"""The file of each split's segments."""

PARAGRAPHS = {
    "ae-val": ("anet_entities_val_1_para.json", "anet_entities_val_2_para.json"),
    "ae-test": ("anet_entities_test_1_para.json", "anet_entities_test_2_para.json"),
}
"""The files of paragraph references; for the official splits they are made of both val files."""

JOINED = ("val_1.json", "val_2.json")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Where the files lie, and which split is what."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the videos, from the root: ``v_<id>.<extension>`` or without ``v_``."""
    train: str = "train"
    report: str = "ae-test"


@final
class ActivityNetCaptions(Dataset):
    """Reads ActivityNet-Captions. Clip ids are ``<v_id>#<place in the video>``."""

    protocol = "paragraph"

    def __init__(self, options: Options) -> None:
        self._files = LocalFiles("activitynet", options.root, options.annotations, options.media)
        self.train = options.train
        self.report = options.report

    def splits(self) -> tuple[str, ...]:
        """Those whose files are there."""
        return tuple(s for s, name in SEGMENTS.items() if self._files.present([name]))

    def clips(self, split: str) -> Sequence[Clip]:
        """The segments of a split's videos, in the annotator's order."""
        clips: list[Clip] = []
        path = self._files.annotation(SEGMENTS[_known(split)])
        for video, entry in open_json(path).fields():
            clips += self._segments(checked_id(video, path.name), entry)
        if not clips:
            raise DataError(f"{path}: holds no segments")
        return clips

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """References per video of the split: the first annotator's, then the second's."""
        if _known(split) == "train":
            return {}
        segments = open_json(self._files.annotation(SEGMENTS[split]))
        if split in PARAGRAPHS:
            sources = [
                {video: text.text() for video, text in open_json(path).fields()}
                for path in map(self._files.annotation, PARAGRAPHS[split])
            ]
        else:
            sources = [
                {video: _joined(entry) for video, entry in open_json(path).fields()}
                for path in map(self._files.annotation, JOINED)
                if path.is_file()
            ]
        references = {
            video: tuple(source[video] for source in sources if video in source)
            for video, _ in segments.fields()
        }
        bare = [video for video, texts in references.items() if not texts]
        if bare:
            raise DataError(
                f"activitynet, split '{split}': {len(bare)} videos have no paragraph reference, "
                f"e.g. '{bare[0]}'"
            )
        return references

    def fingerprint(self) -> str:
        """Of all annotation files, the sidecars and the media."""
        paragraphs = [name for names in PARAGRAPHS.values() for name in names]
        return self._files.fingerprint([*SEGMENTS.values(), *paragraphs])

    def _segments(self, video: str, entry: Node) -> list[Clip]:
        sentences = [sentence.text() for sentence in entry["sentences"].items()]
        segments = entry["timestamps"].items(len(sentences))
        bare = video.removeprefix("v_")
        media = self._files.media_or_missing(video, bare, f"v_{bare}")
        clips = []
        for i, (segment, caption, following) in enumerate(
            zip_longest(segments, sentences, sentences[1:])
        ):
            start, end = (bound.number() for bound in segment.items(2))
            if end < start:
                log.warning(
                    "%s: %s: reversed, read as %s to %s", segment.file, segment.at, end, start
                )
                start, end = end, start
            clip_id = f"{video}#{i}"
            clips.append(
                Clip(
                    id=clip_id,
                    video=video,
                    media=media,
                    captions=(caption,),
                    start=start,
                    end=end,
                    next_caption=following,
                    speech=self._files.speech.get(clip_id),
                )
            )
        return clips


def _known(split: str) -> str:
    if split not in SEGMENTS:
        raise DataError(f"activitynet: {unknown('split', split, SEGMENTS)}")
    return split


def _joined(entry: Node) -> str:
    return " ".join(sentence.text() for sentence in entry["sentences"].items())


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register(
        "activitynet",
        ActivityNetCaptions,
        config=Options,
        source="Krishna et al., 2017; cs.stanford.edu/people/ranjaykrishna/densevid",
    )
