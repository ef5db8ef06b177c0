"""Every official annotation file at hand is read to its end, and holds what is stated here."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avbench.analysis.relevance.transcripts import Transcripts
from avbench.core.options import make
from avbench.core.registry import Registry, load
from avbench.data.annotations.strict_json import open_csv, open_json, open_words
from avbench.data.annotations.subtitles import open_vtt
from avbench.evaluation.caption_files import read_references

NOTE = "says where the others are from, or how they are meant"


Reads = Callable[[Path, Registry, Path], int]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load()


def clips(reader: str, *splits: str, **options: Any) -> Reads:
    """The clips of some splits by their reader, those that a defect costs among them."""

    def read(path: Path, registry: Registry, folder: Path) -> int:
        given = {"root": str(folder), "annotations": str(path.parent), **options}
        if reader in ("audiocaps", "clotho"):
            del given["annotations"]
            given["root"] = str(path.parent)
        dataset = make(registry.get("datasets", reader), given)
        assert path in dataset.files()
        lost = [d for s in splits for d in dataset.defects(s) if d.clip is not None]
        return sum(len(dataset.clips(s)) for s in splits) + len(lost)

    return read


def references(path: Path, *_: Any) -> int:
    """Return the ids of a file that ``avbench score --references`` takes."""
    return len(read_references(path))


def words(path: Path, *_: Any) -> int:
    """Lines of a list; of no reader, as clips whose file is not there are lost as missing."""
    return sum(bool(line.strings(len(line.value))) for line in open_words(path))


def listed(path: Path, *_: Any) -> int:
    """Ids in a JSON array; the files of segments hold those of them that are annotated."""
    return len({item.id() for item in open_json(path).items()})


def heard(path: Path, *_: Any) -> int:
    """Lines of speech with their times, of ``avbench analyse relevance --asr``."""
    return sum(map(len, Transcripts.read(path).lines.values()))


def subtitles(path: Path, registry: Registry, folder: Path) -> int:
    """Lines of speech; the reader makes clips of them, and relevance hears them too."""
    (folder / "asr").mkdir()
    (folder / "videos").mkdir()
    shutil.copy(path, folder / "asr/WAaKRUoY6Io.en.vtt")
    given = {"root": str(folder), "file": "asr", "min_seconds": 0.0}
    dataset = make(registry.get("datasets", "howto100m"), given)
    cues = open_vtt(path)
    said = " ".join(clip.captions[0] for clip in dataset.clips("train"))
    assert said == " ".join(cue.text for cue in cues)
    assert said.startswith("guys this is a delicious sweet onion tomato sauce if you never made")
    assert [p.name for p in dataset.files()] == ["WAaKRUoY6Io.en.vtt"]
    assert heard(folder / "asr") == len(cues)
    return len(cues)


def timed_words(path: Path, *_: Any) -> int:
    """MERLOT's words with times; of no reader, as it is MERLOT's own form of the .vtt."""
    words = open_json(path)["subtitles"].items()
    return len([(word["word"].string(), word["time"].number()) for word in words])


def fields(path: Path, *_: Any) -> int:
    """Fields of a JSON object; what they say is used by nothing here."""
    return len(list(open_json(path).fields()))


def rows(path: Path, *_: Any) -> int:
    """MIL-NCE's copy of the segments, of which the official file has all but the task."""
    found = open_csv(path, ("end", "start", "task", "text", "video_id"))
    return sum(row["end"].seconds() > row["start"].seconds() >= 0 for row in found)


