"""The five readers: the released files, counted, and small files in the released forms."""

import gzip
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from avbench.api import Clip, DataError, Dataset
from avbench.builtin.datasets import activitynet, howto100m, msrvtt, vatex, youcook2
from avbench.media.local import LocalFiles


def put(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def media(root: Path, *names: str) -> None:
    for name in names:
        put(root / "videos" / name, "x")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    return tmp_path


def one_video(clips: Any, video: str) -> list[Clip]:
    return [clip for clip in clips if clip.video == video]


# ------------------------------------------------------------------------------- YouCook2


def cooking(**changes: Any) -> dict:
    segments = [
        {"segment": [0, 4.5], "id": 0, "sentence": "cut  the\n onion"},
        {"segment": [6, 9], "id": 2, "sentence": "fry it"},
    ]
    entry = {"duration": 20.0, "subset": "training", "annotations": segments, **changes}
    return {"database": {"GLd3aX16zBg": entry}}


def youcook2_reader(root: Path, **options: Any) -> youcook2.YouCook2:
    return youcook2.YouCook2(youcook2.Options(root=str(root), **options))


def test_youcook2_gives_its_segments(root: Path) -> None:
    put(root / "youcookii_annotations_trainval.json", cooking())
    put(root / "asr.json", {"GLd3aX16zBg#2": "now we fry"})
    media(root, "113/GLd3aX16zBg.mp4.webm")
    first, second = youcook2_reader(root).clips("training")
    assert (first.id, second.id) == ("GLd3aX16zBg#0", "GLd3aX16zBg#2")
    assert first.captions == ("cut the onion",)
    assert (first.start, first.end, first.next_caption) == (0.0, 4.5, "fry it")
    assert (second.next_caption, second.speech) == (None, "now we fry")
    assert first.media == root / "videos/113/GLd3aX16zBg.mp4.webm"
    with pytest.raises(DataError, match="split 'validation' holds no segments"):
        youcook2_reader(root).clips("validation")


def test_youcook2_released_file(test_data: Path, root: Path) -> None:
    folder = str(test_data / "annotations/youcook2")
    reader = youcook2_reader(root, annotations=folder)
    train, val = reader.clips(reader.train), reader.clips(reader.report)
    assert (len({c.video for c in train}), len({c.video for c in val})) == (1333, 457)
    assert len(train) + len(val) == 13_829
    assert not {c.video for c in train} & {c.video for c in val}
    # Every clip but a video's last has a next caption.
    assert sum(c.next_caption is None for c in train) == 1333
    # The validation clips are those of the VALUE benchmark's references.
    lines = (test_data / "annotations/youcook2/yc2c_val_release.jsonl").read_text().splitlines()
    references = Counter(" ".join(json.loads(x)["descs"][0]["desc"].split()) for x in lines)
    ours = Counter(c.captions[0] for c in val)
    assert sum((references & ours).values()) / len(lines) > 0.99


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subset": "train"}, r"subset: must be one of training, validation, testing, got text"),
        ({"annotations": {}}, r"GLd3aX16zBg\.annotations: must be an array, got object \{\}"),
        (
            {"annotations": [{"id": 0, "sentence": "x"}]},
            r"annotations\[0\]: the field 'segment' is missing\. It has: id, sentence",
        ),
        (
            {"annotations": [{"id": 0, "sentence": " ", "segment": [0, 1]}]},
            r"annotations\[0\]\.sentence: must be a text that is not empty, got text \" \"",
        ),
        (
            {"annotations": [{"id": 0, "sentence": "x", "segment": [3, 1]}]},
            r"segment: must be \[start, end\] with the end not before the start, got array \[3",
        ),
        (
            {"annotations": [{"id": "a", "sentence": "x", "segment": [0, 1]}]},
            r"annotations\[0\]\.id: must be a whole number, 0 or more, got text \"a\"",
        ),
        (
            {"annotations": [{"id": 0, "sentence": "x", "segment": [0, float("nan")]}]},
            r"segment\[1\]: must be a number, 0 or more, got number NaN",
        ),
        (
            {"annotations": [{"id": 0, "sentence": "x", "segment": [0, True]}]},
            r"segment\[1\]: must be a number, 0 or more, got boolean true",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_place(root: Path, changes: dict, message: str) -> None:
    put(root / "youcookii_annotations_trainval.json", cooking(**changes))
    with pytest.raises(DataError, match=message) as caught:
        youcook2_reader(root).clips("training")
    assert "youcookii_annotations_trainval.json: database.GLd3aX16zBg" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"database": {"a": }}',
            r"trainval\.json: not JSON at line 1, column 20: Expecting value",
        ),
        ("[]", r"trainval\.json: must be an object with the field 'database', got array \[\]"),
        (
            '{"databse": {}}',
            r"the field 'database' is missing; is 'databse' meant\? It has: databse",
        ),
        ('{"database": {"a": 1, "a": 2}}', r"the key 'a' is given twice"),
        ('{"database": {"../a": {"subset": "training"}}}', r"without separators.*'\.\./a'"),
        ("[" * 100_000, "recursion"),
        (None, r"trainval\.json: no such file"),
    ],
)
def test_a_wrong_file_is_named(root: Path, text: str | None, message: str) -> None:
    if text is not None:
        put(root / "youcookii_annotations_trainval.json", text)
    with pytest.raises(DataError, match=message):
        youcook2_reader(root).clips("training")


