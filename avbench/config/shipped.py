"""Files that come with the package: suites, presets, and the paper's figures."""

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from avbench.core.errors import SuiteError, unknown
from avbench.core.paths import folder


def suite_names() -> dict[str, Path]:
    """Return the files of the predefined suites, by name."""
    return {p.stem: p for p in sorted(folder("avbench.suites").glob("*.yaml"))}


def preset_names() -> dict[str, Path]:
    """Return the files of the presets, by name."""
    return {p.stem: p for p in sorted(folder("avbench.config.presets").glob("*.yaml"))}


def published_names() -> dict[str, Path]:
    """Return the files of the paper's tables, by name."""
    return {p.stem: p for p in sorted(folder("avbench.config.published").glob("*.csv"))}


def published(name: str) -> list[dict[str, str]]:
    """Read the rows of one of the paper's tables."""
    with published_names()[name].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of one of the paper's tables."""

    text: str
    intact: bool
    """True if the file is byte for byte what was checked against the paper."""


def source_of(name: str) -> Source:
    """Return the origin of one of the paper's tables, from ``published/sources.json``."""
    file = published_names()[name]
    known = json.loads((file.parent / "sources.json").read_text(encoding="utf-8"))[name]
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    return Source(known["source"], found == known["sha256"])


def find_suite(ref: str) -> Path:
    """Return the file of a suite that is named or given by path.

    Raises:
        SuiteError: there is no such suite.
    """
    return _find(ref, suite_names(), "suite", Path())


def find_preset(ref: str, beside: Path) -> Path:
    """Return the file of a preset that is named or given by path.

    Args:
        ref: a name, or a path.
        beside: the suite's folder, which relative paths start from.

    Raises:
        SuiteError: there is no such preset.
    """
    return _find(ref, preset_names(), "preset", beside)


def _find(ref: str, known: dict[str, Path], what: str, beside: Path) -> Path:
    if ref in known:
        return known[ref]
    path = beside / Path(ref).expanduser()
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if path.is_file():
            return path
        raise SuiteError(f"{what} file {path}: no such file")
    raise SuiteError(f"{unknown(what, ref, known)}, or the path of a .yaml file")
