"""Opening media files by PyAV, and what is said of those that cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import av
from av.container import InputContainer

from avbench.errors import DataError

PROTOCOLS = {"protocol_whitelist": "file"}
"""A media file may not make FFmpeg open anything but local files (playlists name URLs)."""


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


class MediaError(DataError):
    """A clip that cannot be used; ``loss`` says why, the message names the file."""

    def __init__(self, path: Path, loss: Loss, detail: str) -> None:
        super().__init__(f"{path}: {detail}")
        self.path = path
        self.loss = loss
        self.detail = detail


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a media file for reading; it is closed whatever happens.

    Raises:
        MediaError: MISSING, EMPTY or NOT_MEDIA.
    """
    # An absolute path is never taken for a URL or an option, whatever the file's name.
    path = path.absolute()
    try:
        if not path.is_file():
            raise MediaError(path, Loss.MISSING, "no such file")
        if path.stat().st_size == 0:
            raise MediaError(path, Loss.EMPTY, "the file is empty")
        container = av.open(str(path), options=PROTOCOLS, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, MediaError):
            raise
        raise MediaError(path, Loss.NOT_MEDIA, f"not a media file: {reason(error)}") from error
    try:
        yield container
    finally:
        container.close()


def origin(container: InputContainer) -> float:
    """The container's own start, seconds; a clip's times count from it, as in players."""
    return 0.0 if container.start_time is None else container.start_time / av.time_base


def reason(error: BaseException) -> str:
    """What FFmpeg or Python says of an error, without the path and the error number."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{said} ({type(error).__name__})"
