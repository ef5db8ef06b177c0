"""Subtitles of YouTube's ASR: what rolls over the screen is read once."""

from pathlib import Path

import pytest

from avbench.analysis.relevance.transcripts import Transcripts
from avbench.core.errors import DataError
from avbench.core.options import make
from avbench.core.registry import load
from avbench.data.annotations.strict_json import MalformedError
from avbench.data.annotations.subtitles import open_speech, open_vtt, speech_files


def vtt(folder: Path, *cues: str) -> Path:
    path = folder / "a.en.vtt"
    path.write_text("WEBVTT\nKind: captions\n\n" + "\n\n".join(cues) + "\n", "utf-8")
    return path


def test_what_a_cue_repeats_is_taken_once(tmp_path: Path) -> None:
    path = vtt(
        tmp_path,
        "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nhey<00:00:01.000><c> you</c>",
        "00:00:02.000 --> 00:00:02.010\nhey you\n ",
        "00:00:02.010 --> 00:00:03.500\nhey you\nhey you",
        "7\n01:00:05.250 --> 01:00:06.000\nhey you\n<b>all</b>  of you",
        "01:00:09.000 --> 01:00:10.000\n ",
    )
    assert open_vtt(path) == [
        ("hey you", 0.0, 2.0),
        ("hey you", 2.01, 3.5),
        ("hey you all of you", 3605.25, 3606.0),  # long after: said again
    ]


def test_lines_that_end_as_windows_ends_them(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\n00:02.000 --> 00:03.000\nb\n"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert open_vtt(path) == [("a", 1.0, 2.0), ("b", 2.0, 3.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\n00:00:00,000 --> 00:00:01,000\na\n", "line 1: must be 'WEBVTT', got '1'"),
        (
            "WEBVTT\n\n0:0 --> 00:01.000\na\n",
            "line 3: must be '00:00:00.000 --> 00:00:00.000', got '0:0 --> 00:01.000'",
        ),
    ],
)
def test_a_malformed_file_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.vtt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        open_vtt(path)
    assert str(caught.value) == f"{path}: {said}"


def test_a_video_has_one_file(tmp_path: Path) -> None:
    for name in ("b.csv", "a.en.vtt", "c-_d.vtt"):
        (tmp_path / name).write_text("WEBVTT\n" if name != "b.csv" else "start,end,text\n")
    assert [*speech_files(tmp_path)] == ["a", "b", "c-_d"]
    for name in ("Storm 2.1.en.vtt", "Storm 2.7.en-US.vtt", "d.en.auto.vtt"):
        (tmp_path / name).write_text("")
    assert {"Storm 2.1", "Storm 2.7", "d"} <= set(speech_files(tmp_path))
    (tmp_path / "a.fr.vtt").write_text("")
    found = speech_files(tmp_path)
    assert open_speech(found["b"]) == []
    with pytest.raises(MalformedError) as caught:
        open_speech(found["a"])
    assert str(caught.value) == (
        f"{tmp_path}: a video must have one speech file, got a.en.vtt, a.fr.vtt"
    )


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_character_references_are_characters(tmp_path: Path, suffix: str) -> None:
    head, comma = ("WEBVTT\n\n", ".") if suffix == ".vtt" else ("1\n", ",")
    path = tmp_path / f"a.en{suffix}"
    text = "&gt;&gt; <i>salt</i> &amp; pepper,&nbsp;then it&#39;s &lt;done&gt; at AT&T"
    path.write_text(f"{head}00:00:01{comma}000 --> 00:00:02{comma}500\n{text}\n")
    assert open_vtt(path) == [(">> salt & pepper, then it's <done> at AT&T", 1.0, 2.5)]


def test_a_srt_serves_a_video_without_another_file(tmp_path: Path) -> None:
    for name in ("a.csv", "a.en.srt", "b.en.srt"):
        (tmp_path / name).write_text("")
    assert {k: [f.name for f in v] for k, v in speech_files(tmp_path).items()} == {
        "a": ["a.csv"], "b": ["b.en.srt"],
    }  # fmt: skip


BROKEN = {
    "latin": ("latin.csv", "start,end,text\n0,6,café\n".encode("latin-1"), "not in UTF-8"),
    "empty": ("empty.csv", b"", "is empty"),
    "quote": ("quote.csv", b'start,end,text\n0,6,"he said "hi" to us"\n', "not csv"),
    "short": ("short.csv", b"start,end\n0,6\n", "the column 'text' is missing"),
    "times": ("times.csv", b"start,end,text\n0,x,hi\n", "must be a number"),
    "wide": ("wide.en.vtt", "WEBVTT\n\n".encode("utf-16"), "not in UTF-8"),
    "blank": ("blank.en.vtt", b"", "must be 'WEBVTT'"),
    "clock": ("clock.en.srt", b"1\n0 --> 1\nhi\n", "must be '00:00:00.000"),
}
"""A video's file, its content, and the message's words."""


def test_a_speech_file_that_cannot_be_read_costs_its_video_alone(tmp_path: Path) -> None:
    asr = tmp_path / "asr"
    asr.mkdir()
    (tmp_path / "videos").mkdir()
    (asr / "good.csv").write_text("start,end,text\n0,6,hello there\n")
    (asr / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    for name, content, _ in BROKEN.values():
        (asr / name).write_bytes(content)
    reader = load().get("datasets", "howto100m")
    dataset = make(reader, {"root": str(tmp_path), "file": "asr"})
    assert [clip.video for clip in dataset.clips("train")] == ["good"]
    lost = {defect.clip: defect for defect in dataset.defects("train")}
    assert lost.keys() == {*BROKEN, "gone"}
    for video, (name, _, said) in BROKEN.items():
        assert said in lost[video].problem, video
        assert lost[video].place.startswith(str(asr / name))
    assert lost["gone"].problem == "no such file"
    heard = Transcripts.read(asr)
    assert {*heard.lines} == {"good"}
    assert len(heard.unread) == len(lost)
