"""Fusions and encoders with one fault each fail the check that names it, and no other."""

import os
import random
import time
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from avbench.api import Batch, Encoder, EncoderContext, Fusion, FusionContext, Tokens, join
from tests.testing.subject import Fault, failures


class Draft(Fusion):
    """Tokens plus the mean of the kept tokens of their row, through a layer.

    Source: this test.
    """

    calls: ClassVar[int] = 0

    def __init__(self, options: Fault, context: FusionContext) -> None:
        super().__init__()
        fault, D = options.fault, context.D
        self.fault = fault
        self.streams = context.streams
        if fault == "seeds in building":
            torch.manual_seed(7)
        self.layer = nn.Linear(D, D)
        if fault == "numpy's initial weights":
            with torch.no_grad():
                self.layer.bias.copy_(torch.from_numpy(np.random.randn(D)))
        if fault == "the system's initial weights":
            with torch.no_grad():
                self.layer.bias.fill_(os.urandom(1)[0] / 255)
        self.norm = nn.BatchNorm1d(D) if "BatchNorm" in fault else nn.Identity()
        self.late = nn.LazyLinear(D) if fault == "a lazy layer" else None
        self.unlisted = [nn.Linear(D, D)] if fault == "layers in a list" else []
        self.unregistered = torch.randn(D) if fault == "a table in no buffer" else None
        self.running: Tensor | float = 0.0
        self.seen = 0
        self.last: Tensor | None = None
        self.generator = torch.Generator().manual_seed(0)
        self.register_buffer("kept", torch.zeros(D))

    @classmethod
    def refuses(cls, streams: tuple[str, ...]) -> str | None:
        return None if streams == ("audio", "video") else "takes audio and video"

    def forward(self, tokens: Mapping[str, Tokens]) -> Tokens:
        fault = self.fault
        if fault == "writes into its inputs":
            tokens["audio"].values.mul_(2)
        if fault == "writes into a mask" and tokens["video"].keep is not None:
            tokens["video"].keep.fill_(True)
        if fault == "replaces an entry":
            tokens["audio"] = Tokens(values=tokens["audio"].values + 1, keep=tokens["audio"].keep)
        fused = join([tokens[m] for m in self.streams])
        values = fused.values
        if fault == "detaches a stream":
            audio = tokens["audio"].values
            values = torch.cat([audio.detach(), tokens["video"].values], dim=1)
        if fault == "detaches in training" and self.training:
            values = values.detach()
        if fault == "detaches all rows but one":
            values = torch.cat([values[:1], values[1:].detach()])
        keep = torch.ones_like(values[..., 0]) if fused.keep is None else fused.keep.to(values)
        if fault == "reads padding in training" and self.training:
            keep = torch.ones_like(keep)
        total = keep.sum(1, keepdim=True).clamp(min=1)
        mean = (values * keep[..., None]).sum(1, keepdim=True) / total[..., None]
        out = values + self.layer(values + mean)
        if fault == "detaches a branch":
            out = values + self.layer((values + mean).detach())
        if fault == "BatchNorm":
            out = self.norm(out.flatten(0, 1)).view_as(out)
        out = self._leaked(out, fault)
        out = self._remembered(out, fault)
        out = self._drawn(out, fault)
        out = self._misplaced(out, fault)
        keep = None if fault == "forgets the mask" else fused.keep
        if fault == "loses a token":
            return Tokens(values=out[:, 1:], keep=None if keep is None else keep[:, 1:])
        return Tokens(values=out, keep=keep)

    def _leaked(self, out: Tensor, fault: str) -> Tensor:
        if fault == "adds the batch's mean":
            return out + out.mean(0)
        if fault == "adds the neighbour's mean":
            return out + out.roll(1, 0).mean(1, keepdim=True)
        if fault == "adds the neighbour, detached":
            return out + 0.01 * out.detach().roll(1, 0)
        if fault == "scales by the batch's largest value":
            return out / out.abs().max()
        if fault == "divides by the batch's size":
            return out / len(out)
        if fault == "adds up the batch":
            return out.cumsum(0)
        if fault == "mixes rows in training" and self.training:
            return 0.9 * out + 0.1 * out[torch.randperm(len(out))]
        if fault == "attends over the batch in training" and self.training:
            return functional.scaled_dot_product_attention(*3 * [out.transpose(0, 1)]).transpose(
                0, 1
            )
        places = torch.arange(len(out), device=out.device)[:, None, None]
        return out + places if fault == "counts rows" else out

    def _remembered(self, out: Tensor, fault: str) -> Tensor:
        if fault == "counts its calls":
            self.seen += 1
            return out + self.seen
        if fault == "keeps a running mean in no buffer" and self.training:
            self.running = 0.9 * self.running + out.detach()[:1].mean()
            return out * 1.0
        if fault == "keeps a running mean in no buffer":
            return out - self.running
        if fault == "uses the last call" and self.training:
            last, self.last = self.last, out.detach()[:1].mean((0, 1))
            return out if last is None else out + last
        if fault == "counts, and changes after 50 calls" and self.training:
            self.seen += 1
            return out if self.seen <= 50 else 2 * out
        if fault == "counts, and changes each 64th call":
            self.seen += 1
            return 2 * out if self.seen % 64 == 0 else out
        if fault == "counts in its class" and self.training:
            type(self).calls += 1
            return out + type(self).calls
        if fault == "keeps the graph":
            self.last = out
        if fault == "a layer of the first call" and not hasattr(self, "extra"):
            self.extra = nn.Linear(out.shape[-1], out.shape[-1])
        if hasattr(self, "extra"):
            return self.extra(out)
        if self.late is not None:
            return self.late(out)
        for layer in self.unlisted:
            out = layer(out)
        return out if self.unregistered is None else out + self.unregistered

    def _drawn(self, out: Tensor, fault: str) -> Tensor:
        if fault == "drops in eval":
            return functional.dropout(out, 0.1)
        if not self.training:
            return out
        if fault == "the system's noise":
            return out + os.urandom(1)[0] / 255
        if fault == "Python's noise":
            return out + random.random()
        if fault == "NumPy's noise":
            return out + float(np.random.rand())
        if fault == "NumPy's new generator":
            return out + float(np.random.default_rng().random())
        if fault == "noise from the clock":
            return out + time.time() % 1
        if fault == "whole seconds":
            return out + int(time.time()) % 7
        if fault == "seeds in a call":
            torch.manual_seed(3)
            return out + torch.randn_like(out)
        if fault == "a generator of its own":
            return out + torch.rand(1, generator=self.generator)
        return out

    def _misplaced(self, out: Tensor, fault: str) -> Tensor:
        if fault == "positions on the CPU":
            return out + torch.arange(out.shape[1])[:, None]
        if fault == "noise on the CPU in training" and self.training:
            return out + torch.randn(out.shape)
        if fault == "a detour by NumPy":
            return out + torch.from_numpy(out.detach().numpy()) * 0
        if fault == "values on the CPU":
            return out.cpu()
        if fault == "always float32":
            return out.float()
        if fault == "float64 values":
            return out.double()
        if fault == "half precision in training" and self.training:
            return out.half()
        return out


