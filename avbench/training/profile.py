"""The stage ``profile``: MACs, FLOPs and parameters of a captioner, and MACs of its training.

Conventions, for one clip:

- ``macs_g``: every encoded stream's encoder, the fusion, the decoder's layers and the output
  projection, once; the decoder under teacher forcing over ``caption_tokens`` − 1 positions.
  FLOPs are 2 × MACs.
- ``closed_form_g``: the same from the geometry alone (``avbench.training.costs``); None if a
  component has no formula.
- ``train_macs_g``: a training step's MACs over its clips, see ``avbench.training.costs``.
- Left out: element-wise work (see ``avbench.models.macs``).

Neither the encoders' weights nor the attention backend changes a figure here. Networks are built
and traced on the CPU, not on the meta device, whose shape functions of convolutions refuse the
sizes that PyTorch's tracer hands them. A process keeps the encoders that it has counted for other
stages that share them.
"""

import json
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from avbench.core.components import ComponentRef
from avbench.core.job import Job
from avbench.core.options import build, plain
from avbench.core.registry import Registry
from avbench.core.types import Batch, InputSpec, Modality, Tokens, View
from avbench.models import pretrained
from avbench.models.captioner import Captioner, build_captioner, build_encoder
from avbench.models.contracts import Encoder, EncoderContext
from avbench.models.macs import Adapter, Count, count
from avbench.models.settings import ModelSettings
from avbench.training.contracts import LossStrategy, build_loss
from avbench.training.costs import OUTPUT, closed_form, training_macs

GIGA, MEGA = 1e9, 1e6
NOMINAL_STEPS = 100_000
"""Steps of a run whose length is set in epochs: its data, and so its steps, are not known here.
Only probes that are not a fixed share of the run depend on it."""

_built: dict[str, Encoder] = {}
"""The encoders of this process by everything that they are built from; counted, not trained."""
_counted: WeakKeyDictionary[nn.Module, dict[InputSpec, Count]] = WeakKeyDictionary()
"""The counts of an encoder, by its input."""


def run(job: Job) -> dict[str, Any]:
    """Count the MACs and parameters of a captioner and of its training.

    Returns:
        ``macs_g``, ``flops_g``, ``params_m``, ``closed_form_g`` (None if a component has no
        formula), ``norms_g`` (the norms, which fvcore counts too), ``train_macs_g`` (None without
        pre-training), ``positions`` (of the caption that the decoder reads), and ``parts``: MACs
        (G), closed form (G) and parameters (M) of each encoder, the fusion, the decoder's layers
        and the output projection.
    """
    spec = job.spec
    inputs = build(InputSpec, spec["input"])
    model = pretrained.cleared(build(ModelSettings, spec["model"]), job.registry)
    fusion, vocabulary = build(ComponentRef, spec["fusion"]), spec["vocabulary"]
    captioner = build_captioner(
        model,
        inputs,
        vocabulary,
        fusion,
        build(ComponentRef, spec["modalities"]),
        job.registry,
        encoder_of=_encoder_of,
    )
    profile = Profile(captioner, inputs)
    parts = profile.parts()
    macs = sum(parts.values())
    closed = closed_form(captioner, model, inputs, vocabulary, fusion, job.registry)
    whole = [n for n in closed.values() if n is not None]
    train = None
    if spec["train"] is not None:
        asked = spec["train"]
        streams = captioner.configuration.encoded
        loss = build_loss(build(ComponentRef, asked["loss"]), streams, job.registry)
        steps = asked["steps"] or NOMINAL_STEPS
        train = profile.training(loss, captions=len(asked["tasks"]), steps=steps) / GIGA
    sizes = parameters(captioner)
    return {
        "macs_g": macs / GIGA,
        "flops_g": 2 * macs / GIGA,
        "params_m": sum(sizes.values()) / MEGA,
        "closed_form_g": sum(whole) / GIGA if len(whole) == len(closed) else None,
        "norms_g": profile.norms() / GIGA,
        "train_macs_g": train,
        "positions": inputs.caption_tokens - 1,
        "parts": {
            "macs_g": {name: n / GIGA for name, n in parts.items()},
            "closed_form_g": {n: m if m is None else m / GIGA for n, m in closed.items()},
            "params_m": {name: n / MEGA for name, n in sizes.items()},
        },
    }


def _encoder_of(
    stream: Modality, ref: ComponentRef, context: EncoderContext, registry: Registry
) -> Encoder:
    """Return an encoder, built once per process for all stages that share it."""
    module = registry.get("encoders", ref.name).module
    key = json.dumps([stream, module, plain(ref), plain(context)], sort_keys=True)
    if key not in _built:
        _built[key] = build_encoder(stream, ref, context, registry)
    return _built[key]


