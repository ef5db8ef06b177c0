"""Collections: files that name suites to plan, run and report together."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from avbench.config import strict_yaml
from avbench.config.shipped import find_suite, suite_names
from avbench.config.strict_yaml import Problems
from avbench.core import options
from avbench.core.errors import SuiteError, unknown

SUITES = "suites"
"""The field that makes a file a collection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """Suites that belong together, such as all tables and figures of a paper."""

    name: str
    suites: tuple[str, ...]
    """Names of predefined suites, or paths of files, which start from the collection's folder."""
    title: str = ""
    keep_preset: tuple[str, ...] = field(default_factory=tuple)
    """Suites whose preset no ``--preset`` changes, as it belongs to what they show."""

    def __post_init__(self) -> None:
        if not self.suites or len(set(self.suites)) < len(self.suites):
            raise ValueError(f"suites must name each suite once, got {list(self.suites)}")
        for name in self.keep_preset:
            if name not in self.suites:
                raise ValueError(f"keep_preset: {unknown('suite', name, self.suites)}")


def read_collection(ref: str) -> Collection | None:
    """Read a collection; None if the file is a suite.

    Raises:
        SuiteError: there is no such file, it is no YAML, or it names something else than suites.
    """
    path = find_suite(ref)
    doc = strict_yaml.load(path)
    if SUITES not in doc.data:
        return None
    problems = Problems()
    for key in doc.data:
        if key not in Collection.__dataclass_fields__:
            text = unknown("field of a collection", key, Collection.__dataclass_fields__)
            problems.add(doc.mark((key,)), f"{key}: {text}")
    problems.check()
    try:
        made = options.build(Collection, doc.data)
    except options.ValidationError as error:
        for at, text in options.located(error, Collection, ""):
            problems.add(doc.mark(at), text)
        problems.check()
        raise
    found = []
    for i, name in enumerate(made.suites):
        mark = doc.mark((SUITES, i))
        try:
            file = find_suite(name if name in suite_names() else str(path.parent / name))
            within = strict_yaml.load(file)
        except SuiteError as error:
            problems.add(mark, f"suites: {error}")
            continue
        if SUITES in within.data:
            problems.add(mark, f"suites: '{name}' is itself a collection")
        found.append(name if name in suite_names() else str(Path(file)))
    problems.check()
    kept = [
        file for name, file in zip(made.suites, found, strict=True) if name in made.keep_preset
    ]
    return replace(made, suites=tuple(found), keep_preset=tuple(kept))
