"""Changes that the command line makes to a suite."""

from dataclasses import dataclass

EMBEDDED = "embedded"
"""Value of a suite's ``data`` for the world that comes with the package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """Changes that the command line makes to a suite; None: as the suite says."""

    preset: str | None = None
    data: str | None = None
    seeds: str | None = None
    additional: tuple[str, ...] = ()
    """Components that get a row of their own (``--with``): ``name`` or ``axis=name``."""
    only: tuple[str, ...] = ()
    """Labels of the rows to keep; empty: all."""
