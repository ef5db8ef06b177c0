"""The table of parsers: how each reads a file, and small valid files to begin with.

The bounded tests and the fuzzer both use it. A parser keeps its promise (``examine``) if any
contents of the file give a value whose invariants hold, or an error that a user can act on.
"""

import functools
import gzip
import hashlib
import json
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from avbench.analysis.relevance.corpora import captions_of
from avbench.analysis.relevance.transcripts import Transcripts
from avbench.config import strict_yaml
from avbench.config.overrides import Overrides
from avbench.config.precheck import precheck
from avbench.config.suite import Suite, read_suite
from avbench.core.components import ComponentRef
from avbench.core.digest import sha256
from avbench.core.errors import AvbenchError
from avbench.core.job import read_job
from avbench.core.options import make, plain
from avbench.core.registry import Registry, load
from avbench.core.types import Clip, InputSpec
from avbench.core.visible import visible
from avbench.data.contracts import Defect
from avbench.data.media.tar_members import Member, member_of, sound_of, source_facts
from avbench.data.prepared.clips import PreparedClips
from avbench.data.prepared.lost import read_lost
from avbench.data.shards.folder import read_index
from avbench.data.shards.manifest import ShardFile, hash_of
from avbench.data.text.counts import WordCounts, read_counts
from avbench.data.tokenizer import Vocabulary
from avbench.evaluation.caption_files import read_groups, read_hypotheses, read_references
from avbench.evaluation.predictions import read_predictions
from avbench.evaluation.statistics import sufficient
from avbench.models.portable import TOKENIZER, FileHash, Manifest, Origin, read_manifest
from avbench.models.settings import ComputeSettings, DecodeSettings, ModelSettings
from avbench.models.weights import WEIGHTS, Architecture
from avbench.runner import stage_record
from avbench.training import loss_log

SECONDS = 4.0
"""Processor time that one file may take; a coverage-guided run counts every line meanwhile."""

MEMORY = 1 << 30
"""Bytes that one file may take."""

LONGEST = 1200
"""Characters of one line of an error, at most, besides paths."""


@dataclass(frozen=True, kw_only=True)
class Parser:
    """One parser.

    Attributes:
        read: reads the file; the others lie beside it.
        file: the name of the file whose contents vary, relative to the folder.
        seeds: valid contents.
        beside: other files of the folder.
        check: asserts what holds of every accepted value.
        reader: the dataset reader that it belongs to.
    """

    read: Callable[[Path], Any]
    file: str
    seeds: Sequence[bytes]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    check: Callable[[Any], None] = lambda _: None
    reader: str | None = None

    def examine(self, contents: bytes) -> Any:
        """Read contents and return the value, or None after an error that keeps the promise.

        Raises:
            BrokenPromiseError: the promise is broken.
        """
        with TemporaryDirectory() as name:
            folder = Path(name).resolve()
            for file, data in {**self.beside, self.file: contents}.items():
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            began = time.process_time()
            try:
                with bounded_memory():
                    value = self.read(folder / self.file)
                self.check(value)
            except AvbenchError as error:
                value = None
                check_error(str(error), folder)
            seconds = time.process_time() - began
            assert seconds < SECONDS, f"took {seconds:.1f} s"
        return value


class bounded_memory:  # noqa: N801  # reads as a function
    """Let this process have ``MEMORY`` bytes more than it has, and no more."""

    def __enter__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self._before)


def check_error(said: str, folder: Path) -> None:
    """Check that each line of an error names a file of the folder, or is listed under one."""
    for number, line in enumerate(check_lines(said, folder)):
        listed = number > 0 and line.startswith("  ")
        named = listed or str(folder) in line
        assert named, f"line {number + 1} of the error names no file: {said[:1000]!r}"


def check_lines(said: str, folder: Path, most: int = 10_000) -> list[str]:
    """Check the number of an error's lines as people see them, and their length."""
    lines = visible(said, keep="\n").split("\n")
    assert len(lines) <= most, f"{len(lines)} lines: {said[:1000]!r}"
    for line in lines:
        bare = line.replace(str(folder), "")
        assert len(bare) <= LONGEST, f"a line of {len(bare)} characters: {bare[:1000]!r}"
    return lines


@functools.cache
def registry() -> Registry:
    return load()


def _text(*parts: str) -> bytes:
    return "\n".join(parts).encode() + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()


