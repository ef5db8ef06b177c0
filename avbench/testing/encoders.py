"""The contract of an encoder."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

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
    list_names,
    run_checks,
    seeded,
)

INPUT = InputSpec(frames=4, size=32, mel_frames=16, mel_bins=8, speech_tokens=6, caption_tokens=4)
"""Small inputs: the contract does not depend on their size."""
B, D, VOCABULARY, PAD = 3, 48, 30, 0


def check_encoder(component: Component, options: Any = None) -> list[Finding]:
    """Check an encoder on small inputs.

    Args:
        component: a registered encoder.
        options: an instance of its config, e.g. of a small network; None: its defaults.
    """
    return run_checks([*common_checks(component, options), *_Subject(component, options).checks()])


class _Subject:
    """An encoder under test, and its checks."""

    def __init__(self, component: Component, options: Any) -> None:
        self.component, self.options = component, options
        self.context = EncoderContext(D=D, input=INPUT, vocabulary=VOCABULARY, pad=PAD)

    def checks(self) -> list[Check]:
        """Return every check of the contract."""
        stated = {
            self.shape: "(B, n_tokens, D), keep of booleans (B, n_tokens) or None",
            self.field: "an output that depends on its modality's field and on no other",
            self.parameters: "a gradient on every parameter",
            self.deterministic: "the same output twice in eval mode",
            self.permutation: "permuting the batch permutes the output",
            self.state: "a state dict carries the whole function to a new instance",
            self.countable: "every operator's MACs can be counted (avbench.models.macs)",
            self.closed_form: "MACs within 0.1 % of its closed form, if it has one",
        }
        return [
            Check(name=run.__name__, expected=expected, run=run)
            for run, expected in stated.items()
        ]

    def build(self, seed: int = 0) -> Encoder:
        with seeded(seed):
            encoder: Encoder = self.component.build(self.chosen, self.context)
        return encoder.eval()

    @property
    def chosen(self) -> Any:
        """The given options, or the config's defaults."""
        return self.component.config() if self.options is None else self.options

    def shape(self) -> str | None:
        encoder = self.build()
        for clips in (B, 1):
            tokens = encoder(batch(clips))
            wanted = (clips, encoder.n_tokens, D)
            if tuple(tokens.values.shape) != wanted:
                return f"shape {tuple(tokens.values.shape)} instead of {wanted}"
            if not torch.isfinite(tokens.values).all():
                return "values that are not finite"
            keep = tokens.keep
            if keep is not None and (keep.dtype != torch.bool or keep.shape != wanted[:2]):
                return f"keep {keep.dtype} {tuple(keep.shape)}"
        return None

    def field(self) -> str | None:
        encoder, given = self.build(), batch()
        other = batch(seed=1)
        fields = {"video": "video", "audio": "audio", "text": "text"}
        if encoder.modality not in fields:
            return f"modality '{encoder.modality}', which no field of a batch is for"
        before = _without_padding(encoder(given))
        for name in fields:
            after = _without_padding(encoder(replace(given, **{name: getattr(other, name)})))
            same = differs("output", after, before, within=0.0) is None
            if same == (name == encoder.modality):
                return f"the output {'ignores' if same else 'depends on'} {name}"
        return None

    def parameters(self) -> str | None:
        encoder = self.build()
        (encoder(batch()).values * torch.randn(D)).square().sum().backward()
        lacking = [
            name for name, p in encoder.named_parameters() if p.requires_grad and p.grad is None
        ]
        return list_names("no gradient on", lacking)

    def deterministic(self) -> str | None:
        encoder, given = self.build(), batch()
        return differs("second output", encoder(given).values, encoder(given).values, within=0.0)

    def permutation(self) -> str | None:
        encoder, given = self.build(), batch()
        order = torch.tensor([2, 0, 1])
        permuted = replace(
            given, video=given.video[order], audio=given.audio[order], text=given.text[order]
        )
        return differs(
            "permuted output",
            _without_padding(encoder(permuted)),
            _without_padding(encoder(given))[order],
        )

    def state(self) -> str | None:
        encoder, other, given = self.build(), self.build(seed=1), batch()
        other.load_state_dict(encoder.state_dict())
        return differs("restored output", other(given).values, encoder(given).values, within=0.0)

    def countable(self) -> str | None:
        return None if self.counted() else "0 MACs"

    def closed_form(self) -> str | None:
        formula = getattr(self.component.build, "closed_form", None)
        if formula is None:
            return None
        return beyond_closed_form(self.counted(), formula(self.chosen, self.context))

    def counted(self) -> int:
        encoder, given = self.build(), batch(1)

        def call(video: Tensor, audio: Tensor, text: Tensor) -> Tensor:
            tokens: Tokens = encoder(replace(given, video=video, audio=audio, text=text))
            return tokens.values

        return count(
            Adapter({"encoder": encoder}, call), given.video, given.audio, given.text
        ).macs


def batch(clips: int = B, *, seed: int = 0) -> Batch:
    """Return random inputs; texts have different lengths and are padded."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    i = INPUT
    text = integers(PAD + 1, VOCABULARY, clips, i.speech_tokens)
    lengths = torch.arange(clips)[:, None] + 2
    text[torch.arange(i.speech_tokens)[None] >= lengths] = PAD
    return Batch(
        video=integers(0, 256, clips, i.frames, 3, i.size, i.size).to(torch.uint8),
        audio=torch.randn(clips, i.mel_frames, i.mel_bins, generator=generator),
        text=text,
        captions=torch.ones(clips, i.caption_tokens, dtype=torch.long),
        clip=torch.arange(clips),
        ids=tuple(f"clip{n}" for n in range(clips)),
    )


def _without_padding(tokens: Tokens) -> Tensor:
    """Return the values, with zeros for padding, whose values may be anything."""
    if tokens.keep is None:
        return tokens.values
    return tokens.values * tokens.keep[..., None]
