"""What ``avbench doctor`` found, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "problem"]
"""A problem stops something that is needed; a warning slows or narrows what can be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """One thing that was looked at."""

    check: str
    status: Status
    found: str
    """What there is."""
    remedy: str = ""
    """What to do; empty: nothing."""