def _jsonl(*values: Any) -> bytes:
    return _text(*(json.dumps(value, ensure_ascii=False) for value in values))


# What holds of accepted values.


def check_text(text: str) -> None:
    """A text is one line that can be written to a file."""
    assert isinstance(text, str)
    assert text == " ".join(text.split())
    text.encode()


def check_times(start: float | None, end: float | None) -> None:
    known = [time for time in (start, end) if time is not None]
    assert all(isinstance(t, float) and math.isfinite(t) and t >= 0 for t in known), known
    assert known == sorted(known)


def check_clip(clip: Clip, folder: Path, *, ours: bool) -> None:
    """Check a clip; of a plugin's reader, shards keep the texts as they are."""
    assert isinstance(clip.id, str)
    assert isinstance(clip.video, str)
    assert clip.id
    assert clip.video
    extra = [text for text in (clip.next_caption, clip.speech) if text is not None]
    if ours:
        assert clip.id.isprintable()
        assert clip.captions
        assert all(clip.captions)
        for text in (*clip.captions, *extra):
            check_text(text)
    "".join((*clip.captions, *extra)).encode()
    check_times(clip.start, clip.end)
    assert ".." not in clip.media.parts
    assert clip.media.is_relative_to(folder)
    for slot in clip.slots.values():
        assert slot.value in slot.choices


def check_split(items: Sequence[Clip | Defect], folder: Path, *, ours: bool = True) -> None:
    clips = [item for item in items if isinstance(item, Clip)]
    for clip in clips:
        check_clip(clip, folder, ours=ours)
    assert len({clip.id for clip in clips}) == len(clips)
    for defect in items:
        if isinstance(defect, Defect):
            check_lines(f"{defect.place}: {defect.problem}", folder, most=1)


def dataset(reader: str, **options: Any) -> Callable[[Path], Any]:
    """Return a function that reads all splits of the dataset that a file belongs to."""

    def read(path: Path) -> Sequence[Any]:
        root = path.parent
        found: list[Any] = []
        opened = make(registry().get("datasets", reader), {"root": str(root), **options})
        failed: AvbenchError | None = None
        for split in opened.splits():
            try:
                check_split(items := list(opened.iterate(split)), root)
                found += items
                for video, texts in opened.paragraphs(split).items():
                    assert video
                    assert texts
                    for text in texts:
                        check_text(text)
            except AvbenchError as error:
                check_error(str(error), root)
                failed = error
        if failed is not None and not found:
            raise failed
        return found

    return read


def of_reader(
    reader: str,
    file: str,
    /,
    *seeds: bytes,
    beside: Mapping[str, bytes] | None = None,
    **options: Any,
) -> Parser:
    beside = {"videos/x.mp4": b"", "audio/x.wav": b"", "images/x.jpg": b"", **(beside or {})}
    return Parser(
        read=dataset(reader, **options), file=file, seeds=seeds, beside=beside, reader=reader
    )


