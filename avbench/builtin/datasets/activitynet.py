"""ActivityNet-Captions: overlapping segments of long videos, one sentence each.

It reads ``train.json``, ``val_1.json`` and ``val_2.json`` as released, and the re-split of the
validation videos that the literature reports on (``anet_entities_{val,test}_{1,2}.json`` with
``…_para``): ae-val and ae-test. Training is by sentence. Reporting is by paragraph: the segments
of the first annotator are captioned, joined per video, and scored against the paragraphs of both
annotators (of one if the second is missing).

In the released ``train.json``, four of 37,421 segments end at or before their start. A reversed
one is turned round and noted; one of no length is a defect, on which the policy decides.

Source: Dense-captioning events in videos (Krishna et al., 2017),
https://cs.stanford.edu/people/ranjaykrishna/densevid; re-split: Grounded video description (Zhou
et al., 2019), https://github.com/facebookresearch/ActivityNet-Entities.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from avbench.api import Clip, DataError, Register, hookimpl
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset, caption_or_none
from avbench.data.annotations.strict_json import Node, checked_id, open_json

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
"""The files of paragraph references; the official splits' come from both val files."""

JOINED = ("val_1.json", "val_2.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "."
    """Folder of the annotation files, from the root."""
    media: str = "videos"
    """Folder of the videos, from the root: ``v_<id>.<extension>`` or without ``v_``."""
    train: str = "train"
    report: str = "ae-test"
    select: str | None = "ae-val"
    """The split for selection; null: keep videos of the training split for it."""


@final
class ActivityNetCaptions(FileDataset):
    """Reader of ActivityNet-Captions. Clip ids are ``<v_id>#<place in the video>``."""

    protocol = "paragraph"

    def __init__(self, options: Options) -> None:
        files = LocalFiles("activitynet", options.root, options.annotations, options.media)
        super().__init__(files, tuple(SEGMENTS))
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return the splits whose files exist."""
        return tuple(s for s, name in SEGMENTS.items() if self._files.existing([name]))

    def _names(self) -> Sequence[str]:
        paragraphs = [name for names in PARAGRAPHS.values() for name in names]
        return [*SEGMENTS.values(), *paragraphs]

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the segments of a split's videos, in the annotator's order."""
        path = self._files.annotation(SEGMENTS[split])
        for video, entry in open_json(path).fields():
            yield from self._segments(checked_id(video, str(path)), entry, defects)

    def paragraphs(self, split: str) -> Mapping[str, tuple[str, ...]]:
        """Return the references of each video: the first annotator's, then the second's."""
        if self._check_split(split) == "train":
            return {}
        path = self._files.annotation(SEGMENTS[split])
        videos = [checked_id(video, str(path)) for video, _ in open_json(path).fields()]
        if split in PARAGRAPHS:
            sources = [
                {video: text.string() for video, text in open_json(path).fields()}
                for path in map(self._files.annotation, PARAGRAPHS[split])
            ]
        else:
            sources = [
                {video: _joined(entry) for video, entry in open_json(path).fields()}
                for path in map(self._files.annotation, JOINED)
                if path.is_file()
            ]
        references = {
            video: tuple(source[video] for source in sources if source.get(video))
            for video in videos
        }
        bare = [video for video, texts in references.items() if not texts]
        if bare:
            raise DataError(
                f"activitynet, {self._files.root}: split '{split}': {len(bare)} videos have no "
                f"paragraph reference, e.g. '{bare[0]}'"
            )
        return references

    def _segments(self, video: str, entry: Node, defects: DefectLog) -> Iterator[Clip]:
        sentences = entry["sentences"].items()
        segments = entry["timestamps"].items(len(sentences))
        bare = video.removeprefix("v_")
        media = self._files.media_or_missing(video, bare, f"v_{bare}")
        for i, (segment, sentence) in enumerate(zip(segments, sentences, strict=True)):
            clip_id = f"{video}#{i}"
            with defects.skip_malformed(clip_id):
                start, end = (bound.number() for bound in segment.items(2))
                caption = sentence.text()
                following = next(map(caption_or_none, sentences[i + 1 : i + 2]), None)
                if end < start:
                    defects.add(segment.place, f"reversed, read as {end:g} to {start:g} s")
                    start, end = end, start
                if defects.check_interval(segment.place, start, end, clip_id):
                    yield Clip(
                        id=clip_id,
                        video=video,
                        media=media,
                        captions=(caption,),
                        start=start,
                        end=end,
                        next_caption=following,
                        speech=self._files.speech(clip_id),
                    )


def _joined(entry: Node) -> str:
    """Join a video's sentences in the file's order, as the published paragraphs are."""
    return " ".join(filter(None, entry["sentences"].strings()))


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    register(
        "activitynet",
        ActivityNetCaptions,
        config=Options,
        source="Krishna et al., 2017; cs.stanford.edu/people/ranjaykrishna/densevid",
    )
