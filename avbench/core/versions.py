"""The installed versions of what avbench needs, against the ranges that were tested.

``pyproject.toml`` states the ranges; the installed package's metadata repeats them, and nothing
else does.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from avbench.core.errors import AvbenchError

UNTESTED = "AVBENCH_UNTESTED_VERSIONS"
"""Environment variable: if it is set, a version outside its range is a warning, not an error."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A distribution that avbench needs."""

    requirement: Requirement
    version: str
    """Empty if it is not installed."""

    @property
    def suits(self) -> bool:
        """True if the installed version is within the tested range."""
        found = self.version
        return bool(found) and self.requirement.specifier.contains(found, prereleases=True)

    def __str__(self) -> str:
        held = self.version or "is not installed"
        return f"{self.requirement.name} {held}; needed: {self.requirement}"


def installed() -> Iterator[Installed]:
    """Yield each distribution that avbench itself, without its extras, needs here."""
    folders = _folders()
    for text in sorted(requires("avbench") or (), key=str.lower):
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        held = folders.get(canonicalize_name(requirement.name), "")
        with suppress(PackageNotFoundError):
            held = held or version(requirement.name)
        yield Installed(requirement, held)


def remedy(wrong: list[Installed]) -> str:
    """Return the command that installs versions within their ranges."""
    wanted = " ".join(f"'{each.requirement}'" for each in wrong)
    return f"{sys.executable} -m pip install {wanted}"


def _folders() -> dict[str, str]:
    """Return versions by name, as the folders ``NAME-VERSION.dist-info`` on the path state them.

    importlib.metadata would parse each package's whole description: 100 ms at every start.
    """
    found: dict[str, str] = {}
    for place in sys.path:
        with suppress(OSError):
            for entry in os.listdir(place or "."):
                name, _, version = entry.removesuffix(".dist-info").partition("-")
                if entry.endswith(".dist-info"):
                    found.setdefault(canonicalize_name(name), version)
    return found


@cache
def check_versions() -> None:
    """Refuse to go on with libraries that avbench was not tested with.

    Warns:
        RuntimeWarning: in place of the error, if ``UNTESTED`` is set.

    Raises:
        AvbenchError: a version is outside its range; the message has the command that mends it.
    """
    wrong = [each for each in installed() if not each.suits]
    if not wrong:
        return
    found = "\n".join(map(str, wrong))
    text = (
        f"versions that avbench was not tested with:\n{found}\n"
        f"mend them with: {remedy(wrong)}\n"
        f"or set {UNTESTED}=1 to go on with them"
    )
    if not os.environ.get(UNTESTED):
        raise AvbenchError(text)
    warnings.warn(text, RuntimeWarning, stacklevel=2)
