"""The contract of a modality configuration."""

from typing import Any

from avbench.core.registry import Component
from avbench.models.contracts import ModalityConfiguration
from avbench.testing.findings import (
    Check,
    Finding,
    common_checks,
    list_names,
    run_checks,
    seeded,
)
from avbench.testing.sources import sources

KNOWN = ("audio", "video", "text")
"""The modalities that a batch has a field for."""
BUILDS = 10
"""Configurations built from the same options."""


def check_modality(component: Component, options: Any = None) -> list[Finding]:
    """Check a modality configuration.

    Args:
        component: a registered configuration.
        options: an instance of its config; None: its defaults.
    """

    def build() -> ModalityConfiguration:
        made: ModalityConfiguration = component.build(
            component.config() if options is None else options
        )
        return made

    def kind() -> str | None:
        made = build()
        return None if isinstance(made, ModalityConfiguration) else f"{type(made).__name__}"

    def streams() -> str | None:
        unknown = [m for m in build().streams if m not in KNOWN]
        return list_names("unknown streams", unknown) or (None if build().streams else "no stream")

    def order() -> str | None:
        given = build().streams
        wanted = tuple(m for m in KNOWN if m in given)
        return None if given == wanted else f"{given} instead of {wanted}"

    def encoded() -> str | None:
        return None if build().encoded else "every stream zeroed"

    def same() -> str | None:
        first = build()
        for seed in range(BUILDS):
            with sources(seed), seeded(seed):
                other = build()
            if other != first:
                return f"{other.streams} and {first.streams}, or other zeroed streams"
        return None

    stated = {
        kind: "a ModalityConfiguration",
        streams: f"streams among {', '.join(KNOWN)}",
        order: f"each stream once, in the order {', '.join(KNOWN)}",
        encoded: "at least one stream that is encoded",
        same: "the same configuration from the same options",
    }
    own = [Check(name=run.__name__, expected=said, run=run) for run, said in stated.items()]
    return run_checks([*common_checks(component, options), *own])
