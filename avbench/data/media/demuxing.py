"""Packets of one stream of an open container, past damage on the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.stream import Stream

from avbench.core.errors import DataError
from avbench.data.media.container import (
    BROKEN,
    STORAGE,
    Allowance,
    error_text,
    storage_timeout,
)
from avbench.data.media.restarts import Restarts, may_restart

FAILURES = 16
"""Times in a row that a container may fail to give the next packet."""


class Damage:
    """The packets that a pass over a stream could not read, and skipped.

    Attributes:
        count: packets that could not be read or decoded.

    Args:
        stream: the stream's name in the note.
        after: the words before the time of the last good frame.
    """

    def __init__(self, stream: str, after: str = "after") -> None:
        self.count = 0
        self._stream = stream
        self._after = after
        self._time: float | None = None
        self._first = ""
        self._resumed = False

    def add(self, error: BaseException) -> None:
        """Add an error that cost a packet."""
        if not self.count:
            where = "at once" if self._time is None else f"{self._after} {self._time:.2f} s"
            self._first = f"the {self._stream} breaks {where}: {error_text(error)}"
        self.count += 1

    def passed(self, time: float | None) -> None:
        """Take note of a good frame, and of its time in seconds."""
        self._time = time
        self._resumed = self.count > 0

    def notes(self) -> list[str]:
        """Return a note of the first error and of what was skipped; empty: there was none."""
        if not self.count:
            return []
        packets = "1 damaged packet is" if self.count == 1 else f"{self.count} damaged packets are"
        return [f"{self._first}; {packets} left out" if self._resumed else self._first]


def packets(
    container: InputContainer,
    stream: Stream,
    path: Path,
    allowance: Allowance,
    damage: Damage | None,
) -> Iterator[Any]:
    """Yield the packets of a stream from the container's position on, within the time limit.

    In a container whose clock may start anew, the packets' stamps go on, see ``restarts``.

    Args:
        container: the open container.
        stream: one of its streams.
        path: the file, for errors.
        allowance: the time limit.
        damage: takes the errors of demuxing, and reading goes on after each, up to FAILURES in a
            row; None: the first one is raised.

    Raises:
        MediaError: OVERDUE. The caller handles other errors of demuxing.
    """
    restarts = Restarts() if may_restart(container) else None
    failures = 0
    while True:
        try:
            for packet in container.demux() if restarts else container.demux(stream):
                failures = 0
                allowance.check(path)
                if restarts:
                    restarts.mend(packet)
                    if packet.stream.index != stream.index:
                        continue
                yield packet
        except DataError:
            raise
        except STORAGE as error:
            raise storage_timeout(path, allowance.seconds) from error
        except BROKEN as error:
            failures += 1
            if damage is None or failures > FAILURES:
                raise
            damage.add(error)
        else:
            return