YOUCOOK2 = {
    "database": {
        "xHr8X2Wpmno": {
            "subset": "training",
            "duration": 300.5,
            "annotations": [
                {"id": 0, "segment": [0, 10], "sentence": "pick the ends off"},
                {"id": 1, "segment": [10.5, 21], "sentence": "combine the juice"},
            ],
        },
        "GLd3aX16zBg": {
            "subset": "validation",
            "annotations": [{"id": 0, "segment": [90, 102], "sentence": "spread margarine"}],
        },
    }
}
MSRVTT = {
    "videos": [
        {"video_id": "video0", "split": "train", "start time": 1.5, "end time": 3},
        {"video_id": "video1", "split": "validate"},
        {"video_id": "video2", "split": "test"},
    ],
    "sentences": [
        {"video_id": "video0", "caption": "a car is shown", "sen_id": 0},
        {"video_id": "video0", "caption": "a car", "sen_id": 1},
        {"video_id": "video1", "caption": "a man sings", "sen_id": 2},
        {"video_id": "video2", "caption": "a dog runs", "sen_id": 3},
    ],
}
VATEX = [
    {"videoID": "Ptf_2VRj-V0_000122_000132", "enCap": ["A man.", "A man drives."]},
    {"videoID": "x_000000_000010", "enCap": ["A girl.", "A girl sings."]},
]
SEGMENTS = {
    "v_a": {"duration": 82.7, "timestamps": [[0.8, 19.9], [17.4, 60]], "sentences": ["A.", "B."]},
    "v_b": {"duration": 9, "timestamps": [[0, 9]], "sentences": ["A dog."]},
}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "x.jpg"}],
    "annotations": [
        {"image_id": 1, "id": 10, "caption": "A bike."},
        {"image_id": 2, "id": 11, "caption": "A cat."},
        {"image_id": 2, "id": 12, "caption": "The cat."},
    ],
}
KARPATHY = {
    "images": [
        {"filename": "a.jpg", "split": "train", "sentences": [{"raw": "A bike."}]},
        {"filename": "b.jpg", "split": "val", "sentences": [{"raw": "A cat."}]},
        {"filename": "c.jpg", "split": "test", "sentences": [{"raw": "A dog."}]},
    ]
}
ASR = {
    "x": {"text": ["hello", "so we cut"], "start": [0.0, 2.5], "end": [2.5, 9]},
    "y": {"text": ["an onion", ""], "start": [0, 3], "end": [3, 4]},
}
VTT = _text(
    *("WEBVTT", "Kind: captions", "", "00:00:00.000 --> 00:00:02.500 align:start", "hello", ""),
    *("1", "00:00:02.500 --> 00:00:02.510", "hello", " ", ""),
    *("00:00:02.510 --> 01:00:09.000", "hello", "so <00:00:03.000><c> we</c> cut &amp; fry"),
)
AUDIOCAPS = _text(
    "audiocap_id,youtube_id,start_time,caption",
    "1,r1nicOVtvkQ,130,A woman talks",
    '2,r1nicOVtvkQ,130.0,"A woman, talking"',
    "3,x,0,Rain",
)
CLOTHO = _text(
    "file_name,caption_1,caption_2,caption_3,caption_4,caption_5",
    "Storm 2.1.wav,a,b,c,d,e",
    'x.wav,"a, b",,c,d,e',
)
EVIDENCE = {"x#0": {"colour": {"value": "red", "choices": ["red", "blue"], "evidence": ["video"]}}}

SUITE = _text(
    "name: s",
    "title: A suite",
    "preset: tiny",
    "seeds: [0, 1]",
    "rows:",
    "  - {label: one, fusion: merged, loss: plain}",
    "  - {label: two, fusion: local_global_merged, loss: mbp, finetune.lr: 1e-3}",
    "defaults: {modalities: V+A, tasks: [pcc, pnc]}",
    "world: {narrated_videos: 8, clips: 24, test_clips: 12}",
    "pretrain: {dataset: howto100m, steps: 6, batch: 6, spec_augment: false}",
    "finetune: {datasets: [vatex], steps: 6, batch: 6}",
    "table: {metrics: [bleu4, cider], delta_to: one, costs: [flops_g]}",
    "notes: ['a note']",
)
GRID = _text(
    "name: g",
    "seeds: 2",
    "grid: {fusion: [merged, cross], loss: [plain, mbp], size: [small, large]}",
    "axes: {size: {small: {model.D: 64}, large: {model.D: 128}}}",
    "defaults: &d {modalities: V+A}",
    "finetune: {datasets: [msrvtt, vatex]}",
)
DATA = _text(
    "datasets:",
    "  vatex: {reader: vatex, root: vatex, policy: skip, read: raw, sound: {silent: drop}}",
    "  howto100m:",
    "    reader: howto100m",
    "    root: how",
    "    min_seconds: 2.0",
    "    clip_seconds: 10",
    "weights: {video: null, audio: null}",
)


def suite(path: Path) -> Suite:
    """Read a suite as ``avbench plan`` does."""
    strict_yaml.FILES_READ.clear()
    precheck(path)
    return read_suite(str(path), registry())


def suite_of_data(path: Path) -> Suite:
    return read_suite(str(path.with_name("s.yaml")), registry(), Overrides(data=str(path)))


def check_suite(read: Suite) -> None:
    assert read.rows
    assert read.seeds
    assert len(set(read.seeds)) == len(read.seeds)
    assert len({row.label for row in read.rows}) == len(read.rows)
    json.dumps(plain(read), allow_nan=False).encode()


def check_yaml(read: strict_yaml.Document) -> None:
    json.dumps(read.data, allow_nan=False).encode()


def check_captions(read: Mapping[str, Any]) -> None:
    assert read
    for id_, said in read.items():
        assert id_
        for text in (said,) if isinstance(said, str) else said:
            check_text(text)
        assert said or isinstance(said, str)


