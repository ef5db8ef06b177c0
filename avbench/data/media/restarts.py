"""Containers whose clock may start anew, as that of transport streams joined end to end.

Each part has the stamps of its own recording. The first part's clock goes on: a later part starts
where the one before it ends, in all streams alike. Seeking goes by stamps, which such a file
repeats, so it is read from its beginning.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from av.container import InputContainer

from avbench.core.errors import DataError
from avbench.data.media.container import BROKEN, Allowance, open_media

JOINABLE = ("mpegts", "mpeg")
"""Containers that may be joined end to end."""

BACK = 0.5
"""Seconds by which a stream's stamps fall where another part begins, at least."""

AHEAD = 3600.0
"""Seconds of a leap, at least, that also begins another part: a gap is never so long."""


def may_restart(container: InputContainer) -> bool:
    """Return True if the container's clock may start anew."""
    return container.format.name in JOINABLE


class Restarts:
    """Continues the clock of packets, given in the file's order from its beginning."""

    def __init__(self) -> None:
        self._shifts = [0.0]
        self._part: dict[int, int] = {}
        self._last: dict[int, float] = {}
        self._end = 0.0

    @property
    def parts(self) -> int:
        """The number of parts so far."""
        return len(self._shifts)

    def mend(self, packet: Any) -> None:
        """Move a packet's stamps to the first part's clock."""
        index, tick = packet.stream.index, float(packet.time_base)
        part = self._part.get(index, 0)
        if packet.dts is not None and packet.stream.type in ("video", "audio"):
            stamp = packet.dts * tick
            shown = stamp if packet.pts is None else packet.pts * tick
            last = self._last.get(index, stamp)
            if not last - BACK <= stamp <= last + AHEAD:
                part += 1
                if part == self.parts:  # else another stream began this part
                    self._shifts.append(self._end - shown)
                self._part[index] = part
            self._last[index] = stamp
            self._end = max(self._end, shown + (packet.duration or 0) * tick + self._shifts[part])
        ticks = round(self._shifts[part] / tick) if tick else 0
        if ticks and packet.dts is not None:
            packet.dts += ticks
        if ticks and packet.pts is not None:
            packet.pts += ticks


def is_joined(path: Path) -> bool:
    """Return True if a file's clock starts anew on the way; its packets are read to tell.

    Raises:
        MediaError: see ``open_media``, or it takes too long.
    """
    status = (path if path.is_file() else path.parent).stat()  # a shard's member: the shard's
    return _is_joined(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _is_joined(path: Path, changed: int, size: int) -> bool:  # noqa: ARG001
    allowance, restarts = Allowance(), Restarts()
    with open_media(path, allowance) as container:
        try:
            for packet in container.demux():
                allowance.check(path)
                restarts.mend(packet)
                if restarts.parts > 1:
                    return True
        except DataError:
            raise
        except BROKEN:
            pass  # so far, it is not
    return False
