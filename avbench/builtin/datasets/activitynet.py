"""Placeholder."""

from avbench.api import Register, hookimpl


@hookimpl
def register_datasets(register: Register) -> None:
    """Register nothing yet."""
