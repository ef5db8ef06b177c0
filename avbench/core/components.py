"""The reference by which suites and stages name a component."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentRef:
    """A component's name and options; in YAML a name alone, or a mapping with ``name``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
