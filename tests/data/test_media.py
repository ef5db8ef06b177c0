"""Decoding: real files against what is known of them, and small files made here."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avbench.core.types import InputSpec, SoundState
from avbench.data.media.audio import read_sound
from avbench.data.media.clip import DecodedClip, read_clip
from avbench.data.media.container import LostReason, MediaError
from avbench.data.media.sampling import Timeline, uniform
from avbench.data.media.video import read_frames

SPEC = InputSpec(size=32)


def sixteen(timeline: Timeline) -> list[int]:
    return uniform(timeline, 16)


def every(timeline: Timeline) -> list[int]:
    return list(range(len(timeline.times)))


def film(
    path: Path,
    frames: int = 20,
    *,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    sound: np.ndarray | None = None,
    rate: int = 22_050,
    layout: str = "mono",
    stamps: list[int] | None = None,
    gop: int = 5,
    codec: str = "libx264",
    **options: str,
) -> Path:
    """A film whose frame i is grey of level 8 i, its stamps in ms; with PCM-like AAC sound."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=fps, options={"crf": "4", **options})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.gop_size = gop
        video.codec_context.time_base = Fraction(1, 1000)
        audio = out.add_stream("aac", rate=rate, layout=layout) if sound is not None else None
        for i in range(frames):
            level = np.full((size[1], size[0], 3), 8 * i % 256, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts = stamps[i] if stamps else i * 1000 // fps
            frame.time_base = Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None and sound is not None:
            wave = np.atleast_2d(sound).astype(np.float32)
            block = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
            block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
            out.mux(audio.encode(block))
            out.mux(audio.encode())
    return path


def levels(frames: np.ndarray) -> list[int]:
    """Return each frame's number in the film, read from its grey."""
    return [round(float(f.mean()) / 8) for f in frames]


def tone(seconds: float, rate: int = 22_050, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# ------------------------------------------------------------------------------- real files


def probe(folder: Path) -> list[dict]:
    return json.loads((folder / "videos" / "probe.json").read_text())


@pytest.mark.slow
def test_every_real_file_gives_the_frames_that_are_known(test_data: Path) -> None:
    for known in probe(test_data):
        path = test_data / "videos" / known["file"]
        if not known["nv"]:
            with pytest.raises(MediaError, match="no video stream") as caught:
                read_clip(path, SPEC, sixteen)
            assert caught.value.reason is LostReason.NO_VIDEO
            continue
        clip = read_clip(path, SPEC, sixteen)
        times, video = clip.timeline.times, known["v"]
        if "error" in video:  # probe.json counts the frames before the first error
            assert len(times) > video["decoded"], path
            continue
        assert len(times) == video["decoded"], path
        assert times[0] == pytest.approx(video["start"], abs=2e-3), path
        if not path.name.startswith("S001"):  # probe.json has the last decoded, not the latest
            assert times[-1] == pytest.approx(video["last"], abs=2e-3), path
        assert clip.frames.shape == (16, 3, 32, 32)
        assert bool(clip.notes) == (path.suffix == ".avi"), (path, clip.notes)


@pytest.mark.slow
def test_every_frame_of_every_real_file_decodes(test_data: Path) -> None:
    for known in probe(test_data):
        if not known["nv"] or "error" in known["v"]:
            continue
        path = test_data / "videos" / known["file"]
        picture = read_frames(path, start=None, end=None, size=8, pick=every)
        assert picture.frames.shape == (known["v"]["decoded"], 3, 8, 8), path
        assert np.all(np.diff(picture.timeline.times) > 0), path


def test_every_real_file_gives_the_sound_that_is_known(test_data: Path) -> None:
    for known in probe(test_data):
        path = test_data / "videos" / known["file"]
        sound = read_sound(path, start=None, end=None, rate=22_050)
        assert (sound.state is SoundState.ABSENT) == (known["na"] == 0), path
        if not known["na"]:
            assert sound.samples.size == 0
            continue
        assert sound.state is SoundState.PRESENT
        audio = known["a"]
        seconds = len(sound.samples) / 22_050
        # A late start (swinbert) and a gap (IronMan) hold zeros, up to 0.08 s of them.
        assert seconds == pytest.approx(audio["dur"], abs=0.08), path
        level = 20 * np.log10(np.sqrt(np.mean(sound.samples.astype(np.float64) ** 2)))
        # Mixing uncorrelated channels lowers the level: most for 5.1 (4 dB here).
        lower = {1: 0.2, 2: 1.0, 6: 5.0}[audio["ch"]]
        assert -lower <= level - audio["rms_db"] <= 0.2, path


def test_a_file_with_a_damaged_packet_gives_all_that_decodes(test_data: Path) -> None:
    path = test_data / "videos/decord/corrupted.mp4"
    whole = read_clip(path, SPEC, every)
    assert len(whole.frames) == 49
    assert whole.timeline.end == pytest.approx(5.0)
    (note,) = whole.notes
    assert "breaks after the frame at 2.70 s" in note
    assert note.endswith("; 1 damaged packet is left out")
    # The clip before the damage has no note.
    assert read_clip(path, SPEC, every, start=0.0, end=1.0).notes == ()
    assert len(read_clip(path, SPEC, every, start=4.0, end=5.0).frames) == 10


@pytest.mark.parametrize(("name", "turn"), [("90", 3), ("180", 2), ("270", 1)])
def test_rotation_is_honoured(test_data: Path, name: str, turn: int) -> None:
    path = test_data / f"videos/decord/video_{name}.mov"
    found = read_frames(path, start=None, end=None, size=96, pick=lambda _: [0]).frames[0]
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        stored = frame.reformat(round(568 * 96 / 320), 96, format="rgb24").to_ndarray()
    left = (stored.shape[1] - 96) // 2
    upright = np.rot90(stored[:, left : left + 96], k=turn).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - upright).mean() < 2


def test_variable_frame_rate_is_sampled_by_time(test_data: Path) -> None:
    path = test_data / "videos/mmaction2/demo_skeleton.mp4"
    clip = read_clip(path, SPEC, sixteen)
    centres = [(i + 0.5) / 16 * clip.timeline.end for i in range(16)]
    shown = [max(t for t in clip.timeline.times if t <= c + 1e-6) for c in centres]
    assert [clip.timeline.times[i] for i in clip.chosen] == shown


@pytest.mark.parametrize(
    "name",
    ["video_features/v_ZNVhz7ctTq0.mp4", "torchcodec/nasa_13013.mp4", "torchcodec/av1_video.mkv"],
)
def test_seeking_gives_the_frames_that_reading_through_gives(test_data: Path, name: str) -> None:
    path = test_data / "videos" / name
    whole = read_clip(path, SPEC, every)
    low, high = 2.2, 4.7
    part = read_clip(path, SPEC, every, start=low, end=high)
    inside = [i for i, t in enumerate(whole.timeline.times) if low <= t < high]
    assert list(part.timeline.times) == [whole.timeline.times[i] for i in inside]
    assert (part.frames == whole.frames[inside]).all()
    if part.state is SoundState.PRESENT:
        first = round(low * 22_050)
        piece = whole.sound[first : first + len(part.sound)]
        assert len(part.sound) == round((high - low) * 22_050)
        # Another phase of the resampler, and codecs that start afresh: near, not equal.
        error = (part.sound - piece).square().mean().sqrt() / piece.square().mean().sqrt()
        assert float(error) < 0.05


# ------------------------------------------------------------------------------- made files


def read(path: Path, start: float | None = None, end: float | None = None) -> DecodedClip:
    return read_clip(path, SPEC, every, start=start, end=end)


def test_the_clips_frames_come_on_within_it(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30)
    clip = read(path, 1.0, 2.0)
    assert levels(clip.frames.numpy()) == list(range(10, 20))
    assert (clip.timeline.start, clip.timeline.end) == pytest.approx((1.0, 2.0))
    # The end of the file cuts a clip; the frame on the screen serves where none comes on.
    assert levels(read(path, 2.5, 9.0).frames.numpy()) == [25, 26, 27, 28, 29]
    assert levels(read(path, 1.42, 1.45).frames.numpy()) == [14]


def test_b_frames_and_long_gops_are_sought_right(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30, gop=250, bf="3")
    assert levels(read(path, 2.0, 2.5).frames.numpy()) == [20, 21, 22, 23, 24]


def test_only_the_frames_asked_for_are_kept(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30)
    picture = read_frames(path, start=None, end=None, size=32, pick=lambda _: [3, 17, 17])
    assert levels(picture.frames) == [3, 17, 17]
    assert len(picture.timeline.times) == 30


def test_frames_are_cut_from_the_centre(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = 128, 32, "yuv444p"
        picture = np.zeros((32, 128, 3), dtype=np.uint8)
        picture[:, 48:80] = (255, 0, 0)  # red in the middle square only
        for packet in video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
            out.mux(packet)
        out.mux(video.encode())
    frame = read(path).frames[0].numpy()
    assert frame[0].min() > 240
    assert frame[1:].max() < 20


def test_an_irregular_film_is_read_by_its_stamps(tmp_path: Path) -> None:
    path = film(tmp_path / "v.mkv", 5, stamps=[0, 100, 1000, 1050, 1900])
    clip = read(path)
    assert list(clip.timeline.times) == pytest.approx([0, 0.1, 1.0, 1.05, 1.9])
    assert levels(read(path, 1.0, 1.9).frames.numpy()) == [2, 3]


@pytest.mark.parametrize(("rate", "layout", "channels"), [(8000, "stereo", 2), (48_000, "5.1", 6)])
def test_any_rate_and_layout_becomes_mono(
    tmp_path: Path, rate: int, layout: str, channels: int
) -> None:
    wave = np.repeat(tone(2.0, rate)[None], channels, axis=0)
    path = film(tmp_path / "a.mp4", sound=wave, rate=rate, layout=layout)
    sound = read_sound(path, start=0.5, end=1.5, rate=22_050)
    assert sound.state is SoundState.PRESENT
    assert len(sound.samples) == 22_050
    spectrum = np.abs(np.fft.rfft(sound.samples * np.hanning(22_050)))
    assert spectrum.argmax() == 440  # one second: a bin a hertz
    # Equal channels keep their level: the mixing coefficients sum to one at most.
    peak = np.abs(sound.samples[2000:-2000]).max()
    assert peak == pytest.approx(0.5, abs=0.03)


def test_sound_starts_where_the_clip_starts(tmp_path: Path) -> None:
    wave = np.zeros(3 * 22_050)
    wave[22_050 * 3 // 2 :] = tone(1.5)  # from 1.5 s on
    path = film(tmp_path / "a.mp4", 30, sound=wave)
    sound = read_sound(path, start=1.0, end=3.0, rate=22_050).samples
    onset = np.flatnonzero(np.abs(sound) > 0.1)[0] / 22_050
    assert onset == pytest.approx(0.5, abs=0.01)


def test_a_gap_and_a_late_start_hold_zeros(tmp_path: Path) -> None:
    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=22_050, layout="mono")
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            out.mux(video.encode(frame))
            if i in (5, 6, 12):  # half a second late, then a hole
                wave = np.full((1, 2205), 16_000, dtype=np.int16)
                block = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                block.sample_rate, block.pts = 22_050, 2205 * i
                block.time_base = Fraction(1, 22_050)
                out.mux(audio.encode(block))
        out.mux(video.encode())
    sound = read_sound(path, start=None, end=None, rate=22_050).samples
    loud = [
        round(float(np.abs(sound[2205 * i + 300 : 2205 * i + 1900]).mean()), 1) for i in range(13)
    ]
    assert loud == [0.5 if i in (5, 6, 12) else 0.0 for i in range(13)]
    assert len(sound) == pytest.approx(13 * 2205, abs=40)


def test_absent_silent_and_undecodable_sound_are_three_things(tmp_path: Path) -> None:
    absent = read(film(tmp_path / "absent.mp4"))
    silent = read(film(tmp_path / "silent.mp4", sound=np.zeros(44_100)))
    present = read(film(tmp_path / "present.mp4", sound=tone(2.0)))
    assert (absent.state, silent.state, present.state) == (
        SoundState.ABSENT,
        SoundState.SILENT,
        SoundState.PRESENT,
    )
    assert absent.sound.numel() == 0
    assert silent.sound.numel() > 0
    path = tmp_path / "present.mp4"
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for place in places:  # every audio packet starts with a reserved element
        data[place : place + 8] = b"\xff" * 8
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    clip = read(broken)
    assert clip.state is SoundState.UNDECODABLE
    assert clip.sound.numel() == 0
    assert "the sound breaks at once" in clip.notes[0]
    assert len(clip.frames) == 20  # the picture is whole


def test_a_clip_after_the_end_of_the_sound_is_silent(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 40, sound=tone(1.0))
    clip = read(path, 2.0, 3.0)
    assert clip.state is SoundState.SILENT
    assert clip.notes == ("the sound track has no samples in the clip",)


@pytest.mark.parametrize(
    "name", ["-i.mp4", "a b.mp4", 'it\'s "it".mp4', "new\nline.mp4", "concat:x|y.mp4", "%03d.mp4"]
)
def test_names_are_only_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    film(tmp_path / "plain.mp4", 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(Path(name)).frames) == 3


def test_a_truncated_file_gives_its_beginning_and_a_note(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 60)
    cut = tmp_path / "cut.mkv"
    data = path.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    clip = read(cut)
    count = len(clip.frames)
    assert 5 < count < 55
    assert levels(clip.frames.numpy()) == [i % 32 for i in range(count)]


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video at all, only words\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    good = film(tmp_path / "a.mp4", 10)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    cases = [
        (tmp_path / "none.mp4", None, None, LostReason.MISSING, "no such file"),
        (tmp_path / "folder.mp4", None, None, LostReason.MISSING, "no such file"),
        (tmp_path / "empty.mp4", None, None, LostReason.EMPTY, "the file is empty"),
        (tmp_path / "text.mp4", None, None, LostReason.NOT_MEDIA, "not a media file"),
        (playlist, None, None, LostReason.NOT_MEDIA, "not a media file"),
        (good, 0.5, 0.5, LostReason.NO_INTERVAL, r"ends at 0\.5 s and starts at 0\.5 s"),
        (good, 5.0, 6.0, LostReason.NO_FRAME, r"starts at 5\.00 s, the picture ends at 0\.90 s"),
    ]
    before = open_files()
    for path, start, end, loss, message in cases:
        with pytest.raises(MediaError, match=message) as caught:
            read(path, start, end)
        assert caught.value.reason is loss
        assert str(path) in str(caught.value)
    assert open_files() == before


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as out:
        audio = out.add_stream("libmp3lame", rate=22_050, layout="mono")
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        out.mux(cover.encode(frame))
        wave = av.AudioFrame.from_ndarray(tone(1.0)[None].astype(np.float32), "fltp", "mono")
        wave.sample_rate = 22_050
        out.mux(audio.encode(wave))
        out.mux(audio.encode())
    with pytest.raises(MediaError, match="no video stream"):
        read(path)


@pytest.mark.parametrize(
    ("name", "codec", "rate", "options", "samples"),
    [
        ("a.mp4", "aac", 22_050, {}, 59_976),
        ("a.mov", "aac", 22_050, {}, 59_976),
        ("a.mp4", "libopus", 48_000, {}, 60_000),
        ("a.mp4", "libmp3lame", 22_050, {}, 59_976),
        ("a.mp4", "aac", 22_050, {"use_editlist": "0"}, 61_000),  # the encoder's delay is left
        ("a.mp4", "aac", 22_050, {"movflags": "frag_keyframe+empty_moov"}, 61_000),
        ("a.mkv", "aac", 22_050, {}, 60_416),  # whole frames: stamps in ms say no better
        ("a.mkv", "libopus", 48_000, {}, 60_000),
    ],
)
def test_sound_ends_where_its_track_does_and_not_with_the_last_frame(
    tmp_path: Path, name: str, codec: str, rate: int, options: dict[str, str], samples: int
) -> None:
    """FFmpeg 9 cuts an MP4's last frame, FFmpeg 8 does not: the sound is the same with both."""
    length = 59_976 if rate == 22_050 else 60_000  # whole milliseconds, as edit lists count
    wave = (0.3 * np.sin(np.arange(length) / 10)).astype(np.float32)
    with av.open(str(tmp_path / name), "w", options=options) as out:
        track = out.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    sound = read_sound(tmp_path / name, start=None, end=None, rate=rate)
    assert (len(sound.samples), sound.state, sound.notes) == (samples, SoundState.PRESENT, ())
