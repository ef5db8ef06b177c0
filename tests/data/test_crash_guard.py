"""Decoders that crash or never come back cost their clip, and nothing else."""

import importlib
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from avbench.core.types import InputSpec
from avbench.data.media.clip import read_clip
from avbench.data.media.container import Loss, MediaError
from avbench.data.prepared.crash_guard import Journal, alone, clocks
from avbench.data.prepared.part import Part, Source
from avbench.data.prepared.pool import Crew
from tests.data.test_media import every, film, tone

SPEC = InputSpec(frames=4, size=32, store_frames=12, mel_frames=64)


FATAL = """
import os, signal
from pathlib import PosixPath
from avbench.data.prepared.crash_guard import clocks

class Deadly(PosixPath):
    \"\"\"A file at which the process that opens it dies, as at a fault of a codec library.\"\"\"

    def is_file(self):
        os.kill(os.getpid(), signal.SIGSEGV)

class Endless(PosixPath):
    \"\"\"A file with which the process that opens it is never done.\"\"\"

    def is_file(self):
        while True:
            pass

def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

def spin():
    with clocks(0.1):
        while True:
            pass

def fine():
    return {"entry": 1}
"""


@pytest.fixture
def fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that other processes can import too."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "fatal_media.py").write_text(FATAL)
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("fatal_media")
    del sys.modules["fatal_media"]


def parts_of(folder: Path, media: list[Path], size: int = 2, seconds: float = 300.0) -> list[Part]:
    (folder / "parts").mkdir(parents=True)
    return [
        Part(
            directory=folder,
            result=folder / f"parts/{first:08d}.json",
            first=first,
            sources=[Source(media=m, start=None, end=None) for m in media[first : first + size]],
            input=SPEC,
            read="raw",
            seconds=seconds,
        )
        for first in range(0, len(media), size)
    ]


def told(outcomes: list[list[dict[str, Any]]]) -> list[str]:
    return [o.get("lost", "used") for part in outcomes for o in part]


# ---------------------------------------------------------------------------------- the journal


def test_a_journal_remembers_where_processes_died(tmp_path: Path) -> None:
    path = tmp_path / "j"
    assert Journal(path).fatal == set()
    with Journal(path) as journal:
        journal.at(7)
        assert Journal(path).fatal == {7}  # as another process finds it after a kill
        left = path.read_bytes()
    assert Journal(path).fatal == set()  # left alive
    path.write_bytes(left)
    with Journal(path) as journal:
        journal.at(12)
        left = path.read_bytes()
    path.write_bytes(left)
    assert Journal(path).fatal == {7, 12}
    path.write_bytes(left[:4])  # a machine that lost power: nothing is known
    assert Journal(path).fatal == set()
    journal.done()
    assert not path.exists()


def test_a_finished_part_leaves_no_journal(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4")
    parts = parts_of(tmp_path / "out", [tmp_path / "a.mp4"] * 3)
    with Crew(1) as crew:
        assert told(list(crew.map(parts, lambda _: None))) == ["used"] * 3
    assert sorted(p.name for p in (tmp_path / "out/parts").iterdir()) == [
        "00000000.json",
        "00000002.json",
    ]


# --------------------------------------------------------------------------------- the allowance


def test_a_clip_that_takes_too_long_is_lost_with_the_time(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", 30, sound=tone(3.0))
    with pytest.raises(MediaError, match=r"a\.mp4: decoding took more than 0 s of proc") as caught:
        read_clip(path, SPEC, every, seconds=0.0)
    assert caught.value.loss is Loss.OVERDUE
    assert len(read_clip(path, SPEC, every, seconds=60.0).frames) == 30


def test_the_time_is_counted_over_all_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "a.mp4", 20, sound=tone(2.0))
    looks: list[float] = []

    def clock() -> float:
        looks.append(0.1 * len(looks))  # each look at the clock takes a tenth of a second
        return looks[-1]

    monkeypatch.setattr(time, "thread_time", clock)
    read_clip(path, SPEC, every, seconds=1000.0)
    pictures, sounds = 20, 2 * 22_050 // 1024
    # The index and the frames, each packet once, and the sound.
    assert 2 * pictures + sounds <= len(looks) <= 2 * pictures + sounds + 10
    whole = looks[-1]
    looks.clear()
    with pytest.raises(MediaError, match="decoding took more than"):
        read_clip(path, SPEC, every, seconds=whole - 1.0)


def test_the_clocks_are_put_back() -> None:
    with clocks(5.0):
        assert 0 < signal.getitimer(signal.ITIMER_PROF)[0] < 10.1
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 50.1
    assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# ------------------------------------------------------------------------------------- the crew


@pytest.mark.slow
def test_a_last_attempt_tells_how_the_process_ended(fatal: Any) -> None:
    assert alone(partial(fatal.fine), "a.mp4", 1.0) == {"entry": 1}
    assert alone(partial(fatal.segfault), "a.mp4", 1.0) == {
        "lost": "crashed",
        "detail": "a.mp4: the process that decoded it ended with signal SIGSEGV, and so did "
        "another",
    }
    assert alone(partial(fatal.spin), "a.mp4", 0.1) == {
        "lost": "overdue",
        "detail": "a.mp4: one call of the decoder went far beyond the 0.1 s of a clip, twice",
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_dead_workers_cost_their_clips_and_the_rest_goes_on(
    fatal: Any, tmp_path: Path, workers: int
) -> None:
    good = film(tmp_path / "a.mp4")
    media = [good, fatal.Deadly(good), good, good, good, fatal.Endless(good), good]
    parts = parts_of(tmp_path / "out", media, seconds=0.5)
    # As the stage's own process left it when it died at the second clip.
    parts[0].journal.write_text('{"fatal": [], "at": 1}')
    done: list[int] = []
    with Crew(workers) as crew:
        outcomes = list(crew.map(parts, done.append))
    assert told(outcomes) == ["used", "crashed", "used", "used", "used", "overdue", "used"]
    assert "SIGSEGV" in outcomes[0][1]["detail"]
    assert done[-1] == 7
    # The others are what they are where nothing dies.
    plain = parts_of(tmp_path / "plain", [good])
    with Crew(1) as crew:
        entry = next(iter(crew.map(plain, done.append)))[0]["entry"]
    assert all(o["entry"] == {**entry, "row": o["entry"]["row"]} for p in outcomes for o in p
               if "entry" in o)  # fmt: skip
