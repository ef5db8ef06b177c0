"""Multiply-accumulates of Transformer layers and cross-modal encoders, in closed form.

Matrix products only, like ``avbench.macs``: no norms, softmax, biases. With n tokens in
self-attention a layer costs 12·D²·n + 2·n²·D. Streams are given by their numbers of tokens.
"""

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
