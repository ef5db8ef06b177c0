"""Opening media files by PyAV, the time that one may take, and what is said of the unusable.

What becomes of each class of defect is written down in ``defects``.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Stream
from packaging.version import Version

from avbench.core.errors import DataError
from avbench.data.media.tar_members import member_of

PROTOCOLS = {"protocol_whitelist": "file"}
"""A media file may not make FFmpeg open anything but local files (playlists name URLs)."""

MOST_PIXELS = 2**25
"""Of a picture: 8K (7680 × 4320), as a header of a few bytes can ask for gigabytes."""

PROBED_PIXELS = 2**27
"""The bound while FFmpeg learns what a file holds. A picture above it seems to it to have no
size, so it is larger than the other: what lies between is told as TOO_LARGE."""

METADATA: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if Version(av.__version__).major < 19 else {}
)
"""PyAV 19 always reads tags so and has no such argument."""

CLIP_SECONDS = 300.0
"""Processor time that decoding a clip may take where nobody says otherwise."""

BROKEN = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)
"""What opening and decoding damaged data raises."""


class Loss(StrEnum):
    """Why a clip cannot be used at all."""

    MISSING = "missing"
    """There is no such file."""
    EMPTY = "empty"
    """The file has no bytes."""
    NOT_MEDIA = "not_media"
    """FFmpeg recognises no container, or not enough of one."""
    NO_VIDEO = "no_video"
    """There is no video stream that can be decoded (cover pictures do not count)."""
    NO_INTERVAL = "no_interval"
    """The annotated clip ends where or before it starts."""
    NO_FRAME = "no_frame"
    """No frame of the clip decodes, or the file ends before the clip starts."""
    TOO_LARGE = "too_large"
    """Its pictures have more than MOST_PIXELS."""
    OVERDUE = "overdue"
    """Decoding took longer than it may."""
    CRASHED = "crashed"
    """The process that decoded it died, twice."""


class MediaError(DataError):
    """A clip that cannot be used; ``loss`` says why, the message names the file."""

    def __init__(self, path: Path, loss: Loss, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.loss = loss
        self.detail = detail

    @property
    def outcome(self) -> dict[str, Any]:
        """What decoding the clip came to, see ``crash_guard``."""
        return {"lost": self.loss.value, "detail": str(self)}


class Allowance:
    """The time that decoding one clip may take, looked at for every packet.

    It is this thread's processor time, so that what a clip gives does not depend on how busy the
    machine is; that storage keeps silent is told by the wall clock. One call of the codec cannot
    be ended from here: processes that prepare a split have a clock of their own, see ``part``.

    Args:
        seconds: from now on, for all passes over picture and sound.
    """

    def __init__(self, seconds: float = CLIP_SECONDS) -> None:
        self.seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self, path: Path) -> None:
        """See whether there is time left.

        Raises:
            MediaError: OVERDUE.
        """
        if time.thread_time() > self._end:
            detail = f"decoding took more than {self.seconds:g} s of processor time"
            raise MediaError(path, Loss.OVERDUE, detail)


@contextmanager
def opened(path: Path, allowance: Allowance | None = None) -> Iterator[InputContainer]:
    """Open a media file for reading; it is closed whatever happens.

    Args:
        path: the file, or a shard's member, see ``tar_members``.
        allowance: its seconds are also how long opening, and each read, may wait for storage.

    Raises:
        MediaError: MISSING, EMPTY, NOT_MEDIA or OVERDUE.
        DataError: the shard that holds it is damaged.
    """
    wait = CLIP_SECONDS if allowance is None else max(1.0, allowance.seconds)
    # An absolute path is never taken for a URL or an option, whatever the file's name.
    path = path.absolute()
    try:
        inside = member_of(path)
        if inside is None and not path.is_file():
            raise MediaError(path, Loss.MISSING, "no such file")
        if inside is None and path.stat().st_size == 0:
            raise MediaError(path, Loss.EMPTY, "the file is empty")
        target, allowed = (str(path), PROTOCOLS) if inside is None else inside.target()
        # FFmpeg decodes some frames to learn what there is: the bound is for these.
        options = {**allowed, "max_pixels": str(PROBED_PIXELS)}
        container = av.open(target, "r", options=options, timeout=wait, **METADATA)
    except DataError:  # a MediaError, or a damaged shard
        raise
    except av.ExitError as error:
        raise _silent(path, wait) from error
    except BROKEN as error:
        raise MediaError(path, Loss.NOT_MEDIA, f"not a media file: {reason(error)}") from error
    try:
        yield container
    finally:
        container.close()


def packets(
    container: InputContainer, stream: Stream, path: Path, allowance: Allowance
) -> Iterator[Any]:
    """The packets of a stream from where the container stands, as long as there is time.

    Raises:
        MediaError: OVERDUE. What else demuxing raises is the caller's.
    """
    try:
        for packet in container.demux(stream):
            allowance.check(path)
            yield packet
    except av.ExitError as error:
        raise _silent(path, allowance.seconds) from error


def _silent(path: Path, seconds: float) -> MediaError:
    return MediaError(path, Loss.OVERDUE, f"no answer from storage for {seconds:g} s")


def origin(container: InputContainer) -> float:
    """The container's own start, seconds; a clip's times count from it, as in players."""
    return 0.0 if container.start_time is None else container.start_time / av.time_base


def reason(error: BaseException) -> str:
    """What FFmpeg or Python says of an error, without the path and the error number."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{said} ({type(error).__name__})"