NETWORK_FAULTS = {
    "adds the batch's mean": ("alone", "row 0 differs by 2.9 alone and in a batch of 3"),
    "adds the neighbour's mean": ("alone", "row 0 differs by"),
    "adds the neighbour, detached": ("alone", "row 0 differs by"),
    "scales by the batch's largest value": ("alone", "differs by"),
    "divides by the batch's size": ("alone", "row 0 differs by 2.3 alone and in a batch of 3"),
    "adds up the batch": ("alone", "row 1 differs by"),
    "counts rows": ("permutation", "the permuted output differs by 2"),
    "BatchNorm": ("alone_training", "in training, row 0 differs by"),
    "mixes rows in training": ("alone_training", "in a batch with other rows"),
    "attends over the batch in training": ("alone_training", "in training, row 0 differs by"),
    "counts its calls": ("deterministic", "call 2 differs from the first by 1"),
    "drops in eval": ("deterministic", "call 2 differs"),
    "keeps a running mean in no buffer": ("state", "in eval mode, the restored output differs by"),
    "uses the last call": ("state", "in training, the restored output differs by"),
    "a generator of its own": ("state", "in training, the restored output differs by"),
    "layers in a list": ("state", "the restored output differs by"),
    "a table in no buffer": ("state", "the restored output differs by"),
    "counts, and changes after 50 calls": ("steps", "differs by"),
    "counts, and changes each 64th call": ("steps", "differs by"),
    "counts in its class": ("random", "in training, the output differs by"),
    "the system's noise": ("random", "in training, the output differs by"),
    "Python's noise": ("random", "in training, the output differs by"),
    "NumPy's noise": ("random", "in training, the output differs by"),
    "NumPy's new generator": ("random", "in training, the output differs by"),
    "noise from the clock": ("random", "in training, the output differs by"),
    "whole seconds": ("random", "in training, the output differs by"),
    "seeds in a call": ("random", "in training, a call sets torch's seed"),
    "seeds in building": ("initial", "building sets torch's seed"),
    "numpy's initial weights": ("initial", "'layer.bias' differs between two networks"),
    "the system's initial weights": ("initial", "'layer.bias' differs between two networks"),
    "a layer of the first call": ("lazy", "made by the first call: extra.bias, extra.weight"),
    "a lazy layer": ("lazy", "made by the first call: late.bias, late.weight"),
    "writes into its inputs": ("unchanged", "a call changes audio"),
    "writes into a mask": ("unchanged", "a call changes video.keep"),
    "replaces an entry": ("unchanged", "changes the entries of the mapping of streams"),
    "detaches a stream": ("inputs", "no gradient on audio"),
    "detaches in training": ("inputs", "in training, no gradient on audio, video"),
    "detaches all rows but one": ("inputs", "no gradient on audio, row 1, audio, row 2"),
    "detaches a branch": ("gradient", "along a direction of slope"),
    "reads padding in training": ("padding", "in training, kept tokens differ by"),
    "positions on the CPU": ("device", "MixedDevicesError: 'add' takes a tensor (11, 1)"),
    "noise on the CPU in training": ("device", "MixedDevicesError: 'add' takes a tensor"),
    "a detour by NumPy": ("device", "numpy"),
    "values on the CPU": ("device", "in eval mode, an output on the cpu"),
    "always float32": ("dtype", "in eval mode, float32 from weights and inputs of float64"),
    "float64 values": ("shape", "float64 from weights and inputs of float32"),
    "half precision in training": ("shape", "float16 from weights and inputs of float32"),
    "loses a token": ("shape", "shape (3, 10, 24) instead of (3, 11, 24)"),
    "forgets the mask": ("shape", "a keep that is not the streams'"),
    "keeps the graph": ("copy", "deepcopy"),
}


