"""MACs of a training, and of a captioner in closed form.

Conventions, for one clip of a training step:

- A backward pass counts twice its forward pass, so a step is 3 × (encoders + fusion and decoder in
  every view of the loss, with a caption a task). FLOPs are 2 × MACs.
- The MACs of the loss's probes are spread over the steps of the run.
- Left out: element-wise work, the optimiser, activations that are computed twice to save memory,
  and what no gradient follows: measurements for the log, and captions that select a checkpoint.

The closed form needs a captioner's geometry alone, so a plan can state costs before anything runs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avbench.core.components import ComponentRef
from avbench.core.options import build
from avbench.core.registry import Registry
from avbench.core.types import InputSpec, Modality, View
from avbench.data.tokenizer import PAD
from avbench.models.captioner import Captioner
from avbench.models.closed_form import decoder_macs, output_projection_macs
from avbench.models.contracts import EncoderContext, FusionContext
from avbench.models.settings import ModelSettings
from avbench.training.contracts import SLICE_BATCHES, LossStrategy, ProbeCurve

STAND_IN = ProbeCurve(train_before=2.0, train_after=1.0, held_before=2.1, held_after=1.5)
"""The answer of the recording probe; only the number of calls matters."""

OUTPUT = "output projection"
"""The part of a captioner that maps the decoder's positions to logits over the vocabulary."""


def training_macs(
    loss: LossStrategy,
    encoders: Mapping[Modality, int],
    teach: Callable[[Sequence[View]], int],
    steps: int,
) -> float:
    """Return the MACs of one clip's part in a training step, probes included.

    Args:
        loss: the loss strategy.
        encoders: MACs of each encoded stream's encoder, forward.
        teach: returns the MACs from encoded tokens to logits in some views, forward.
        steps: length of the training, over which the cost of probes is spread.
    """
    encoded = sum(encoders.values())
    step = 3 * (encoded + teach(loss.views()))
    probed = 0
    for view, length in probes(loss, steps):
        alone = teach([view])
        # A probe encodes every stream; gradients reach only those of its view.
        trained = encoded + 2 * sum(encoders[m] for m in view) + 3 * alone
        # Two slices, before and after, forward only.
        measured = 4 * SLICE_BATCHES * (encoded + alone)
        probed += length * trained + measured
    return step + probed / steps


def probes(loss: LossStrategy, steps: int) -> list[tuple[View, int]]:
    """Return every probe of a run: its view and its length in steps.

    The loss runs with a probe that only records the calls.
    """
    asked: list[tuple[View, int]] = []

    def recording(view: View, steps: int) -> ProbeCurve:
        asked.append((view, steps))
        return STAND_IN

    for _, length in sorted(loss.probe_at(steps).items()):
        loss.reestimate(recording, length)
    return asked


def closed_form(
    captioner: Captioner,
    model: ModelSettings,
    inputs: InputSpec,
    vocabulary: int,
    fusion: ComponentRef,
    registry: Registry,
) -> dict[str, int | None]:
    """Return the MACs of each part by formula, for one view and one caption; None: no formula.

    The captioner tells its streams and their numbers of tokens, nothing else.
    """
    encoding = EncoderContext(D=model.D, input=inputs, vocabulary=vocabulary, pad=PAD)
    streams = captioner.configuration.streams
    fusing = FusionContext(
        streams=streams, D=model.D, heads=model.heads, layers=model.cross_layers
    )
    tokens = {m: p.shape[0] for m, p in captioner.embedding.positions.items()}
    found: dict[str, int | None] = {}
    for m in captioner.configuration.encoded:
        found[f"encoder {m}"] = _formula(registry, "encoders", model.encoders[m], encoding)
    found["fusion"] = _formula(registry, "fusions", fusion, fusing, tokens)
    positions = inputs.caption_tokens - 1
    # The fused tokens are the streams' own, concatenated (``Fusion.forward``).
    memory = sum(tokens.values())
    found["decoder"] = decoder_macs(model.D, positions, memory, layers=model.decoder_layers)
    found[OUTPUT] = output_projection_macs(model.D, positions, vocabulary)
    return found


def _formula(registry: Registry, family: str, ref: ComponentRef, *context: Any) -> int | None:
    component = registry.get(family, ref.name)
    # Components are classes with ``closed_form``; a plain function as ``build`` has none.
    formula = getattr(component.build, "closed_form", None)
    if formula is None:
        return None
    macs: int | None = formula(build(component.config, ref.options), *context)
    return macs


def closed_form_training(
    parts: Mapping[str, int | None],
    captioner: Captioner,
    model: ModelSettings,
    inputs: InputSpec,
    loss: LossStrategy,
    *,
    captions: int,
    steps: int,
) -> float | None:
    """Return ``training_macs`` by formula; None: a part has no formula.

    Args:
        parts: what ``closed_form`` returned.
        captioner: tells its streams and their numbers of tokens.
        model: its settings.
        inputs: shapes of its inputs.
        loss: the loss strategy.
        captions: target captions per clip, one per task.
        steps: length of the training.
    """
    known = {name: n for name, n in parts.items() if n is not None}
    if len(known) < len(parts):
        return None
    memory = sum(p.shape[0] for p in captioner.embedding.positions.values())
    decoder = decoder_macs(
        model.D,
        inputs.caption_tokens - 1,
        memory,
        layers=model.decoder_layers,
        captions=captions,
    )
    taught = known["fusion"] + decoder + captions * known[OUTPUT]
    encoders = {m: known[f"encoder {m}"] for m in captioner.configuration.encoded}
    return training_macs(loss, encoders, lambda views: len(views) * taught, steps)
