"""Fixtures of the runner's tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from avbench.core.job import NOTICES
from tests.fake_stages import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A store and an executor over fake stages."""
    return Bench(tmp_path, monkeypatch)


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Gives back the handlers of schedulers' signals, which a stage's process sets."""
    before = {number: signal.getsignal(number) for number in NOTICES}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