def test_a_fusion_without_a_fault_passes() -> None:
    assert failures("fusions", Draft, "") == {}


@pytest.mark.parametrize("fault", NETWORK_FAULTS)
def test_a_broken_fusion_fails_the_check_that_names_its_fault(fault: str) -> None:
    name, said = NETWORK_FAULTS[fault]
    found = failures("fusions", Draft, fault)
    assert set(found) == {name}, found
    assert said in found[name].got
    assert found[name].advice


class Bands(Encoder):
    """Spectrogram frames, or words, to tokens.

    Source: this test.
    """

    n_tokens = 6
    modality = "audio"

    def __init__(self, options: Fault, context: EncoderContext) -> None:
        super().__init__()
        self.fault, self.pad = options.fault, context.pad
        self.layer = nn.Linear(context.input.mel_bins, context.D)
        self.words = nn.Embedding(context.vocabulary, context.D)
        self.norm = nn.BatchNorm1d(context.D)
        self.seen = 0
        if options.fault == "lays its tokens out wrongly":
            self.layout = (2, 2, 2)

    def forward(self, batch: Batch) -> Tokens:
        fault, audio = self.fault, batch.audio
        if fault == "standardises over the batch":
            audio = (audio - audio.mean()) / audio.std()
        if fault == "writes into the spectrogram":
            audio.sub_(audio.mean(2, keepdim=True))
        values = self.layer(audio[:, :6]) + 0 * self.words.weight.sum()
        values = values + 0 * sum(p.sum() for p in self.norm.parameters())
        if fault == "BatchNorm":
            values = self.norm(values.transpose(1, 2)).transpose(1, 2)
        if fault == "reads the captions":
            values = values + self.words(batch.captions[:, 1:2])
        if fault == "reads the ids":
            values = values + len(batch.ids[0]) * (batch.ids[0] == "a")
        if fault == "the system's noise" and self.training:
            values = values + os.urandom(1)[0] / 255
        if fault == "positions on the CPU":
            values = values + torch.arange(6.0)[:, None]
        if fault == "acts after step 50" and self.training:
            self.seen += 1
            values = values * (1 + (self.seen > 50))
        if fault == "detaches in training" and self.training:
            values = values.detach() + 0 * self.words.weight.sum()
        return Tokens(values=values)


