"""The cost of preparing all of HowTo100M, estimated from rates measured on real clips.

Nothing at that scale was run. Each assumption stands in a row of the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import av
import torch

from avbench.data.media.audio import read_sound
from avbench.data.media.clip import read_clip
from avbench.data.media.recode import Encoding, RecodedClip, recode
from avbench.data.media.spectrogram import fit, log_mel
from tests.benchmarks.media_peers import SPEC, sixteen
from tests.benchmarks.on_paper import Time, Use, feeding, preparing

CLIPS = (
    ("video_features/v_ZNVhz7ctTq0.mp4", 0.0, 5.5),
    ("video_features/v_ZNVhz7ctTq0.mp4", 5.5, 11.0),
    ("swinbert/G0mjFqytJt4_000152_000162.mp4", 0.0, 5.0),
    ("video_llama/IronMan.mp4", 1.0, 6.5),
    ("video_llama/applausing.mp4", 2.0, 7.5),
    ("video_features/v_GGSY1Qvo990.mp4", 3.0, 8.5),
    ("video_features/v_GGSY1Qvo990.mp4", 9.0, 14.5),
    ("video_llama/boat.mp4", 0.0, 5.5),
    ("video_llama/dog_barking.mp4", 1.0, 6.5),
)
VIDEOS, HOURS = 1.08e6, 1.08e6 * 6.5 / 60
"""Of HowTo100M: its videos (the paper's 1.08 M), 6.5 minutes long on average (its authors)."""
GPUS, EPOCHS, DAYS, PER_VIDEO = 64, 100, 5, 3
"""Of the paper's pre-training (Sec. 4.2); that an epoch is three clips of each video is ours."""
CLIP = 5.5
"""Seconds of a clip."""


@dataclass(frozen=True, kw_only=True)
class Machines:
    """The machine that comes with the GPUs."""

    cores: int
    storage: float
    """Bytes a second, read or written, of all machines together."""

    def __post_init__(self) -> None:
        if not (self.cores > 0 and self.storage > 0):
            got = f"{self.cores:g} and {self.storage:g}"
            raise ValueError(f"there must be some cores and storage, got {got}")


ASSUMED = Machines(cores=8 * GPUS, storage=5e9)
"""Our assumption: eight cores a GPU, and shared storage of 5 GB/s."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Of one encoding, per second of video, on one core."""

    core_s: float
    picture: float
    sound: float
    """Bytes."""
    read_s: float
    """Core-seconds for 16 frames and the spectrogram of one clip."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Of the source files."""

    read_s: float
    """Core-seconds for one clip."""
    rate: float
    """Bytes a second of video: the file's over its whole length."""


def bottlenecks(
    machines: Machines, *, needed: float, raw: Source, shards: Rates, hours: float
) -> list[str]:
    """The first bottleneck of reading raw media, reading shards, and preparing them.

    Args:
        machines: what there is.
        needed: clips a second of the training.
        raw: what the sources cost.
        shards: what shards cost.
        hours: of the whole corpus.
    """
    ways = (
        ("Read out of the sources", raw.read_s, raw.rate),
        ("Read out of shards", shards.read_s, shards.picture + shards.sound),
    )
    said = [
        feeding(
            way,
            [
                Use(of="cores", needed=needed * read_s, there=machines.cores),
                Use(
                    of="GB/s from storage",
                    needed=needed * CLIP * rate / 1e9,
                    there=machines.storage / 1e9,
                ),
            ],
        )
        for way, read_s, rate in ways
    ]
    moved = (raw.rate + shards.picture + shards.sound) * hours * 3600
    times = [
        Time(of="cores", hours=shards.core_s * hours / machines.cores),
        Time(of="bytes from and to storage", hours=moved / machines.storage / 3600),
    ]
    return [*said, preparing("Preparing the shards", times)]


def seconds(call: Callable[[], object], rounds: int = 3) -> float:
    """Of processor time, the median."""
    times = []
    for _ in range(rounds):
        begin = process_time()
        call()
        times.append(process_time() - begin)
    return median(times)


def measured(media: Path, folder: Path, how: Encoding) -> Rates:
    """Write the clips, and read them again."""
    made: list[RecodedClip] = []

    def write() -> None:
        made[:] = [recode(media / name, how, start=start, end=end) for name, start, end in CLIPS]

    took = seconds(write, rounds=1)
    files = []
    for i, clip in enumerate(made):
        picture, sound = folder / f"{how.preset}{i}.mp4", folder / f"{how.preset}{i}.m4a"
        picture.write_bytes(clip.video)
        sound.write_bytes(clip.sound or b"")
        files.append((picture, sound, clip.seconds))

    def read() -> None:
        for picture, sound, end in files:
            read_clip(picture, SPEC, sixteen)
            heard = read_sound(sound, start=None, end=end, rate=SPEC.sample_rate)
            fit(log_mel(torch.from_numpy(heard.samples), SPEC), SPEC)

    length = sum(end - start for _, start, end in CLIPS)
    return Rates(
        core_s=took / length,
        picture=sum(len(c.video) for c in made) / length,
        sound=sum(len(c.sound or b"") for c in made) / length,
        read_s=seconds(read) / len(CLIPS),
    )


def raw(media: Path) -> Source:
    """Of one clip out of its source, and of that."""

    def read() -> None:
        for name, start, end in CLIPS:
            clip = read_clip(media / name, SPEC, sixteen, start=start, end=end)
            fit(log_mel(clip.sound, SPEC), SPEC)

    rates = []
    for name, _, _ in CLIPS:
        with av.open(str(media / name)) as file:
            assert file.duration is not None
            rates.append(file.size / (file.duration / av.time_base))
    return Source(read_s=seconds(read) / len(CLIPS), rate=sum(rates) / len(rates))


def test_howto100m_on_paper(
    benchmark: Any, tabulated: Any, test_data: Path, tmp_path: Path, one_core: None
) -> None:
    benchmark.pedantic(lambda: None)
    if benchmark.stats is None:
        return
    media = test_data / "videos"
    needed = PER_VIDEO * VIDEOS * EPOCHS / (DAYS * 86_400)
    from_raw = raw(media)
    rows, usual = [], None
    for preset in ("ultrafast", "veryfast", "medium"):
        found = measured(media, tmp_path, Encoding(preset=preset))
        usual = found if preset == Encoding().preset else usual
        rate = found.picture + found.sound
        of_clip = rate * CLIP
        rows.append(
            {
                "x264 preset": preset,
                "core-s a second of video": f"{found.core_s:.3f}",
                "kB a second": f"{rate / 1e3:.0f}",
                "whole set, core-hours": f"{found.core_s * HOURS:,.0f}",
                "whole set, TB": f"{rate * HOURS * 3600 / 1e12:.0f}",
                "ms to read a clip": f"{1e3 * found.read_s:.0f}",
                f"cores to feed {GPUS} GPUs": f"{needed * found.read_s:.0f}",
                "MB/s they read": f"{needed * of_clip / 1e6:.0f}",
            }
        )
    assert usual is not None
    source = from_raw.rate
    first = bottlenecks(ASSUMED, needed=needed, raw=from_raw, shards=usual, hours=HOURS)
    tabulated(
        "HowTo100M on paper: preparing it in shards, and reading them",
        rows,
        f"From {len(CLIPS)} clips of real files of 240p to 480p, 5.4 s on average, on one core; "
        f"nothing at that scale was run. {VIDEOS / 1e6:.2f} M videos of 6.5 minutes, all of it "
        f"kept; {GPUS} GPUs that take {PER_VIDEO} clips of each video {EPOCHS} times in {DAYS} "
        f"days ask for {needed:.0f} clips a second, {needed / GPUS:.0f} each. That an epoch is "
        "three clips of each video is our reading. Out of its source a clip takes "
        f"{1e3 * from_raw.read_s:.0f} ms: {needed * from_raw.read_s:.0f} cores, "
        f"{needed * from_raw.read_s / GPUS:.2f} for each GPU, that read "
        f"{needed * CLIP * source / 1e6:.0f} MB/s at least (sources of {source / 1e3:.0f} kB a "
        f"second of video; {source * HOURS * 3600 / 1e12:.0f} TB in all). Spectrograms "
        "are counted in all of it. Where the bottleneck is, with "
        f"{ASSUMED.cores // GPUS} cores a GPU and storage of {ASSUMED.storage / 1e9:.0f} GB/s "
        f"(our assumptions), shards by the preset {Encoding().preset}: {' '.join(first)}",
    )
