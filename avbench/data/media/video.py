"""The frames of a clip, out of the first video stream of a media file.

Frames are chosen by their presentation time stamps. The stamps are read first from the packets,
without decoding; then the chosen frames are decoded and those that they refer to (see
``packets``), and only the chosen ones are converted and kept, so memory does not grow with the
clip. Where the packets' stamps turn out not to be what decodes (a damaged file, stamps out of
order), the whole clip is decoded once to learn what there is, and the choice is made anew.
Decoding stops at the first error: what came before it is used, and noted. An error that no chosen
frame depends on is not met.

Conversion is one pass of FFmpeg's swscale (bilinear, whose filter widens when it shrinks): the
short side to ``size`` pixels, non-square pixels made square, then the centre crop, then the
rotation that the file's display matrix asks for (its mirror flag is not honoured).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.data.media.container import Allowance, Loss, MediaError
from avbench.data.media.decoder_pass import Frame, Pass
from avbench.data.media.packets import Index
from avbench.data.media.sampling import EPSILON, Timeline
from avbench.data.media.stream import Span, Video, index

Pick = Callable[[Timeline], Sequence[int]]
"""Chooses frames of a clip: indices into its timeline; an index may come more than once."""

STEPS_BACK = (0.0, 2.0, 10.0)
"""Seconds before the clip to seek to, tried in turn until a frame before the clip is met."""

SHORT = 0.5
"""Seconds by which the picture may end early without a note."""

LEAST = 1e-3
"""Seconds: the least that a clip's last frame is taken to last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What a clip's picture gave."""

    frames: NDArray[np.uint8]
    """(T, 3, size, size), RGB, in the order of the choice."""
    chosen: tuple[int, ...]
    """Index of each frame in the timeline."""
    timeline: Timeline
    """All frames of the clip that decode."""
    notes: tuple[str, ...]
    """What was wrong with the file and did not make the clip unusable."""


def read_frames(
    path: Path,
    *,
    start: float | None,
    end: float | None,
    size: int,
    pick: Pick,
    threads: int = 1,
    allowance: Allowance | None = None,
) -> Picture:
    """Decode the chosen frames of a clip.

    The clip's frames are those that come on in [start, end); where there is none, the one on the
    screen at ``start``.

    Args:
        path: the media file.
        start: seconds from the file's own start; None: its first frame.
        end: seconds; None: its last frame. Past the end of the file means its end.
        size: height and width of the frames, pixels.
        pick: chooses among the frames that there are.
        threads: of the decoder.
        allowance: the time that it may take; None: the usual.

    Raises:
        MediaError: the file or the clip cannot be used, with the reason.
    """
    check_interval(path, start, end)
    with Video(path, threads, allowance) as video:
        span, packets = _packets(video, start, end)
        timeline = _indexed(packets, span)
        found = None
        if timeline is not None:
            chosen = tuple(pick(timeline))
            found = _as_indexed(video, span, size, packets, timeline, chosen)
        notes: list[str] = []
        if timeline is None or found is None:
            run = Pass(video, span, size)
            stamps = run.stamps()
            timeline, places = cut(stamps, span, video.interval)
            notes = run.notes[:]
            if timeline is None:
                raise MediaError(path, Loss.NO_FRAME, nothing(stamps, span, notes))
            chosen = tuple(pick(timeline))
            found = _as_decoded(run, places, chosen)
            if found is None:
                why = "; ".join(run.notes[len(notes) :]) or "they decode but once"
                raise MediaError(path, Loss.NO_FRAME, f"the chosen frames are gone: {why}")
    notes += ends_early(timeline, span, video)
    return Picture(
        frames=np.stack([found[i] for i in chosen]),
        chosen=chosen,
        timeline=timeline,
        notes=tuple(notes),
    )


def check_interval(path: Path, start: float | None, end: float | None) -> None:
    """Refuse a clip that holds no time.

    Raises:
        MediaError: NO_INTERVAL.
    """
    if end is not None and not end > (start or 0.0):
        raise MediaError(
            path, Loss.NO_INTERVAL, f"the clip ends at {end} s and starts at {start or 0.0} s"
        )


def cut(stamps: Sequence[float], span: Span, interval: float) -> tuple[Timeline | None, list[int]]:
    """The frames within a clip, and the place of each in decoding order.

    Decoders put frames out in the order of presentation. Where their stamps disagree (AVI
    guesses them), the order is kept and the stamps are sorted.

    Args:
        stamps: of all frames from a point before the clip on, seconds.
        span: the clip.
        interval: how long a frame lasts where no other follows, seconds.
    """
    times = sorted(stamps)
    low, high = span.low - EPSILON, span.high - EPSILON
    places = [i for i, t in enumerate(times) if low <= t < high]
    if not places:  # the frame on the screen when the clip starts
        places = [i for i, t in enumerate(times) if t < low][-1:]
        if not places or span.low >= times[-1] + interval:
            return None, []
    chosen = tuple(times[i] for i in places)
    follows = places[-1] + 1
    end = times[follows] if follows < len(times) else chosen[-1] + interval
    start = max(chosen[0], span.low)
    return Timeline(chosen, start, max(min(end, span.high), start + LEAST)), places


def scan(video: Video, start: float | None, end: float | None) -> tuple[Span, Timeline | None]:
    """Where to read the clip, and its frames as the packets tell them."""
    span, packets = _packets(video, start, end)
    return span, _indexed(packets, span)


def _packets(video: Video, start: float | None, end: float | None) -> tuple[Span, Index]:
    """Where to read the clip, and what its packets say."""
    low = -math.inf if start is None else start
    high = math.inf if end is None else end
    for back in (*STEPS_BACK, None) if start else (None,):
        span = Span(low, high, back)
        found = index(video, span)
        if back is None or (found.stamps and found.stamps[0] <= low):
            break
    return span, found


def _indexed(packets: Index, span: Span) -> Timeline | None:
    """The clip's frames where every packet has a stamp of its own."""
    return cut(packets.stamps, span, packets.interval)[0] if packets.trusted else None


