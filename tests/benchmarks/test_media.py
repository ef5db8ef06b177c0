"""16 frames and 6.8 s of sound out of real files, against other decoders. One thread, one core.

The clips are those of the real files with sound of which torchcodec gives the same sound (it
mixes 5.1 in its own way, and moves sound that starts late), and the middle of a minute of 480p
with a key frame every 250 frames, made here.
"""

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from avbench.data.media.audio import read_sound
from avbench.data.media.decoder_pass import Pass
from avbench.data.media.packets import Need
from avbench.data.media.stream import Span, Video, index
from avbench.data.media.video import cut, read_frames
from tests.benchmarks.media_peers import (
    SPEC,
    BenchClip,
    Decord,
    OpenCVLibrosa,
    OpenCVTorchaudio,
    Read,
    TorchCodec,
    ours,
    sixteen,
)

pytestmark = pytest.mark.usefixtures("one_core")

SECONDS = 6.8
FILES = (
    "decord/flipping_a_pancake.mkv",
    "mmaction2/test.avi",
    "torchcodec/nasa_13013.mp4",
    "video_features/v_GGSY1Qvo990.mp4",
    "video_features/v_ZNVhz7ctTq0.mp4",
    "video_llama/boat.mp4",
    "video_llama/dog_barking.mp4",
    "video_llama/skateboarding_dog.mp4",
)
COLOURS = 5.0
"""Levels of 255, on average over a clip: resizing differs."""


@pytest.fixture(scope="module")
def minute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of 854 × 480 at 30 frames a second: a moving texture with stereo sound."""
    path = tmp_path_factory.mktemp("long") / "minute.mp4"
    dice = np.random.default_rng(0)
    texture = dice.integers(0, 255, (60, 107, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
    with av.open(str(path), "w") as out:
        picture = out.add_stream(
            "libx264",
            rate=30,
            options={"preset": "fast", "x264-params": "keyint=250:min-keyint=250:scenecut=0"},
        )
        picture.width, picture.height, picture.pix_fmt = 854, 480, "yuv420p"
        picture.codec_context.thread_count = 1
        # Without noise that the decoder makes up, which depends on where decoding begins.
        track = out.add_stream("aac", rate=44_100, layout="stereo", options={"aac_pns": "0"})
        for i in range(1800):
            x, y = int(150 + 140 * np.sin(i / 37)), int(100 + 80 * np.sin(i / 50))
            view = texture[y : y + 480, x : x + 854].copy()
            view[200:260, (3 * i) % 800 : (3 * i) % 800 + 50] = (255, i % 256, 0)
            out.mux(picture.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        out.mux(picture.encode())
        t = np.arange(60 * 44_100) / 44_100
        wave = np.stack([0.3 * np.sin(440 * t * (1 + t / 60)), 0.1 * dice.standard_normal(len(t))])
        block = av.AudioFrame.from_ndarray(wave.astype(np.float32), "fltp", "stereo")
        block.sample_rate, block.pts, block.time_base = 44_100, 0, Fraction(1, 44_100)
        out.mux(track.encode(block))
        out.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def clips(test_data: Path, minute: Path) -> list[BenchClip]:
    real = [BenchClip.find(test_data / "videos" / name, None, SECONDS) for name in FILES]
    return [*real, BenchClip.find(minute, 20.0, 20.0 + SECONDS)]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """FFmpeg's own messages would be timed too."""
    before = av.logging.get_level()
    av.logging.set_level(None)
    yield
    av.logging.set_level(before)


def differences(
    clips: list[BenchClip], way: Callable[[BenchClip], Read], *, amplitudes: bool = False
) -> tuple[float, float]:
    """The largest of the clips: mean difference of pixels, largest difference of a bin.

    ``amplitudes``: bins before the logarithm, as shares of the clip's loudest.
    """
    colours, bins = [], []
    for clip in clips:
        mine, its = ours(clip), way(clip)
        assert its.frames.shape == mine.frames.shape
        colours.append(float((mine.frames.float() - its.frames.float()).abs().mean()))
        one, other = mine.mel.double(), its.mel.double()
        if amplitudes:
            one, other = one.exp() / one.exp().max(), other.exp() / one.exp().max()
        bins.append(float((one - other).abs().max()))
    return max(colours), max(bins)