MSRVTT_IT = "videodatainfoITALIANO_2017_6513_497_100_TestValidati.json.gz"
ANET, AE = "activitynet_captions", "activitynet_captions/ae"
FILES: dict[str, tuple[Reads, int] | str] = {
    f"{ANET}/SOURCES.md": NOTE,
    f"{ANET}/readme.txt": NOTE,
    f"{ANET}/train.json": (clips("activitynet", "train"), 37_421),
    f"{ANET}/val_1.json": (clips("activitynet", "val_1"), 17_505),
    f"{ANET}/val_2.json": (clips("activitynet", "val_2"), 17_031),
    f"{ANET}/train_ids.json": (listed, 10_024),
    f"{ANET}/val_ids.json": (listed, 4926),
    f"{ANET}/test_ids.json": (listed, 5044),
    f"{ANET}/available_mp4.txt": (words, 18_281),
    f"{ANET}/asr/val_2_meta.csv": (heard, 15_505),
    f"{ANET}/asr/vid2cat.json": (fields, 19_994),
    f"{ANET}/para/para_1.json": (references, 4917),
    f"{ANET}/para/para_2.json": (references, 4885),
    f"{ANET}/para/video_gt.json": (references, 4917),
    f"{AE}/readme.txt": NOTE,
    f"{AE}/anet_entities_val_1.json": (clips("activitynet", "ae-val"), 8774),
    f"{AE}/anet_entities_test_1.json": (clips("activitynet", "ae-test"), 8731),
    f"{AE}/anet_entities_val_2.json": (references, 2441),
    f"{AE}/anet_entities_test_2.json": (references, 2444),
    f"{AE}/anet_entities_val_1_para.json": (references, 2460),
    f"{AE}/anet_entities_val_2_para.json": (references, 2441),
    f"{AE}/anet_entities_test_1_para.json": (references, 2457),
    f"{AE}/anet_entities_test_2_para.json": (references, 2444),
    "audiocaps/SOURCES.md": NOTE,
    "audiocaps/train.csv": (clips("audiocaps", "train"), 49_838),
    "audiocaps/val.csv": (clips("audiocaps", "val"), 495),
    "audiocaps/test.csv": (clips("audiocaps", "test"), 975),
    "clotho/SOURCES.md": NOTE,
    "clotho/train.csv": (clips("clotho", "development", development="train.csv"), 3839),
    "clotho/val.csv": (clips("clotho", "validation", validation="val.csv"), 1045),
    "clotho/test.csv": (clips("clotho", "evaluation", evaluation="test.csv"), 1045),
    "clotho/clotho_v2.1_test.json": (
        clips("clotho", "evaluation", evaluation="clotho_v2.1_test.json"), 1045,
    ),
    "coco/SOURCES.md": NOTE,
    "coco/coco_karpathy_test_refs.json": (
        clips("coco_captions", "test", test_file="coco_karpathy_test_refs.json"), 5000,
    ),
    "howto100m/SOURCES.md": NOTE,
    "howto100m/htm_holdout_vid.txt": (words, 1000),
    "howto100m/merlot_example_WAaKRUoY6Io.en.vtt": (subtitles, 92),
    "howto100m/merlot_example_WAaKRUoY6Io.grover.json": (timed_words, 641),
    "howto100m/merlot_example_WAaKRUoY6Io.info.json": (fields, 47),
    "msrvtt/SOURCES.md": NOTE,
    "msrvtt/MSRVTT_short.json": (clips("msrvtt", "train", files=("MSRVTT_short.json",)), 3),
    f"msrvtt/{MSRVTT_IT}": (
        clips("msrvtt", "train", "validate", "test", files=(MSRVTT_IT,)), 10_000,
    ),
    "msrvtt/msrvtt_test_jsfusion1k.csv": (
        clips("msrvtt", "1k-A", test_1k="msrvtt_test_jsfusion1k.csv"), 1000,
    ),
    "msrvtt/msrvtt_test_refs_by_id_DERIVED.json": (references, 2990),
    "vatex/SOURCES.md": NOTE,
    "vatex/vatex_en_c_val_release.jsonl": (
        clips("vatex", "validation", validation="vatex_en_c_val_release.jsonl"), 3000,
    ),
    "vatex/vatex_existed_videos.txt": (words, 33_691),
    "vatex/vatex_mapping.txt": (words, 34_991),
    "youcook2/SOURCES.md": NOTE,
    "youcook2/youcookii_annotations_trainval.json": (
        clips("youcook2", "training", "validation"), 13_829,
    ),
    "youcook2/yc2_train_anet_format.json": (references, 1333),
    "youcook2/yc2_val_anet_format.json": (references, 457),
    "youcook2/yc2_val_anet_format_para.json": (references, 457),
    "youcook2/para_yc2_val.json": (references, 457),
    "youcook2/yc2c_val_release.jsonl": (references, 3492),
    "youcook2/validation_youcook.csv": (rows, 3350),
}  # fmt: skip
"""Of each file how it is read and how many things it holds, or why it is not read."""


def test_no_file_is_forgotten(test_data: Path) -> None:
    folder = test_data / "annotations"
    held = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert held == FILES.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, read in FILES.items() if not isinstance(read, str)]
)
def test_a_file_is_read_to_its_end(
    test_data: Path, registry: Registry, tmp_path: Path, name: str
) -> None:
    read = FILES[name]
    assert not isinstance(read, str)
    how, count = read
    if not name.startswith("howto100m"):
        (tmp_path / "videos").mkdir()
    assert how(test_data / "annotations" / name, registry, tmp_path) == count
