"""The declaration of a number: its bounds, its unit and the source of its default.

A number among settings, options of components or options of commands is declared once, as
``Annotated[int, Number(unit="frames", least=1, most=1024)]``. The checks and their messages, the
JSON Schemas, ``docs/settings.md`` and the command line all follow from the declaration.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

FAULT = "number"
"""Type of pydantic's error for a number out of its bounds."""

SHOWN = 60
"""Characters of a wrong value that a message shows."""

DIGITS = 300
"""Characters of a number in a file, at most; a float has no more before its point."""

UNCOUNTED = frozenset(
    ("amplitude", "factor", "gradient norm", "per step", "power", "quality", "seed", "share")
)
"""Units that a message puts in brackets, because no plural of theirs follows a number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """Bounds, unit and source of a number; it is finite in any case."""

    unit: str
    """The thing counted or measured: ``frames``, ``s``, ``Hz``; ``share`` or ``factor`` if it has
    no unit."""
    least: int | float | None = None
    """Smallest value; give either this or ``above``."""
    above: int | float | None = None
    """The value is greater than this."""
    most: int | float | None = None
    """Largest value; give either this or ``below``."""
    below: int | float | None = None
    """The value is smaller than this."""
    source: str = "ours"
    """Origin of the default: a section of the paper, another paper, or ``ours``."""

    @property
    def allowed(self) -> str:
        """The bounds and the unit in words.

        >>> Number(unit="frames", least=1, most=1024).allowed
        'from 1 to 1,024 frames'
        >>> Number(unit="share", above=0, most=1).allowed
        'above 0 and at most 1 (share)'
        """
        if self.least is not None and self.most is not None:
            bounds = f"from {_text(self.least)} to {_text(self.most)}"
        else:
            named = {
                "at least": self.least,
                "above": self.above,
                "at most": self.most,
                "below": self.below,
            }
            bounds = " and ".join(f"{k} {_text(v)}" for k, v in named.items() if v is not None)
        return f"{bounds} ({self.unit})" if self.unit in UNCOUNTED else f"{bounds} {self.unit}"

    def fault(self, value: int | float) -> str | None:
        """Return what is wrong with a value, or None; NaN and infinities are always wrong."""
        good = (
            abs(value) < float("inf")
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )
        return None if good else f"must be {self.allowed}, got {shown(value)}"

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any]) -> "Number":
        """Return the declaration whose ``schema`` these keywords are."""
        return cls(
            unit=schema["x-unit"],
            least=schema.get("minimum"),
            above=schema.get("exclusiveMinimum"),
            most=schema.get("maximum"),
            below=schema.get("exclusiveMaximum"),
            source=schema["x-source"],
        )

    def schema(self) -> Mapping[str, Any]:
        """Return the keywords of a JSON Schema; ``x-unit`` and ``x-source`` are annotations."""
        bounds = {
            "minimum": self.least,
            "exclusiveMinimum": self.above,
            "maximum": self.most,
            "exclusiveMaximum": self.below,
        }
        held = {keyword: value for keyword, value in bounds.items() if value is not None}
        return {**held, "x-unit": self.unit, "x-source": self.source}

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), **self.schema()}

    def _checked(self, value: int | float) -> int | float:
        fault = self.fault(value)
        if fault is not None:
            raise PydanticCustomError(FAULT, "{fault}", {"fault": fault})
        return value


SEED = Number(unit="seed", least=0, most=2**32 - 1)
"""Of any generator of random numbers."""


def shown(value: Any) -> str:
    """Return a value for a message, cut to ``SHOWN`` characters.

    >>> shown(10**30)
    '1000000000000000000000000000000'
    >>> shown([0] * 1000)
    '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, …'
    """
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = f"{type(value).__name__} of too many digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _text(bound: int | float) -> str:
    """Return a bound as a message shows it: 1,024, 0.5 or 1e-12."""
    whole = float(bound).is_integer() and abs(bound) < 1e15
    return f"{int(bound):,}" if whole else f"{bound:g}"
