"""The errors that users see. Each message states the place, the value and what is allowed."""

import difflib
from collections.abc import Iterable

from avbench.core.visible import brief


class AvbenchError(ValueError):
    """An error that a user can mend: the command line prints only the message and exits with 2."""


class SuiteError(AvbenchError):
    """A suite or data file that cannot be run; lists every problem found, one per line."""


class PluginError(AvbenchError):
    """A plugin that cannot be loaded, or whose registration is wrong."""


class DataError(AvbenchError):
    """Annotations or media that are missing, empty or malformed."""


class UnknownNameError(AvbenchError):
    """A name that no component, suite, field or dataset has."""


def unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    """Return the one wording for an unknown name, with the nearest match.

    >>> unknown("fusion", "mergd", ["cross", "merged"])
    "unknown fusion 'mergd'; did you mean 'merged'? Allowed: cross, merged"
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{brief(near[0])}'?" if near else "."
    allowed = ", ".join(map(brief, names)) or "(none)"
    return f"unknown {what} '{brief(name)}'{hint} Allowed: {allowed}"
