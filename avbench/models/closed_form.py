"""Multiply-accumulates of a captioner and its parts, in closed form, from geometry alone.

Matrix products only, like ``avbench.models.macs``: no norms, softmax, biases. With n tokens in
self-attention a layer costs 12·D²·n + 2·n²·D. Streams are given by their numbers of tokens.
Nothing here reads a network: the profile stage and the tests compare counts with it.
"""


def transformer_layer_macs(D: int, queries: int, keys: int, *, ratio: int = 4) -> int:
    """Return the MACs of T(X, Y) in Eq. 8: projections, attention and feed-forward block.

    Args:
        D: model width.
        queries: tokens of X.
        keys: tokens of Y.
        ratio: width of the feed-forward block over D.
    """
    projections = 2 * queries * D**2 + 2 * keys * D**2
    attention = 2 * queries * keys * D
    return projections + attention + 2 * ratio * queries * D**2


def decoder_macs(
    D: int, positions: int, memory: int, *, layers: int = 3, captions: int = 1
) -> int:
    """Return the MACs of the decoder's layers under teacher forcing, without output projection.

    Args:
        D: model width.
        positions: positions of the caption that it reads, one less than its tokens.
        memory: fused tokens, whose keys and values are projected once a layer.
        layers: their number.
        captions: captions that are read with the same fused tokens.
    """
    own = transformer_layer_macs(D, positions, positions)
    reading = 2 * positions * D**2 + 2 * positions * memory * D
    return layers * (captions * (own + reading) + 2 * memory * D**2)


def output_projection_macs(D: int, positions: int, vocabulary: int) -> int:
    """Return the MACs from the decoder's positions to logits over the vocabulary."""
    return positions * D * vocabulary
