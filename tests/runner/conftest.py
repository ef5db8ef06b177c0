"""Fixtures of the runner's tests."""

from pathlib import Path

import pytest

from tests.fake_stages import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A store and an executor over fake stages."""
    return Bench(tmp_path, monkeypatch)
