"""Decoding of a clip's frames from the first video stream of a media file.

Frames are chosen by their presentation time stamps, which come from the packets without decoding.
Then the chosen frames, and those that they refer to, are decoded (see ``packets``). Only the
chosen frames are converted and kept, so memory does not grow with the clip. If decoding does not
match the packets' stamps (a damaged file, stamps out of order), the whole clip is decoded once to
find its frames, and the choice is made anew. Then damaged packets are left out and noted, and
decoding goes on with the next one that decodes, to the clip's end and within its time. An error
that no chosen frame depends on is not met.

Conversion is one pass of FFmpeg's swscale (bilinear, with a filter that widens when it shrinks):
the short side to ``size`` pixels, non-square pixels made square, then the centre crop, then the
rotation of the file's display matrix (its mirror flag is ignored).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avbench.data.media.container import Allowance, LostReason, MediaError
from avbench.data.media.decoder_pass import Frame, Pass
from avbench.data.media.packets import Index
from avbench.data.media.sampling import EPSILON, Timeline
from avbench.data.media.stream import Span, Video, index

Pick = Callable[[Timeline], Sequence[int]]
"""Chooses frames of a clip: indices into its timeline, which may repeat."""

STEPS_BACK = (0.0, 2.0, 10.0)
"""Seconds before the clip to seek to, in turn until a frame before the clip is found."""

SHORT = 0.5
"""Seconds by which the picture may end early without a note."""

LEAST = 1e-3
"""Duration of a clip's last frame, seconds, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """The chosen frames of a clip."""

    frames: NDArray[np.uint8]
    """(T, 3, size, size), RGB, in the order of the choice."""
    chosen: tuple[int, ...]
    """Index of each frame in the timeline."""
    timeline: Timeline
    """All frames of the clip that decode."""
    notes: tuple[str, ...]
    """Defects of the file that did not lose the clip."""


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

    The clip's frames are those that start in [start, end); if there is none, the one on the
    screen at ``start``.

    Args:
        path: the media file.
        start: seconds from the file's own start; None: its first frame.
        end: seconds; None: its last frame. Past the end of the file means its end.
        size: height and width of the frames, pixels.
        pick: chooses among the clip's frames.
        threads: threads of the decoder.
        allowance: time limit; None: the default.

    Raises:
        MediaError: the file or the clip cannot be used, with the reason.
    """
    check_interval(path, start, end)
    with Video(path, threads, allowance) as video:
        span, packets = _packets(video, start, end)
        timeline = _trusted_timeline(packets, span)
        found = None
        if timeline is not None:
            chosen = tuple(pick(timeline))
            found = _decode_by_stamps(video, span, size, packets, timeline, chosen)
        notes: list[str] = []
        if timeline is None or found is None:
            run = Pass(video, span, size)
            stamps = run.stamps()
            timeline, places = cut(stamps, span, video.interval)
            notes = run.notes[:]
            if timeline is None:
                raise MediaError(path, LostReason.NO_FRAME, no_frame_reason(stamps, span, notes))
            chosen = tuple(pick(timeline))
            found = _decode_by_places(run, places, chosen)
            if found is None:
                why = "; ".join(run.notes[len(notes) :]) or "they decode but once"
                raise MediaError(path, LostReason.NO_FRAME, f"the chosen frames are gone: {why}")
    notes += end_notes(timeline, span, video)
    return Picture(
        frames=np.stack([found[i] for i in chosen]),
        chosen=chosen,
        timeline=timeline,
        notes=tuple(notes),
    )


def check_interval(path: Path, start: float | None, end: float | None) -> None:
    """Refuse a clip whose interval is empty.

    Raises:
        MediaError: NO_INTERVAL.
    """
    if end is not None and not end > (start or 0.0):
        raise MediaError(
            path,
            LostReason.NO_INTERVAL,
            f"the clip ends at {end} s and starts at {start or 0.0} s",
        )


def cut(stamps: Sequence[float], span: Span, interval: float) -> tuple[Timeline | None, list[int]]:
    """Return the timeline of a clip (None: no frame), and each frame's place in decoding order.

    Decoders output frames in the order of presentation. If their stamps disagree (FFmpeg guesses
    them in AVI), the order is kept and the stamps are sorted.

    Args:
        stamps: times of all frames from a point before the clip on, seconds.
        span: the clip.
        interval: duration of a frame that no other follows, seconds.
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
    """Return the span to read for a clip, and its timeline by the packets (None: not trusted)."""
    span, packets = _packets(video, start, end)
    return span, _trusted_timeline(packets, span)


def _packets(video: Video, start: float | None, end: float | None) -> tuple[Span, Index]:
    """Return the span to read for a clip, and the index of its packets."""
    low = -math.inf if start is None else start
    high = math.inf if end is None else end
    for back in (*STEPS_BACK, None) if start else (None,):
        span = Span(low, high, back)
        found = index(video, span)
        if back is None or (found.stamps and found.stamps[0] <= low):
            break
    return span, found


def _trusted_timeline(packets: Index, span: Span) -> Timeline | None:
    """Return the clip's timeline by its packets; None: not every packet has its own stamp."""
    return cut(packets.stamps, span, packets.interval)[0] if packets.trusted else None


def _decode_by_stamps(
    video: Video,
    span: Span,
    size: int,
    packets: Index,
    timeline: Timeline,
    chosen: Sequence[int],
) -> dict[int, Frame] | None:
    """Return the chosen frames by index; None: one does not decode at its time."""
    wanted = {timeline.times[i] for i in chosen}
    # First decode only the packets needed; if that fails, all of them.
    for needs in [packets.needs(wanted), None] if video.can_skip_packets(packets) else [None]:
        kept = Pass(video, span, size).by_stamp(wanted, needs)
        if len(kept) == len(wanted):
            return {i: kept[timeline.times[i]] for i in chosen}
    return None


def _decode_by_places(
    run: Pass, places: Sequence[int], chosen: Sequence[int]
) -> dict[int, Frame] | None:
    """Return the chosen frames by index, found by place in decoding order; None: one is gone."""
    kept = run.by_place({places[i] for i in chosen})
    frames = {i: kept[places[i]] for i in chosen if places[i] in kept}
    return frames if all(i in frames for i in chosen) else None


def end_notes(timeline: Timeline, span: Span, video: Video) -> list[str]:
    """Return a note if the picture ends before the clip, or not at the file's stated end."""
    stated = min(span.high, math.inf if video.duration is None else video.duration)
    if timeline.end < stated - SHORT and math.isfinite(stated):
        return [f"the picture ends at {timeline.end:.2f} s of {stated:.2f} s"]
    return video.late_end_notes(timeline.end)


def no_frame_reason(stamps: Sequence[float], span: Span, notes: Sequence[str]) -> str:
    """Return the reason why a clip has no frame."""
    if stamps and min(stamps) >= span.high - EPSILON:
        return f"the clip ends at {span.high:.2f} s, the picture starts at {min(stamps):.2f} s"
    if stamps:
        return f"the clip starts at {span.low:.2f} s, the picture ends at {max(stamps):.2f} s"
    return "; ".join(["no frame decodes", *notes])