def _as_indexed(
    video: Video,
    span: Span,
    size: int,
    packets: Index,
    timeline: Timeline,
    chosen: Sequence[int],
) -> dict[int, Frame] | None:
    """The chosen frames by index; None where one does not decode at the time it should."""
    wanted = {timeline.times[i] for i in chosen}
    # What they need first; where that does not give them, all that comes before them.
    for needs in [packets.needs(wanted), None] if video.economical(packets) else [None]:
        kept = Pass(video, span, size).by_stamp(wanted, needs)
        if len(kept) == len(wanted):
            return {i: kept[timeline.times[i]] for i in chosen}
    return None


def _as_decoded(
    run: Pass, places: Sequence[int], chosen: Sequence[int]
) -> dict[int, Frame] | None:
    """The chosen frames by index, found by their place in decoding order."""
    kept = run.by_place({places[i] for i in chosen})
    frames = {i: kept[places[i]] for i in chosen if places[i] in kept}
    return frames if all(i in frames for i in chosen) else None


def ends_early(timeline: Timeline, span: Span, video: Video) -> list[str]:
    """A note where the picture ends before the clip does, or before its file says."""
    stated = min(span.high, math.inf if video.duration is None else video.duration)
    if timeline.end < stated - SHORT and math.isfinite(stated):
        return [f"the picture ends at {timeline.end:.2f} s of {stated:.2f} s"]
    return []


def nothing(stamps: Sequence[float], span: Span, notes: Sequence[str]) -> str:
    """Why a clip has no frame."""
    if stamps:
        return f"the clip starts at {span.low:.2f} s, the picture ends at {max(stamps):.2f} s"
    return "; ".join(["no frame decodes", *notes])
