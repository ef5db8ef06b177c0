"""Multiply-accumulates of a captioner and its parts, in closed form, from geometry alone.

Matrix products only, like ``avbench.models.macs``: no norms, softmax, biases. With n tokens in
self-attention a layer costs 12·D²·n + 2·n²·D. Streams are given by their numbers of tokens.
Nothing here looks at a network: the profile stage and the tests hold the counts against it.
"""

import math
from collections.abc import Sequence


def transformer_layer_macs(D: int, queries: int, keys: int, *, ratio: int = 4) -> int:
    """T(X, Y) of Eq. 8: projections, attention and feed-forward block.

    Args:
        D: model width.
        queries: tokens of X.
        keys: tokens of Y.
        ratio: width of the feed-forward block over D.
    """
    projections = 2 * queries * D**2 + 2 * keys * D**2
    attention = 2 * queries * keys * D
    return projections + attention + 2 * ratio * queries * D**2


# --------------------------------------------------------------------------- fusions


def merged_macs(D: int, streams: Sequence[int], *, layers: int = 3) -> int:
    """Merged fusion (Eq. 9)."""
    n = sum(streams)
    return layers * transformer_layer_macs(D, n, n)


def cross_macs(D: int, streams: Sequence[int], *, layers: int = 3) -> int:
    """Cross fusion of two streams (Eq. 10)."""
    a, v = streams
    return layers * (transformer_layer_macs(D, a, v) + transformer_layer_macs(D, v, a))


def global_macs(D: int, streams: Sequence[int], *, layers: int = 3, global_tokens: int = 1) -> int:
    """Global cross fusion of two streams (Eq. 11); shared layers cost the same."""
    a, v = streams
    each = (transformer_layer_macs(D, n + global_tokens, n + global_tokens) for n in (a, v))
    return layers * sum(each)


def local_global_merged_macs(
    D: int, streams: Sequence[int], *, layers: int = 3, global_tokens: int = 1
) -> int:
    """Local-global merged fusion (Eq. 12)."""
    wide = global_macs(D, streams, layers=layers, global_tokens=global_tokens)
    return wide + merged_macs(D, streams, layers=layers)


def local_global_cross_macs(
    D: int, streams: Sequence[int], *, layers: int = 3, global_tokens: int = 1
) -> int:
    """Local-global cross fusion (Eq. 12)."""
    wide = global_macs(D, streams, layers=layers, global_tokens=global_tokens)
    return wide + cross_macs(D, streams, layers=layers)


# --------------------------------------------------------------------------- encoders


def transformer_encoder_macs(
    D: int,
    tokens: int,
    *,
    layers: int,
    inputs: int = 0,
    out: int | None = None,
    out_tokens: int | None = None,
    ratio: int = 4,
) -> int:
    """A Transformer over one stream: the audio Transformer, BERT.

    Args:
        D: width of its layers.
        tokens: tokens in its layers.
        layers: their number.
        inputs: numbers in an input patch, which a linear layer maps to D; 0: looked up.
        out: width that its tokens are mapped to in the end; None or D: no such layer.
        out_tokens: tokens after pooling; None: as many as in the layers.
        ratio: width of the feed-forward block over D.
    """
    embedded = tokens * inputs * D
    projected = 0 if out in (None, D) else (out_tokens or tokens) * D * (out or 0)
    return embedded + layers * transformer_layer_macs(D, tokens, tokens, ratio=ratio) + projected


def video_swin_macs(
    input_size: Sequence[int],
    *,
    patch_size: Sequence[int],
    embed_dim: int,
    depths: Sequence[int],
    window_size: Sequence[int],
    ratio: int = 4,
    out: int | None = None,
) -> int:
    """Video Swin: patches, blocks of windowed attention, and merging between the stages.

    A block of n tokens of C channels, of which N after padding to whole windows of w tokens,
    costs 4·N·C² + 2·N·w·C + 2·ratio·n·C². A window is no longer than the map along any axis.

    Args:
        input_size: frames, rows and columns.
        patch_size: of a patch, likewise.
        embed_dim: channels of the first stage; each later one has twice as many.
        depths: blocks of each stage.
        window_size: of a window, in tokens.
        ratio: width of the feed-forward blocks over their channels.
        out: width that the last stage's tokens are mapped to; None: no such layer.
    """
    t, h, w = (math.ceil(n / p) for n, p in zip(input_size, patch_size, strict=True))
    macs = t * h * w * 3 * math.prod(patch_size) * embed_dim
    C = embed_dim
    for stage, depth in enumerate(depths):
        if stage:  # four neighbours in space become one token: 4C → 2C
            h, w = math.ceil(h / 2), math.ceil(w / 2)
            macs += t * h * w * 8 * C**2
            C *= 2
        window = [min(n, m) for n, m in zip(window_size, (t, h, w), strict=True)]
        padded = math.prod(m * math.ceil(n / m) for n, m in zip((t, h, w), window, strict=True))
        attention = 4 * padded * C**2 + 2 * padded * math.prod(window) * C
        macs += depth * (attention + 2 * ratio * t * h * w * C**2)
    return macs + (0 if out is None else t * h * w * C * out)


# --------------------------------------------------------------------------- decoder


def decoder_macs(D: int, positions: int, memory: int, *, layers: int = 3) -> int:
    """The decoder's layers under teacher forcing, without the output projection.

    Args:
        D: model width.
        positions: positions of the caption that it reads, one less than its tokens.
        memory: fused tokens, whose keys and values are projected once a layer.
        layers: their number.
    """
    own = transformer_layer_macs(D, positions, positions)
    reading = 2 * positions * D**2 + 2 * memory * D**2 + 2 * positions * memory * D
    return layers * (own + reading)


def output_projection_macs(D: int, positions: int, vocabulary: int) -> int:
    """From the decoder's positions to logits over the vocabulary."""
    return positions * D * vocabulary


__all__ = [
    "cross_macs",
    "decoder_macs",
    "global_macs",
    "local_global_cross_macs",
    "local_global_merged_macs",
    "merged_macs",
    "output_projection_macs",
    "transformer_encoder_macs",
    "transformer_layer_macs",
    "video_swin_macs",
]
