"""The contract of an encoder."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from avbench.core.registry import Component
from avbench.core.types import Batch, InputSpec, Tokens
from avbench.models.contracts import Encoder, EncoderContext
from avbench.models.macs import Adapter, count
from avbench.testing.findings import (
    Check,
    Finding,
    beyond_closed_form,
    common_checks,
    differs,
    gap,
    run_checks,
)
from avbench.testing.networks import (
    MODES,
    B,
    Inputs,
    NetworkChecks,
    without_padding,
    wrong_form,
)

INPUT = InputSpec(frames=4, size=32, mel_frames=16, mel_bins=8, speech_tokens=6, caption_tokens=4)
"""Small inputs: the contract does not depend on their size."""
D, VOCABULARY, PAD = 48, 30, 0
LENGTHS = (2, 6, 0)
"""Words of each row's speech; the last has none."""
FIELDS = {"video": "video", "audio": "audio", "text": "text"}
"""The field of a batch that each modality's encoder reads."""


def check_encoder(component: Component, options: Any = None) -> list[Finding]:
    """Check an encoder on small inputs.

    Args:
        component: a registered encoder.
        options: an instance of its config, e.g. of a small network; None: its defaults.
    """
    return run_checks([*common_checks(component, options), *_Subject(component, options).checks()])


class _Subject(NetworkChecks):
    """An encoder under test, and its checks."""

    layout = "(B, n_tokens, D) in float32, keep of booleans (B, n_tokens) or None"

    def __init__(self, component: Component, options: Any) -> None:
        super().__init__()
        self.component, self.options = component, options
        self.context = EncoderContext(D=D, input=INPUT, vocabulary=VOCABULARY, pad=PAD)

    def checks(self) -> list[Check]:
        """Return every check of the contract."""
        return [
            *self.network_checks(),
            Check(
                name="field",
                expected="an output that depends on its modality's field and on no other",
                advice="read batch.video, batch.audio or batch.text alone; captions and ids are "
                "what the model must not see",
                run=self.field,
                needs=("deterministic",),
            ),
            Check(
                name="padding",
                expected="padding of the text is hidden: keep is False, and no word reads it",
                advice="return keep = batch.text != context.pad, and mask the attention by it",
                run=self.padding,
                needs=("alone",),
            ),
            Check(
                name="countable",
                expected="every operator's MACs can be counted (avbench.models.macs)",
                run=self.countable,
                needs=("state",),
            ),
            Check(
                name="closed_form",
                expected="MACs within 0.1 % of its closed form, if it has one",
                run=self.closed_form,
                needs=("countable",),
            ),
            *self.last_checks(),
        ]

    def make(self) -> Encoder:
        made: Encoder = self.component.build(self.chosen, self.context)
        return made

    @property
    def chosen(self) -> Any:
        """The given options, or the config's defaults."""
        return self.component.config() if self.options is None else self.options

    def variants(self, seed: int = 0) -> Sequence[dict[str, Tensor]]:
        """Return one batch; texts have different lengths and are padded."""
        return [_inputs(seed)]

    def call(self, network: nn.Module, given: Inputs) -> Tokens:
        tokens: Tokens = network(_batch(given))
        return tokens

    def shape(self) -> str | None:
        for training in MODES:
            for rows in (range(B), [0]):
                encoder = self.fresh(training=training)
                wanted = (len(rows), encoder.n_tokens, D)
                tokens = self.call(encoder, self.rows(_inputs(), rows))
                problem = wrong_form(tokens, wanted)
                if problem:
                    return problem
                if encoder.layout is not None and math.prod(encoder.layout) != wanted[1]:
                    return f"layout {encoder.layout} for {wanted[1]} tokens"
                keep = tokens.keep
                if keep is not None and (keep.dtype != torch.bool or keep.shape != wanted[:2]):
                    return f"keep {keep.dtype} {tuple(keep.shape)}"
        return None

    def field(self) -> str | None:
        encoder = self.fresh()
        if encoder.modality not in FIELDS:
            return f"modality '{encoder.modality}', which no field of a batch is for"
        given, other = _inputs(), _inputs(1)
        before = self.output(encoder, given)
        for name in given:
            after = self.output(encoder, {**given, name: other[name]})
            same = differs("output", after, before, within=0.0) is None
            if same == (name == encoder.modality):
                return f"the output {'ignores' if same else 'depends on'} {name}"
        named = encoder(replace(_batch(given), ids=tuple("abc")))
        if gap(without_padding(named).detach(), before, within=0.0) is not None:
            return "the output depends on ids"
        return None

    def padding(self) -> str | None:
        encoder, given = self.fresh(), _inputs()
        if encoder.modality != "text":
            return None
        padded, tokens = given["text"] == PAD, self.call(encoder, given)
        if tokens.keep is None:
            return "keep is None for texts that end in padding"
        if tokens.keep.shape == padded.shape and (tokens.keep & padded).any():
            return f"keep is True at {int((tokens.keep & padded).sum())} tokens of padding"
        before = self.output(encoder, given)
        for module in encoder.modules():
            if isinstance(module, nn.Embedding):
                module.register_forward_hook(_disturb)
        by = gap(self.output(encoder, given), before)
        return None if by is None else f"words differ by {by:.2g} with other values in the padding"

    def countable(self) -> str | None:
        return None if self.counted else "0 MACs"

    def closed_form(self) -> str | None:
        formula = getattr(self.component.build, "closed_form", None)
        if formula is None:
            return None
        return beyond_closed_form(self.counted, formula(self.chosen, self.context))

    @cached_property
    def counted(self) -> int:
        """The MACs of one clip."""
        encoder, given = self.fresh(), _batch(self.rows(_inputs(), [0]))

        def call(video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
            tokens: Tokens = encoder(replace(given, video=video, audio=audio, text=text))
            return tokens.values

        return count(
            Adapter({"encoder": encoder}, call), given.video, given.audio, given.text
        ).macs


def _disturb(module: nn.Module, given: Any, embedded: Tensor) -> Tensor:
    """Put noise in the place of the embeddings of padding; other tables are left alone."""
    del module
    ids = given[0]
    if not torch.equal(ids, _inputs()["text"].to(ids.device)):
        return embedded
    return torch.where((ids == PAD)[..., None], 10 * torch.randn_like(embedded), embedded)


def _inputs(seed: int = 0) -> dict[str, Tensor]:
    """Return random inputs of a batch."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    i = INPUT
    text = integers(PAD + 1, VOCABULARY, B, i.speech_tokens)
    text[torch.arange(i.speech_tokens)[None] >= torch.tensor(LENGTHS)[:, None]] = PAD
    return {
        "video": integers(0, 256, B, i.frames, 3, i.size, i.size).to(torch.uint8),
        "audio": torch.randn(B, i.mel_frames, i.mel_bins, generator=generator),
        "text": text,
        "captions": integers(PAD + 1, VOCABULARY, B, i.caption_tokens),
    }


def _batch(given: Inputs) -> Batch:
    """Return a batch with one caption a clip."""
    clips = len(given["video"])
    return Batch(
        video=given["video"],
        audio=given["audio"],
        text=given["text"],
        captions=given["captions"],
        clip=torch.arange(clips, device=given["captions"].device),
        ids=tuple(f"clip{n}" for n in range(clips)),
    )
