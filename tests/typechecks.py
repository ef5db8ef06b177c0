"""Type checks at run time at a third of their cost: each value once, shapes where there are some.

The import hook of jaxtyping checks the arguments of every function, calls it, and checks them
again with what it returns; it binds them by name each time. That is more than half of the time
of a training step.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping

whole = jaxtyping.jaxtyped


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the decorator that the import hook puts on each function and class.

    Args:
        typechecker: checks the arguments and the value of one function.
    """

    def decorate(made: Any) -> Any:
        if inspect.isclass(made):
            if is_dataclass(made) and "__init__" in vars(made):
                made.__init__ = decorate(made.__init__)
            return made
        parts = [part for hint in made.__annotations__.values() for part in _parts(hint)]
        if any(isinstance(part, str | ForwardRef) for part in parts):  # maybe known to mypy alone
            return whole(made, typechecker=typechecker)
        checked = typechecker(made)
        # Axes that several annotations name must agree: jaxtyping keeps their sizes for a call.
        return whole(checked, typechecker=None) if any(map(_has_axes, parts)) else checked

    return decorate


def _parts(hint: Any) -> Iterator[Any]:
    """A type, and the types that it is made of."""
    yield hint
    if get_origin(hint) is not Literal:
        for part in get_args(hint):
            yield from _parts(part)


def _has_axes(part: Any) -> bool:
    """Return True for an array type of jaxtyping."""
    return inspect.isclass(part) and issubclass(part, jaxtyping.AbstractArray)
