"""Checks and their findings."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from avbench.core.registry import Component

AS_EXPECTED = "as expected"
SHOWN = 3
"""Largest number of names that a finding lists."""

PLACES = (7, 61, 118, 173)
"""Steps at which a long run is saved and restored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    expected: str
    got: str
    """The measured fault, or that the result is as expected."""
    advice: str = ""
    """The remedy of a fault; empty: the expected result says it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A check: ``run`` returns None if the component passes, else the observed fault."""

    name: str
    expected: str
    run: Callable[[], str | None]
    advice: str = ""
    needs: tuple[str, ...] = ()
    """Earlier checks that must pass, since a fault that they find would show here too."""


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Run checks in order; an exception counts as a finding.

    A check is left out if one that it needs failed or was left out.
    """
    found: list[Finding] = []
    failed: set[str] = set()
    for check in checks:
        if failed.isdisjoint(check.needs):
            found.append(_find(check))
            failed |= set() if found[-1].ok else {check.name}
        else:
            failed.add(check.name)
    return found


def on(where: str, checks: Iterable[Check]) -> list[Check]:
    """Return checks with the place that they check in their names: ``shape [audio+video]``."""
    return [
        replace(
            check,
            name=f"{check.name} [{where}]",
            needs=tuple(f"{need} [{where}]" for need in check.needs),
        )
        for check in checks
    ]


def _find(check: Check) -> Finding:
    try:
        with seeded(0):
            got = check.run()
    except Exception as error:
        lines = str(error).splitlines() or [""]
        got = f"{type(error).__name__}: {lines[0]}"
    return Finding(
        check=check.name,
        ok=got is None,
        expected=check.expected,
        got=got or AS_EXPECTED,
        advice=check.advice if got else "",
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


def restored_at(step: int) -> int:
    """Return the step of a long run at which it was last saved and restored."""
    return max((place for place in PLACES if place <= step), default=0)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Fix the random state of the CPU inside, and restore it afterwards."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


def gap(got: Tensor, expected: Tensor, *, within: float = 1e-5) -> float | None:
    """Return the largest difference of two tensors; None: they are equal within a tolerance.

    Args:
        got: a tensor.
        expected: another of its shape.
        within: tolerance, relative to the largest expected value, or absolute below one.
    """
    if not got.numel():
        return None
    if not torch.isfinite(got).all():
        return math.inf
    got, expected = got.detach(), expected.detach()
    largest = float((got - expected).abs().max())
    return None if largest <= within * max(1.0, float(expected.abs().max())) else largest


def differs(name: str, got: Tensor, expected: Tensor, *, within: float = 1e-5) -> str | None:
    """Return None if two tensors are equal within a tolerance, else their difference in words."""
    if got.shape != expected.shape:
        return f"{name}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if not torch.isfinite(got).all():
        return f"{name}: not finite"
    largest = gap(got, expected, within=within)
    return None if largest is None else f"{name}: differs by {largest:.2g}"


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
