"""Checks and their findings."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from avbench.core.registry import Component

AS_EXPECTED = "as expected"
SHOWN = 3
"""Largest number of names that a finding lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    expected: str
    got: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A check: ``run`` returns None if the component passes, else the observed fault."""

    name: str
    expected: str
    run: Callable[[], str | None]


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Run checks in order; an exception counts as a finding."""
    return [_find(check) for check in checks]


def _find(check: Check) -> Finding:
    try:
        with seeded(0):
            got = check.run()
    except Exception as error:
        lines = str(error).splitlines() or [""]
        got = f"{type(error).__name__}: {lines[0]}"
    return Finding(
        check=check.name, ok=got is None, expected=check.expected, got=got or AS_EXPECTED
    )


def common_checks(component: Component, options: Any) -> list[Check]:
    """Return the checks of every component: default options, and a docstring with its source."""

    def defaults() -> str | None:
        if options is None:
            component.config()
        return None

    def source() -> str | None:
        own = inspect.getdoc(component.build) or ""
        module = inspect.getmodule(component.build)
        docs = f"{own}\n{inspect.getdoc(module) if module else ''}"
        return None if "Source:" in docs else f"docstring {own[:60]!r}"

    return [
        Check(name="options", expected="the config constructs by default", run=defaults),
        Check(
            name="source",
            expected="a line 'Source: …' in the docstring of what is registered, or its module's",
            run=source,
        ),
    ]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fix the random state inside, and restore it afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def differs(name: str, got: Tensor, expected: Tensor, *, within: float = 1e-5) -> str | None:
    """Return None if two tensors are equal within a tolerance, else their difference in words."""
    if got.shape != expected.shape:
        return f"{name}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if not torch.isfinite(got).all():
        return f"{name}: not finite"
    gap = (got - expected).abs().max().item() if got.numel() else 0.0
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    return None if gap <= within * scale else f"{name}: differs by {gap:.2g}"


def beyond_closed_form(counted: int | float, closed: int | None) -> str | None:
    """Return None if a count is within 0.1 % of its closed form, or has none; else both."""
    if closed is None or abs(counted - closed) <= 1e-3 * closed:
        return None
    return f"{counted:.0f} MACs counted, {closed} in closed form"


def list_names(problem: str, names: list[str]) -> str | None:
    """Return a problem with its names as one line; None: there are no names."""
    if not names:
        return None
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{problem} {', '.join(names[:SHOWN])}{more}"


def first_problem(problems: Iterable[str | None]) -> str | None:
    """Return the first problem of several, or None."""
    return next((p for p in problems if p is not None), None)