def all_of(clips: list[BenchClip], way: Callable[[BenchClip], Read]) -> Callable[[], object]:
    return lambda: [way(clip) for clip in clips]


def test_against_torchcodec(compare: Any, tabulated: Any, clips: list[BenchClip]) -> None:
    theirs = TorchCodec()
    for clip in clips:  # the very same frames
        if clip.path.suffix != ".avi":  # of which both guess the times, and not alike
            assert theirs.picture(clip).pts_seconds.tolist() == pytest.approx(clip.times, abs=0.07)
    colours, bins = differences(clips, theirs)
    assert colours < COLOURS
    assert bins < 1e-4
    row = compare(
        f"{len(clips)} clips: 16 frames of 224², {SECONDS} s of sound",
        ours=all_of(clips, ours),
        theirs=all_of(clips, theirs),
        against=theirs.name,
        at_most=1.3,
        note=f"the same frames, equal to {colours:.1f} of 255 on average (resizing), "
        f"spectrograms equal to {bins:.0e}; both decode by PyAV's FFmpeg",
    )
    if row is not None:
        tabulated(
            "Clips a second on one core, by file",
            [by_clip(clip, theirs) for clip in clips],
            "Each the best of five. The limit is the time in FFmpeg's decoders for the frames "
            "that are needed and for the sound, nothing converted, files open already.",
        )


@pytest.mark.parametrize("peer", [Decord, OpenCVTorchaudio, OpenCVLibrosa])
def test_against_others(compare: Any, clips: list[BenchClip], peer: Callable[[], Any]) -> None:
    theirs = peer()
    # Left out: an AVI of B-frames, which decord plays out of order; where there are two sound
    # tracks, as these take the best and not the first; a hole in the stamps of the sound, which
    # only ours and torchcodec see.
    skipped = {
        Decord: ("test.avi", "nasa_13013.mp4"),
        OpenCVTorchaudio: ("nasa_13013.mp4",),
    }.get(peer, ())
    alike = [c for c in clips if c.path.name not in (*skipped, "skateboarding_dog.mp4")]
    for clip in alike:  # the very same frames
        if clip.path.suffix != ".avi":
            assert theirs.times(clip) == pytest.approx(clip.times, abs=0.07), clip.path
    # librosa's logarithm of next to nothing is another: its amplitudes are compared.
    amplitudes = peer is OpenCVLibrosa
    colours, bins = differences(alike, theirs, amplitudes=amplitudes)
    assert colours < COLOURS
    assert bins < 1e-4
    compare(
        f"{len(alike)} clips: 16 frames of 224², {SECONDS} s of sound",
        ours=all_of(alike, ours),
        theirs=all_of(alike, theirs),
        against=theirs.name,
        at_most=1.3,
        rounds=5,
        note=f"the same frames, equal to {colours:.1f} of 255 on average (resizing); their sound "
        f"mixed and resampled by libswresample like ours, spectrograms equal to {bins:.0e}"
        + (" of the loudest bin, before the logarithm" if amplitudes else ""),
    )


def best(call: Callable[[], object], rounds: int = 5) -> float:
    """Seconds."""
    times = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


