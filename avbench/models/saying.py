"""What a captioner says of a batch of clips (Sec. 4.2)."""

from avbench.core.settings import DecodeSettings
from avbench.core.types import Batch, View
from avbench.data.tokenizer import Vocabulary
from avbench.models.captioner import Captioner
from avbench.models.generation import beam_search


def captions(
    captioner: Captioner,
    vocabulary: Vocabulary,
    batch: Batch,
    settings: DecodeSettings,
    *,
    view: View,
    length: int,
) -> list[tuple[str, float]]:
    """The caption of each clip of a batch, and its score as ``Beams`` defines it.

    Args:
        captioner: in eval mode, on the batch's device.
        vocabulary: spells the captions.
        batch: what the clips hold; target captions are not looked at.
        settings: of the beam search.
        view: the streams that are kept.
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
