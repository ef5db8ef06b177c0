"""The page ``docs/settings.md``: every field of a suite and every option of its components.

It is made of the same declarations as the checks and the JSON Schemas.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from avbench.config.data_file import DatasetEntry
from avbench.config.precheck import SETTINGS
from avbench.config.schema import described
from avbench.core.numbers import Number
from avbench.core.registry import SINGULAR, Registry
from avbench.data.media.recode import Encoding

HEAD = """# Settings

Fields of a suite's sections, then options of components, of data files and of
`avbench data prepare`. `avbench settings` prints this page, with your plugins. A number outside
its range is an error with its file and line. "ours" marks defaults that the paper leaves open.
"""


def settings_page(registry: Registry) -> str:
    """Return the page as Markdown."""
    parts = [HEAD]
    sections: dict[type, list[str]] = {}
    for name, cls in SETTINGS.items():
        sections.setdefault(cls, []).append(f"`{name}`")
    parts += [_table(" and ".join(names), cls) for cls, names in sections.items()]
    parts += [
        _table(f"{SINGULAR[component.family]} `{component.name}`".capitalize(), component.config)
        for component in registry
        if dataclasses.fields(component.config)
    ]
    parts.append(_table("Datasets of a data file", DatasetEntry))
    parts.append(_table("`avbench data prepare`", Encoding))
    return "\n".join(parts)


def _table(title: str, cls: type) -> str:
    lines = [
        f"## {title}",
        "",
        "| field | default | range | source | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += (f"| {' | '.join(cells)} |" for cells in _rows(described(cls)))
    return "\n".join([*lines, ""])


def _rows(fields: Mapping[str, Any], above: str = "") -> Iterator[list[str]]:
    """Yield the cells of each field; fields within a field follow it."""
    for name, field in fields.items():
        numbers = list(dict.fromkeys(_numbers(field)))
        inner = field.get("properties", {})
        default = json.dumps(field.get("default")) if "default" in field and not inner else ""
        cells = [
            f"`{above}{name}`",
            default and f"`{default}`",
            ", ".join(number.allowed for number in numbers),
            ", ".join(dict.fromkeys(number.source for number in numbers)),
            field.get("description", ""),
        ]
        yield [cell.replace("|", r"\|") for cell in cells]
        yield from _rows(inner, f"{above}{name}.")


def _numbers(schema: Any) -> Iterator[Number]:
    """Yield the declarations of all numbers in the schema of a field, but not of inner fields."""
    if isinstance(schema, list):
        for item in schema:
            yield from _numbers(item)
    elif isinstance(schema, Mapping):
        if "x-unit" in schema:
            yield Number.of_schema(schema)
        for key, inner in schema.items():
            if key not in ("properties", "default"):
                yield from _numbers(inner)