def check_groups(read: Mapping[str, str]) -> None:
    assert read
    assert all(isinstance(v, str) and k and v for k, v in read.items())


def check_transcripts(read: Transcripts) -> None:
    assert read.texts or read.lines
    for text in read.texts.values():
        check_text(text)
    for line in (line for lines in read.lines.values() for line in lines):
        check_text(line.text)
        for bound in (line.start, line.end):
            assert math.isfinite(bound)
            assert bound >= 0


def check_counts(read: tuple[WordCounts, Mapping[str, str]]) -> None:
    counts = read[0]
    numbers = [*counts.audio.values(), *counts.image.values(), counts.audio_total, counts.types]
    assert all(type(n) is int and n >= 0 for n in numbers)
    assert all(math.isfinite(v) for v in counts.table.values())


CLIP = {
    "id": "x#0",
    "video": "x",
    "media": "x.mp4",
    "captions": ["a dog", "dogs"],
    "start": 0.0,
    "end": 2.5,
    "next_caption": None,
    "speech": "hello",
    "slots": {},
}
INDEX = {
    "rows": 2,
    "bytes": 1024,
    "lost": [{"id": "y", "reason": "missing", "detail": "no such file"}],
    "samples": [
        {
            "key": "000000000",
            "media": "000000000.mp4",
            "recoded": True,
            "sound": "000000000.flac",
            "seconds": 2.5,
            "members": {"000000000.mp4": [512, 4, 0], "000000000.flac": [600, 2, 7]},
            "clips": [
                {"clip": CLIP, "read": [None, 2.5], "sound": "present", "notes": ["a note"]}
            ],
        }
    ],
}
LOST = _jsonl({"id": "y", "reason": "missing", "detail": "no such file"})
MANIFEST = {
    "form": 1,
    "dataset": "youcook2",
    "split": "training",
    "roles": ["train"],
    "protocol": "coco",
    "hash": "",
    "files": [["000000.tar", 1024, "0" * 64, hashlib.sha256(_json(INDEX)).hexdigest()]],
    "lost_sha256": hashlib.sha256(LOST).hexdigest(),
}
SHARDS = {
    "training/plan.json": b"{}",
    "training/shards.json": _json(MANIFEST),
    "training/lost.jsonl": LOST,
    "training/paragraphs.json": b"{}",
    "training/shards/000000.tar": bytes(1024),
    "training/shards/000000.json": _json(INDEX),
}


def members(path: Path) -> list[Any]:
    """Read a shard's index as the decoder does."""
    shard = path.with_suffix(".tar")
    names = ("000000000.mp4", "000000000.flac", "x")
    return [f(shard / name) for name in names for f in (member_of, sound_of, source_facts)]


def check_members(read: Sequence[Any]) -> None:
    for member in read:
        if isinstance(member, Member):
            assert min(member.offset, member.size) >= 0
        if isinstance(member, tuple):
            assert ".." not in member[0].parts
            assert math.isfinite(member[1])


def sealed_shards(path: Path) -> Sequence[Any]:
    """Read a folder of shards whose hashes were made to fit, as a forger would make them."""
    folder = path
    while not (folder / "plan.json").is_file():
        folder = folder.parent
    manifest = folder / "shards.json"
    try:
        data = json.loads(manifest.read_bytes())
        if path != manifest:
            data["files"][0][3] = sha256(folder / "shards" / "000000.json")
            data["lost_sha256"] = sha256(folder / "lost.jsonl")
        files = [ShardFile(name=n, bytes=b, sha256=s, index=i) for n, b, s, i in data["files"]]
        data["hash"] = hash_of(files, str(data["lost_sha256"]))
        manifest.write_bytes(_json(data))
    except Exception:  # no manifest to seal; the reader is to say so
        pass
    opened = make(registry().get("datasets", "sharded"), {"root": str(folder.parent)})
    failed, read = None, list[Any]()
    for split in opened.splits():
        for ask in (opened.iterate, opened.paragraphs):
            try:
                found = ask(split)
                if ask == opened.iterate:
                    check_split(found := list(found), folder, ours=False)
                    read += found
            except AvbenchError as error:
                check_error(str(error), folder)
                failed = error
    opened.files()
    opened.fingerprint()
    if failed is not None:
        raise failed
    return read


def of_shards(file: str) -> Parser:
    return Parser(
        read=sealed_shards,
        file=f"training/{file}",
        seeds=(SHARDS[f"training/{file}"],),
        beside=SHARDS,
        reader="sharded",
    )


