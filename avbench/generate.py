"""Stage ``generate``: the captions of a split by beam search (Sec. 4.2)."""

import json
from typing import Any

import torch

from avbench.beam import beam_search
from avbench.data import ClipData
from avbench.errors import SuiteError, unknown
from avbench.feed import Feed
from avbench.media.store import PreparedSplit
from avbench.options import build
from avbench.settings import DecodeSettings
from avbench.stage import Job
from avbench.vocabulary import Vocabulary
from avbench.weights import load

PREDICTIONS = "predictions.jsonl"


def run(job: Job) -> dict[str, Any]:
    """Stage ``generate``: captions of a split, with streams zeroed as the spec says."""
    captioner, architecture = load(job.parents["model"], job.registry)
    settings = build(DecodeSettings, job.spec["decode"])
    vocabulary = Vocabulary.open(job.parents["vocabulary"])
    device = torch.device(job.local.get("device", "cpu"))
    captioner.to(device).eval()
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
    done = 0
    temporary = job.directory / f".{PREDICTIONS}"
    with torch.inference_mode(), temporary.open("w", encoding="utf-8") as file:
        for batch in feed.in_order(rows, 0):
            fused = captioner.fuse(captioner.encode(batch), [view])
            found = beam_search(
                captioner.decoder,
                fused,
                bos=vocabulary.bos["pcc"],
                eos=vocabulary.eos,
                length=architecture.input.caption_tokens,
                beam=settings.beam,
                length_penalty=settings.length_penalty,
            )
            for clip, ids in zip(batch.ids, found.ids.tolist(), strict=True):
                line = {"id": clip, "caption": vocabulary.text(ids)}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            done += len(batch.ids)
            job.progress(done, len(data))
    temporary.replace(job.directory / PREDICTIONS)
    return {"clips": len(data), "file": PREDICTIONS}
