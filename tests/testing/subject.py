"""Components made for the contract checks, and the checks that they fail."""

from dataclasses import dataclass

from avbench.core.registry import Component
from avbench.testing import Finding, check


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """The fault of a component."""

    fault: str = ""
    root: str = ""


def component(family: str, build: object) -> Component:
    return Component(
        family=family,
        name="subject",
        build=build,
        config=Fault,
        source="here",
        module=__name__,
        distribution="tests",
    )


def failures(family: str, build: object, fault: str, **options: str) -> dict[str, Finding]:
    """The failed findings by the check's name, without the streams that it ran on."""
    found = check(component(family, build), Fault(fault=fault, **options))
    return {f.check.split(" ")[0]: f for f in found if not f.ok}


def failed(family: str, build: object, fault: str) -> set[str]:
    return set(failures(family, build, fault))
