"""Beam search against exhaustive search and against the decoder's own scores."""

import itertools

import pytest
import torch

from avbench.api import Tokens
from avbench.beam import beam_search
from avbench.decoder import Decoder

BOS, EOS = 2, 1


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(3)
    made = Decoder(16, 2, layers=2, vocabulary=6, length=6, dropout=0.0, norm="pre")
    for parameter in made.parameters():  # far from uniform, so that hypotheses differ
        parameter.data.mul_(8)
    return made.double().eval()


@pytest.fixture
def fused() -> Tokens:
    return Tokens(values=torch.randn(3, 5, 16, dtype=torch.float64))


def log_probability(decoder: Decoder, fused: Tokens, clip: int, ids: list[int]) -> float:
    one = Tokens(values=fused.values[clip : clip + 1])
    logits, _ = decoder(torch.tensor([ids[:-1]]), decoder.remember(one))
    steps = logits.log_softmax(-1)[0]
    return float(sum(steps[i, t] for i, t in enumerate(ids[1:])))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_caption(decoder, fused, penalty) -> None:
    length = 4
    with torch.inference_mode():
        found = beam_search(
            decoder, fused, bos=BOS, eos=EOS, length=length, beam=216, length_penalty=penalty
        )
        for clip in range(3):
            every = [
                [BOS, *words, EOS]
                for n in range(length - 1)
                for words in itertools.product([t for t in range(6) if t != EOS], repeat=n)
            ]
            scored = {
                tuple(ids): log_probability(decoder, fused, clip, ids) / (len(ids) - 1) ** penalty
                for ids in every
            }
            best = max(scored, key=scored.__getitem__)
            assert found.ids[clip].tolist()[: len(best)] == list(best)
            assert found.scores[clip].item() == pytest.approx(scored[best], abs=1e-6)


def test_cached_decoding_equals_recomputing_the_prefix(decoder, fused) -> None:
    ids = torch.randint(0, 6, (3, 6))
    with torch.inference_mode():
        memory = decoder.remember(fused)
        whole, _ = decoder(ids, memory)
        past, steps = None, []
        for i in range(6):
            logits, past = decoder(ids[:, i : i + 1], memory, past)
            steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_each_clip_gets_its_own_caption_whatever_stands_beside_it(decoder, fused) -> None:
    options = {"bos": BOS, "eos": EOS, "length": 6, "beam": 5, "length_penalty": 1.0}
    with torch.inference_mode():
        together = beam_search(decoder, fused, **options)
        for clip in range(3):
            alone = beam_search(decoder, Tokens(values=fused.values[clip : clip + 1]), **options)
            assert alone.ids[0].tolist() == together.ids[clip].tolist()


def test_a_caption_that_never_ends_is_given_at_full_length(decoder, fused) -> None:
    # The final normalisation gives a constant state, which EOS's row opposes.
    with torch.inference_mode():
        decoder.final_norm.weight.zero_()
        decoder.final_norm.bias.fill_(1.0)
        decoder.words.weight.zero_()
        decoder.words.weight[EOS] = -1000.0
        decoder.words.weight[5] = 1.0
        found = beam_search(decoder, fused, bos=BOS, eos=EOS, length=6, beam=2, length_penalty=1.0)
    assert found.ids.tolist() == [[BOS, 5, 5, 5, 5, 5]] * 3
    assert torch.isfinite(found.scores).all()


def test_wider_beams_never_score_worse_than_greedy(decoder, fused) -> None:
    options = {"bos": BOS, "eos": EOS, "length": 6, "length_penalty": 0.0}
    with torch.inference_mode():
        greedy = beam_search(decoder, fused, beam=1, **options)
        wide = beam_search(decoder, fused, beam=100, **options)
    assert (wide.scores >= greedy.scores - 1e-9).all()
