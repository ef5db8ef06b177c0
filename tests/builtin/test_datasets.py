"""The five readers: the released files, counted, and small files in the released forms."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from avbench.api import Clip, DataError, Dataset
from avbench.builtin.datasets import (
    activitynet,
    audiocaps,
    clotho,
    coco_captions,
    howto100m,
    msrvtt,
    vatex,
    youcook2,
)
from avbench.data.annotations.local_files import LocalFiles
from avbench.data.annotations.strict_json import open_csv, open_json


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
    with pytest.raises(DataError, match="split 'validation' holds no clips"):
        youcook2_reader(root).clips("validation")


def test_youcook2_loses_malformed_segments_alone(root: Path) -> None:
    data = cooking()
    segments = data["database"]["GLd3aX16zBg"]["annotations"]
    segments[0]["segment"] = [4, 4]
    segments.append({"segment": [9, 10], "id": 3, "sentence": 7})
    put(root / "youcookii_annotations_trainval.json", data)
    reader = youcook2_reader(root)
    (clip,) = reader.clips("training")
    # What follows has no text, so there is nothing to predict.
    assert (clip.id, clip.next_caption) == ("GLd3aX16zBg#2", None)
    first, second = reader.defects("training")
    assert (first.clip, first.reason) == ("GLd3aX16zBg#0", "no_interval")
    assert first.place.endswith("database.GLd3aX16zBg.annotations[0].segment")
    assert first.problem == "the clip must end after it starts, got 4 to 4 s"
    assert (second.clip, second.reason) == ("GLd3aX16zBg#2", "malformed")
    assert second.problem == "must be a text, got number 7"


def test_youcook2_agrees_with_others_copies(test_data: Path, root: Path) -> None:
    """MART's form of both splits and MIL-NCE's csv hold the same segments."""
    folder = test_data / "annotations/youcook2"
    reader = youcook2_reader(root, annotations=str(folder))
    for split, name in (("training", "train"), ("validation", "val")):
        theirs = {
            (video, start, end, " ".join(text.split()))
            for video, entry in json.loads(
                (folder / f"yc2_{name}_anet_format.json").read_text()
            ).items()
            for (start, end), text in zip(entry["timestamps"], entry["sentences"], strict=True)
        }
        ours = {(c.video, c.start, c.end, c.captions[0]) for c in reader.clips(split)}
        assert ours == theirs
    rows = open_csv(folder / "validation_youcook.csv", ("video_id", "start", "end"))
    times = {(r["video_id"].id(), r["start"].seconds(), r["end"].seconds()) for r in rows}
    held = {(c.video, c.start, c.end) for c in reader.clips("validation")}
    assert len(times) > 3000
    assert len(times & held) / len(times) > 0.99


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
            r"segment: the clip must end after it starts, got 3 to 1 s",
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
        ("[" * 100_000, "arrays and objects nest too deep"),
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
    reader = msrvtt_reader(root)
    assert [clip.id for clip in reader.clips("train")] == ["video0"]
    (lost,) = reader.defects("train")
    assert (lost.clip, lost.reason) == ("video1", "no_caption")
    assert lost.place.endswith("MSRVTT_data.json: videos[1]")
    assert lost.problem == "no sentence has this video's id; each video needs at least one"
    info["sentences"] *= 2
    info["sentences"] += [{"video_id": "video5", "caption": "a", "sen_id": 0}] * 3
    put(root / "MSRVTT_data.json", info)
    reader = msrvtt_reader(root)
    assert [clip.captions for clip in reader.clips("train")] == [("a", "a")]
    stray, lost = reader.defects("train")
    assert stray.place.endswith("MSRVTT_data.json: sentences[2].caption")
    assert stray.problem == "'video5' is none of the videos; its 3 sentences are lost"
    assert (stray.clip, lost.clip) == (None, "video1")
    with pytest.raises(DataError, match="unknown split 'tst'; did you mean 'test'"):
        msrvtt_reader(root).clips("tst")
    put(root / "MSRVTT_data.json", videodatainfo({"video0": "train"}))
    with pytest.raises(DataError, match="split 'test' holds no clips"):
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
    reader = msrvtt_reader(root, files=(str(packed),))
    for split, count in (("train", 6513), ("validate", 497)):
        clips = reader.clips(split)
        assert len(clips) == count
        assert {len(c.captions) for c in clips} == {20}
    # Only a hundred of its test videos were translated; the reader says which are not.
    assert (len(reader.clips("test")), len(reader.defects("test"))) == (100, 2890)
    assert {d.reason for d in reader.defects("test")} == {"no_caption"}
    english = json.loads((folder / "msrvtt_test_refs_by_id_DERIVED.json").read_text())
    test = videodatainfo(dict.fromkeys(english, "test"), 0)
    test["sentences"] = [
        {"video_id": v, "sen_id": i, "caption": c}
        for v, cs in english.items()
        for i, c in enumerate(cs)
    ]
    put(root / "test_videodatainfo.json", test)
    reader = msrvtt_reader(root, test_1k=str(folder / "msrvtt_test_jsfusion1k.csv"))
    clips = reader.clips("test")
    assert len(clips) == 2990
    assert {len(c.captions) for c in clips} == {20}
    assert reader.splits() == ("test", "1k-A")
    thousand = reader.clips("1k-A")
    assert len(thousand) == 1000
    assert {len(c.captions) for c in thousand} == {1}
    whole = {c.id: c.captions for c in clips}
    # Another's copy of the same test set: the sentence is one of the twenty.
    assert {c.id for c in thousand} <= set(whole)
    agree = sum(" ".join(c.captions[0].split()).lower() in whole[c.id] for c in thousand)
    assert agree > 950


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


def test_vatex_finds_clips_by_their_number(root: Path) -> None:
    entries = [{"videoID": f"abc_00000{i}_000010", "enCap": ["x"]} for i in (1, 2)]
    put(root / "vatex_training_v1.0.json", entries)
    put(root / "vatex_mapping.txt", "abc_000001_000010 video7\nabc_000002_000010 video8\n")
    media(root, "video7.mp4", "abc.mp4")
    first, second = vatex_reader(root).clips("training")
    assert (first.media.name, first.start) == ("video7.mp4", None)
    assert (second.media.name, second.start, second.end) == ("abc.mp4", 2.0, 10.0)
    put(root / "vatex_mapping.txt", "abc_000001_000010 video7 more\n")
    with pytest.raises(DataError, match=r"mapping\.txt: line 1: must be an array of 2 items"):
        vatex_reader(root).clips("training")


def test_vatex_numbers_of_the_whole_dataset(test_data: Path, root: Path) -> None:
    folder = test_data / "annotations/vatex"
    reader = vatex_reader(root, annotations=str(folder), validation="vatex_en_c_val_release.jsonl")
    numbers = reader._numbers()
    assert len(numbers) == 34_991  # training, validation and public test
    clips = reader.clips("validation")
    assert {c.id for c in clips} <= set(numbers)
    known = (folder / "vatex_existed_videos.txt").read_text().split()
    assert set(known) <= set(numbers.values())


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


def test_activitynet_gives_segments_and_paragraphs(root: Path) -> None:
    put(root / "train.json", segments(v_a=[[0, 5], [9, 4], [3, 3]]))
    put(root / "anet_entities_test_1.json", segments(v_b=[[0, 5], [4, 9]], v_c=[[0, 1]]))
    put(root / "anet_entities_test_1_para.json", {"v_b": "one.  two.", "v_c": "three."})
    put(root / "anet_entities_test_2_para.json", {"v_b": "other."})
    media(root, "v_a.mp4", "b.mkv")
    reader = activitynet_reader(root)
    assert reader.splits() == ("train", "ae-test")
    assert reader.protocol == "paragraph"
    clips = reader.clips("train")
    assert [(c.id, c.start, c.end) for c in clips] == [("v_a#0", 0.0, 5.0), ("v_a#1", 4.0, 9.0)]
    assert [(d.place.rpartition("/")[2], d.problem, d.clip) for d in reader.defects("train")] == [
        ("train.json: v_a.timestamps[1]", "reversed, read as 4 to 9 s", None),
        (
            "train.json: v_a.timestamps[2]",
            "the clip must end after it starts, got 3 to 3 s",
            "v_a#2",
        ),
    ]
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
    with pytest.raises(DataError, match=r"split 'train' holds no clips"):
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
    malformed = {"train": 4, "val_1": 0, "val_2": 0}
    for split, (videos, clips) in counts.items():
        found, defects = official.clips(split), official.defects(split)
        lost = [d for d in defects if d.clip is not None]
        assert (len({c.video for c in found}), len(found) + len(lost)) == (videos, clips)
        assert len(defects) == malformed[split]
    assert [(d.clip, d.reason) for d in official.defects("train")] == [
        ("v_N7ppHQNikv8#2", "no_interval"),
        ("v_4rKTw99bM8g#1", "no_interval"),
        (None, "malformed"),
        (None, "malformed"),
    ]
    assert len(official.paragraphs("val_1")) == 4917
    resplit = activitynet_reader(root, annotations=str(folder / "ae"))
    assert resplit.splits() == ("ae-val", "ae-test")
    for split, videos, clips in (("ae-val", 2460, 8774), ("ae-test", 2457, 8731)):
        found = resplit.clips(split)
        assert (len({c.video for c in found}), len(found)) == (videos, clips)
        assert len(resplit.paragraphs(split)) == videos
    references = resplit.paragraphs("ae-test")
    assert Counter(map(len, references.values())) == {2: 2444, 1: 13}
    # Others' copies: the ids, the paragraphs of both annotators, and the segments of val_2.
    for split, name, bare in (("train", "train_ids", 15), ("val_1", "val_ids", 9)):
        ids = set(json.loads((folder / f"{name}.json").read_text()))
        ours = {c.video for c in official.clips(split)}
        assert ours <= ids
        assert len(ids - ours) == bare  # listed, but never annotated
    paragraphs = official.paragraphs("val_1")
    for i, name in enumerate(("para_1", "para_2")):
        theirs = {v: t.text() for v, t in open_json(folder / f"para/{name}.json").fields()}
        assert len(theirs) > 4800
        assert all(theirs[v] in paragraphs[v] for v in theirs), i
    rows = open_csv(folder / "asr/val_2_meta.csv", ("video_id", "start", "end"), "\t")
    spoken = {(r["video_id"].id(), r["start"].seconds(), r["end"].seconds()) for r in rows}
    held = {(c.video, c.start, c.end) for c in official.clips("val_2")}
    assert len(spoken) > 15_000
    assert len(spoken & held) / len(spoken) > 0.99
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


def test_howto100m_without_overlap_extends_clips_until_longer_than_five_seconds(
    root: Path,
) -> None:
    lines = [("a", 0, 3), ("b", 3, 5), ("c", 6, 8), ("", 8, 9), ("d", 9, 20), ("e", 20, 22)]
    put(root / "raw_caption.json", {"vid": speech(*lines), "mute": speech(("", 0, 1))})
    clips = howto_reader(root, starts="uncovered").clips("train")
    # a and b are five seconds, not longer; e is the last and grows backward.
    assert [(c.captions[0], c.start, c.end) for c in clips] == [
        ("a b c", 0.0, 8.0),
        ("d", 9.0, 20.0),
        ("d e", 9.0, 22.0),
    ]
    assert [c.id for c in clips] == ["vid#0", "vid#1", "vid#2"]
    assert [c.next_caption for c in clips] == ["d", "d e", None]
    assert all(c.speech == c.captions[0] for c in clips)
    short = howto_reader(root, starts="uncovered", min_seconds=0.0).clips("train")
    assert [c.captions[0] for c in short] == ["a", "b", "c", "d", "e"]


def test_howto100m_makes_a_clip_around_every_sentence_by_default(root: Path) -> None:
    lines = [("a", 0, 4), ("b", 4, 6), ("c", 6, 10), ("d", 20, 26)]
    put(root / "raw_caption.json", {"vid": speech(*lines)})
    clips = howto_reader(root).clips("train")
    assert howto_reader(root, starts="every").clips("train") == clips
    assert [c.captions[0] for c in clips] == ["a b", "a b", "b c", "d"]
    assert [c.next_caption for c in clips] == ["b c", "b c", "d", None]


def test_howto100m_a_short_video_is_one_clip_and_overlaps_are_met(root: Path) -> None:
    put(root / "raw_caption.json", {"vid": speech(("a", 0, 2.5), ("b", 1, 2))})
    (clip,) = howto_reader(root, starts="uncovered").clips("train")
    assert (clip.captions, clip.start, clip.end) == (("a b",), 0.0, 2.5)
    around = howto_reader(root).clips("train")
    assert [(c.captions, c.start, c.end) for c in around] == [(("a b",), 0.0, 2.5)] * 2


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


def test_howto100m_reads_a_csv_a_video(root: Path) -> None:
    lines = [("a", 0, 3), ("b, c", 3, 5), ("c", 6, 8), ("", 8, 9), ("d", 9, 20)]
    put(root / "raw_caption.json", {"vid": speech(*lines)})
    rows = "".join(f'{s},{e},"{t}"\n' for t, s, e in lines)
    put(root / "captions/vid.csv", f"start,end,text\n{rows}")
    put(root / "captions/bad.csv", "start,end,text\n1,x,a\n")
    folder = howto_reader(root, file="captions")
    assert folder.clips("train") == howto_reader(root).clips("train")
    (defect,) = folder.defects("train")
    assert defect.clip == "bad"
    assert defect.place.endswith("captions/bad.csv: row 2.end")
    before = folder.fingerprint()
    put(root / "captions/vid.csv", f"start,end,text\n{rows}21,22,e\n")
    assert howto_reader(root, file="captions").fingerprint() != before


def test_howto100m_loses_a_malformed_video_alone(root: Path) -> None:
    entry = speech(("a", 0, 6), ("b", 6, 7))
    put(root / "raw_caption.json", {"bad": {**entry, "end": [1.0]}, "good": entry,
                                    "mute": speech(("", 0, 1))})  # fmt: skip
    reader = howto_reader(root)
    assert {clip.video for clip in reader.clips("train")} == {"good"}
    lost, mute = reader.defects("train")
    assert (lost.clip, mute.clip) == ("bad", None)
    assert lost.problem == "must be an array of 2 items, got array [1.0]"
    assert mute.problem == "no words are spoken, so it gives no clip"


def test_howto100m_refuses_what_does_not_fit(root: Path) -> None:
    entry = speech(("a", 0, 1), ("b", 1, 2))
    entry["end"] = [1.0]
    put(root / "raw_caption.json", {"vid": entry})
    with pytest.raises(
        DataError, match=r"vid\.end: must be an array of 2 items, got array \[1\.0\]"
    ):
        howto_reader(root).clips("train")


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
    around = howto_reader(root).clips("train")
    assert len(around) == len(lines)
    assert all(c.end - c.start > 5 for c in around)
    clips = howto_reader(root, starts="uncovered").clips("train")
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


# ------------------------------------------------------------------------------- captions alone


def test_audiocaps_released_files(test_data: Path) -> None:
    folder = str(test_data / "annotations/audiocaps")
    reader = audiocaps.AudioCaps(audiocaps.Options(root=folder))
    for split, clips, each in (("train", 49_838, 1), ("val", 495, 5), ("test", 975, 5)):
        found = reader.clips(split)
        assert len(found) == clips
        assert {len(c.captions) for c in found} == {each}
        assert reader.defects(split) == ()
    assert found[0].captions[0] == "Constant rattling noise and sharp vibrations"
    assert (found[0].id, found[0].video) == ("7fmOlUlwoNg_20", "7fmOlUlwoNg")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("abc_20.mp4", None),
        ("Yabc_20_30.wav", None),
        ("abc_000020_000030.mkv", None),
        ("abc_20000_30000.flac", None),
        ("Yabc_20.000_30.000.wav", None),
        ("abc.mp4", 20.0),
    ],
)
def test_audiocaps_media_by_the_names_in_use(root: Path, name: str, start: float | None) -> None:
    put(root / "train.csv", "audiocap_id,youtube_id,start_time,caption\n1,abc,20,a dog barks\n")
    media(root, name)
    (clip,) = audiocaps.AudioCaps(audiocaps.Options(root=str(root), media_are="videos")).clips(
        "train"
    )
    assert clip.media == root / "videos" / name
    assert (clip.start, clip.end) == (start, None if start is None else 30.0)
    (clip,) = audiocaps.AudioCaps(audiocaps.Options(root=str(root))).clips("train")
    assert (clip.media, clip.start) == (root / "videos" / name, None)


def test_audiocaps_starts_are_numbers_not_texts(root: Path) -> None:
    head = "audiocap_id,youtube_id,start_time,caption\n"
    rows = "1,abc,10,a dog\n2,abc,10.0,a bark\n3,abc,10.5,rain\n4,abc,1e1,a growl\n"
    put(root / "val.csv", head + rows)
    reader = audiocaps.AudioCaps(audiocaps.Options(root=str(root)))
    assert [(c.id, c.captions) for c in reader.clips("val")] == [
        ("abc_10", ("a dog", "a bark", "a growl")),
        ("abc_10.5", ("rain",)),
    ]
    assert reader.defects("val") == ()


def test_a_bad_start_costs_its_excerpt_once(root: Path) -> None:
    head = "audiocap_id,youtube_id,start_time,caption\n"
    put(root / "val.csv", f"{head}1,abc,x,a\n2,abc,x,b\n3,def,0,c\n")
    reader = audiocaps.AudioCaps(audiocaps.Options(root=str(root)))
    assert [c.id for c in reader.clips("val")] == ["def_0"]
    assert [d.clip for d in reader.defects("val")] == ["abc_x"]


@pytest.mark.parametrize("names", [("Storm 2.1", "Storm 2.7"), ("Storm 2.1.wav", "Storm 2.7.WAV")])
def test_clotho_sounds_whose_names_hold_a_dot_are_two(root: Path, names: tuple[str, ...]) -> None:
    head = ",".join(["file_name", *clotho.CAPTIONS])
    rows = [",".join([name, *("abcde")]) for name in names]
    put(root / "clotho_captions_development.csv", "\n".join([head, *rows]) + "\n")
    for name in ("Storm 2.1.wav", "Storm 2.7.flac"):
        put(root / "audio" / name, "x")
    reader = clotho.Clotho(clotho.Options(root=str(root)))
    clips = reader.clips("development")
    assert [c.id for c in clips] == ["Storm 2.1", "Storm 2.7"]
    assert [c.media.name for c in clips] == ["Storm 2.1.wav", "Storm 2.7.flac"]
    assert reader.defects("development") == ()


def test_coco_images_whose_names_hold_a_dot_are_two(root: Path) -> None:
    put(
        root / "annotations/captions_train2014.json",
        {"v1.0": ["a"], "v1.5": ["b"], "c.jpg": ["c"]},
    )
    reader = coco_captions.CocoCaptions(coco_captions.Options(root=str(root)))
    assert [c.id for c in reader.clips("train")] == ["v1.0", "v1.5", "c"]


def test_coco_captions_of_no_image_are_noted(root: Path) -> None:
    captions = [{"image_id": i, "caption": f"a {i}"} for i in (1, 7, 7)]
    images = [{"id": 1, "file_name": "x.jpg"}]
    put(root / "annotations/captions_train2014.json", {"images": images, "annotations": captions})
    reader = coco_captions.CocoCaptions(coco_captions.Options(root=str(root)))
    assert [c.captions for c in reader.clips("train")] == [("a 1",)]
    (stray,) = reader.defects("train")
    assert stray.problem == "7 is none of the images; its 2 captions are lost"
    assert stray.clip is None


def captioned(root: Path, name: str, of_clip: Mapping[str, Sequence[str | None]]) -> Any:
    """A reader of a file in which each clip has these captions, and its training split."""
    lists = {clip: list(texts) for clip, texts in of_clip.items()}
    if name == "audiocaps":
        rows = [f"0,{c},0,{t or ''}" for c, texts in lists.items() for t in texts]
        put(root / "train.csv", "\n".join(["audiocap_id,youtube_id,start_time,caption", *rows]))
        return audiocaps.AudioCaps(audiocaps.Options(root=str(root))), "train"
    if name == "clotho":
        rows = [",".join([clip, *(t or "" for t in texts)]) for clip, texts in lists.items()]
        head = ",".join(["file_name", *clotho.CAPTIONS])
        put(root / "clotho_captions_development.csv", "\n".join([head, *rows]))
        return clotho.Clotho(clotho.Options(root=str(root))), "development"
    if name == "vatex":
        entries = [{"videoID": f"{clip}_1_2", "enCap": texts} for clip, texts in lists.items()]
        put(root / "vatex_training_v1.0.json", entries)
        return vatex_reader(root), "training"
    if name == "coco_captions":
        put(root / "annotations/captions_train2014.json", lists)
        return coco_captions.CocoCaptions(coco_captions.Options(root=str(root))), "train"
    info = videodatainfo(dict.fromkeys(lists, "train"), 0)
    info["sentences"] = [{"video_id": c, "caption": t} for c, ts in lists.items() for t in ts]
    put(root / "MSRVTT_data.json", info)
    return msrvtt_reader(root), "train"


@pytest.mark.parametrize("name", ["audiocaps", "clotho", "vatex", "coco_captions", "msrvtt"])
def test_a_blank_reference_is_left_out_and_noted_and_the_clip_stays(root: Path, name: str) -> None:
    given = {
        "one": ["a", " ", "b", None, "c"],
        "two": [" ", None, "", "\t", " "],
        "three": ["x"] * 5,
    }
    if name in ("audiocaps", "clotho"):  # csv has no null
        given = {clip: [text or "" for text in texts] for clip, texts in given.items()}
    reader, split = captioned(root, name, given)
    clips = reader.clips(split)
    assert [c.captions for c in clips] == [("a", "b", "c"), ("x",) * 5]
    defects = reader.defects(split)
    noted = [d.problem for d in defects if d.clip is None]
    assert noted == ["blank caption left out; the other 3 are used"] * 2
    (lost,) = [d for d in defects if d.clip is not None]
    assert lost.reason == "no_caption"
    assert lost.problem == "a clip needs a caption that is not blank, got 5 blank ones"


def test_a_blank_sentence_costs_its_own_segment_alone(root: Path) -> None:
    blank = segments(v_a=[[0, 5], [5, 9], [9, 12]])
    blank["v_a"]["sentences"][1] = " "
    put(root / "train.json", blank)
    reader = activitynet_reader(root)
    assert [(c.id, c.next_caption) for c in reader.clips("train")] == [
        ("v_a#0", None),
        ("v_a#2", None),
    ]
    assert [d.clip for d in reader.defects("train")] == ["v_a#1"]


def test_a_blank_paragraph_of_one_annotator_leaves_the_others(root: Path) -> None:
    put(root / "anet_entities_test_1.json", segments(v_b=[[0, 5]]))
    put(root / "anet_entities_test_1_para.json", {"v_b": " "})
    put(root / "anet_entities_test_2_para.json", {"v_b": "other."})
    assert activitynet_reader(root).paragraphs("ae-test") == {"v_b": ("other.",)}
    both = segments(v_b=[[0, 5], [5, 9]])
    both["v_b"]["sentences"][0] = ""
    put(root / "val_1.json", both)
    assert activitynet_reader(root).paragraphs("val_1") == {"v_b": ("v_b 1.",)}


def test_audiocaps_rows_are_named(root: Path) -> None:
    head = "audiocap_id,youtube_id,start_time,caption\n"
    put(root / "train.csv", f"{head}1,abc,20,a dog barks\n2,def,x,a cat\n3,ghi,1, \n")
    reader = audiocaps.AudioCaps(audiocaps.Options(root=str(root)))
    assert [c.id for c in reader.clips("train")] == ["abc_20"]
    one, other = reader.defects("train")
    assert one.place.endswith("train.csv: row 3.start_time")
    assert other.place.endswith("train.csv: row 4.caption")
    put(root / "train.csv", f"{head}1,abc,20,a dog, barking\n")
    with pytest.raises(DataError, match=r"row 2: must have 4 cells as the head has, got 5"):
        audiocaps.AudioCaps(audiocaps.Options(root=str(root))).clips("train")
    put(root / "train.csv", "id,caption\n")
    with pytest.raises(DataError, match="the column 'youtube_id' is missing"):
        audiocaps.AudioCaps(audiocaps.Options(root=str(root))).clips("train")


def test_clotho_released_files(test_data: Path) -> None:
    names = {"development": "train.csv", "validation": "val.csv", "evaluation": "test.csv"}
    root = str(test_data / "annotations/clotho")
    reader = clotho.Clotho(clotho.Options(root=root, **names))
    for split, clips in (("development", 3839), ("validation", 1045), ("evaluation", 1045)):
        found = reader.clips(split)
        assert len(found) == clips
        assert {len(c.captions) for c in found} == {5}
        assert reader.defects(split) == ()
    # A toolkit's copy of the evaluation set gives one sound twice, and in place of another.
    copy = clotho.Clotho(clotho.Options(root=root, evaluation="clotho_v2.1_test.json"))
    assert {c.id for c in copy.clips("evaluation")} <= {c.id for c in found}
    (twice,) = copy.defects("evaluation")
    assert (twice.clip, twice.reason) == ("young artists", "repeated")
    assert len(copy.clips("evaluation")) == 1044


def test_coco_karpathy_test(test_data: Path, root: Path) -> None:
    folder = test_data / "annotations/coco"
    reader = coco_captions.CocoCaptions(
        coco_captions.Options(
            root=str(root), annotations=str(folder), test_file="coco_karpathy_test_refs.json"
        )
    )
    assert reader.splits() == ("test",)
    clips = reader.clips("test")
    assert len(clips) == 5000
    assert sum(len(c.captions) for c in clips) == 25_010
    # The same captions in the released form and in Karpathy's give the same clips.
    images, annotations, sentences = [], [], []
    for i, clip in enumerate(clips):
        images.append({"id": i, "file_name": f"{clip.id}.jpg"})
        annotations += [{"image_id": i, "id": 0, "caption": text} for text in clip.captions]
        raw = [{"raw": text} for text in clip.captions]
        sentences.append({"filename": f"{clip.id}.jpg", "split": "test", "sentences": raw})
    sentences.append({"filename": "x.jpg", "split": "restval", "sentences": [{"raw": "x"}]})
    put(root / "annotations/captions_val2014.json", {"images": images, "annotations": annotations})
    put(root / "annotations/dataset_coco.json", {"images": sentences})
    released = coco_captions.CocoCaptions(
        coco_captions.Options(
            root=str(root), test_file="dataset_coco.json", train_file="dataset_coco.json"
        )
    )
    assert released.splits() == ("train", "val", "test")
    plain = [(c.id, c.captions) for c in clips]
    assert [(c.id, c.captions) for c in released.clips("val")] == plain
    assert [(c.id, c.captions) for c in released.clips("test")] == plain
    assert [c.id for c in released.clips("train")] == ["x"]
    put(root / "annotations/captions_val2014.json", {"images": images[:2], "annotations": []})
    with pytest.raises(DataError, match="no caption has this image's id"):
        released.clips("val")


# ------------------------------------------------------------------------------- all of them


READERS: dict[str, tuple[type, type, str]] = {
    "youcook2": (youcook2.YouCook2, youcook2.Options, "youcookii_annotations_trainval.json"),
    "msrvtt": (msrvtt.MsrVtt, msrvtt.Options, "MSRVTT_data.json"),
    "vatex": (vatex.Vatex, vatex.Options, "vatex_training_v1.0.json"),
    "activitynet": (activitynet.ActivityNetCaptions, activitynet.Options, "train.json"),
    "howto100m": (howto100m.HowTo100M, howto100m.Options, "raw_caption.json"),
    "audiocaps": (audiocaps.AudioCaps, audiocaps.Options, "train.csv"),
    "clotho": (clotho.Clotho, clotho.Options, "clotho_captions_development.csv"),
    "coco_captions": (
        coco_captions.CocoCaptions,
        coco_captions.Options,
        "annotations/captions_train2014.json",
    ),
}

MEDIA = {"clotho": "audio/a.wav", "coco_captions": "images/a.jpg"}
"""A file that counts as media; videos/a.mp4 for the others."""


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
    put(root / MEDIA.get(name, "videos/a.mp4"), "x")
    third = print_()
    put(root / MEDIA.get(name, "videos/a.mp4"), "another length")
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
    media(root, "A title [abcdefghij-].mkv", "Title-k_mnopqrstu.mp4", "T [k_mnopqrstu].webm")
    files = LocalFiles("d", str(root), ".", "videos")
    assert files.find("abcdefghij-") == root / "videos/A title [abcdefghij-].mkv"
    assert files.find("k_mnopqrstu") == root / "videos/Title-k_mnopqrstu.mp4"
    media(root, "k_mnopqrstu.webm")
    files = LocalFiles("d", str(root), ".", "videos")
    assert files.find("k_mnopqrstu") == root / "videos/k_mnopqrstu.webm"
    assert files.find("nothing", "x") == root / "videos/z/x.mp4"
    for bad in ("../x", "a/x", "a\\x", "", "..", "x\0y"):
        with pytest.raises(DataError, match="must be an id without separators"):
            files.media_or_missing(bad)


def test_wrong_speech_costs_its_clip(root: Path) -> None:
    put(root / "youcookii_annotations_trainval.json", cooking())
    put(root / "asr.json", {"GLd3aX16zBg#0": ["a"], "GLd3aX16zBg#2": "now we fry"})
    reader = youcook2_reader(root)
    (kept,) = reader.clips("training")
    (lost,) = reader.defects("training")
    assert (kept.id, kept.speech) == ("GLd3aX16zBg#2", "now we fry")
    assert (lost.clip, lost.problem) == ("GLd3aX16zBg#0", 'must be a text, got array ["a"]')
    assert lost.place == f"{root / 'asr.json'}: GLd3aX16zBg#0"


def test_every_reader_is_registered_under_its_files_name() -> None:
    from avbench.core.registry import load

    registry = load()
    for name, (build, options, _) in READERS.items():
        component = registry.get("datasets", name)
        assert (component.build, component.config) == (build, options)
        options()  # every option has a default
