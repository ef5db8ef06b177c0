"""Placeholder."""

from avbench.api import Register, hookimpl


@hookimpl
def register_metrics(register: Register) -> None:
    """Register nothing yet."""
