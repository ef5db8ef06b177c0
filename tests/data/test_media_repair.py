"""Wrong headers, damaged packets, clocks that start anew, and channels that cancel."""

import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avbench.core.types import InputSpec, SoundState
from avbench.data.media import file_bytes
from avbench.data.media.audio import read_sound
from avbench.data.media.clip import DecodedClip, read_clip
from avbench.data.media.container import LostReason, MediaError
from avbench.data.media.recode import Encoding, recode
from tests.data.test_media import every, film, levels, tone

SPEC = InputSpec(size=32)
RATE = 22_050


def read(path: Path, start: float | None = None, end: float | None = None) -> DecodedClip:
    return read_clip(path, SPEC, every, start=start, end=end)


def growing(seconds: float, rate: int = RATE) -> np.ndarray:
    """A tone whose peak grows by 0.05 a second, so that its loudness tells the time."""
    t = np.arange(round(seconds * rate)) / rate
    return 0.05 * (1 + np.floor(t)) * np.sin(2 * np.pi * 440 * t)


def seconds_heard(sound: np.ndarray) -> list[int]:
    """The second of ``growing`` that each second of sound is, by its loudness; 0: silence."""
    blocks = sound[: len(sound) // RATE * RATE].reshape(-1, RATE)[:, RATE // 4 : -RATE // 4]
    return [round(float(np.sqrt((2 * block**2).mean())) / 0.05) for block in blocks]


def shorten_header(path: Path, seconds: float) -> None:
    """State another length in the header of a Matroska file, and change nothing else."""
    with av.open(str(path)) as container:
        stated = container.duration / 1000
    mark = b"\x44\x89\x88"
    data = path.read_bytes()
    assert data.count(mark + struct.pack(">d", stated)) == 1
    made = data.replace(mark + struct.pack(">d", stated), mark + struct.pack(">d", 1000 * seconds))
    path.write_bytes(made)


def spoil(path: Path, stream: str, which: Sequence[int], fill: bytes = b"\0") -> None:
    """Overwrite some packets of a file."""
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(**{stream: 0}) if p.size]
    data = bytearray(path.read_bytes())
    at = 0
    for i, packet in enumerate(packets):
        at = data.index(packet, at)
        if i in which:
            data[at : at + len(packet)] = fill * len(packet)
        at += len(packet)
    path.write_bytes(data)


