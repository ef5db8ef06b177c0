"""SIGTERM and SIGUSR1, by which schedulers ask for a machine: a training saves and leaves."""

import os
import signal

import pytest

from avbench.core.job import INTERRUPTED, LEFT, NOTICES, PROGRESS, RECORD, Job, read_json
from avbench.training import checkpoint
from tests.training.test_engine import equal, job, said, share, spec, start, until


def gone_on(work: Job, steps: int) -> bool:
    """Return True once a training has some steps behind it."""
    place = work.directory / PROGRESS
    return place.exists() and read_json(place)["done"] >= steps


def left(work: Job, notices: int = 1) -> None:
    """A training saves once for each notice, and is then neither done nor failed."""
    saved = checkpoint.newest_first(work.directory)
    assert len(saved) == notices
    assert checkpoint.step_of(saved[0]) == read_json(work.directory / PROGRESS)["done"]
    assert said(work) == LEFT
    assert not (work.directory / RECORD).exists()


@pytest.mark.slow
@pytest.mark.parametrize("notice", NOTICES)
def test_a_notice_to_all_processes_of_a_training_saves_and_leaves(
    narrated, tmp_path, notice: signal.Signals
) -> None:
    """The process and its data worker, which it still needs: a scheduler signals them all."""
    given = {"checkpoint_seconds": 1e9, "workers": 1}
    whole, broken = (
        job(narrated, tmp_path / name, spec(steps=60), **given) for name in ("a", "b")
    )
    undisturbed, process = start(whole), start(broken)
    until(lambda: gone_on(broken, 3), broken, process)
    os.killpg(process.pid, notice)
    assert process.wait(timeout=120) == INTERRUPTED
    left(broken)
    assert start(broken).wait(timeout=300) == 0
    assert undisturbed.wait(timeout=300) == 0
    equal(broken, whole)


@pytest.mark.slow
def test_the_launcher_hands_each_notice_to_its_processes(narrated, tmp_path) -> None:
    given = {"checkpoint_seconds": 1e9}
    whole, broken = (
        job(narrated, tmp_path / name, spec(steps=60), **given) for name in ("a", "b")
    )
    undisturbed = share(whole)
    for count, notice in enumerate(NOTICES, start=1):
        process = start(broken, processes=2)
        until(lambda steps=3 * count: gone_on(broken, steps), broken, process)
        process.send_signal(notice)
        assert process.wait(timeout=120) != 0
        left(broken, notices=count)
    assert share(broken).wait(timeout=300) == 0
    assert undisturbed.wait(timeout=300) == 0
    equal(broken, whole)
