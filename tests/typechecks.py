"""Type checks at run time at a third of their cost: each value once, shapes where there are some.

The import hook of jaxtyping checks the arguments of every function, calls it, and checks them
again with what it returns; it binds them by name each time. That is more than half of the time
of a training step.
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_args

import jaxtyping

whole = jaxtyping.jaxtyped


def jaxtyped(*, typechecker: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What the import hook decorates each function and class with.

    Args:
        typechecker: checks the arguments and the value of one function.
    """

    def decorate(made: Any) -> Any:
        if inspect.isclass(made):
            if is_dataclass(made) and "__init__" in vars(made):
                made.__init__ = decorate(made.__init__)
            return made
        hints = made.__annotations__.values()
        if any(isinstance(hint, str) for hint in hints):  # of what may be imported for mypy alone
            return whole(made, typechecker=typechecker)
        checked = typechecker(made)
        # Axes that several annotations name must agree: jaxtyping keeps their sizes for a call.
        return whole(checked, typechecker=None) if any(map(_has_axes, hints)) else checked

    return decorate


def _has_axes(hint: Any) -> bool:
    """Whether a type is an array type of jaxtyping, or is made of one."""
    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_has_axes, get_args(hint)))
