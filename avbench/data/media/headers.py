"""Reading of media files' headers, many files at a time, without decoding."""

import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from avbench.data.media.container import MediaError, open_media
from avbench.data.media.stream import first_stream
from avbench.data.media.tar_members import sound_of

CHUNK = 32
"""Files handed to a process at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Facts from a file's header."""

    reason: str | None = None
    """A value of ``container.LostReason`` if all its clips are lost; None: none known."""
    detail: str = ""
    seconds: float | None = None
    """Length as stated, which packets may exceed; None: not stated."""
    container: str = ""
    video: str = ""
    """Codec of the picture; empty: no picture."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the coded picture, pixels, before any rotation."""
    rate: float | None = None
    """Frames a second, on average."""
    audio: str = ""
    """Codec of the first sound track; empty: no sound."""
    sample_rate: int = 0
    """Hz."""
    channels: int = 0


def read_header(path: Path) -> Header:
    """Read a file's header, and its start if FFmpeg needs more."""
    try:
        with open_media(path) as container:
            header = _header(path, container)
        separate = sound_of(path)
        if separate is None:
            return header
        with open_media(separate[0]) as container:  # a shard's clip has its sound beside it
            return replace(header, **_sound(container))
    except MediaError as error:
        return Header(reason=error.reason.value, detail=error.detail)


def _header(path: Path, container: InputContainer) -> Header:
    seconds = None if container.duration is None else container.duration / av.time_base
    header = Header(seconds=seconds, container=container.format.name)
    header = replace(header, **_sound(container))
    try:
        stream = first_stream(container, path, 1)
    except MediaError as error:
        return replace(header, reason=error.reason.value, detail=error.detail)
    context = stream.codec_context
    return replace(
        header,
        video=context.codec.canonical_name,
        size=(context.width, context.height),
        rate=float(stream.average_rate) if stream.average_rate else None,
    )


def _sound(container: InputContainer) -> dict[str, Any]:
    """Return the fields of a file's first sound track."""
    sounds = [s.codec_context for s in container.streams.audio if s.codec_context is not None]
    if not sounds:
        return {}
    return {
        "audio": sounds[0].codec.canonical_name,
        "sample_rate": sounds[0].sample_rate,
        "channels": sounds[0].channels,
    }


def read_headers(paths: Sequence[Path], *, seconds: float, workers: int = 1) -> dict[Path, Header]:
    """Read the headers of as many files as the time allows.

    The order is random (the same each time), so that the files read represent the others.

    Args:
        paths: files, each once.
        seconds: time after which no file is begun.
        workers: number of processes.
    """
    order = sorted(paths)
    random.Random(0).shuffle(order)
    until = time.monotonic() + seconds
    found: dict[Path, Header] = {}
    if workers == 1 or len(order) <= CHUNK:
        for path in order:
            if time.monotonic() > until:
                break
            found[path] = read_header(path)
        return found
    chunks = iter([order[i : i + CHUNK] for i in range(0, len(order), CHUNK)])
    # Spawned, not forked, because FFmpeg and torch have threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_chunk, chunk) for chunk in islice(chunks, 2 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            found.update(pair for future in done for pair in future.result())
            if time.monotonic() < until:
                running |= {pool.submit(_chunk, chunk) for chunk in islice(chunks, len(done))}
    return found


def _chunk(paths: Sequence[Path]) -> list[tuple[Path, Header]]:
    return [(path, read_header(path)) for path in paths]
