"""Numbers in environment variables, which launchers of several processes set."""

import os

from avbench.core.errors import AvbenchError
from avbench.core.numbers import Number, shown

PROCESSES = Number(unit="processes", least=0, most=1_000_000)


def whole_number(name: str, default: int) -> int:
    """Return the whole number in an environment variable.

    Raises:
        AvbenchError: it holds anything else, or a number out of bounds.
    """
    text = os.environ.get(name, str(default))
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if PROCESSES.fault(number) is not None:
        raise AvbenchError(f"{name}: must be {PROCESSES.allowed}, got {shown(text)}")
    return number
