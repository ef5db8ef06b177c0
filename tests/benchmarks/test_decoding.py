"""Beam search and greedy decoding by the paper's decoder, against slower ways to equal captions.

D = 768, 12 heads, 3 layers, a vocabulary of 30,522, 456 fused tokens a clip, 20 generated tokens;
random weights, whose captions go on to the longest length. One thread.
"""

import pytest
import torch
from torch.nn import functional

from avbench.core.types import Tokens
from avbench.models.decoder import Decoder
from avbench.models.generation import beam_search

D, LAYERS, V, N, TOKENS = 768, 3, 30_522, 456, 20
OPTIONS = {"bos": 101, "eos": 102, "length": 1 + TOKENS, "length_penalty": 1.0}


class Recomputing(Decoder):
    """The decoder without a cache: a step computes every beam's prefix and its memory anew."""

    def project(self, fused, rows=None):
        self.fused, self.said = fused, []
        return super().project(fused, rows)

    def step(self, ids, memory, past):
        B, W = ids.shape
        past.begin(W)  # Keeps the table of whose entry is whose, and nothing else.
        self.said.append(ids)
        own = past.own[:, :, : past.size]
        prefix = torch.cat(self.said, dim=1)[:, None].expand_as(own)[own].view(B * W, -1)
        rows = torch.arange(B).repeat_interleave(W)
        fresh = super().project(self.fused, rows)
        x = self.words(prefix) + self.positions.weight[: prefix.shape[1]]
        for layer, kept in zip(self.layers, fresh.layers, strict=True):
            x = layer(x, kept, fresh.mask)
        logits = functional.linear(self.final_norm(x[:, -1]), self.words.weight)
        return logits.view(B, W, V)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    made = Decoder(D, 12, layers=LAYERS, vocabulary=V, length=1 + TOKENS, dropout=0.1, norm="pre")
    for parameter in made.parameters():  # so that captions differ, and no two hypotheses tie
        parameter.data.mul_(2)
    return made.eval()


@pytest.fixture(scope="module")
def recomputing(decoder) -> Recomputing:
    made = Recomputing(
        D, 12, layers=LAYERS, vocabulary=V, length=1 + TOKENS, dropout=0.1, norm="pre"
    )
    made.load_state_dict(decoder.state_dict())
    return made.eval()


def draw(clips: int) -> Tokens:
    return Tokens(values=torch.randn(clips, N, D, generator=torch.Generator().manual_seed(1)))


def bounds(clips: int, beam: int) -> dict[str, float]:
    """Operations, and bytes that must move, of a search that does nothing twice.

    Each clip's memory is projected once. The first step has one hypothesis a clip, the others
    ``beam``: each multiplies with 14·D² weights a layer and with the word embedding, and attends
    to the memory and its own past. Each step reads all these weights, and the memory once.
    """
    weights, memory = LAYERS * 14 * D**2 + V * D, LAYERS * 2 * N * D
    macs = clips * memory * D
    for step in range(TOKENS):
        hypotheses = clips * (beam if step else 1)
        macs += hypotheses * (weights + memory + LAYERS * 2 * (step + 1) * D)
    return {"flops": 2.0 * macs, "moved": 4.0 * TOKENS * (weights + clips * memory)}


@pytest.mark.parametrize("beam", [5, 1])
def test_against_hugging_face(compare, machine, decoder, beam: int) -> None:
    from tests.huggingface import HuggingFace

    fused = draw(16)
    theirs = HuggingFace(decoder, bos=OPTIONS["bos"], eos=OPTIONS["eos"])
    found = beam_search(decoder, fused, beam=beam, **OPTIONS)
    if beam > 1:
        sequences, scores = theirs.scored(fused, length=OPTIONS["length"], beam=beam)
        torch.testing.assert_close(found.scores, scores, rtol=1e-5, atol=1e-5)
    else:
        sequences = theirs.search(fused, length=OPTIONS["length"], beam=beam)
    assert found.ids.tolist() == sequences.tolist()
    assert len({tuple(ids) for ids in found.ids.tolist()}) > 1
    compare(
        f"{f'beam search, width {beam}' if beam > 1 else 'greedy decoding'}, 16 clips, 20 tokens",
        ours=lambda: beam_search(decoder, fused, beam=beam, **OPTIONS),
        theirs=lambda: theirs.search(fused, length=OPTIONS["length"], beam=beam),
        against=f"Hugging Face generate(num_beams={beam}), the same weights, SDPA, dynamic cache",
        at_least=3.0 if beam > 1 else None,
        limit=machine.limit(**bounds(16, beam)),
        rounds=3,
        warmup=0,
        note="equal sequences and scores" if beam > 1 else "equal sequences",
    )


@pytest.mark.parametrize(("beam", "clips"), [(5, 4), (1, 16)])
def test_against_recomputing_the_prefix(
    compare, machine, decoder, recomputing, beam: int, clips: int
) -> None:
    fused = draw(clips)
    found, same = (beam_search(d, fused, beam=beam, **OPTIONS) for d in (decoder, recomputing))
    assert found.ids.tolist() == same.ids.tolist()
    torch.testing.assert_close(found.scores, same.scores, rtol=1e-5, atol=1e-5)
    compare(
        f"{f'beam search, width {beam}' if beam > 1 else 'greedy decoding'}, "
        f"{clips} clips, 20 tokens, keys and values cached",
        ours=lambda: beam_search(decoder, fused, beam=beam, **OPTIONS),
        theirs=lambda: beam_search(recomputing, fused, beam=beam, **OPTIONS),
        against="the same search, the prefix and its memory computed anew in each step",
        limit=machine.limit(**bounds(clips, beam)),
        rounds=3,
        warmup=0,
        note="equal sequences and scores",
    )
