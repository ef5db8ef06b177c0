"""Stage ``generate``: the captions of a split by beam search (Sec. 4.2)."""

import json
from typing import Any

import torch

from avbench.beam import beam_search
from avbench.compute import backends, compile_parts, place
from avbench.data import ClipData
from avbench.errors import SuiteError, unknown
from avbench.feed import Feed
from avbench.media.store import PreparedSplit
from avbench.model import Captioner
from avbench.options import build
from avbench.settings import ComputeSettings, DecodeSettings
from avbench.stage import Job
from avbench.types import Batch, View
from avbench.vocabulary import Vocabulary
from avbench.weights import load

PREDICTIONS = "predictions.jsonl"


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


def run(job: Job) -> dict[str, Any]:
    """Stage ``generate``: captions of a split, with streams zeroed as the spec says."""
    captioner, architecture = load(job.parents["model"], job.registry)
    settings = build(DecodeSettings, job.spec["decode"])
    vocabulary = Vocabulary.open(job.parents["vocabulary"])
    device = torch.device(job.local.get("device", "cpu"))
    compute = build(ComputeSettings, job.spec["compute"])
    place(captioner, compute, device).eval()
    compile_parts([*captioner.encoders.values(), captioner.fusion], compute)
    zero = frozenset(job.spec["zero"])
    if not zero < captioner.joint:
        surplus = ", ".join(sorted(zero - captioner.joint) or sorted(zero))
        raise SuiteError(
            f"evaluate.zeroed: {unknown('stream', surplus, captioner.joint)}, and one must stay"
        )
    view = captioner.joint - zero
    data = ClipData(
        PreparedSplit.open(job.parents["data"]), vocabulary, architecture.input, training=None
    )
    rows = range(len(data))
    feed = Feed(data=data, rows=rows, batch=settings.batch, group=1, device=device)
    longest = architecture.input.caption_tokens
    done = 0
    temporary = job.directory / f".{PREDICTIONS}"
    with torch.inference_mode(), temporary.open("w", encoding="utf-8") as file:
        for batch in feed.in_order(rows, 0):
            said = captions(captioner, vocabulary, batch, settings, view=view, length=longest)
            for clip, (caption, _) in zip(batch.ids, said, strict=True):
                line = {"id": clip, "caption": caption}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            done += len(batch.ids)
            job.progress(done, len(data))
    temporary.replace(job.directory / PREDICTIONS)
    return {"clips": len(data), "file": PREDICTIONS, "attention": backends(captioner)}
