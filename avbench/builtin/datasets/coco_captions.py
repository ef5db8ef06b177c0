"""COCO captions: photographs, five captions each, of pictures without sound.

It reads three forms and recognises them by their fields: the released ``captions_train2014.json``
and ``captions_val2014.json`` (``images`` and ``annotations``), the file of Karpathy's splits
``dataset_coco.json`` (``images`` with ``split`` and ``sentences``), and ``{image: [captions]}``.
Models cannot train on photographs here: the audio relevance score compares the captions of sounds
with these (Sec. 4.1).

Source: Microsoft COCO captions (Chen et al., 2015), https://cocodataset.org; splits: Deep
visual-semantic alignments for generating image descriptions (Karpathy and Fei-Fei, 2015).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from avbench.api import Clip, Register, hookimpl
from avbench.data.annotations.local_files import IMAGES, LocalFiles
from avbench.data.annotations.reader import DefectLog, FileDataset
from avbench.data.annotations.strict_json import Node, open_json

SPLITS = ("train", "val", "test")

KARPATHY = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}
"""The splits of ``dataset_coco.json`` in each of ours, by the usual convention."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Places of the files, and roles of the splits."""

    root: str = ""
    """Folder of the dataset."""
    annotations: str = "annotations"
    """Folder of the annotation files, from the root."""
    media: str = "images"
    """Folder of the photographs, from the root, at any depth; not needed for captions alone."""
    train_file: str = "captions_train2014.json"
    """File of the split; ``dataset_coco.json`` for Karpathy's."""
    val_file: str = "captions_val2014.json"
    """File of the split; ``dataset_coco.json`` for Karpathy's."""
    test_file: str = ""
    """File of the split (the released test captions are secret); ``dataset_coco.json``."""
    train: str = "train"
    report: str = "val"
    select: str | None = None
    """The split for selection; null: keep videos of the training split for it."""


@final
class CocoCaptions(FileDataset):
    """Reader of COCO's captions. Clip ids are the images' names without extension."""

    def __init__(self, options: Options) -> None:
        files = LocalFiles(
            "coco_captions",
            options.root,
            options.annotations,
            options.media,
            extensions=IMAGES,
            captions_alone=True,
        )
        super().__init__(files, SPLITS)
        self._lists = {s: str(getattr(options, f"{s}_file")) for s in SPLITS}
        self.train = options.train
        self.report = options.report
        self.select = options.select

    def splits(self) -> tuple[str, ...]:
        """Return the splits whose files exist."""
        return tuple(s for s, name in self._lists.items() if name and self._files.existing([name]))

    def _names(self) -> Sequence[str]:
        return list(dict.fromkeys(name for name in self._lists.values() if name))

    def _read(self, split: str, defects: DefectLog) -> Iterator[Clip]:
        """Yield the images of a split, with their captions."""
        path = self._files.annotation(self._lists[split] or f"(option {split}_file is empty)")
        for name, place, captions in _entries(path, split, defects):
            with defects.skip_malformed(name):
                clip_id = self._files.without_extension(Node(path, place, name).id())
                if not captions:
                    problem = "no caption has this image's id; each image needs at least one"
                    defects.add(f"{path}: {place}", problem, clip=clip_id, reason="no_caption")
                    continue
                texts = defects.captions(captions, clip_id, f"{path}: {place}")
                if texts:
                    yield Clip(
                        id=clip_id,
                        video=clip_id,
                        media=self._files.media_or_missing(clip_id),
                        captions=texts,
                    )


def _entries(path: Path, split: str, defects: DefectLog) -> Iterator[tuple[str, str, list[Node]]]:
    """Yield name, place and captions of each image, in any of the three forms."""
    top = open_json(path)
    if "images" in top and "annotations" in top:
        captions: defaultdict[int, list[Node]] = defaultdict(list)
        for annotation in top["annotations"].items():
            captions[annotation["image_id"].integer()].append(annotation["caption"])
        images = {image["id"].integer(): image for image in top["images"].items()}
        for image_id, nodes in captions.items():
            if image_id not in images:
                problem = f"{image_id} is none of the images; its {len(nodes)} captions are lost"
                defects.add(nodes[0].place, problem)
        for image in top["images"].items():
            yield image["file_name"].text(), image.at, captions.get(image["id"].integer(), [])
    elif "images" in top:
        for image in top["images"].items():
            if image["split"].value in KARPATHY[split]:
                sentences = [sentence["raw"] for sentence in image["sentences"].items()]
                yield image["filename"].text(), image.at, sentences
    else:
        for name, texts in top.fields():
            yield name, texts.at, texts.items()


@hookimpl
def register_datasets(register: Register) -> None:
    """Register the reader."""
    source = "Chen et al., 2015; cocodataset.org"
    register("coco_captions", CocoCaptions, config=Options, source=source)
