"""Batched beam search with cached keys and values (Sec. 4.2: width 5).

The paper states the width alone. Everything else follows Hugging Face's
``generate(num_beams=W)``, the usual one for captions, with the same captions and scores:

- Each step takes the 2W best continuations of a clip's W hypotheses. One that ends is finished
  if it is among the first W of them; the best W others live on.
- At the longest length every hypothesis counts as finished, with or without EOS.
- A finished hypothesis has the score Σ log p / n^penalty, n the tokens generated, EOS included
  and BOS not. The best is the clip's caption.
- ``early_stopping`` says when a clip with W finished hypotheses is settled: ``False``, once no
  live one, scored as if it ended here, beats the worst of the best W finished; ``"never"``, once
  no live one can beat it at any length that is left; ``True``, at once.
- A width of one is greedy decoding: the caption ends at its first EOS.

Source: Hugging Face transformers 5, ``GenerationMixin.generate``,
https://huggingface.co/docs/transformers/main_classes/text_generation. Ours differs in speed only:
the beams of a clip read one copy of its keys and values.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avbench.core.types import Batch, Tokens, View
from avbench.data.tokenizer import PAD, Vocabulary
from avbench.models.captioner import Captioner
from avbench.models.decoder import BeamCache, Decoder
from avbench.models.settings import DecodeSettings

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Beams:
    """The outcome of a search.

    Attributes:
        ids: the best caption of each clip, BOS first, padded.
        scores: its log probability over length to the power of the length penalty.
    """

    ids: Int[Tensor, "B L"]
    scores: Float[Tensor, " B"]


@torch.no_grad()
def beam_search(
    decoder: Decoder,
    fused: Tokens,
    *,
    bos: int,
    eos: int,
    length: int,
    beam: int,
    length_penalty: float,
    early_stopping: EarlyStopping = False,
) -> Beams:
    """Search for the best caption of each clip.

    Args:
        decoder: in eval mode.
        fused: fused tokens (B, N, D).
        bos: id that starts a caption.
        eos: id that ends one.
        length: longest caption, tokens, BOS and EOS included.
        beam: W, hypotheses kept per clip.
        length_penalty: exponent on the number of generated tokens by which log probabilities
            are divided.
        early_stopping: see the module's docstring.

    Raises:
        ValueError: beam below 1, or length below 2.
    """
    if beam < 1 or length < 2:
        raise ValueError(
            f"beam search: beam must be at least 1 and length at least 2, got {beam} and {length}"
        )
    clips, device = fused.values.shape[0], fused.values.device
    memory = decoder.project(fused)
    cache = BeamCache(memory, length=length, beam=beam)
    # One hypothesis a clip to begin with: BOS.
    lines = torch.full((clips, 1, 1), bos, device=device)
    scores = torch.zeros(clips, 1, device=device)
    captions = torch.full((clips, length), PAD, device=device)
    finished = torch.full((clips, beam), -torch.inf, device=device)  # The best W, sorted.
    unsettled = torch.ones(clips, 1, dtype=torch.bool, device=device)
    for size in range(2, length + 1):
        logits = decoder.step(lines[:, :, -1], memory, cache)
        total = logits.float().log_softmax(-1).add_(scores[:, :, None])
        top, chosen = total.flatten(1).topk(min(2 * beam, total[0].numel()))
        parents, tokens = chosen // total.shape[2], chosen % total.shape[2]
        lines = torch.cat([_rows(lines, parents), tokens[:, :, None]], dim=2)
        ended = (tokens == eos) | (size == length)

        counts = ended & unsettled
        counts[:, beam:] = False
        ends = torch.where(counts, top / (size - 1) ** length_penalty, -torch.inf)
        best, place = ends.max(dim=1, keepdim=True)
        # Later captions are longer, so that they overwrite earlier ones whole.
        captions[:, :size] = torch.where(
            best > finished[:, :1], _rows(lines, place)[:, 0], captions[:, :size]
        )
        finished = torch.cat([finished, ends], dim=1).topk(beam).values

        scores, kept = torch.where(ended, -torch.inf, top).topk(min(beam, top.shape[1]))
        unsettled = unsettled & _open(
            finished[:, -1:],
            scores[:, :1],
            size - 1,
            length - 1,
            length_penalty,
            True if beam == 1 else early_stopping,
        )
        if not bool(unsettled.any()):
            break
        lines = _rows(lines, kept)
        cache.reorder(parents.gather(1, kept))
    return Beams(ids=captions, scores=finished[:, 0])


def _rows(lines: Int[Tensor, "B W L"], places: Int[Tensor, "B K"]) -> Int[Tensor, "B K L"]:
    """Return each clip's hypotheses at these places."""
    return lines.gather(1, places[:, :, None].expand(-1, -1, lines.shape[2]))


def _open(
    worst: Float[Tensor, "B 1"],
    live: Float[Tensor, "B 1"],
    n: int,
    longest: int,
    penalty: float,
    early_stopping: EarlyStopping,
) -> Tensor:
    """Return True for clips whose best live hypothesis may still win.

    Args:
        worst: score of the worst of W finished hypotheses, -inf where there are fewer.
        live: log probability of the best live hypothesis.
        n: its generated tokens.
        longest: most tokens that can be generated.
        penalty: the length penalty.
        early_stopping: see the module's docstring.
    """
    if early_stopping is True:
        return torch.isinf(worst)
    # Log probabilities only fall; a positive penalty forgives most at the longest length.
    n = longest if early_stopping == "never" and penalty > 0 else n
    passes: Tensor = live / n**penalty > worst
    return passes | torch.isinf(worst)


def captions(
    captioner: Captioner,
    vocabulary: Vocabulary,
    batch: Batch,
    settings: DecodeSettings,
    *,
    view: View,
    length: int,
) -> list[tuple[str, float]]:
    """Return the caption of each clip of a batch, and its score as ``Beams`` defines it.

    Args:
        captioner: in eval mode, on the batch's device.
        vocabulary: spells the captions.
        batch: the clips; their target captions are ignored.
        settings: of the beam search.
        view: the streams to keep.
        length: longest caption, tokens.
    """
    fused = captioner.fuse(captioner.encode(batch), [view])
    with captioner.autocast():
        found = beam_search(
            captioner.decoder,
            fused,
            bos=vocabulary.bos["pcc"],
            eos=vocabulary.eos,
            length=length,
            beam=settings.beam,
            length_penalty=settings.length_penalty,
            early_stopping=settings.early_stopping,
        )
    ids, scores = found.ids.tolist(), found.scores.tolist()
    return [(vocabulary.text(i), score) for i, score in zip(ids, scores, strict=True)]
