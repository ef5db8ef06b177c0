"""Does to a stream's input what an ``Alteration`` says: another clip's input, or noise.

Zeroing needs no code here: it is a view of the captioner without the stream.
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
"""The fields of a batch that are the input of a modality, each named as the modality."""


def kept(alteration: Alteration | None, encoded: View) -> View:
    """The view of a model under an alteration, which is checked to fit the model.

    Args:
        alteration: None: the streams are as they are.
        encoded: the streams that the model encodes.

    Raises:
        SuiteError: it is of a stream that the model does not encode, or of one's input that has
            no field in a batch.
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
    """The streams to which this is done."""
    return alteration.streams if alteration is not None and alteration.how == how else ()


def swapped(alteration: Alteration | None, videos: Sequence[str]) -> dict[Modality, list[int]]:
    """For each swapped stream, the place of the clip that each clip's input is taken from.

    Args:
        alteration: None: nothing is swapped.
        videos: the video of each clip.
    """
    streams = _streams(alteration, "swapped")
    return dict.fromkeys(streams, partners(videos, _seed(alteration)) if streams else [])


def same_video(taken: Mapping[Modality, Sequence[int]], videos: Sequence[str]) -> int:
    """How many clips' input is taken from another clip of the same video."""
    return sum(
        any(videos[of[i]] == video for of in taken.values()) for i, video in enumerate(videos)
    )


def partners(videos: Sequence[str], seed: int) -> list[int]:
    """For each clip another one, each taken once: a permutation without fixed points.

    The clips are put in an order in which those of a video stand together, and each takes the
    clip that is as many places further as the largest video has clips. So all partners are of
    other videos where no video has more than half of the clips, and as many as can be otherwise.

    Args:
        videos: the video of each clip.
        seed: of the order of videos, and of the clips in each.

    Returns:
        The place of each clip's partner.

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
    step = step if step < n else 1  # one video alone: its other clips
    taken = [0] * n
    for place, i in enumerate(order):
        taken[i] = order[(place + step) % n]
    return taken


def noised(alteration: Alteration | None, batch: Batch, vocabulary: Vocabulary) -> Batch:
    """A batch with noise in some of its streams; what each clip gets depends on its id alone.

    - Spectrograms: Gaussian noise is added, of the standard deviation that the values of the
      clip's input have, times ``10^(−dB/20)``; padding counts as input, as the encoder reads it.
    - Frames: the same over all pixels and colours of the clip, then rounded and clipped to what a
      pixel can hold, which takes away some of strong noise.
    - Words: each word piece is replaced with probability ``1 / (1 + 10^(dB/10))``, noise's share
      of signal and noise, by one drawn uniformly from the vocabulary without special tokens.

    Args:
        alteration: the streams, the signal-to-noise ratio and the seed; None, or one of another
            kind: the batch stays as it is.
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
    """One clip's input of a stream with noise, by what its values are."""
    if given.dtype == torch.uint8:
        return _gaussian(given.float(), db, draw).round().clamp(0, 255).to(torch.uint8)
    if given.dtype.is_floating_point:
        return _gaussian(given, db, draw)
    return _misheard(given, db, draw, vocabulary)


def _gaussian(
    given: Float[Tensor, "*shape"], db: float, draw: torch.Generator
) -> Float[Tensor, "*shape"]:
    """The input with Gaussian noise; one that is constant has no variance, and gets none."""
    noise = torch.randn(given.shape, generator=draw).to(given)
    return given + given.std(correction=0) * 10 ** (-db / 20) * noise


def _misheard(
    given: Int[Tensor, " L"], db: float, draw: torch.Generator, vocabulary: Vocabulary
) -> Int[Tensor, " L"]:
    """Word pieces of which some are replaced; padding stays."""
    words = torch.tensor([i for i in range(len(vocabulary)) if i not in vocabulary.special])
    hit = torch.rand(given.shape, generator=draw) < 1 / (1 + 10 ** (db / 10))
    other = words[torch.randint(len(words), given.shape, generator=draw)]
    return torch.where(hit.to(given.device) & (given != PAD), other.to(given), given)


__all__ = ["INPUTS", "kept", "noised", "partners", "same_video", "swapped"]