def test_a_file_in_another_encoding_is_named(root: Path) -> None:
    (root / "youcookii_annotations_trainval.json").write_bytes(b'{"database": "\xe9"}')
    with pytest.raises(DataError, match=r"trainval\.json: not in UTF-8"):
        youcook2_reader(root).clips("training")


# ------------------------------------------------------------------------------- MSR-VTT


def videodatainfo(splits: dict[str, str], captions: int = 2) -> dict:
    return {
        "info": {},
        "videos": [
            {"video_id": v, "split": s, "start time": 1.0, "end time": 2.0, "id": i}
            for i, (v, s) in enumerate(splits.items())
        ],
        "sentences": [
            {"video_id": v, "sen_id": i, "caption": f"{v} caption {i}"}
            for i in range(captions)
            for v in splits
        ],
    }


def msrvtt_reader(root: Path, **options: Any) -> msrvtt.MsrVtt:
    return msrvtt.MsrVtt(msrvtt.Options(root=str(root), **options))


def test_msrvtt_reads_two_files_or_one(root: Path) -> None:
    train = {"video0": "train", "video1": "validate"}
    put(root / "train_val_videodatainfo.json", videodatainfo(train))
    put(root / "test_videodatainfo.json", videodatainfo({"video7": "test"}))
    media(root, "video0.mp4", "TestVideo/video7.avi")
    reader = msrvtt_reader(root)
    assert reader.splits() == ("train", "validate", "test")
    (clip,) = reader.clips("train")
    assert clip.id == clip.video == "video0"
    assert clip.captions == ("video0 caption 0", "video0 caption 1")
    assert (clip.start, clip.end) == (None, None)
    assert reader.clips("test")[0].media == root / "videos/TestVideo/video7.avi"
    # A clip without a file is still a clip: preparing it counts the loss.
    assert reader.clips("validate")[0].media == root / "videos/video1.mp4"
    put(root / "all.json", videodatainfo({"video9": "val"}))
    one = msrvtt_reader(root, files=("all.json",))
    assert one.splits() == ("validate",)
    assert one.clips("validate")[0].id == "video9"


def test_msrvtt_refuses_what_does_not_fit(root: Path) -> None:
    with pytest.raises(DataError, match=r"no annotation file in .*looked for train_val_videod"):
        msrvtt_reader(root).clips("train")
    info = videodatainfo({"video0": "train", "video1": "train"})
    info["sentences"] = [{"video_id": "video0", "caption": "a", "sen_id": 0}]
    put(root / "MSRVTT_data.json", info)
    with pytest.raises(
        DataError, match=r"1 of 2 videos of split 'train' have no sentence, e\.g\. 'video1'"
    ):
        msrvtt_reader(root).clips("train")
    info["sentences"] = [{"video_id": "video5", "caption": "a", "sen_id": 0}]
    put(root / "MSRVTT_data.json", info)
    with pytest.raises(DataError, match=r"sentences\[0\]\.video_id: must be the id of a video"):
        msrvtt_reader(root).clips("train")
    with pytest.raises(DataError, match="unknown split 'tst'; did you mean 'test'"):
        msrvtt_reader(root).clips("tst")
    put(root / "MSRVTT_data.json", videodatainfo({"video0": "train"}))
    with pytest.raises(DataError, match="split 'test' holds no videos"):
        msrvtt_reader(root).clips("test")


