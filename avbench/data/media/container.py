"""Opening of media files by PyAV, the time limit of a clip, and the error for a lost clip.

``defects`` lists how each class of defect is handled.
"""

import errno
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from packaging.version import Version

from avbench.core.errors import DataError
from avbench.data.media.file_bytes import FileBytes
from avbench.data.media.tar_members import member_of

CONTAINERS = (
    "mov", "matroska", "avi", "flv", "asf", "mpeg", "mpegts", "mpegvideo", "ogg",
    "wav", "flac", "mp3", "aac", "jpeg_pipe", "png_pipe",
)  # fmt: skip
"""FFmpeg's names of the containers that are read: those of ``local_files``' extensions. Scripts,
playlists and session descriptions, which name other files or addresses, are none of them."""

MOST_PIXELS = 2**25
"""Pixels of a picture, at most (8K, 7680 × 4320): a header of a few bytes can ask for gigabytes.
"""

PROBED_PIXELS = 2**27
"""Pixels of a picture, at most, while FFmpeg probes a file. FFmpeg reports no size above it, so it
exceeds MOST_PIXELS: a size in between is reported as TOO_LARGE."""

OPTIONS = {
    "format_whitelist": ",".join(CONTAINERS),
    "protocol_whitelist": "",
    "max_pixels": str(PROBED_PIXELS),
}
"""FFmpeg's options: known containers, no protocol at all, and a bound on the frames that it
decodes while probing."""

METADATA: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if Version(av.__version__).major < 19 else {}
)
"""Argument for odd bytes in tags; PyAV 19 always reads them this way and has no argument."""

PLAIN = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers that state when each frame is shown, and that can be rewound to their first packet.
For others (AVI) FFmpeg guesses the times, and they are opened anew."""

LATE = 1.0
"""Seconds by which a stream may go on after the stated end without a note."""

CLIP_SECONDS = 300.0
"""Processor time that decoding a clip may take by default."""

BROKEN = (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError)
"""Exceptions that opening and decoding damaged data raises."""

STORAGE = (av.ExitError, TimeoutError)
"""Those of them that storage causes: FFmpeg gave up waiting, or one read took too long."""


class LostReason(StrEnum):
    """Reason why a clip cannot be decoded, and is lost."""

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
    """Its picture has more than MOST_PIXELS."""
    OVERDUE = "overdue"
    """Decoding exceeded the time limit."""
    CRASHED = "crashed"
    """The process that decoded it died, twice."""


class MediaError(DataError):
    """A lost clip: ``reason`` is the class of its fault, and the message names the file."""

    def __init__(self, path: Path, reason: LostReason, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.reason = reason
        self.detail = detail

    def as_result(self) -> dict[str, Any]:
        """Return the lost clip as a ``ClipResult``, see ``prepared.lost``."""
        return {"lost": self.reason.value, "detail": str(self)}


class Allowance:
    """Time limit of decoding one clip, checked for every packet.

    It counts this thread's processor time, so that a busy machine loses no clip; the wall clock
    detects storage that does not answer. It cannot end a single call of the codec: ``crash_guard``
    can.

    Args:
        seconds: limit from now on, for all passes over picture and sound.
    """

    def __init__(self, seconds: float = CLIP_SECONDS) -> None:
        self.seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self, path: Path) -> None:
        """Check that time is left.

        Raises:
            MediaError: OVERDUE.
        """
        if time.thread_time() > self._end:
            detail = f"decoding took more than {self.seconds:g} s of processor time"
            raise MediaError(path, LostReason.OVERDUE, detail)


@contextmanager
def open_media(path: Path, allowance: Allowance | None = None) -> Iterator[InputContainer]:
    """Open a media file for reading, and close it at the end.

    Args:
        path: the file, or a shard's member, see ``tar_members``.
        allowance: its seconds also limit the time that opening, and each read, waits for storage.

    Raises:
        MediaError: MISSING, EMPTY, NOT_MEDIA or OVERDUE.
        DataError: the shard that holds the file is damaged.
    """
    wait = CLIP_SECONDS if allowance is None else max(1.0, allowance.seconds)
    path = path.absolute()
    try:
        inside = member_of(path)
        if inside is None and not path.is_file():
            raise MediaError(path, LostReason.MISSING, "no such file")
        if inside is None and path.stat().st_size == 0:
            raise MediaError(path, LostReason.EMPTY, "the file is empty")
        file = FileBytes(path, wait) if inside is None else inside.open(wait)
    except OSError as error:
        raise MediaError(
            path, LostReason.MISSING, f"cannot be read: {error_text(error)}"
        ) from error
    with closing(file), closing(_open_container(path, file, wait)) as container:
        yield container


def _open_container(path: Path, file: Any, wait: float) -> InputContainer:
    """Open a container of an open file, with nothing but its own bytes.

    Raises:
        MediaError: NOT_MEDIA or OVERDUE.
    """
    try:
        opened: InputContainer = av.open(
            file, "r", options=OPTIONS, timeout=wait, io_open=refuse_to_open, **METADATA
        )
    except STORAGE as error:
        raise storage_timeout(path, wait) from error
    except BROKEN as error:
        # FFmpeg's word for a container that is not on the list.
        foreign = getattr(error, "errno", None) == errno.EINVAL
        why = f"none of the containers {', '.join(CONTAINERS)}" if foreign else error_text(error)
        raise MediaError(path, LostReason.NOT_MEDIA, f"not a media file: {why}") from error
    return opened


def refuse_to_open(url: str, flags: int, options: dict[str, str]) -> Any:  # noqa: ARG001
    """Refuse what a container asks FFmpeg to open beside the file itself."""
    raise PermissionError(errno.EACCES, f"it asks for another file, '{url}'")


def storage_timeout(path: Path, seconds: float) -> MediaError:
    """Return the error for storage that does not answer."""
    return MediaError(path, LostReason.OVERDUE, f"no answer from storage for {seconds:g} s")


def origin(container: InputContainer) -> float:
    """Return the container's own start, seconds; a clip's times count from it, as in players."""
    return 0.0 if container.start_time is None else container.start_time / av.time_base


def stated_end(container: InputContainer) -> float | None:
    """Return the length that the file's header states, seconds; None: FFmpeg would guess it."""
    if container.duration is None or container.format.name not in PLAIN:
        return None
    return container.duration / av.time_base


def late_end_notes(stated: float | None, stream: str, end: float) -> list[str]:
    """Return a note if a stream goes on after the end that the file's header states.

    Args:
        stated: see ``stated_end``.
        stream: the stream's name in the note.
        end: where it ends, seconds from the file's own start.
    """
    if stated is None or end <= stated + LATE:
        return []
    return [f"the header states {stated:.2f} s, the {stream} goes on to {end:.2f} s"]


def error_text(error: BaseException) -> str:
    """Return the message of an error without path and error number, and its type."""
    message = getattr(error, "strerror", None) or str(error)
    return f"{message} ({type(error).__name__})"