PREPARED = {
    "split.json": _json({"root": ".", "role": "train", "protocol": "coco", "list_hash": "0"}),
    "clips.jsonl": _jsonl({"clip": CLIP}, {"clip": {**CLIP, "id": "x#1"}}),
    "paragraphs.json": _json({"x": ["a dog", "dogs"]}),
}


def of_prepared(file: str) -> Parser:
    return Parser(
        read=lambda path: PreparedClips.open(path.parent),
        file=file,
        seeds=(PREPARED[file],),
        beside=PREPARED,
    )


RECORD = {
    "kind": "score",
    "id": "0a",
    "status": "done",
    "spec": {},
    "parents": {},
    "results": {"cider": 1.0},
    "error": None,
    "provenance": {"versions": {"torch": "2"}},
    "outputs": {"x.csv": [1, "0" * 64]},
}
JOB = {"kind": "score", "id": "0a", "spec": {}, "parents": {"model": "/x"}, "local": {}}


def check_finding(found: stage_record.Finding) -> None:
    assert "\n" not in visible(found.damage, keep="\n")
    assert (found.record is None) or isinstance(found.done, bool)


def _statistics() -> bytes:
    import numpy as np

    with TemporaryDirectory() as name:
        folder = Path(name)
        one = sufficient.Sufficient(ids=("a", "b"), videos=("v", "v"), values=np.eye(2))
        sufficient.write(folder, {"a": "v", "b": "v"}, {"cider": one})
        return (folder / sufficient.STATISTICS).read_bytes()


def check_curve(read: Sequence[tuple[int, str, float]]) -> None:
    for step, name, value in read:
        assert type(step) is int
        assert isinstance(name, str)
        assert isinstance(value, float)


def _captioner() -> bytes:
    """The description of an exported captioner, of the components of a suite's first row."""
    settings = {"model": ModelSettings(encoders={"video": ComponentRef(name="video_swin")})}
    manifest = Manifest(
        architecture=Architecture(
            **settings,
            input=InputSpec(),
            fusion=ComponentRef(name="merged"),
            modalities=ComponentRef(name="va"),
            vocabulary=100,
        ),
        decode=DecodeSettings(),
        compute=ComputeSettings(),
        read="stored",
        components=(Origin(family="fusions", name="merged", module="m", distribution="a 1"),),
        files={name: FileHash(bytes=1, sha256="0" * 64) for name in (WEIGHTS, TOKENIZER)},
        provenance={"encoders": {"video": "x"}},
    )
    return _json({"format": "avbench captioner", "version": 1, **plain(manifest)})


CLIPS = tuple(Clip(id=i, video=i, media=Path(i), captions=("a",)) for i in ("a", "b"))
LINES = _jsonl({"id": "a", "caption": "a dog"}, {"id": "b", "caption": ""})