def test_packets_decide_where_the_sound_ends_and_not_the_header(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 80, sound=growing(8.0))
    shorten_header(path, 2.0)
    whole, part = read(path), read(path, 4.0, 7.0)
    assert seconds_heard(whole.sound.numpy()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (part.state, seconds_heard(part.sound.numpy())) == (SoundState.PRESENT, [5, 6, 7])
    assert len(part.frames) == 30
    assert part.notes == (
        "the header states 2.00 s, the picture goes on to 7.00 s",
        "the header states 2.00 s, the sound goes on to 7.00 s",
    )
    assert read(path, 0.0, 2.0).notes == ()


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "0"}),
        ("a.mkv", "libx264", {"bf": "2"}),
        ("a.mp4", "mpeg4", {}),
        ("a.avi", "mpeg4", {}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime"}),
    ],
)
def test_a_damaged_packet_costs_at_most_a_group_of_pictures(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = film(tmp_path / name, 30, codec=codec, gop=10, **options)
    spoil(path, "video", [13])
    clip = read(path)
    assert 20 <= len(clip.frames) <= 29
    assert clip.timeline.end == pytest.approx(3.0, abs=0.11)
    assert any("the picture breaks after the frame at 1." in note for note in clip.notes)
    kept = {
        round(10 * t): level
        for t, level in zip(clip.timeline.times, levels(clip.frames.numpy()), strict=True)
    }
    assert all(level == i for i, level in kept.items() if not 12 <= i < 20), kept
    # The same frames are encoded anew as are decoded.
    made = recode(path, Encoding(crf=0, preset="ultrafast", sound="flac"), start=None, end=None)
    (tmp_path / "again.mp4").write_bytes(made.video)
    assert len(read(tmp_path / "again.mp4").frames) == len(clip.frames)
    assert made.notes == clip.notes


def test_several_damaged_packets_are_counted(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30, gop=5, bf="0")
    spoil(path, "video", [6, 7, 21])
    (note,) = read(path).notes
    assert note.startswith("the picture breaks after the frame at 0.50 s: ")
    assert note.endswith("; 3 damaged packets are left out")


def test_a_clip_apart_from_the_damage_has_no_note(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30, gop=10, bf="0")
    spoil(path, "video", [13])
    for span in ((0.0, 1.0), (2.0, 3.0)):
        clip = read(path, *span)
        assert (len(clip.frames), clip.notes) == (10, ())


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "aac", RATE),
        ("a.mkv", "aac", RATE),
        ("a.mkv", "libopus", 48_000),
        ("a.mkv", "libmp3lame", RATE),
    ],
)
def test_sound_goes_on_after_a_damaged_packet_and_stays_in_step(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as out:
        track = out.add_stream(codec, rate=rate, layout="mono")
        wave = growing(6.2, rate).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    before = read_sound(path, start=None, end=None, rate=RATE)
    spoil(path, "audio", [50, 51], b"\xff")
    after = read_sound(path, start=None, end=None, rate=RATE)
    assert after.state is SoundState.PRESENT
    assert seconds_heard(after.samples) == [1, 2, 3, 4, 5, 6]
    assert len(after.samples) == pytest.approx(len(before.samples), abs=0.05 * RATE)
    if after.notes:  # else the decoder conceals it
        assert re.search(r"; \d damaged packets? (is|are) left out$", after.notes[0])


def test_sound_of_which_only_the_clip_is_damaged_is_undecodable(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 60, sound=tone(6.0))
    spoil(path, "audio", range(30, 90), b"\xff")
    assert read(path, 2.0, 3.0).state is SoundState.UNDECODABLE
    assert read(path, 4.5, 5.5).state is SoundState.PRESENT
    whole = read(path)
    assert whole.state is SoundState.PRESENT
    assert float(whole.sound[2 * RATE : 3 * RATE].abs().max()) == 0
    assert float(whole.sound[5 * RATE :].abs().max()) > 0.4


def test_damage_of_the_container_is_read_past(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", 60, sound=tone(6.0), gop=5)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = b"\x55" * 400
    path.write_bytes(data)
    clip = read(path)
    assert len(clip.frames) > 40
    assert clip.timeline.end == pytest.approx(6.0, abs=0.2)
    assert len(clip.sound) == pytest.approx(6 * RATE, abs=RATE // 4)


def joined(path: Path, *parts: tuple[int, float]) -> Path:
    """Transport streams end to end; each has its own clock, and frames from some level on."""
    with path.open("wb") as out:
        for i, (frames, seconds) in enumerate(parts):
            part = path.with_name(f"part{i}{path.suffix}")
            out.write(film(part, frames, sound=growing(seconds)).read_bytes())
    return path


def test_joined_recordings_follow_each_other(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", (20, 2.0), (30, 3.0))
    clip = read(path)
    assert levels(clip.frames.numpy()) == [*range(20), *range(30)]
    assert clip.timeline.end == pytest.approx(5.0, abs=0.1)
    assert list(clip.timeline.times) == sorted(clip.timeline.times)
    assert seconds_heard(clip.sound.numpy()) == [1, 2, 1, 2, 3]
    assert clip.notes == ()


def test_a_clip_in_a_later_part_is_that_parts(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", (20, 2.0), (30, 3.0))
    assert levels(read(path, 0.5, 1.0).frames.numpy()) == [5, 6, 7, 8, 9]
    clip = read(path, 3.2, 5.2)
    found = levels(clip.frames.numpy())
    assert found == [*range(found[0], 30)]
    assert found[0] == pytest.approx(11, abs=1)
    assert seconds_heard(clip.sound.numpy())[0] == 2


def test_a_single_recording_is_sought_in(tmp_path: Path) -> None:
    path = film(tmp_path / "a.ts", 60, sound=growing(6.0))
    clip = read(path, 3.0, 5.0)
    assert levels(clip.frames.numpy()) == [i % 32 for i in range(30, 50)]
    assert seconds_heard(clip.sound.numpy()) == [4, 5]


@pytest.mark.parametrize("residue", [0.0, 0.001])
def test_channels_that_cancel_are_not_silence(tmp_path: Path, residue: float) -> None:
    wave = tone(2.0)
    both = np.stack([wave, -wave * (1 - residue)])
    clip = read(film(tmp_path / "a.mkv", sound=both, layout="stereo"))
    assert clip.state is SoundState.PRESENT
    assert float(clip.sound.abs()[2000:-2000].max()) == pytest.approx(0.5, abs=0.03)
    assert clip.notes == ("the channels cancel each other in the mix: channel 1 is used alone",)


@pytest.mark.parametrize("peak", [0.01, 0.0])
def test_quiet_and_silent_stereo_stay_what_they_are(tmp_path: Path, peak: float) -> None:
    wave = 2 * peak * tone(2.0)
    clip = read(film(tmp_path / "a.mkv", sound=np.stack([wave, wave]), layout="stereo"))
    assert clip.state is (SoundState.PRESENT if peak else SoundState.SILENT)
    assert clip.notes == ()


def late_picture(path: Path) -> Path:
    """A file with sound from its start, and a picture from 5 s on."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        block = av.AudioFrame.from_ndarray(np.ones((1, 2 * RATE), np.int16), "s16", "mono")
        block.sample_rate = RATE
        out.mux(audio.encode(block))
        for i in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = 50 + i, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode())
    return path


def test_a_picture_that_starts_after_the_clip_is_said_to(tmp_path: Path) -> None:
    path = late_picture(tmp_path / "a.mkv")
    with pytest.raises(MediaError) as caught:
        read(path, 0.0, 4.0)
    assert caught.value.reason is LostReason.NO_FRAME
    assert caught.value.detail == "the clip ends at 4.00 s, the picture starts at 5.00 s"


def test_storage_that_does_not_answer_loses_the_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", 5)
    clock = iter(range(0, 10_000_000, 1000))
    monkeypatch.setattr(file_bytes.time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(MediaError, match="no answer from storage for 300 s") as caught:
        read(path)
    assert caught.value.reason is LostReason.OVERDUE
