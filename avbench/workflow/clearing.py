"""Clearing up a results folder: the stages that no run of a suite names any more.

Every run leaves the list of its stages in ``SUITE/runs``, one file for each preset, data, seeds
and rows; a later run of the same replaces it. Ids follow code and settings, so the stages of an
edited suite, or of older code, are then named by no list.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench.core.errors import AvbenchError
from avbench.core.job import as_written, read_json, write_json
from avbench.runner.lock import StageLock, locked
from avbench.runner.plan import Plan, Store
from avbench.workflow.status import FOLDER

RUNS = "runs"
"""Folder of the lists of a suite's runs."""


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A stage's folder that no suite names."""

    folder: Path
    size: int
    """Bytes of its files."""
    running: bool
    """True if a process works on it; it stays."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """The stages of a results folder that no suite names, and those that one does."""

    results: Path
    unnamed: tuple[Unnamed, ...]
    kept: int
    """Stages that a suite names."""
    suites: tuple[str, ...]
    """The suites that name stages."""

    @property
    def removable(self) -> tuple[Unnamed, ...]:
        """The stages that can be removed: nothing works on them."""
        return tuple(found for found in self.unnamed if not found.running)

    def text(self) -> str:
        """Return a line for each stage, the largest first, and a sum."""
        lines = [
            f"{_size(found.size):>10}  {found.folder.name}"
            + (" (a process works on it: it stays)" if found.running else "")
            for found in sorted(self.unnamed, key=lambda found: -found.size)
        ]
        total = _size(sum(found.size for found in self.removable))
        named = f"{self.kept} named by {', '.join(self.suites)}"
        return "\n".join([*lines, f"{total:>10}  to remove: {len(self.removable)}; kept: {named}"])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "results": str(self.results),
            "suites": list(self.suites),
            "kept": self.kept,
            "unnamed": [
                {"stage": found.folder.name, "bytes": found.size, "running": found.running}
                for found in self.unnamed
            ],
        }


def remember_run(plan: Plan, store: Store) -> None:
    """Write the list of a plan's stages, so that ``garbage`` keeps them.

    Raises:
        OSError: the results folder cannot be written.
    """
    of = {
        "preset": plan.preset,
        "data": plan.data,
        "seeds": list(plan.seeds),
        "rows": list(plan.labels),
    }
    name = hashlib.blake2b(json.dumps(of).encode(), digest_size=8).hexdigest()
    folder = store.results / plan.suite / RUNS
    folder.mkdir(parents=True, exist_ok=True)
    stages = sorted(stage.folder for stage in plan.stages.values() if not stage.shared)
    write_json(folder / f"{name}.json", {"suite": plan.suite, **of, "stages": stages})


def garbage(store: Store, plans: Iterable[Plan] = ()) -> Garbage:
    """Find the stages of a results folder that no suite names; nothing is removed.

    Stages in the user's cache are left out: other results folders use them too.

    Args:
        store: the folders of the stages.
        plans: further plans whose stages stay.

    Raises:
        AvbenchError: no run has left a list, and there is no plan; or a list is damaged.
    """
    named: dict[str, str] = {}
    for run in _runs(store.results):
        named |= dict.fromkeys(run["stages"], run["suite"])
    for plan in plans:
        named |= {stage.folder: plan.suite for stage in plan.stages.values()}
    if not named:
        raise AvbenchError(
            f"{store.results}: no suite has left a list of its stages here, so every stage would "
            "go; run a suite first, or name the suites to keep"
        )
    folder = store.results / "stages"
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    stages = [path for path in found if FOLDER.fullmatch(path.name) and not path.is_symlink()]
    return Garbage(
        results=store.results,
        unnamed=tuple(
            Unnamed(path, _bytes(path), locked(path)) for path in stages if path.name not in named
        ),
        kept=sum(path.name in named for path in stages),
        suites=tuple(dict.fromkeys(named.values())),
    )


def remove(found: Garbage) -> int:
    """Remove the stages that can be; return their number.

    A stage whose work has begun since is left alone.

    Raises:
        OSError: one cannot be removed.
    """
    removed = 0
    for one in found.removable:
        lock = StageLock(one.folder)
        try:
            if lock.acquire():
                shutil.rmtree(one.folder)
                removed += 1
        except FileNotFoundError:
            continue  # somebody else has removed it
        finally:
            lock.release()
    return removed


def _runs(results: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the lists of runs.

    Raises:
        DataError: one is damaged.
    """
    for path in sorted(results.glob(f"*/{RUNS}/*.json")):
        run = read_json(path)
        with as_written(path, hint="remove it, or run its suite again"):
            yield {"suite": str(run["suite"]), "stages": [str(name) for name in run["stages"]]}


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _size(count: int) -> str:
    """Return a number of bytes for people.

    >>> _size(5 << 20)
    '5.0 MiB'
    """
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"