def test_msrvtt_excerpt_of_the_released_file(test_data: Path, root: Path) -> None:
    folder = str(test_data / "annotations/msrvtt")
    reader = msrvtt_reader(root, annotations=folder, files=("MSRVTT_short.json",))
    clips = reader.clips("train")
    assert [(c.id, len(c.captions)) for c in clips] == [(f"video{i}", 20) for i in range(3)]
    assert "a man fixes a car" in clips[2].captions


@pytest.mark.slow
def test_msrvtt_whole_file_in_the_released_structure(test_data: Path, root: Path) -> None:
    folder = test_data / "annotations/msrvtt"
    (packed,) = folder.glob("videodatainfoITALIANO*.json.gz")
    put(root / "italian.json", gzip.decompress(packed.read_bytes()).decode())
    reader = msrvtt_reader(root, files=("italian.json",))
    for split, count in (("train", 6513), ("validate", 497)):
        clips = reader.clips(split)
        assert len(clips) == count
        assert {len(c.captions) for c in clips} == {20}
    # Only a hundred of its test videos were translated; the reader says so.
    with pytest.raises(DataError, match="2890 of 2990 videos of split 'test' have no sentence"):
        reader.clips("test")
    english = json.loads((folder / "msrvtt_test_refs_by_id_DERIVED.json").read_text())
    test = videodatainfo(dict.fromkeys(english, "test"), 0)
    test["sentences"] = [
        {"video_id": v, "sen_id": i, "caption": c}
        for v, cs in english.items()
        for i, c in enumerate(cs)
    ]
    put(root / "test_videodatainfo.json", test)
    clips = msrvtt_reader(root).clips("test")
    assert len(clips) == 2990
    assert {len(c.captions) for c in clips} == {20}


# ------------------------------------------------------------------------------- VATEX


def vatex_reader(root: Path, **options: Any) -> vatex.Vatex:
    return vatex.Vatex(vatex.Options(root=str(root), **options))


def test_vatex_reads_the_released_lists(root: Path) -> None:
    entries = [
        {"videoID": f"{v}_000018_000028", "enCap": ["one", "two"], "chCap": ["一"]}
        for v in ("Ptf_2VRj-V0", "abcdefghijk", "lmnopqrstuv", "wxyzwxyzwxy")
    ]
    put(root / "vatex_training_v1.0.json", entries)
    put(root / "vatex_public_test_english_v1.1.json", entries[:1])
    media(root, "Ptf_2VRj-V0_000018_000028.mp4", "abcdefghijk.webm", "lmnopqrstuv_18_28.mkv")
    reader = vatex_reader(root)
    assert reader.splits() == ("training", "public_test")
    cut, whole, unpadded, missing = reader.clips("training")
    assert cut.id == "Ptf_2VRj-V0_000018_000028"
    assert (cut.video, cut.captions) == ("Ptf_2VRj-V0", ("one", "two"))
    assert (cut.start, cut.end) == (None, None)
    assert (whole.media.name, whole.start, whole.end) == ("abcdefghijk.webm", 18.0, 28.0)
    assert (unpadded.media.name, unpadded.start) == ("lmnopqrstuv_18_28.mkv", None)
    assert missing.media == root / "videos/wxyzwxyzwxy_000018_000028.mp4"
    assert len(reader.clips(reader.report)) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"videoID": "abc", "enCap": ["x"]}, r"\[0\]\.videoID: must be a videoID <YouTube id>_"),
        ({"videoID": "abc_000028_000018", "enCap": ["x"]}, r"must be a videoID"),
        ({"videoID": "abc_000001_000002", "enCap": []}, "at least one English caption"),
        ({"videoID": "abc_000001_000002", "enCap": "x"}, r"enCap: must be an array, got text"),
        (
            {"videoID": "abc_000001_000002", "chCap": ["x"]},
            "the field 'enCap' is missing",
        ),
    ],
)
def test_vatex_refuses_what_does_not_fit(root: Path, entry: dict, message: str) -> None:
    put(root / "vatex_training_v1.0.json", [entry])
    with pytest.raises(DataError, match=message):
        vatex_reader(root).clips("training")


def test_vatex_lines_are_named(root: Path) -> None:
    put(
        root / "val.jsonl", '{"vid_name": "a_000001_000002", "descs": [{"desc": "x"}]}\n\n{"vid_na'
    )
    with pytest.raises(DataError, match=r"val\.jsonl: line 3: not JSON at column"):
        vatex_reader(root, validation="val.jsonl").clips("validation")


