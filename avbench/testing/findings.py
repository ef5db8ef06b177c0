"""How a check is stated and what it finds."""

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
"""Names listed of those that a check found at fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    ok: bool
    expected: str
    got: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A check: ``run`` returns None where the component passes, else what it got instead."""

    name: str
    expected: str
    run: Callable[[], str | None]


def findings(checks: Iterable[Check]) -> list[Finding]:
    """Run checks in order; an exception is a finding too."""
    return [_find(check) for check in checks]


def _find(check: Check) -> Finding:
    try:
        with seeded(0):
            got = check.run()
    except Exception as error:
        said = str(error).splitlines() or [""]
        got = f"{type(error).__name__}: {said[0]}"
    return Finding(
        check=check.name, ok=got is None, expected=check.expected, got=got or AS_EXPECTED
    )


def common(component: Component, options: Any) -> list[Check]:
    """What every component owes: default options, and a docstring with its source."""

    def defaults() -> str | None:
        if options is None:
            component.config()
        return None

    def source() -> str | None:
        own = inspect.getdoc(component.build) or ""
        module = inspect.getmodule(component.build)
        said = f"{own}\n{inspect.getdoc(module) if module else ''}"
        return None if "Source:" in said else f"docstring {own[:60]!r}"

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
    """Fix the random state inside, and put it back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def differs(name: str, got: Tensor, expected: Tensor, *, within: float = 1e-5) -> str | None:
    """None where two tensors are equal within a tolerance, else by how much they differ."""
    if got.shape != expected.shape:
        return f"{name}: shape {tuple(got.shape)} instead of {tuple(expected.shape)}"
    if not torch.isfinite(got).all():
        return f"{name}: not finite"
    gap = (got - expected).abs().max().item() if got.numel() else 0.0
    scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
    return None if gap <= within * scale else f"{name}: differs by {gap:.2g}"


def off(counted: int | float, closed: int | None) -> str | None:
    """None where a count is within 0.1 % of its closed form, or has none; else both."""
    if closed is None or abs(counted - closed) <= 1e-3 * closed:
        return None
    return f"{counted:.0f} MACs counted, {closed} in closed form"


def named(problem: str, names: list[str]) -> str | None:
    """A list of culprits as one line; None where there is none."""
    if not names:
        return None
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{problem} {', '.join(names[:SHOWN])}{more}"


def first(problems: Iterable[str | None]) -> str | None:
    """The first problem of several, or None."""
    return next((p for p in problems if p is not None), None)
