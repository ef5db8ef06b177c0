"""Speech recognition for the SCR of clips without transcripts; an optional extra.

PocketSphinx brings a small model of American English in its wheel, so nothing is downloaded. It is
an old recogniser: it reads clear speech, but also hears words in noise and music. Its SCR is an
indication, not the paper's figure.

Source: https://github.com/cmusphinx/pocketsphinx
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from avbench.analysis.relevance.sets import read_set, sources
from avbench.core.errors import AvbenchError, DataError, UnknownNameError, unknown
from avbench.core.registry import Registry
from avbench.core.types import Clip, SoundState
from avbench.data.annotations.strict_json import open_lines
from avbench.data.media.audio import read_sound
from avbench.data.media.container import MediaError

EXTRA = "python -m pip install 'avbench[asr]'"


@runtime_checkable
class Recogniser(Protocol):
    """A speech recogniser; equal sound gives equal words, whatever came before."""

    name: str
    """Name and version."""
    rate: int
    """Sample rate of its input, Hz."""

    def __call__(self, samples: npt.NDArray[np.float32]) -> str:
        """The words of mono sound (S,), -1 to 1; empty: none."""


class PocketSphinx:
    """PocketSphinx with the English model of its wheel.

    Raises:
        AvbenchError: it is not installed; names the extra.
    """

    rate = 16_000

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise AvbenchError(
                f"engine 'pocketsphinx' is not installed ({error}); {EXTRA}"
            ) from error
        self.name = f"pocketsphinx-{version('pocketsphinx')}"
        self._decoder = Decoder(samprate=self.rate, loglevel="FATAL")

    def __call__(self, samples: npt.NDArray[np.float32]) -> str:
        """The words of mono sound (S,)."""
        if not samples.size:
            return ""
        coded = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        # Otherwise means and noise of one clip's sound are carried into the next.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(coded, full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


ENGINES: Mapping[str, Callable[[], Recogniser]] = {"pocketsphinx": PocketSphinx}


def recogniser(name: str) -> Recogniser:
    """Make a recogniser by name.

    Raises:
        AvbenchError: there is none, or it is not installed.
    """
    if name not in ENGINES:
        raise UnknownNameError(f"--engine: {unknown('engine', name, ENGINES)}")
    return ENGINES[name]()


def recognise_dataset(
    data: Path,
    key: str,
    out: Path,
    registry: Registry,
    *,
    splits: Sequence[str] | None = None,
    engine: str = "pocketsphinx",
    limit: int | None = None,
) -> dict[str, Any]:
    """Write the speech of a dataset's clips, one clip a line; lines already there are kept.

    Args:
        data: a data file.
        key: one of its datasets.
        out: JSON lines as ``Transcripts`` reads them; unusable clips are left out.
        registry: the readers.
        splits: only these; None: all.
        engine: the recogniser.
        limit: the most new clips.

    Raises:
        AvbenchError: a name is unknown, a file is at fault, or ``out`` is another engine's.
    """
    known = sources(str(data), registry)
    if key not in known:
        raise UnknownNameError(f"--dataset: {unknown('dataset', key, known)}")
    hear = recogniser(engine)
    whole = read_set(known[key], registry)
    for split in splits or ():
        if split not in whole.splits:
            raise UnknownNameError(f"--split: {unknown('split', split, whole.splits)}")
    clips = [clip for split in splits or whole.splits for clip in whole.splits[split]]
    done = _done(out, hear.name)
    counts: Counter[str] = Counter({"there already": 0, "written": 0})
    problems: list[str] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        for clip in _once(clips):
            if _place(clip) in done:
                counts["there already"] += 1
                continue
            if limit is not None and sum(counts.values()) - counts["there already"] >= limit:
                break
            try:
                sound = read_sound(clip.media, start=clip.start, end=clip.end, rate=hear.rate)
            except MediaError as error:
                counts[f"lost ({error.reason})"] += 1
                problems.append(f"{clip.id}: {error}")
                continue
            if sound.state is SoundState.UNDECODABLE:
                counts["lost (sound cannot be decoded)"] += 1
                problems.append(f"{clip.id}: {'; '.join(sound.notes)}")
                continue
            text = hear(sound.samples) if sound.state is SoundState.PRESENT else ""
            line = {**_place_json(clip), "text": text, "by": hear.name}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            counts["written"] += 1
    return {"file": str(out), "engine": hear.name, "clips": dict(counts), "problems": problems}


def _done(out: Path, engine: str) -> set[tuple[str, float | None, float | None]]:
    """Return the clips of a file; an incomplete last line, which a kill leaves, is dropped."""
    if not out.exists():
        return set()
    contents = out.read_bytes()
    if not contents.endswith(b"\n"):
        out.write_bytes(contents[: contents.rfind(b"\n") + 1])
    found = set()
    for line in open_lines(out):
        by = line["by"].string()
        if by != engine:
            raise DataError(
                f"{line.place}: was recognised by {by}, not {engine}; choose another file"
            )
        times = [line[name].number() if name in line else None for name in ("start", "end")]
        found.add((line["id"].string(), times[0], times[1]))
    return found


def _once(clips: Iterable[Clip]) -> list[Clip]:
    return list({_place(clip): clip for clip in reversed(list(clips))}.values())[::-1]


def _place(clip: Clip) -> tuple[str, float | None, float | None]:
    """Return the key of a line: the clip, or the video and the times, which annotators share."""
    if clip.start is None or clip.end is None:
        return clip.id, None, None
    return clip.video, clip.start, clip.end


def _place_json(clip: Clip) -> dict[str, Any]:
    id_, start, end = _place(clip)
    return {"id": id_} if start is None else {"id": id_, "start": start, "end": end}