def parameters(captioner: Captioner) -> dict[str, int]:
    """Return the number of parameters by part, each counted once."""
    seen: set[int] = set()

    def fresh(module: nn.Module) -> int:
        new = {id(p): p.numel() for p in module.parameters() if id(p) not in seen}
        seen.update(new)
        return sum(new.values())

    sizes = {f"encoder {m}": fresh(e) for m, e in captioner.encoders.items()}
    sizes["fusion"] = fresh(captioner.fusion)
    sizes["decoder"] = fresh(captioner.decoder)
    sizes["embedding"] = fresh(captioner)
    return sizes


class Profile:
    """The MACs of a captioner's parts, for one clip."""

    def __init__(self, captioner: Captioner, inputs: InputSpec) -> None:
        self.captioner = captioner
        self.inputs = inputs
        self._taught: dict[tuple[tuple[View, ...], int], Count] = {}
        self._encoded = {m: self._encoder(m) for m in captioner.configuration.encoded}
        self.encoders: dict[Modality, int] = {m: c.macs for m, c in self._encoded.items()}

    def parts(self) -> dict[str, int]:
        """Return MACs of each encoder, the fusion, the decoder's layers and output projection.

        For one view and one caption. The output projection is the part of the decoder's work that
        none of its modules does.
        """
        taught = self.teach([self.captioner.joint], 1).modules
        whole = taught["captioner.decoder"]
        below = sum(taught[f"captioner.decoder.{n}"] for n, _ in self._decoder_modules())
        split = {
            "fusion": taught["captioner.fusion"],
            "decoder": below,
            OUTPUT: whole - below,
        }
        return {f"encoder {m}": n for m, n in self.encoders.items()} | split

    def norms(self) -> int:
        """Return the MACs that fvcore adds for norms, for one view and one caption."""
        taught = self.teach([self.captioner.joint], 1)
        return taught.norms + sum(c.norms for c in self._encoded.values())

    def teach(self, views: Sequence[View], captions: int) -> Count:
        """Count the forward pass from encoded tokens to logits, ``captions`` per clip."""
        key = tuple(views), captions
        if key not in self._taught:
            self._taught[key] = self._teach(*key)
        return self._taught[key]

    def training(self, loss: LossStrategy, *, captions: int, steps: int) -> float:
        """Return the MACs of one clip's part in a training step, probes included.

        Args:
            loss: the loss strategy.
            captions: target captions per clip, one per task.
            steps: length of the training, over which the cost of probes is spread.
        """
        return training_macs(
            loss, self.encoders, lambda views: self.teach(views, captions).macs, steps
        )

    def _teach(self, views: tuple[View, ...], captions: int) -> Count:
        streams = self.captioner.configuration.encoded
        batch = self._batch(captions)

        def call(*values: Tensor) -> Tensor:
            encoded = {m: Tokens(values=v) for m, v in zip(streams, values, strict=True)}
            return self.captioner.teach(encoded, batch, views)

        adapter = Adapter({"captioner": self.captioner}, call)
        shapes = {m: p.shape for m, p in self.captioner.embedding.positions.items()}
        return count(adapter, *(torch.zeros(1, *shapes[m]) for m in streams))

    def _decoder_modules(self) -> list[tuple[str, nn.Module]]:
        return list(self.captioner.decoder.named_children())

    def _encoder(self, modality: Modality) -> Count:
        encoder = self.captioner.encoders[modality]
        known = _counted.setdefault(encoder, {})
        if self.inputs not in known:
            known[self.inputs] = self._count_encoder(encoder)
        return known[self.inputs]

    def _count_encoder(self, encoder: nn.Module) -> Count:
        example = self._batch(1)

        def call(video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
            batch = Batch(
                video=video,
                audio=audio,
                text=text,
                captions=example.captions,
                clip=example.clip,
                ids=example.ids,
            )
            tokens: Tokens = encoder(batch)
            return tokens.values

        inputs = (example.video, example.audio, example.text)
        return count(Adapter({"encoder": encoder}, call), *inputs)

    def _batch(self, captions: int) -> Batch:
        """Return one clip of the right shapes, with no padding in its text."""
        i = self.inputs
        return Batch(
            video=torch.zeros(1, i.frames, 3, i.size, i.size, dtype=torch.uint8),
            audio=torch.zeros(1, i.mel_frames, i.mel_bins),
            text=torch.ones(1, i.speech_tokens, dtype=torch.long),
            captions=torch.ones(captions, i.caption_tokens, dtype=torch.long),
            clip=torch.zeros(captions, dtype=torch.long),
            ids=("profile",),
        )
