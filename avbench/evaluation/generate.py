"""Stage ``generate``: the captions of a split by beam search (Sec. 4.2)."""

import json
from typing import Any

import torch

from avbench.core.job import Job
from avbench.core.options import build
from avbench.data.dataset import ClipData
from avbench.data.loader import Feed
from avbench.data.prepared.split import PreparedSplit
from avbench.data.tokenizer import Vocabulary
from avbench.evaluation.perturb import kept, noised, same_video, swapped
from avbench.evaluation.perturbation import Alteration
from avbench.evaluation.predictions import PREDICTIONS
from avbench.models.compute import backends, compile_parts, place
from avbench.models.generation import captions
from avbench.models.settings import ComputeSettings, DecodeSettings
from avbench.models.weights import load


def run(job: Job) -> dict[str, Any]:
    """Write the captions of a split, with its streams altered as the spec says.

    If streams are swapped, each line names the clips that they come from.
    """
    captioner, architecture = load(job.parents["model"], job.registry)
    settings = build(DecodeSettings, job.spec["decode"])
    vocabulary = Vocabulary.open(job.parents["vocabulary"])
    device = torch.device(job.local.get("device", "cpu"))
    compute = build(ComputeSettings, job.spec["compute"])
    place(captioner, compute, device).eval()
    compile_parts([*captioner.encoders.values(), captioner.fusion], compute)
    asked = job.spec["alteration"]
    alteration = build(Alteration, asked) if asked is not None else None
    view = kept(alteration, captioner.joint)
    split = PreparedSplit.open(job.parents["data"])
    videos = [clip.video for clip in split.clips]
    taken = swapped(alteration, videos)
    data = ClipData(split, vocabulary, architecture.input, sampling=None, taken=taken)
    rows = range(len(data))
    feed = Feed(data=data, rows=rows, batch=settings.batch, group=1, device=device)
    longest = architecture.input.caption_tokens
    done = 0
    job.progress(done, len(data), "starting")
    temporary = job.directory / f".{PREDICTIONS}"
    with torch.inference_mode(), temporary.open("w", encoding="utf-8") as file:
        for batch in feed.in_order(rows, 0):
            given = noised(alteration, batch, vocabulary)
            said = captions(captioner, vocabulary, given, settings, view=view, length=longest)
            for i, (clip, (caption, _)) in enumerate(zip(batch.ids, said, strict=True), done):
                line: dict[str, Any] = {"id": clip, "caption": caption}
                if taken:
                    line["taken"] = {m: split.clips[of[i]].id for m, of in taken.items()}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            done += len(batch.ids)
            job.progress(done, len(data))
    temporary.replace(job.directory / PREDICTIONS)
    made = {"clips": len(data), "file": PREDICTIONS, "attention": backends(captioner)}
    return made | ({"same_video": same_video(taken, videos)} if taken else {})
