"""The contract of a dataset reader: its interface, and its clips if there are local files."""

import inspect
from typing import Any

from avbench.core.errors import AvbenchError
from avbench.core.registry import Component
from avbench.core.types import Clip
from avbench.data.contracts import Dataset
from avbench.testing.findings import Check, Finding, common_checks, first_problem, run_checks

PROTOCOLS = ("coco", "paragraph")


def check_dataset(component: Component, options: Any = None) -> list[Finding]:
    """Check a dataset reader.

    Args:
        component: a registered reader.
        options: an instance of its config that leads to local files; None: run only the checks
            that need none.
    """
    checks = [*common_checks(component, options), _check(interface, component)]
    if options is None:
        checks.append(_check(absent, component))
    else:
        checks += [_check(run, component, options) for run in (splits, clips, fingerprint)]
    return run_checks(checks)


def interface(component: Component) -> str | None:
    """A Dataset with a known protocol."""
    reader = component.build
    if not (inspect.isclass(reader) and issubclass(reader, Dataset)):
        return f"{reader!r}, which is no subclass of Dataset"
    lacking = sorted(getattr(reader, "__abstractmethods__", ()))
    if lacking:
        return f"no {', '.join(lacking)}"
    if reader.protocol not in PROTOCOLS:
        return f"protocol {reader.protocol!r}"
    return None


def absent(component: Component) -> str | None:
    """Without local files an AvbenchError, or splits that can be listed."""
    try:
        component.build(component.config()).splits()
    except AvbenchError:
        return None
    return None


def splits(component: Component, options: Any) -> str | None:
    """The files hold the train and report splits, and neither is the split for selection."""
    reader: Dataset = component.build(options)
    held = reader.splits()
    named = [s for s in (reader.train, reader.report) if s is not None]
    wrong = [s for s in named if s not in held]
    if reader.select is not None and reader.select in named:
        return f"select is '{reader.select}', which is trained or reported on"
    return f"{wrong} not in {held}" if wrong or not held else None


def clips(component: Component, options: Any) -> str | None:
    """Clips in every split: ids once, captions, times in order; unknown splits refused."""
    reader: Dataset = component.build(options)
    for split in reader.splits():
        found = reader.clips(split)
        if not found:
            return f"no clip in split '{split}'"
        if len({clip.id for clip in found}) != len(found):
            return f"an id twice in split '{split}'"
        problem = first_problem(_clip(clip) for clip in found)
        if problem:
            return f"split '{split}': {problem}"
    try:
        reader.clips("no such split")
    except AvbenchError:
        return None
    return "clips of a split that does not exist"


def _clip(clip: Clip) -> str | None:
    if not clip.id or not clip.video:
        return "a clip without id or video"
    if not clip.captions or not all(c.strip() for c in clip.captions):
        return f"clip {clip.id}: an empty caption"
    if clip.start is not None and clip.end is not None and not 0 <= clip.start < clip.end:
        return f"clip {clip.id}: from {clip.start} to {clip.end} s"
    return None


def fingerprint(component: Component, options: Any) -> str | None:
    """The same fingerprint from two readers of the same files."""
    one, two = (component.build(options).fingerprint() for _ in range(2))
    return None if one and one == two else f"{one!r} and {two!r}"


def _check(run: Any, *arguments: Any) -> Check:
    return Check(
        name=run.__name__,
        expected=(inspect.getdoc(run) or "").splitlines()[0].rstrip("."),
        run=lambda: run(*arguments),
    )