PARSERS: Mapping[str, Parser] = {
    "suite": Parser(read=suite, file="s.yaml", seeds=(SUITE, GRID), check=check_suite),
    "data file": Parser(
        read=suite_of_data,
        file="data.yaml",
        seeds=(DATA,),
        beside={"s.yaml": SUITE, "vatex/videos/x": b"", "how/videos/x": b""},
        check=check_suite,
    ),
    "yaml": Parser(read=strict_yaml.load, file="x.yaml", seeds=(SUITE, GRID), check=check_yaml),
    "youcook2": of_reader("youcook2", "youcookii_annotations_trainval.json", _json(YOUCOOK2)),
    "msrvtt": of_reader("msrvtt", "MSRVTT_data.json", _json(MSRVTT)),
    "msrvtt 1k-A": of_reader(
        "msrvtt",
        "MSRVTT_JSFUSION_test.csv",
        _text("key,vid_key,video_id,sentence", "ret0,msr0,video2,a dog", "ret1,msr1,video0,cars"),
        beside={"MSRVTT_data.json": _json(MSRVTT)},
    ),
    "vatex": of_reader("vatex", "vatex_training_v1.0.json", _json(VATEX)),
    "vatex lines": of_reader(
        "vatex",
        "train.jsonl",
        _jsonl(
            *(
                {"vid_name": v["videoID"], "descs": [{"desc": t} for t in v["enCap"]]}
                for v in VATEX
            )
        ),
        training="train.jsonl",
    ),
    "vatex mapping": of_reader(
        "vatex",
        "vatex_mapping.txt",
        _text("x_000000_000010 video7", "y_000000_000010 x"),
        beside={"vatex_training_v1.0.json": _json(VATEX)},
    ),
    "activitynet": of_reader("activitynet", "train.json", _json(SEGMENTS)),
    "activitynet official": of_reader(
        "activitynet", "val_1.json", _json(SEGMENTS), beside={"val_2.json": _json(SEGMENTS)}
    ),
    "activitynet paragraphs": of_reader(
        "activitynet",
        "anet_entities_test_1_para.json",
        _json({"v_a": "A. B.", "v_b": "A dog."}),
        beside={
            "anet_entities_test_1.json": _json(SEGMENTS),
            "anet_entities_test_2_para.json": _json({"v_a": "A dog runs."}),
        },
    ),
    "howto100m": of_reader("howto100m", "raw_caption.json", _json(ASR)),
    "howto100m gzip": of_reader(
        "howto100m", "asr.json.gz", gzip.compress(_json(ASR), mtime=0), file="asr.json.gz"
    ),
    "howto100m csv": of_reader(
        "howto100m",
        "x.csv",
        _text("start,end,text", "0.0,2.5,hello", '2.5,9,"so, we cut"', "9,11,an onion"),
        beside={"y.csv": _text("start,end,text", "0,1,a")},
        file=".",
    ),
    "howto100m vtt": of_reader("howto100m", "x.en.vtt", VTT, beside={"y.vtt": VTT}, file="."),
    "howto100m categories": of_reader(
        "howto100m",
        "HowTo100M_v1.csv",
        _text("video_id,category_1,category_2,rank", "x,Food,Fruit,1", "y,Cars,Wheels,2"),
        beside={"raw_caption.json": _json(ASR)},
        categories=("Food",),
        starts="uncovered",
    ),
    "audiocaps": of_reader("audiocaps", "train.csv", AUDIOCAPS, media_are="videos"),
    "clotho": of_reader("clotho", "clotho_captions_development.csv", CLOTHO),
    "clotho json": of_reader(
        "clotho",
        "c.json",
        _json([{"sound_name": "x.wav", "captions": ["a", "b"]}]),
        development="c.json",
    ),
    "coco_captions": of_reader(
        "coco_captions", "captions_train2014.json", _json(COCO), annotations="."
    ),
    "coco_captions splits": of_reader(
        "coco_captions",
        "dataset_coco.json",
        _json(KARPATHY),
        _json({"a.jpg": ["A bike.", "Bikes."]}),
        annotations=".",
        train_file="dataset_coco.json",
        val_file="dataset_coco.json",
        test_file="dataset_coco.json",
    ),
    "speech of clips": of_reader(
        "youcook2",
        "asr.json",
        _json({"xHr8X2Wpmno#0": "first we cut"}),
        beside={"youcookii_annotations_trainval.json": _json(YOUCOOK2)},
    ),
    "shard index": of_shards("shards/000000.json"),
    "shard manifest": of_shards("shards.json"),
    "shard paragraphs": of_shards("paragraphs.json"),
    "shard losses": of_shards("lost.jsonl"),
    "shard members": Parser(
        read=members,
        file="000000.json",
        seeds=(_json(INDEX),),
        beside={"000000.tar": bytes(1024)},
        check=check_members,
    ),
    "hypotheses": Parser(
        read=read_hypotheses,
        file="h.json",
        seeds=(
            LINES,
            _jsonl({"video_id": "a", "descs": [{"desc": "a dog"}]}),
            _json([{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "b"}]),
            _json({"v_a": {"sentences": ["A.", "B."], "timestamps": [[4, 5], [0, 2.5]]}}),
            _json({"results": {"v": [{"sentence": "A.", "timestamp": [0, 1]}, {"sentence": ""}]}}),
        ),
        check=check_captions,
    ),
    "references": Parser(
        read=functools.partial(read_references, group="video"),
        file="r.json",
        seeds=(
            _jsonl(
                {"id": "a", "captions": ["a dog", ""], "video": "v"},
                {"id": 7, "caption": "b", "video": 3},
            ),
            _jsonl({"vid_name": "a", "descs": [{"desc": "a"}, {"desc": "b"}], "video": "v"}),
            _json(
                {
                    "images": [{"id": 1, "video": "v"}],
                    "annotations": [{"image_id": 1, "caption": "a dog"}],
                }
            ),
        ),
        check=check_captions,
    ),
    "references by id": Parser(
        read=read_references,
        file="r.json",
        seeds=(
            _json({"a": ["a dog", "dogs"], "7": "b"}),
            _json({"v": {"sentences": ["A.", "B."], "timestamps": [[4, 5], [0, 2.5]]}}),
        ),
        check=check_captions,
    ),
    "references csv": Parser(
        read=functools.partial(read_references, group="video"),
        file="r.csv",
        seeds=(
            _text("id,video,caption", "a,v,a dog", '7,w,"a, b"', "a,v,dogs"),
            _text("id,video,caption_1,caption_2", "a,v,a dog,dogs", "b,w,cats,"),
        ),
        check=check_captions,
    ),
    "groups": Parser(
        read=read_groups,
        file="g.json",
        seeds=(_json({"a": "v", "b": 7}), _jsonl({"id": "a", "video": "v", "x": 1})),
        check=check_groups,
    ),
    "groups csv": Parser(
        read=read_groups,
        file="g.csv",
        seeds=(_text("id,group", "a,v", "7,w"),),
        check=check_groups,
    ),
    "corpus of captions": Parser(
        read=captions_of,
        file="c.json",
        seeds=(_json(COCO), _json(KARPATHY), _json([{"caption": "a"}, {"captions": ["b"]}])),
    ),
    "corpus of captions csv": Parser(read=captions_of, file="c.csv", seeds=(CLOTHO, AUDIOCAPS)),
    "transcripts": Parser(
        read=Transcripts.read,
        file="t.json",
        seeds=(_json(ASR), _json({"a": "hello"})),
        check=check_transcripts,
    ),
    "transcripts lines": Parser(
        read=Transcripts.read,
        file="t.jsonl",
        seeds=(
            _jsonl({"id": "a", "text": "hello"}, {"id": "b", "text": "x", "start": 0, "end": 2}),
        ),
        check=check_transcripts,
    ),
    "transcripts tsv": Parser(
        read=Transcripts.read,
        file="t.tsv",
        seeds=(_text("video_id\tsubs\tstart\tend", "a\thello\t0\t2.5"), _text("clip,text", "a,b")),
        check=check_transcripts,
    ),
    "word counts": Parser(
        read=read_counts,
        file="w.csv",
        seeds=(
            _text("# stop words: x", "word,audio,image", "dog,3,0", "<total>,3,5", "<types>,2,2"),
        ),
        check=check_counts,
    ),
    "vocabulary": Parser(
        read=lambda path: Vocabulary.from_file(path, 100),
        file="vocab.txt",
        seeds=(_text("[PAD]", "[UNK]", "[BOS1]", "[BOS2]", "[EOS]", "[MASK]", "a", "##b"),),
    ),
    "predictions": Parser(
        read=lambda path: read_predictions(path, CLIPS), file="predictions.jsonl", seeds=(LINES,)
    ),
    "prepared split": of_prepared("split.json"),
    "prepared clips": of_prepared("clips.jsonl"),
    "prepared paragraphs": of_prepared("paragraphs.json"),
    "lost clips": Parser(
        read=lambda path: list(read_lost(path)),
        file="lost.jsonl",
        seeds=(LOST,),
    ),
    "index of an earlier run": Parser(
        read=lambda path: read_index(path.parents[1], 0),
        file="shards/000000.json",
        seeds=(_json(INDEX),),
        beside={"shards/000000.tar": bytes(1024)},
    ),
    "stage record": Parser(
        read=lambda path: stage_record.examine(path.parent, contents=True),
        file="record.json",
        seeds=(_json(RECORD),),
        beside={"x.csv": b"x"},
        check=check_finding,
    ),
    "stage job": Parser(
        read=lambda path: read_job(path.parent), file="job.json", seeds=(_json(JOB),)
    ),
    "statistics": Parser(
        read=lambda path: sufficient.read(path.parent),
        file=sufficient.STATISTICS,
        seeds=(_statistics(),),
    ),
    "loss curve": Parser(
        read=lambda path: loss_log.read(path.parent),
        file=loss_log.CURVE,
        seeds=(_text("step,name,value", "0,loss,3.5", "1,loss,nan"),),
        check=check_curve,
    ),
    "exported captioner": Parser(
        read=lambda path: read_manifest(path.parent),
        file="model.json",
        seeds=(_captioner(),),
    ),
}
"""Every parser of a file that another program, an earlier version or a killed process wrote."""
