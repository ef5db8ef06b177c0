"""Every class of defect has the outcome that is written down for it."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avbench.core.types import InputSpec, SoundState
from avbench.data.media.clip import DecodedClip, read_clip
from avbench.data.media.container import LostReason, MediaError
from avbench.data.media.defects import HANDLING
from tests.data.test_media import every, film, levels, tone
from tests.data.test_media_repair import joined, late_picture, shorten_header

SPEC = InputSpec(size=32)
ELSEWHERE = {"crashes the decoder"}
"""Classes that need processes: in test_media_guard."""

Case = Callable[[Path], DecodedClip]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def read(path: Path, start: float | None = None, end: float | None = None) -> DecodedClip:
    return read_clip(path, SPEC, every, start=start, end=end)


def picture(path: Path, width: int, height: int, **changes: object) -> Path:
    """A lossless film of three frames, red, of any size."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=10)
        video.width, video.height, video.pix_fmt = width, height, "bgr0"
        for name, value in changes.items():
            setattr(video.codec_context, name, value)
        red = np.zeros((height, width, 3), dtype=np.uint8)
        red[..., 0] = 200
        for _ in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        out.mux(video.encode())
    return path


def red(clip: DecodedClip) -> bool:
    wanted = np.array([200, 0, 0])[:, None, None]
    return bool((np.abs(clip.frames.numpy().astype(int) - wanted) < 8).all())


@case("variable frame rate")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.mkv", 4, stamps=[0, 100, 1000, 1900]))
    assert list(clip.timeline.times) == pytest.approx([0, 0.1, 1.0, 1.9])
    return clip


@case("pixels that are not square")
def _(folder: Path) -> DecodedClip:
    clip = read(picture(folder / "a.mkv", 32, 64, sample_aspect_ratio=Fraction(2, 1)))
    assert red(clip)
    strange = picture(folder / "b.mkv", 32, 64, sample_aspect_ratio=Fraction(60_000, 1))
    assert red(read(strange))  # not enlarged 60,000 times
    return clip


@case("one pixel")
def _(folder: Path) -> DecodedClip:
    clip = read(picture(folder / "a.mkv", 1, 1))
    assert red(clip)
    return clip


@case("slimmer than 64 to 1")
def _(folder: Path) -> DecodedClip:
    clip = read(picture(folder / "a.mkv", 4, 4000))
    assert red(clip)
    return clip


