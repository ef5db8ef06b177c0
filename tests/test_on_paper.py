"""The arithmetic of the estimate at scale, on made-up figures."""

import pytest

from tests.benchmarks.on_paper import Time, Use, bottleneck, feeding, preparing
from tests.benchmarks.test_preparing import Machines, Rates, Source, bottlenecks

CORES = Use(of="cores", needed=50.0, there=200.0)
STORAGE = Use(of="GB/s from storage", needed=3.0, there=4.0)


def test_the_bottleneck_is_what_is_used_up_first() -> None:
    assert bottleneck([CORES, STORAGE]) is STORAGE
    assert bottleneck([CORES, Use(of="storage", needed=0.9, there=4.0)]) is CORES


def test_a_sentence_says_what_is_needed_and_what_stops_first() -> None:
    assert feeding("Out of shards", [CORES, STORAGE]) == (
        "Out of shards: 50 of 200 cores (25%) and 3 of 4 GB/s from storage (75%): GB/s "
        "from storage are the bottleneck; 1.3 × what is needed is there, so training does not "
        "wait."
    )
    short = Use(of="cores", needed=400.0, there=200.0)
    assert feeding("Raw", [short]).endswith(
        "cores are the bottleneck; training runs at 50% of its speed."
    )


def test_preparing_takes_as_long_as_its_slowest_part() -> None:
    times = [Time(of="cores", hours=10.0), Time(of="disks that are read", hours=12.5)]
    assert preparing("In shards", times) == (
        "In shards: cores 10.0 h, disks that are read 12.5 h: disks that are read are the "
        "bottleneck."
    )


def test_the_statement_follows_from_the_measured_rates() -> None:
    machines = Machines(cores=100, storage=1e9)
    rates = Rates(core_s=0.1, picture=9e4, sound=1e4, read_s=0.05)
    said = bottlenecks(
        machines, needed=1000.0, raw=Source(read_s=0.2, rate=2e5), shards=rates, hours=1000.0
    )
    # 1000 clips a second of 5.5 s: 200 cores and 1.1 GB/s, or 50 cores and 0.55 GB/s.
    assert said[0].startswith(
        "Read out of the sources: 200 of 100 cores (200%) and 1.1 of 1 GB/s from storage (110%)"
    )
    assert said[0].endswith("cores are the bottleneck; training runs at 50% of its speed.")
    assert said[1].startswith(
        "Read out of shards: 50 of 100 cores (50%) and 0.55 of 1 GB/s from storage (55%)"
    )
    assert "GB/s from storage are the bottleneck; 1.8 ×" in said[1]
    # 1000 hours of video: 100 core-hours on 100 cores; 0.2 MB/s in and 0.1 MB/s out.
    assert said[2] == (
        "Preparing the shards: cores 1.0 h, bytes from and to storage 0.3 h: cores are the "
        "bottleneck."
    )


def test_no_time_is_divided_by_nothing() -> None:
    with pytest.raises(ValueError, match="there must be some cores and storage, got 0 and 1"):
        Machines(cores=0, storage=1.0)