def test_vatex_validation_as_lines(test_data: Path, root: Path) -> None:
    name = "vatex_en_c_val_release.jsonl"
    folder = str(test_data / "annotations/vatex")
    clips = vatex_reader(root, annotations=folder, validation=name).clips("validation")
    assert len(clips) == len({c.id for c in clips}) == 3000
    assert {len(c.captions) for c in clips} == {10}
    assert clips[0].id == "G9zN5TTuGO4_000179_000189"


# ------------------------------------------------------------------------------- ActivityNet


def segments(**videos: list[list[float]]) -> dict:
    return {
        v: {
            "duration": 60.0,
            "timestamps": stamps,
            "sentences": [f" {v} {i}." for i in range(len(stamps))],
        }
        for v, stamps in videos.items()
    }


def activitynet_reader(root: Path, **options: Any) -> activitynet.ActivityNetCaptions:
    return activitynet.ActivityNetCaptions(activitynet.Options(root=str(root), **options))


def test_activitynet_gives_segments_and_paragraphs(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(root / "train.json", segments(v_a=[[0, 5], [9, 4], [3, 3]]))
    put(root / "anet_entities_test_1.json", segments(v_b=[[0, 5], [4, 9]], v_c=[[0, 1]]))
    put(root / "anet_entities_test_1_para.json", {"v_b": "one.  two.", "v_c": "three."})
    put(root / "anet_entities_test_2_para.json", {"v_b": "other."})
    media(root, "v_a.mp4", "b.mkv")
    reader = activitynet_reader(root)
    assert reader.splits() == ("train", "ae-test")
    assert reader.protocol == "paragraph"
    with caplog.at_level(logging.WARNING):
        clips = reader.clips("train")
    assert [(c.id, c.start, c.end) for c in clips] == [
        ("v_a#0", 0.0, 5.0),
        ("v_a#1", 4.0, 9.0),
        ("v_a#2", 3.0, 3.0),
    ]
    assert "v_a.timestamps[1]: reversed, read as 4.0 to 9.0" in caplog.text
    assert clips[0].next_caption == "v_a 1."
    test = reader.clips("ae-test")
    assert [c.media.name for c in test] == ["b.mkv", "b.mkv", "v_c.mp4"]
    assert reader.paragraphs("ae-test") == {"v_b": ("one. two.", "other."), "v_c": ("three.",)}
    assert reader.paragraphs("train") == {}


def test_activitynet_refuses_what_does_not_fit(root: Path) -> None:
    unequal = segments(v_a=[[0, 5]])
    unequal["v_a"]["sentences"].append("more")
    put(root / "train.json", unequal)
    with pytest.raises(DataError, match=r"v_a\.timestamps: must be an array of 2 items"):
        activitynet_reader(root).clips("train")
    put(root / "train.json", {})
    with pytest.raises(DataError, match=r"train\.json: holds no segments"):
        activitynet_reader(root).clips("train")
    put(root / "anet_entities_test_1.json", segments(v_b=[[0, 5]]))
    for i in (1, 2):
        put(root / f"anet_entities_test_{i}_para.json", {"v_z": "x"})
    with pytest.raises(DataError, match=r"1 videos have no paragraph reference, e\.g\. 'v_b'"):
        activitynet_reader(root).paragraphs("ae-test")


@pytest.mark.slow
def test_activitynet_released_files(test_data: Path, root: Path) -> None:
    folder = test_data / "annotations/activitynet_captions"
    official = activitynet_reader(root, annotations=str(folder))
    counts = {"train": (10_009, 37_421), "val_1": (4917, 17_505), "val_2": (4885, 17_031)}
    for split, (videos, clips) in counts.items():
        found = official.clips(split)
        assert (len({c.video for c in found}), len(found)) == (videos, clips)
    assert sum(c.start == c.end for c in official.clips("train")) == 2
    assert len(official.paragraphs("val_1")) == 4917
    resplit = activitynet_reader(root, annotations=str(folder / "ae"))
    assert resplit.splits() == ("ae-val", "ae-test")
    for split, videos, clips in (("ae-val", 2460, 8774), ("ae-test", 2457, 8731)):
        found = resplit.clips(split)
        assert (len({c.video for c in found}), len(found)) == (videos, clips)
        assert len(resplit.paragraphs(split)) == videos
    references = resplit.paragraphs("ae-test")
    assert Counter(map(len, references.values())) == {2: 2444, 1: 13}
    # A paragraph is the segments' sentences in order: what the hypotheses are made of.
    clips = resplit.clips("ae-test")
    for video in list(references)[:200]:
        joined = " ".join(c.captions[0] for c in one_video(clips, video))
        assert joined == references[video][0]


# ------------------------------------------------------------------------------- HowTo100M


def speech(*lines: tuple[str, float, float]) -> dict:
    return {"text": [t for t, _, _ in lines], "start": [s for _, s, _ in lines],
            "end": [e for _, _, e in lines]}  # fmt: skip


def howto_reader(root: Path, **options: Any) -> howto100m.HowTo100M:
    return howto100m.HowTo100M(howto100m.Options(root=str(root), **options))


def test_howto100m_extends_clips_until_longer_than_five_seconds(root: Path) -> None:
    lines = [("a", 0, 3), ("b", 3, 5), ("c", 6, 8), ("", 8, 9), ("d", 9, 20), ("e", 20, 22)]
    put(root / "raw_caption.json", {"vid": speech(*lines), "mute": speech(("", 0, 1))})
    clips = howto_reader(root).clips("train")
    # a and b are five seconds, not longer; e is the last and grows backward.
    assert [(c.captions[0], c.start, c.end) for c in clips] == [
        ("a b c", 0.0, 8.0),
        ("d", 9.0, 20.0),
        ("d e", 9.0, 22.0),
    ]
    assert [c.id for c in clips] == ["vid#0", "vid#1", "vid#2"]
    assert [c.next_caption for c in clips] == ["d", "d e", None]
    assert all(c.speech == c.captions[0] for c in clips)
    short = howto_reader(root, min_seconds=0.0).clips("train")
    assert [c.captions[0] for c in short] == ["a", "b", "c", "d", "e"]


def test_howto100m_around_every_sentence(root: Path) -> None:
    lines = [("a", 0, 4), ("b", 4, 6), ("c", 6, 10), ("d", 20, 26)]
    put(root / "raw_caption.json", {"vid": speech(*lines)})
    clips = howto_reader(root, starts="every").clips("train")
    assert [c.captions[0] for c in clips] == ["a b", "a b", "b c", "d"]
    assert [c.next_caption for c in clips] == ["b c", "b c", "d", None]


def test_howto100m_a_short_video_is_one_clip_and_overlaps_are_met(root: Path) -> None:
    put(root / "raw_caption.json", {"vid": speech(("a", 0, 2.5), ("b", 1, 2))})
    (clip,) = howto_reader(root).clips("train")
    assert (clip.captions, clip.start, clip.end) == (("a b",), 0.0, 2.5)


def test_howto100m_reads_the_form_without_stop_words_and_categories(root: Path) -> None:
    put(root / "caption.json", {v: speech((v, 0, 6)) for v in ("one", "two", "three")})
    head = "video_id,task_id,rank,category_1,category_2\n"
    rows = f"{head}one,1,1,Food and Entertaining,x\ntwo,2,1,Health,y\n"
    put(root / "HowTo100M_v1.csv", rows)
    food = howto_reader(root, file="caption.json", categories=("Food and Entertaining",))
    assert [c.video for c in food.clips("train")] == ["one"]
    with pytest.raises(DataError, match="unknown category 'Helth'; did you mean 'Health'"):
        howto_reader(root, file="caption.json", categories=("Helth",)).clips("train")
    put(root / "HowTo100M_v1.csv", "video,rank\none,1\n")
    with pytest.raises(DataError, match="the column 'video_id' is missing; is 'video' meant"):
        howto_reader(root, file="caption.json", categories=("Health",)).clips("train")


def test_howto100m_refuses_what_does_not_fit(root: Path) -> None:
    entry = speech(("a", 0, 1), ("b", 1, 2))
    entry["end"] = [1.0]
    put(root / "raw_caption.json", {"vid": entry})
    with pytest.raises(
        DataError, match=r"vid\.end: must be an array of 2 items, got array \[1\.0\]"
    ):
        howto_reader(root).clips("train")
    with pytest.raises(ValueError, match="min_seconds must be 0 or more, got -1"):
        howto100m.Options(min_seconds=-1.0)


def test_howto100m_on_real_speech(test_data: Path, root: Path) -> None:
    """A real video's ASR by words, put into the released form, sentence by sentence."""
    path = test_data / "annotations/howto100m/merlot_example_WAaKRUoY6Io.grover.json"
    words = json.loads(path.read_text().splitlines()[0])
    words = (
        words["subtitles"]["cleaned_asr"] if "cleaned_asr" in words.get("subtitles", {}) else words
    )
    flat = _words(words)
    assert len(flat) > 300
    lines = [flat[i : i + 8] for i in range(0, len(flat), 8)]
    entry = speech(*((" ".join(w for w, _ in x), x[0][1], x[-1][1] + 0.3) for x in lines))
    put(root / "raw_caption.json", {"WAaKRUoY6Io": entry})
    clips = howto_reader(root).clips("train")
    assert all(c.end - c.start > 5 for c in clips)
    assert " ".join(c.captions[0] for c in clips[:-1]) in " ".join(w for w, _ in flat)
    assert [c.next_caption for c in clips[:-1]] == [c.captions[0] for c in clips[1:]]


def _words(value: Any) -> list[tuple[str, float]]:
    """Every {"word", "time"} of the file, in order."""
    if isinstance(value, dict):
        if "word" in value and "time" in value:
            return [(value["word"], float(value["time"]))]
        value = list(value.values())
    return [pair for item in value for pair in _words(item)] if isinstance(value, list) else []


# ------------------------------------------------------------------------------- all of them


READERS: dict[str, tuple[type, type, str]] = {
    "youcook2": (youcook2.YouCook2, youcook2.Options, "youcookii_annotations_trainval.json"),
    "msrvtt": (msrvtt.MsrVtt, msrvtt.Options, "MSRVTT_data.json"),
    "vatex": (vatex.Vatex, vatex.Options, "vatex_training_v1.0.json"),
    "activitynet": (activitynet.ActivityNetCaptions, activitynet.Options, "train.json"),
    "howto100m": (howto100m.HowTo100M, howto100m.Options, "raw_caption.json"),
}


@pytest.mark.parametrize("name", READERS)
def test_fingerprints_tell_content_and_media_apart(root: Path, name: str) -> None:
    build, options, file = READERS[name]

    def print_() -> str:
        reader: Dataset = build(options(root=str(root)))
        return reader.fingerprint()

    with pytest.raises(DataError, match="annotation file"):
        print_()
    path = put(root / file, "{}")
    first = print_()
    assert first == print_()
    put(path, "{ }")
    second = print_()
    media(root, "a.mp4")
    third = print_()
    put(root / "videos/a.mp4", "another length")
    fourth = print_()
    put(root / "asr.json", "{}")
    assert len({first, second, third, fourth, print_()}) == 5


@pytest.mark.parametrize("name", READERS)
def test_missing_folders_and_unknown_splits_are_named(tmp_path: Path, name: str) -> None:
    build, options, _ = READERS[name]
    with pytest.raises(DataError, match=f"{name}: .*unknown split 'nope'|{name}: unknown split"):
        build(options(root=str(tmp_path))).clips("nope")
    with pytest.raises(DataError, match=f"{name}: option 'root' is empty"):
        build(options()).fingerprint()
    with pytest.raises(DataError, match=f"{name}: root .*gone: no such folder"):
        build(options(root=str(tmp_path / "gone"))).fingerprint()


def test_media_are_found_by_id_and_preferred_by_container(root: Path) -> None:
    media(
        root, "b/x.webm", "a/x.mkv", "z/x.mp4", "-dash.mp4", "sp ace.MP4", "notes.txt", "y.mp4.mkv"
    )
    files = LocalFiles("d", str(root), ".", "videos")
    assert files.find("x") == root / "videos/z/x.mp4"
    assert files.find("-dash") == root / "videos/-dash.mp4"
    assert files.find("sp ace") == root / "videos/sp ace.MP4"
    assert files.find("y") == root / "videos/y.mp4.mkv"
    assert files.find("notes") is None
    assert files.find("nothing", "x") == root / "videos/z/x.mp4"
    for bad in ("../x", "a/x", "a\\x", "", "..", "x\0y"):
        with pytest.raises(DataError, match="must be an id without separators"):
            files.media_or_missing(bad)


def test_wrong_speech_is_refused(root: Path) -> None:
    put(root / "youcookii_annotations_trainval.json", cooking())
    put(root / "asr.json", {"GLd3aX16zBg#0": ["a"]})
    with pytest.raises(DataError, match=r"asr\.json: GLd3aX16zBg#0: must be a text, got array"):
        youcook2_reader(root).clips("training")


def test_every_reader_is_registered_under_its_files_name() -> None:
    from avbench.registry import load

    registry = load()
    for name, (build, options, _) in READERS.items():
        component = registry.get("datasets", name)
        assert (component.build, component.config) == (build, options)
        options()  # every option has a default