@case("several streams")
def _(folder: Path) -> DecodedClip:
    path = folder / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=10, options={"crf": "1"}) for _ in range(2)]
        tracks = [out.add_stream("pcm_s16le", rate=22_050, layout="mono") for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for stream, level in zip(streams, (40, 200), strict=True):
            grey = np.full((32, 32, 3), level, np.uint8)
            for _ in range(5):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            out.mux(stream.encode())
        for track, level in zip(tracks, (8000, 16_000), strict=True):
            block = av.AudioFrame.from_ndarray(
                np.full((1, 11_025), level, np.int16), "s16", "mono"
            )
            block.sample_rate = 22_050
            out.mux(track.encode(block))
    clip = read(path)
    assert levels(clip.frames.numpy()) == [5] * 5
    assert float(clip.sound[5000]) == pytest.approx(8000 / 32_768, abs=0.01)
    return clip


@case("start other than zero")
def _(folder: Path) -> DecodedClip:
    path = film(folder / "a.mkv", 10, stamps=[5000 + 100 * i for i in range(10)])
    part = read(path, 0.5, 0.8)
    assert levels(part.frames.numpy()) == [5, 6, 7]
    return read(path)


@case("no stated duration")
def _(folder: Path) -> DecodedClip:
    film(folder / "a.mkv", 10)
    path = folder / "live.mkv"
    with (
        av.open(str(folder / "a.mkv")) as source,
        av.open(str(path), "w", format="matroska", options={"live": "1"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    with av.open(str(path)) as container:
        assert container.duration is None
    clip = read(path)
    assert len(clip.frames) == 10
    return clip


@case("stamps out of order")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.avi", 20, gop=20, bf="3", b_strategy="0"))
    found = levels(clip.frames.numpy())
    assert found == sorted(found)
    assert len(set(found)) > 15
    return clip


@case("breaks on the way")
def _(folder: Path) -> DecodedClip:
    path = film(folder / "a.mp4", 20, gop=20)
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for place, size in places[10:]:
        data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    clip = read(path)
    # Of the ten packets left, one holds a frame that comes on later.
    assert levels(clip.frames.numpy()) == [round(10 * time) for time in clip.timeline.times]
    assert len(clip.frames) == 10
    assert any("breaks after the frame" in note for note in clip.notes)
    return clip


@case("picture starts after the clip")
def _(folder: Path) -> DecodedClip:
    return read(late_picture(folder / "a.mkv"), 0.0, 4.0)


@case("header that states too short a length")
def _(folder: Path) -> DecodedClip:
    path = film(folder / "a.mkv", 40, sound=tone(4.0))
    shorten_header(path, 1.0)
    clip = read(path)
    assert (len(clip.frames), len(clip.sound)) == (40, pytest.approx(4 * 22_050, abs=1100))
    return clip


@case("joined recordings")
def _(folder: Path) -> DecodedClip:
    clip = read(joined(folder / "a.ts", (20, 2.0), (30, 3.0)))
    assert len(clip.frames) == 50
    return clip


@case("channels that cancel")
def _(folder: Path) -> DecodedClip:
    both = np.stack([tone(2.0), -tone(2.0)])
    clip = read(film(folder / "a.mkv", sound=both, layout="stereo"))
    assert clip.state is SoundState.PRESENT
    return clip


@case("cut off")
def _(folder: Path) -> DecodedClip:
    path = film(folder / "a.mkv", 60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    clip = read(path)
    assert 5 < len(clip.frames) < 55
    return clip


@case("no frame in the clip")
def _(folder: Path) -> DecodedClip:
    return read(film(folder / "a.mp4", 10), 5.0, 6.0)


@case("picture too large")
def _(folder: Path) -> DecodedClip:
    path = picture(folder / "a.mkv", 16, 16)
    data = path.read_bytes()
    # Matroska's PixelWidth and PixelHeight: the same numbers, in two bytes each.
    places = [data.index(bytes([mark, 0x81, 16])) for mark in (0xB0, 0xBA)]
    assert places[1] == places[0] + 3
    wide, high = (n.to_bytes(2, "big") for n in (10_000, 10_000))
    made = bytes([0xB0, 0x82]) + wide + bytes([0xBA, 0x82]) + high
    path.write_bytes(grown(data, places[0], 6, made))
    return read(path)


def grown(data: bytes, place: int, size: int, made: bytes) -> bytes:
    """Matroska with an element exchanged for a longer one, its parents' sizes put right."""
    more = len(made) - size
    changed = bytearray(data[:place] + made + data[place + size :])
    for mark in (b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"):
        at = data.rindex(mark, 0, place) + len(mark)
        width = 9 - data[at].bit_length()
        value = int.from_bytes(data[at : at + width], "big") + more
        changed[at : at + width] = value.to_bytes(width, "big")
    return bytes(changed)


@case("any rate and layout")
def _(folder: Path) -> DecodedClip:
    wave = np.repeat(tone(2.0, 48_000)[None], 6, axis=0)
    clip = read(film(folder / "a.mp4", sound=wave, rate=48_000, layout="5.1"))
    assert clip.state is SoundState.PRESENT
    return clip


@case("sound shorter than the picture")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.mp4", 40, sound=tone(1.0)))
    assert len(clip.sound) == pytest.approx(22_050, abs=1100)
    return clip


def holed(path: Path, seconds: int) -> Path:
    """A film with a tenth of a second of sound at its start, and one after a hole."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        audio = out.add_stream("pcm_s16le", rate=22_050, layout="mono")
        for _ in range(5):
            grey = np.zeros((32, 32, 3), np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(video.encode())
        for start in (0, seconds):
            wave = np.full((1, 2205), 16_000, dtype=np.int16)
            block = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            block.sample_rate, block.pts = 22_050, start * 22_050
            block.time_base = Fraction(1, 22_050)
            out.mux(audio.encode(block))
    return path


@case("gap in the sound")
def _(folder: Path) -> DecodedClip:
    clip = read(holed(folder / "a.mkv", 5))
    assert float(clip.sound.abs()[3000:100_000].max()) == 0
    assert float(clip.sound.abs()[-1000:].min()) > 0.4
    absurd = read(holed(folder / "b.mkv", 100_000))  # 8.8 GB of zeros
    assert len(absurd.sound) < 3000
    assert any("a gap up to 100000 s" in note for note in absurd.notes)
    return clip


@case("no sound track")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.mp4"))
    assert clip.state is SoundState.ABSENT
    return clip


@case("silence")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.mp4", sound=np.zeros(44_100)))
    assert clip.state is SoundState.SILENT
    return clip


@case("sound after its end")
def _(folder: Path) -> DecodedClip:
    clip = read(film(folder / "a.mp4", 40, sound=tone(1.0)), 2.0, 3.0)
    assert clip.state is SoundState.SILENT
    return clip


def with_bad_sound(path: Path, first: int) -> Path:
    film(path, sound=tone(2.0))
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for place in places[first:]:  # the packet starts with a reserved element
        data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    return path


@case("sound breaks on the way")
def _(folder: Path) -> DecodedClip:
    clip = read(with_bad_sound(folder / "a.mp4", 20))
    assert clip.state is SoundState.PRESENT
    assert len(clip.sound) == pytest.approx(20 * 1024, abs=3 * 1024)
    return clip


@case("sound that cannot be decoded")
def _(folder: Path) -> DecodedClip:
    clip = read(with_bad_sound(folder / "a.mp4", 0))
    assert clip.state is SoundState.UNDECODABLE
    return clip


@case("odd name")
def _(folder: Path) -> DecodedClip:
    return read(film(folder / "plain.mp4", 3).rename(folder / "-i concat:'a'|\n%03d.mp4"))


@case("missing")
def _(folder: Path) -> DecodedClip:
    return read(folder / "none.mp4")


@case("empty")
def _(folder: Path) -> DecodedClip:
    (folder / "a.mp4").touch()
    return read(folder / "a.mp4")


@case("no media")
def _(folder: Path) -> DecodedClip:
    path = film(folder / "a.mp4", 20)
    path.write_bytes(path.read_bytes()[:-2000])  # MP4's index is at its end
    return read(path)


@case("playlist")
def _(folder: Path) -> DecodedClip:
    film(folder / "a.ts", 5)
    path = folder / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    return read(path)


@case("sound alone, or a cover")
def _(folder: Path) -> DecodedClip:
    path = folder / "a.wav"
    with av.open(str(path), "w") as out:
        audio = out.add_stream("pcm_s16le", rate=22_050, layout="mono")
        wave = av.AudioFrame.from_ndarray(np.ones((1, 5000), np.int16), "s16", "mono")
        wave.sample_rate = 22_050
        out.mux(audio.encode(wave))
    return read(path)


@case("no interval")
def _(folder: Path) -> DecodedClip:
    return read(film(folder / "a.mp4", 10), 0.5, 0.5)


@case("takes too long")
def _(folder: Path) -> DecodedClip:
    return read_clip(film(folder / "a.mp4", 10), SPEC, every, seconds=0.0)


REAL = {
    "rotation flag": "decord/video_90.mov",
    "more than 8 bits, or the full range": "torchcodec/h265_10bits.mp4",
}
"""Classes that need a file of others."""


@pytest.mark.parametrize("name", CASES)
def test_a_defect_has_its_outcome(name: str, tmp_path: Path) -> None:
    check(name, lambda: CASES[name](tmp_path))


@pytest.mark.parametrize("name", REAL)
def test_a_real_files_defect_has_its_outcome(name: str, test_data: Path) -> None:
    check(name, lambda: read(test_data / "videos" / REAL[name]))


def check(name: str, decode: Callable[[], DecodedClip]) -> None:
    known = HANDLING[name]
    if known.use == "lost":
        with pytest.raises(MediaError) as caught:
            decode()
        assert caught.value.reason is known.reason, caught.value
    else:
        clip = decode()
        assert known.use == ("part" if clip.notes else "used"), clip.notes


def test_every_class_has_a_case_and_every_loss_a_class() -> None:
    assert {*CASES, *REAL, *ELSEWHERE} == set(HANDLING)
    assert {o.reason for o in HANDLING.values() if o.reason} == set(LostReason)
    assert all((o.reason is not None) == (o.use == "lost") for o in HANDLING.values())
