"""Brings components of a suite, which may be written in several ways, into one normal form."""

from collections.abc import Iterator, Mapping
from typing import Any

from avbench.config.strict_yaml import Document, Mark, Problems
from avbench.core.numbers import shown
from avbench.core.options import Location

AXES = {"fusion": "fusions", "loss": "losses", "modalities": "modalities"}
"""The axes whose values are components, and the family of each."""


def family_at(location: Location) -> str | None:
    """Return the family of the component at a location of a suite; None: there is none."""
    match location:
        case ("model", "encoders", _):
            return "encoders"
        case ("finetune", "loss") | ("finetune", "per_dataset", _, "loss"):
            return "losses"
        case ("evaluate", "metrics", _):
            return "metrics"
        case ("defaults", str(axis)):
            return AXES.get(axis)
    return None


def option_location(location: Location) -> Location:
    """Return the location in normal form of a setting that is written below a component."""
    for n in range(2, len(location)):
        if family_at(location[:n]) and location[n] not in ("name", "options"):
            return (*location[:n], "options", *location[n:])
    return location


def components_in(data: Any, at: Location = ()) -> Iterator[Location]:
    """Yield the locations of all components in the sections of a suite or preset."""
    if family_at(at):
        yield at
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from components_in(value, (*at, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from components_in(value, (*at, i))


def normal_component(doc: Document, name: str, problems: Problems) -> Document:
    """Return a component in its normal form, ``{name, options}``.

    It may be written as a name, or as a mapping with ``name`` and the options beside it or below
    ``options``. Without a name it changes the options of the component that it overrides.
    """
    if isinstance(doc.data, str):
        return Document({"name": doc.data, "options": {}}, {**doc.marks, ("name",): doc.mark(())})
    if not isinstance(doc.data, Mapping):
        problems.add(
            doc.mark(()), f"{name}: must be a name or a mapping with 'name', got {shown(doc.data)}"
        )
        return Document({"name": None, "options": {}}, doc.marks)
    data: dict[str, Any] = {"options": {}}
    marks: dict[Location, Mark] = {(): doc.mark(())}
    for key, value in doc.data.items():
        part = doc.part((key,))
        if key == "name":
            data["name"], marks["name",] = value, part.mark(())
        elif key == "options" and isinstance(value, Mapping):
            data["options"] |= value
            marks |= {("options", *k): v for k, v in part.marks.items() if k}
        else:
            data["options"][key] = value
            marks |= {("options", key, *k): v for k, v in part.marks.items()}
    return Document(data, marks)


def normal(doc: Document, problems: Problems) -> Document:
    """Return the sections of a suite or preset with every component in its normal form."""
    for location in list(components_in({k: v for k, v in doc.data.items() if k != "name"})):
        name = ".".join(map(str, location))
        doc = doc.set(location, normal_component(doc.part(location), name, problems))
    return doc
