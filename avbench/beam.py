"""Batched beam search with cached keys and values (Sec. 4.2: width 5)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avbench.decoder import Decoder
from avbench.types import Tokens
from avbench.vocabulary import PAD


@dataclass(frozen=True, kw_only=True, slots=True)
class Beams:
    """The outcome of a search.

    Attributes:
        ids: the best caption of each clip, BOS first, padded.
        scores: its log probability over length to the power of the length penalty.
    """

    ids: Int[Tensor, "B L"]
    scores: Float[Tensor, " B"]


def beam_search(
    decoder: Decoder,
    fused: Tokens,
    *,
    bos: int,
    eos: int,
    length: int,
    beam: int,
    length_penalty: float,
) -> Beams:
    """Search for the best caption of each clip.

    Args:
        decoder: in eval mode.
        fused: fused tokens (B, N, D).
        bos: id that starts a caption.
        eos: id that ends one.
        length: longest caption, tokens, BOS and EOS included.
        beam: W, hypotheses kept per clip.
        length_penalty: exponent on the number of generated tokens (EOS included) by which
            log probabilities are divided when finished hypotheses compare.

    Returns:
        One caption a clip; a clip whose beams never end gives its best unfinished one.
    """
    device = fused.values.device
    clips, vocabulary = fused.values.shape[0], decoder.words.num_embeddings
    rows = torch.arange(clips, device=device).repeat_interleave(beam)
    memory = decoder.remember(fused, rows)
    ids = torch.full((clips * beam, 1), bos, dtype=torch.long, device=device)
    # All beams of a clip start equal: only the first may branch.
    scores = torch.full((clips, beam), -torch.inf, device=device)
    scores[:, 0] = 0
    past = None
    done = torch.full((clips, length), PAD, dtype=torch.long, device=device)
    done_scores = torch.full((clips, beam), -torch.inf, device=device)
    best = torch.full((clips,), -torch.inf, device=device)
    first = torch.arange(clips, device=device)[:, None] * beam
    for size in range(2, length + 1):
        logits, present = decoder(ids[:, -1:], memory, past)
        steps = torch.log_softmax(logits[:, -1].float(), dim=-1).view(clips, beam, vocabulary)
        total = (scores[:, :, None] + steps).flatten(1)
        top, chosen = total.topk(2 * beam, dim=1)
        parent, token = chosen // vocabulary, chosen % vocabulary
        ended = token == eos
        normal = top / (size - 1) ** length_penalty
        # A hypothesis that ends counts only among the first W candidates, as usual.
        finished = torch.where(ended, normal, -torch.inf)[:, :beam]
        value, place = finished.max(dim=1)
        better = value > best
        if bool(better.any()):
            source = (first.squeeze(1) + parent.gather(1, place[:, None]).squeeze(1))[better]
            done[better] = PAD
            done[better, : size - 1] = ids[source]
            done[better, size - 1] = eos
            best = torch.where(better, value, best)
        done_scores = torch.cat([done_scores, finished], dim=1).topk(beam, dim=1).values
        live = torch.where(ended, -torch.inf, top)
        scores, kept = live.topk(beam, dim=1)
        source = (first + parent.gather(1, kept)).flatten()
        ids = torch.cat([ids[source], token.gather(1, kept).flatten()[:, None]], dim=1)
        past = [(key[source], value_[source]) for key, value_ in present]
        # A clip is settled once W hypotheses ended and none that lives can still pass the worst.
        bound = scores[:, 0] / (length - 1) ** max(length_penalty, 0.0)
        if bool((done_scores[:, -1] >= bound).all()):
            break
    never = torch.isinf(best)
    done[never, : ids.shape[1]] = ids[first.squeeze(1)][never]
    best = torch.where(never, scores[:, 0] / (ids.shape[1] - 1) ** length_penalty, best)
    return Beams(ids=done, scores=best)
