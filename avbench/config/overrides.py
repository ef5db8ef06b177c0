"""What the command line changes in a suite."""

from dataclasses import dataclass

EMBEDDED = "embedded"
"""What a suite's ``data`` says for the world that comes with the package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overrides:
    """What the command line changes in a suite."""

    preset: str | None = None
    data: str | None = None
    seeds: str | None = None
    additional: tuple[str, ...] = ()
    """Components (``name`` or ``axis=name``) to add a row for (``--with``)."""
    only: tuple[str, ...] = ()
    """Labels of the rows to keep; empty: all."""
