"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real videos, annotations and predictions."""
    folder = os.environ.get("AVBENCH_TEST_DATA")
    if not folder:
        pytest.skip("AVBENCH_TEST_DATA is not set: real media and annotations are not at hand")
    path = Path(folder)
    assert path.is_dir(), f"AVBENCH_TEST_DATA={folder} is set but is no folder"
    return path
