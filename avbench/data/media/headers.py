"""What the headers of media files say, many files at a time, nothing decoded."""

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
from av.stream import Disposition

from avbench.data.media.container import Loss, MediaError, opened
from avbench.data.media.tar_members import sound_of

CHUNK = 32
"""Files that a process is given at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a file says of itself."""

    loss: str | None = None
    """Why no clip of it can be used, a value of ``container.Loss``; None: nothing is known."""
    detail: str = ""
    seconds: float | None = None
    """Its length; None: it does not say."""
    container: str = ""
    video: str = ""
    """Codec of the picture; empty: there is none."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the coded picture, pixels, before any rotation."""
    rate: float | None = None
    """Frames a second, on average."""
    audio: str = ""
    """Codec of the first sound track; empty: there is none."""
    sample_rate: int = 0
    """Hz."""
    channels: int = 0


def read_header(path: Path) -> Header:
    """Open a file and read what its header, and where that says too little its start, tell."""
    try:
        with opened(path) as container:
            header = _header(path, container)
        apart = sound_of(path)
        if apart is None:
            return header
        with opened(apart[0]) as container:  # a shard's clip has its sound beside it
            return replace(header, **_sound(container))
    except MediaError as error:
        return Header(loss=error.loss.value, detail=error.detail)


def _header(path: Path, container: InputContainer) -> Header:
    seconds = None if container.duration is None else container.duration / av.time_base
    header = Header(seconds=seconds, container=container.format.name)
    header = replace(header, **_sound(container))
    for stream in container.streams.video:
        context = stream.codec_context
        if context is not None and not stream.disposition & Disposition.attached_pic:
            return replace(
                header,
                video=context.codec.canonical_name,
                size=(context.width, context.height),
                rate=float(stream.average_rate) if stream.average_rate else None,
            )
    why = f"{path}: no video stream that can be decoded"
    return replace(header, loss=Loss.NO_VIDEO.value, detail=why)


def _sound(container: InputContainer) -> dict[str, Any]:
    """What a file says of its first sound track."""
    sounds = [s.codec_context for s in container.streams.audio if s.codec_context is not None]
    if not sounds:
        return {}
    return {
        "audio": sounds[0].codec.canonical_name,
        "sample_rate": sounds[0].sample_rate,
        "channels": sounds[0].channels,
    }


def read_headers(paths: Sequence[Path], *, seconds: float, workers: int = 1) -> dict[Path, Header]:
    """The headers of as many files as the time allows.

    They are taken in an order drawn at random (the same each time), so that what was not reached
    is like what was.

    Args:
        paths: files, each once.
        seconds: when to stop; what is begun is ended.
        workers: processes.
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
    # Spawned, not forked: FFmpeg and torch have threads.
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