class Words(Bands):
    """The same of speech.

    Source: this test.
    """

    modality = "text"

    def forward(self, batch: Batch) -> Tokens:
        keep = batch.text != self.pad
        values = self.words(batch.text) + 0 * self.layer.weight.sum() + 0 * self.layer.bias.sum()
        values = values + 0 * sum(p.sum() for p in self.norm.parameters())
        read = torch.ones_like(keep) if self.fault == "words read padding" else keep
        mean = (values * read[..., None]).sum(1, keepdim=True)
        values = values + mean / read.sum(1).clamp(min=1)[:, None, None]
        if self.fault == "padding is kept":
            keep = torch.ones_like(keep)
        return Tokens(values=values, keep=None if self.fault == "no mask" else keep)


ENCODER_FAULTS = {
    "standardises over the batch": (Bands, "alone", "row 0 differs by"),
    "BatchNorm": (Bands, "alone_training", "in training, row 0 differs by"),
    "writes into the spectrogram": (Bands, "unchanged", "a call changes audio"),
    "reads the captions": (Bands, "field", "the output depends on captions"),
    "reads the ids": (Bands, "field", "the output depends on ids"),
    "the system's noise": (Bands, "random", "in training, the output differs by"),
    "positions on the CPU": (Bands, "device", "MixedDevicesError: 'add' takes"),
    "acts after step 50": (Bands, "steps", "in training, step"),
    "detaches in training": (Bands, "parameters", "in training, no gradient on layer.weight"),
    "lays its tokens out wrongly": (Bands, "shape", "layout (2, 2, 2) for 6 tokens"),
    "words read padding": (Words, "padding", "words differ by"),
    "padding is kept": (Words, "padding", "keep is True at 10 tokens of padding"),
    "no mask": (Words, "padding", "keep is None for texts that end in padding"),
}


@pytest.mark.parametrize("build", [Bands, Words])
def test_an_encoder_without_a_fault_passes(build: type[Encoder]) -> None:
    assert set(failures("encoders", build, "")) <= {"countable"}


@pytest.mark.parametrize("fault", ENCODER_FAULTS)
def test_a_broken_encoder_fails_the_check_that_names_its_fault(fault: str) -> None:
    build, name, said = ENCODER_FAULTS[fault]
    found = failures("encoders", build, fault)
    assert set(found) - {"countable"} == {name}, found
    assert said in found[name].got
