"""The axes that a suite defines itself: names for bundles of settings.

``axes: {size: {small: {model.D: 128, model.heads: 4}, large: {model.D: 768, model.heads: 12}}}``
lets rows and grids say ``size: small``. A bundle may contain whatever a row may: components,
tasks, and settings by their dotted paths.
"""

from collections.abc import Mapping
from typing import Any

from avbench.config.strict_yaml import Document, Problems
from avbench.core.errors import unknown
from avbench.core.numbers import shown

Bundles = Mapping[str, Mapping[str, Mapping[str, Document]]]
"""For each axis, the names of its values and the settings that each stands for."""


def read_axes(doc: Document, reserved: frozenset[str], problems: Problems) -> Bundles:
    """Read the axes under a suite file's ``axes``.

    Args:
        doc: the suite file.
        reserved: names that an axis must not have.
        problems: collects errors.
    """
    written = doc.data.get("axes", {})
    if not isinstance(written, Mapping):
        problems.add(doc.mark(("axes",)), f"axes: must be a mapping of axes, got {shown(written)}")
        return {}
    found: dict[str, dict[str, dict[str, Document]]] = {}
    for axis, values in written.items():
        mark = doc.mark(("axes", axis))
        if not axis.isidentifier() or axis in reserved:
            problem = "is reserved" if axis in reserved else "must be letters, digits and '_'"
            problems.add(mark, f"axes.{axis}: the name {problem}, got '{axis}'")
            continue
        if not isinstance(values, Mapping) or not values:
            problems.add(
                mark,
                f"axes.{axis}: must be a mapping of names of values to settings, "
                f"got {shown(values)}",
            )
            continue
        found[axis] = {}
        for name, bundle in values.items():
            at = ("axes", axis, name)
            if not isinstance(bundle, Mapping):
                problems.add(
                    doc.mark(at),
                    f"axes.{axis}.{name}: must be a mapping of settings by their "
                    f"paths, e.g. {{model.D: 128}}, got {shown(bundle)}",
                )
                bundle = {}
            found[axis][name] = {path: doc.part((*at, path)) for path in bundle}
    return found


def value_name(value: Any) -> str | None:
    """Return the name of an axis' value as a row gives it: text, a number or a boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def expand(
    values: Mapping[str, Document], bundles: Bundles, problems: Problems
) -> tuple[dict[str, str], dict[str, Document]]:
    """Replace a row's values on a suite's own axes by their settings.

    Args:
        values: the row's values, by axis.
        bundles: the suite's own axes.
        problems: collects unknown values, and settings that are given twice.

    Returns:
        The name of the row's value on each of these axes, and their settings by path.
    """
    names: dict[str, str] = {}
    settings: dict[str, Document] = {}
    by = dict.fromkeys(values, "the row")
    for axis, value in values.items():
        if axis not in bundles:
            continue
        name = value_name(value.data)
        if name is None or name not in bundles[axis]:
            text = unknown("value", str(value.data), bundles[axis])
            problems.add(value.mark(()), f"{axis}: {text}")
            continue
        names[axis] = name
        for path, setting in bundles[axis][name].items():
            if path in by:
                problems.add(
                    value.mark(()),
                    f"{path}: given by {by[path]} and by {axis} '{name}' ({setting.mark(())})",
                )
            by[path] = f"{axis} '{name}'"
            settings[path] = setting
    return names, settings


__all__ = ["Bundles", "expand", "read_axes", "value_name"]