def by_clip(clip: BenchClip, theirs: TorchCodec) -> dict[str, str]:
    with av.open(str(clip.path)) as file:
        picture, sound = (file.streams[i].codec_context for i in clip.streams)
        form = f"{picture.codec.name} {picture.width}×{picture.height}, {sound.codec.name}"
    mine, its = best(lambda: ours(clip)), best(lambda: theirs(clip))
    floor = decoding(clip)
    return {
        "file": clip.path.name,
        "codecs": form,
        "ours": f"{1 / mine:.1f}",
        "torchcodec": f"{1 / its:.1f}",
        "ratio of times": f"{mine / its:.2f}",
        "limit": f"{1 / floor:.1f}",
        "share of it": f"{floor / mine:.0%}",
    }


def decoding(clip: BenchClip) -> float:
    """Seconds in the decoders alone."""
    times = []
    for _ in range(5):
        with Video(clip.path, 1) as video:
            span, needs = planned(video, clip)
            begin = time.perf_counter()
            for _ in Pass(video, span, SPEC.size).decoded(needs):
                pass
            seconds = time.perf_counter() - begin
        with av.open(str(clip.path)) as file:
            track = file.streams[clip.streams[1]]
            begin = time.perf_counter()
            if clip.start:
                file.seek(int(clip.start / float(track.time_base)), stream=track)
            for frame in file.decode(track):
                if frame.time > clip.end:
                    break
            times.append(seconds + time.perf_counter() - begin)
    return min(times)


def planned(video: Video, clip: BenchClip) -> tuple[Span, list[Need] | None]:
    start = clip.start
    span = Span(start or -np.inf, clip.end, 0.0 if start else None)
    packets = index(video, span)
    timeline, _ = cut(packets.stamps, span, packets.interval)
    assert timeline is not None
    needs = packets.needs({timeline.times[i] for i in sixteen(timeline)})
    return span, needs if video.economical(packets) else None


def test_what_need_not_be_decoded(
    in_turn: Any, tabulated: Any, clips: list[BenchClip], minute: Path
) -> None:
    whole = BenchClip.find(minute, None, 60.0)
    longest = [*clips, whole]
    ways: dict[str, Callable[[], object]] = {}
    kept: dict[str, list[Any]] = {}
    for name, economical, threads in (
        ("all frames up to the last", False, 1),
        ("all frames, two threads", False, 2),
        ("those needed, two threads", True, 2),
        ("those needed", True, 1),
    ):

        def run(name: str = name, economical: bool = economical, threads: int = threads) -> None:
            with pytest.MonkeyPatch.context() as patch:
                if not economical:
                    patch.setattr(Video, "economical", lambda *_: False)
                kept[name] = [
                    read_frames(
                        c.path, start=c.start, end=c.end, size=224, pick=sixteen, threads=threads
                    ).frames
                    for c in longest
                ]

        ways[name] = run
    times = in_turn(ways, rounds=3)
    first, *others = (kept[name] for name in ways)
    assert all((a == b).all() for other in others for a, b in zip(first, other, strict=True))
    if times:
        base = np.median(times["all frames up to the last"])
        tabulated(
            f"Pictures of {len(longest)} clips on one core, by what is decoded",
            [
                {
                    "way": name,
                    "s": f"{np.median(t):.2f}",
                    "of the first": f"{np.median(t) / base:.2f}",
                }
                for name, t in times.items()
            ],
            "Equal to the bit. The last is what is done. The last clip is a whole minute.",
        )


def test_sound(compare: Any, clips: list[BenchClip]) -> None:
    theirs = TorchCodec()

    def its() -> list[torch.Tensor]:
        return [theirs.sound(clip) for clip in clips]

    def mine() -> list[Any]:
        return [
            read_sound(clip.path, start=clip.start, end=clip.end, rate=SPEC.sample_rate)
            for clip in clips
        ]

    for a, b in zip(mine(), its(), strict=True):
        assert float(np.abs(a.samples - b.mean(0).numpy()).max()) < 1e-4
    compare(
        f"{len(clips)} × {SECONDS} s of sound, mono at 22,050 Hz",
        ours=mine,
        theirs=its,
        against=theirs.name,
        note="equal to 1e-4; ours also places each run of samples by its stamps",
    )
