"""Apply an ``Alteration`` to a stream's input: another clip's input, or noise.

Zeroing needs no code here, because it is a view of the captioner without the stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avbench.core.errors import SuiteError, unknown
from avbench.core.types import Batch, Modality, View
from avbench.data.dataset import generator
from avbench.data.tokenizer import PAD, Vocabulary
from avbench.evaluation.perturbation import Alteration, How

INPUTS = frozenset(f.name for f in fields(Batch)) - {"captions", "clip", "ids"}
"""The fields of a batch that hold a modality's input, named after it."""


def kept(alteration: Alteration | None, encoded: View) -> View:
    """Return the view of a model under an alteration, after a check that it fits the model.

    Args:
        alteration: None if nothing is altered.
        encoded: the streams that the model encodes.

    Raises:
        SuiteError: the model does not encode a stream, or a stream's input has no field in a
            batch.
    """
    for stream in alteration.streams if alteration is not None else ():
        assert alteration is not None
        where = f"evaluate.{alteration.how}"
        if stream not in encoded:
            raise SuiteError(f"{where}: {unknown('stream', stream, encoded)}")
        if alteration.how != "zeroed" and stream not in INPUTS:
            raise SuiteError(
                f"{where}: '{stream}' has no input of its own in a batch; "
                f"those that have: {', '.join(sorted(INPUTS))}"
            )
    return encoded - frozenset(_streams(alteration, "zeroed"))


def _streams(alteration: Alteration | None, how: How) -> tuple[Modality, ...]:
    """Return the streams of an alteration of this kind."""
    return alteration.streams if alteration is not None and alteration.how == how else ()


def swapped(alteration: Alteration | None, videos: Sequence[str]) -> dict[Modality, list[int]]:
    """Return, for each swapped stream, the index of the clip that each input comes from.

    Args:
        alteration: None if nothing is altered.
        videos: the video of each clip.
    """
    streams = _streams(alteration, "swapped")
    return dict.fromkeys(streams, partners(videos, _seed(alteration)) if streams else [])


def same_video(taken: Mapping[Modality, Sequence[int]], videos: Sequence[str]) -> int:
    """Count the clips whose input comes from another clip of the same video."""
    return sum(
        any(videos[of[i]] == video for of in taken.values()) for i, video in enumerate(videos)
    )


def partners(videos: Sequence[str], seed: int) -> list[int]:
    """Pair each clip with another, each used once: a permutation without fixed points.

    The clips are ordered so that those of a video stand together. Each takes the clip that is k
    places further, where k is the size of the largest video. So all partners come from other
    videos unless a video has more than half of the clips; then as many do as possible.

    Args:
        videos: the video of each clip.
        seed: of the order of videos and of their clips.

    Returns:
        The index of each clip's partner.

    Raises:
        SuiteError: there are fewer than two clips.
    """
    n = len(videos)
    if n < 2:
        raise SuiteError(f"evaluate.swapped: needs at least two clips, got {n}")
    draw = generator(seed, "swapped")
    of_video: dict[str, list[int]] = {}
    for i in torch.randperm(n, generator=draw).tolist():
        of_video.setdefault(videos[i], []).append(i)
    order = [i for clips in of_video.values() for i in clips]
    step = max(map(len, of_video.values()))
    step = step if step < n else 1  # a single video: its other clips
    taken = [0] * n
    for place, i in enumerate(order):
        taken[i] = order[(place + step) % n]
    return taken


def noised(alteration: Alteration | None, batch: Batch, vocabulary: Vocabulary) -> Batch:
    """Add noise to streams of a batch; a clip's noise depends only on its id and the seed.

    - Spectrograms: Gaussian noise, with the standard deviation of the clip's input times
      ``10^(−dB/20)``. Padding counts as input, because the encoder reads it.
    - Frames: the same over all pixels and colours of the clip, then rounded and clipped to the
      range of a pixel, which weakens strong noise.
    - Words: each word piece is replaced with probability ``1 / (1 + 10^(dB/10))``, the share of
      noise in signal and noise, by one drawn uniformly from the vocabulary without special tokens.

    Args:
        alteration: the streams, the signal-to-noise ratio and the seed. Without noise the batch
            stays as it is.
        batch: clips, on any device.
        vocabulary: of the word pieces.
    """
    made: dict[str, Any] = {}
    db = (alteration.noise_db if alteration is not None else None) or 0.0
    for stream in _streams(alteration, "noised"):
        given: Tensor = getattr(batch, stream)
        rows = []
        for i, clip in enumerate(batch.ids):
            draw = generator(_seed(alteration), "noise", stream, clip)
            rows.append(_noised(given[i], db, draw, vocabulary))
        made[stream] = torch.stack(rows)
    return replace(batch, **made)


def _seed(alteration: Alteration | None) -> int:
    return (alteration.seed if alteration is not None else None) or 0


def _noised(given: Tensor, db: float, draw: torch.Generator, vocabulary: Vocabulary) -> Tensor:
    """Add noise to one clip's input of a stream, by the type of its values."""
    if given.dtype == torch.uint8:
        return _gaussian(given.float(), db, draw).round().clamp(0, 255).to(torch.uint8)
    if given.dtype.is_floating_point:
        return _gaussian(given, db, draw)
    return _misheard(given, db, draw, vocabulary)


def _gaussian(
    given: Float[Tensor, "*shape"], db: float, draw: torch.Generator
) -> Float[Tensor, "*shape"]:
    """Add Gaussian noise; a constant input has no variance and gets none."""
    noise = torch.randn(given.shape, generator=draw).to(given)
    return given + given.std(correction=0) * 10 ** (-db / 20) * noise


def _misheard(
    given: Int[Tensor, " L"], db: float, draw: torch.Generator, vocabulary: Vocabulary
) -> Int[Tensor, " L"]:
    """Replace some word pieces; padding stays."""
    words = torch.tensor([i for i in range(len(vocabulary)) if i not in vocabulary.special])
    hit = torch.rand(given.shape, generator=draw) < 1 / (1 + 10 ** (db / 10))
    other = words[torch.randint(len(words), given.shape, generator=draw)]
    return torch.where(hit.to(given.device) & (given != PAD), other.to(given), given)


__all__ = ["INPUTS", "kept", "noised", "partners", "same_video", "swapped"]
